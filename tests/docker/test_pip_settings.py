"""This machine's pip configuration reaches the build as secrets, never as arguments."""

from pathlib import Path

import pytest

from docker.image_check import pip_settings as module

TOLD = """\
global.index-url='https://user:secret@packages.example/simple'
global.extra-index-url='file:///srv/simple https://more.example/simple'
global.cert='{cert}'
:env:.find-links='{wheels}'
:env:.index-url='https://leading.example/simple'
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "ca.pem").write_text("certificates")
    told = TOLD.format(cert=tmp_path / "ca.pem", wheels=tmp_path / "wheels")
    monkeypatch.setattr(module, "run", lambda *_: told)
    return module.pip_settings(tmp_path).arguments


def test_addresses_go_into_a_secret_that_only_its_owner_reads(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    assert not any("example" in argument for argument in arguments)
    secret = tmp_path / "pip.conf"
    assert f"id=pip,src={secret}" in arguments
    assert secret.stat().st_mode & 0o077 == 0


def test_the_environment_leads_and_what_the_build_cannot_see_is_left_out(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    lines = (tmp_path / "pip.conf").read_text().splitlines()
    assert "index-url = https://leading.example/simple" in lines
    assert "extra-index-url = https://more.example/simple" in lines
    assert f"cert = {module.CERTIFICATES}" in lines


def test_a_wheel_folder_becomes_the_build_context(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    assert f"wheels={tmp_path / 'wheels'}" in arguments
