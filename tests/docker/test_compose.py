"""compose.yaml against the Compose Specification's schema, and against what a reviewer asks."""

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, validators

from tests.docker.dockerfile import ENDS, ROOT

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
    return parsed((DOCKER / name).read_text())


def parsed(text: str) -> dict[str, Any]:
    content = yaml.safe_load(interpolated(text))
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
    assert int(period.removesuffix("s")) >= Settings.model_fields["shutdown_grace"].default + ENDS


def test_every_image_has_a_tag() -> None:
    for service in load("compose.yaml")["services"].values():
        assert re.fullmatch(r"[\w/.-]+:(?!latest)[\w.-]+", service["image"])


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_the_first_command_builds_the_image_that_it_needs(name: str) -> None:
    services = load(name)["services"]
    assert services["keys"]["image"] == services["deepmedix"]["image"]
    assert services["keys"]["build"] == services["deepmedix"]["build"]


def test_the_override_reserves_a_gpu_and_mounts_the_weights() -> None:
    service = load("compose.gpu.yaml")["services"]["deepmedix"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert service["environment"]["DEEPMEDIX_TENSOR_PARALLEL_SIZE"] == device["count"]
    assert service["build"]["dockerfile"] == "docker/Dockerfile"
    assert service["volumes"][0].endswith(":/cache/huggingface:ro")


def test_the_override_passes_on_the_length_that_a_small_card_needs() -> None:
    environment = load("compose.gpu.yaml")["services"]["deepmedix"]["environment"]
    # Without a value compose takes it from .env or the shell, or else leaves it out.
    assert environment["DEEPMEDIX_MAX_MODEL_LEN"] is None
    example = (DOCKER / ".env.example").read_text()
    (length,) = re.findall(r"^# DEEPMEDIX_MAX_MODEL_LEN=(\d+)$", example, re.M)
    assert (
        f"24 GB card set `DEEPMEDIX_MAX_MODEL_LEN` to {length} or less"
        in (ROOT / "docs/deployment.md").read_text()
    )


def required(name: str) -> set[str]:
    """Variables without which compose runs no command at all, whatever service it names."""
    text = "\n".join(
        line
        for line in (DOCKER / name).read_text().splitlines()
        if not line.lstrip().startswith("#")
    )
    return set(re.findall(r"\$\{(\w+):?\?", text))


def documented_blocks() -> list[list[str]]:
    """The commands of each block of the deployment page that has compose in it."""
    page = (ROOT / "docs/deployment.md").read_text()
    blocks = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", page, re.S)]
    return [block for block in blocks if any("docker compose -f" in line for line in block)]


def test_what_compose_requires_is_set_before_its_first_documented_command() -> None:
    example = (DOCKER / ".env.example").read_text()
    assert len(documented_blocks()) == 2
    for block in documented_blocks():
        first = next(i for i, line in enumerate(block) if line.startswith("docker compose"))
        before = "\n".join(block[:first])
        assert "cp docker/.env.example docker/.env" in before
        files = re.findall(r"-f docker/(compose[.\w]*)", block[first])
        for variable in set().union(*map(required, files)):
            assert variable in before
            assert re.search(rf"^(# )?{variable}=", example, re.M)


def test_the_first_command_is_the_same_in_the_files_themselves() -> None:
    for name in ("compose.yaml", "compose.gpu.yaml"):
        lines = (DOCKER / name).read_text().splitlines()
        first = next(i for i, line in enumerate(lines) if "docker compose -f" in line)
        assert "cp docker/.env.example docker/.env" in lines[first - 1]


def test_secrets_beside_the_files_are_kept_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"docker/.env", "docker/prometheus/key", "docker/prometheus/*.pem"} <= set(ignored)
    configuration = (DOCKER / "prometheus/prometheus.yml").read_text()
    for setting, name in (("credentials_file", "key"), ("ca_file", "ca.pem")):
        assert f"{setting}: /etc/prometheus/{name}\n" in configuration


def uncommented(text: str, first: str) -> str:
    """Remove the comment signs from the line that begins with ``first`` and those below it."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() == f"# {first}")
    for index in range(start, len(lines)):
        if not lines[index].lstrip().startswith("#"):
            break
        lines[index] = lines[index].replace("# ", "", 1)
    return "\n".join(lines)


def test_the_alertmanager_that_is_commented_out_would_fit() -> None:
    content = parsed(uncommented((DOCKER / "compose.yaml").read_text(), "alertmanager:"))
    assert faults(content) == []
    service = content["services"]["alertmanager"]
    assert service["read_only"] is True
    assert re.fullmatch(r"[\w/.-]+:(?!latest)[\w.-]+", service["image"])
    source = service["volumes"][0].split(":")[0]
    receivers = yaml.safe_load((DOCKER / source).read_text())["receivers"]
    assert [receiver["name"] for receiver in receivers] == ["nobody"]
    told = yaml.safe_load(
        uncommented((DOCKER / "prometheus/prometheus.yml").read_text(), "alerting:")
    )
    (manager,) = told["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
