"""The manifests against the API's own schemas, and against the restricted pod standard."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docker.dockerfile import ENDS, ROOT

BASE = ROOT / "docker" / "kubernetes" / "base"
GPU = ROOT / "docker" / "kubernetes" / "gpu"


def named(folder: Any) -> list[str]:
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return [*told["resources"], *(patch["path"] for patch in told.get("patches", []))]


def deployment() -> dict[str, Any]:
    return yaml.safe_load((BASE / "deployment.yaml").read_text())["spec"]


def pod() -> dict[str, Any]:
    return deployment()["template"]["spec"]


def seconds_of_the_startup_probe() -> int:
    probe = pod()["containers"][0]["startupProbe"]
    return probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("name", named(BASE))
def test_it_meets_the_schema_of_its_kind(name: str) -> None:
    content = yaml.safe_load((BASE / name).read_text())
    kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_key_would_be_noticed() -> None:
    content = yaml.safe_load((BASE / "deployment.yaml").read_text())
    content["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_named_by_its_kustomization() -> None:
    for folder in (BASE, GPU):
        files = {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
        assert files == {name for name in named(folder) if "/" not in name}


def test_the_pod_meets_the_restricted_standard() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_probes_ask_for_what_they_are_for() -> None:
    container = pod()["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_one_late_answer_does_not_take_a_pod_out_of_service() -> None:
    probe = pod()["containers"][0]["readinessProbe"]
    assert (probe["timeoutSeconds"], probe["failureThreshold"]) == (2, 2)


def test_everything_mounted_is_a_volume_of_the_pod() -> None:
    spec = pod()
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} == volumes


def test_a_pod_has_the_time_to_finish_what_is_at_work() -> None:
    from service.settings import Settings

    spec = pod()
    (container,) = spec["containers"]
    name, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert name == "sleep"
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    delay = float(told["DEEPMEDIX_SHUTDOWN_DELAY"])
    grace = Settings.model_fields["shutdown_grace"].default
    assert spec["terminationGracePeriodSeconds"] >= int(seconds) + delay + grace + ENDS


def test_an_update_is_not_given_up_while_a_pod_may_still_start() -> None:
    assert deployment()["progressDeadlineSeconds"] > seconds_of_the_startup_probe()


def test_the_audit_file_that_is_commented_out_would_fit() -> None:
    text = (BASE / "deployment.yaml").read_text()
    content = yaml.safe_load(re.sub(r"^( *)# (?=- |  |strategy:)", r"\1", text, flags=re.M))
    kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)
    assert content["spec"]["strategy"] == {"type": "Recreate"}
    spec = content["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    (audit,) = (it for it in container["volumeMounts"] if it["name"] == "audit")
    assert told["DEEPMEDIX_AUDIT_FILE"].startswith(audit["mountPath"] + "/")
    assert "DEEPMEDIX_AUDIT_SITE_KEY" in told
    assert "audit" in {volume["name"] for volume in spec["volumes"]}


def test_an_update_on_gpus_needs_none_to_spare() -> None:
    patch = yaml.safe_load((GPU / "deployment.yaml").read_text())
    # Without a type: with the `Recreate` of an audit file the API refuses it, and says so.
    assert patch["spec"]["strategy"] == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    assert deployment()["replicas"] > 1


def test_the_gpu_overlay_changes_the_container_that_there_is() -> None:
    patch = yaml.safe_load((GPU / "deployment.yaml").read_text())
    (changed,) = patch["spec"]["template"]["spec"]["containers"]
    assert changed["name"] == pod()["containers"][0]["name"]
    assert changed["resources"]["limits"]["nvidia.com/gpu"] == "1"
