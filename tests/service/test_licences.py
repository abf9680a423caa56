"""Licences of what the service is made of."""

from importlib.metadata import distribution
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import build_cli, distributions, licences
from service.cli.distributions import EXCEPTIONS, Component, components, may_be_used

runner = CliRunner()


@pytest.mark.parametrize(
    "licence",
    ["MIT", "Apache-2.0 OR GPL-3.0-only", "BSD-3-Clause AND MIT", "Apache-2.0 WITH LLVM-exception"],
)
def test_what_can_be_met_by_allowed_licences_may_be_used(licence: str) -> None:
    assert may_be_used(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only", "AGPL-3.0-or-later", "LGPL-2.1-only", "MIT AND GPL-2.0-only", "",
        "Freeware", "(MIT OR GPL-3.0-only) AND MIT",
    ],
)  # fmt: skip
def test_what_cannot_may_not(licence: str) -> None:
    assert not may_be_used(licence)


def test_everything_installed_for_serving_may_be_used() -> None:
    found = components("cpu")
    assert len(found) > 100
    assert [c.name for c in found if not c.reason] == []
    assert not [c for c in found if "GPL" in c.licence and c.name not in EXCEPTIONS]


def test_no_exception_outlives_its_distribution() -> None:
    assert set(EXCEPTIONS) <= {component.name for component in components("cpu")}


def test_a_licence_that_is_not_allowed_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Component("libjpeg-plugin", "1.0", "GPL-3.0-only", "", ())
    monkeypatch.setattr(licences, "components", lambda _: [bad])
    done = runner.invoke(build_cli(), ["licences"])
    assert done.exit_code == 1
    assert "GPL-3.0-only" in done.output


@pytest.mark.parametrize("missing", ["torch", "vllm"])
def test_a_list_without_the_engine_is_refused(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {name: distribution("deepmedix") for name in {"deepmedix", "torch", "vllm"} - {missing}}
    monkeypatch.setattr(distributions, "_closure", lambda _: there)
    done = runner.invoke(build_cli(), ["licences", "--accelerator", "gpu"])
    assert done.exit_code == 1
    assert f"{missing} of the engine for gpu cannot be found" in done.stderr


def test_every_text_is_collected(tmp_path: Path) -> None:
    done = runner.invoke(build_cli(), ["licences", "--collect", str(tmp_path)])
    assert done.exit_code == 0
    assert (tmp_path / "LICENCES.txt").read_text().count("\n") == len(components("cpu"))
    for component in components("cpu"):
        if component.texts:
            place = tmp_path / f"{component.name}-{component.version}"
            assert len(list(place.iterdir())) == len(component.texts)
