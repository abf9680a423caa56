"""The images' locked packages stand for what pyproject.toml asks."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.dockerfile import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# PyTorch's CPU build comes from an index of its own, see the Makefile.
ELSEWHERE = {"cpu": {"torch"}, "gpu": set()}


def locked(accelerator: str) -> dict[str, str]:
    text = (ROOT / "docker" / f"requirements-{accelerator}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.M))


def unmet(versions: dict[str, str], accelerator: str, asked: list[str]) -> list[str]:
    faults = []
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name not in ELSEWHERE[accelerator]:
            version = versions.get(name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                faults.append(str(requirement))
    return faults


def asked(accelerator: str) -> list[str]:
    return PROJECT["dependencies"] + PROJECT["optional-dependencies"][accelerator]


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_the_lock_meets_every_requirement(accelerator: str) -> None:
    faults = unmet(locked(accelerator), accelerator, asked(accelerator))
    assert not faults, f"run `make lock`: {faults}"


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_a_new_requirement_would_be_noticed(accelerator: str) -> None:
    more = [*asked(accelerator), "left-pad>=1", "pydicom>=99"]
    assert unmet(locked(accelerator), accelerator, more) == ["left-pad>=1", "pydicom>=99"]


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_every_package_has_its_digests(accelerator: str) -> None:
    text = (ROOT / "docker" / f"requirements-{accelerator}.txt").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert len(blocks) > 100
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_no_address_and_no_folder_is_named(accelerator: str) -> None:
    text = (ROOT / "docker" / f"requirements-{accelerator}.txt").read_text()
    assert "://" not in text
    assert "find-links" not in text
    assert "index-url" not in text
