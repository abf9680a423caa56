"""compose.yaml against the Compose Specification's schema, and against what a reviewer asks."""

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, validators

from tests.docker.dockerfile import ROOT

DOCKER = ROOT / "docker"
SCHEMA = json.loads((DOCKER / "schemas" / "compose-spec.json").read_text())
OURS = ("deepmedix", "prometheus", "grafana")


def interpolated(text: str) -> str:
    """Replace ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` as compose does."""
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda found: found[3] if found[2] == "-" else f"value-of-{found[1].lower()}",
        text,
    )


def load(name: str) -> dict[str, Any]:
    content = yaml.safe_load(interpolated((DOCKER / name).read_text()))
    return {key: value for key, value in content.items() if not key.startswith("x-")}


def faults(content: dict[str, Any]) -> list[str]:
    kind = validators.validator_for(SCHEMA, default=Draft202012Validator)
    return [error.message for error in kind(SCHEMA).iter_errors(content)]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_it_meets_the_specification(name: str) -> None:
    assert faults(load(name)) == []


def test_a_misspelt_key_would_be_noticed() -> None:
    content = load("compose.yaml")
    content["services"]["deepmedix"]["read_olny"] = True
    assert faults(content)


@pytest.mark.parametrize("service", [*OURS, "keys"])
def test_every_service_is_locked_down(service: str) -> None:
    told = load("compose.yaml")["services"][service]
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in told["tmpfs"])
    assert "privileged" not in told


@pytest.mark.parametrize("service", OURS)
def test_every_running_service_has_limits(service: str) -> None:
    told = load("compose.yaml")["services"][service]
    assert told["mem_limit"]
    assert told["pids_limit"]


def test_ports_open_on_this_machine_alone_unless_told() -> None:
    for service in load("compose.yaml")["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_the_service_is_never_told_to_go_without_authentication() -> None:
    service = load("compose.yaml")["services"]["deepmedix"]
    assert service["environment"]["DEEPMEDIX_KEYS_FILE"] == "/run/deepmedix/keys.json"
    assert "INSECURE" not in (DOCKER / "compose.yaml").read_text()


def test_it_is_given_longer_to_stop_than_the_service_takes() -> None:
    from service.settings import Settings

    period = load("compose.yaml")["services"]["deepmedix"]["stop_grace_period"]
    assert int(period.removesuffix("s")) > Settings.model_fields["shutdown_grace"].default


def test_every_image_has_a_tag() -> None:
    for service in load("compose.yaml")["services"].values():
        assert re.fullmatch(r"[\w/.-]+:(?!latest)[\w.-]+", service["image"])


def test_the_override_reserves_a_gpu_and_mounts_the_weights() -> None:
    service = load("compose.gpu.yaml")["services"]["deepmedix"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert service["build"]["dockerfile"] == "docker/Dockerfile"
    assert service["volumes"][0].endswith(":/cache/huggingface:ro")
