"""The unit, by systemd's own check where there is one."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.dockerfile import ENDS, ROOT

UNIT = ROOT / "docker" / "systemd" / "deepmedix.service"
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


@analyze
def test_systemd_finds_no_fault_in_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # The program is not installed where the unit says; any that is there does for this check.
    unit.write_text(UNIT.read_text().replace("/opt/deepmedix/.venv/bin/deepmedix", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])


@analyze
def test_systemd_calls_its_exposure_low() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def unit_settings() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_it_stops_as_the_service_does() -> None:
    from service.settings import Settings

    unit = unit_settings()
    assert unit["KillSignal"] == "SIGTERM"
    assert int(unit["TimeoutStopSec"]) >= Settings.model_fields["shutdown_grace"].default + ENDS
    assert unit["User"] != "root"


def test_a_decoder_or_an_engine_killed_for_its_memory_does_not_stop_it() -> None:
    assert unit_settings()["OOMPolicy"] == "continue"


def test_no_settings_file_is_looked_up_where_the_service_can_write() -> None:
    assert unit_settings()["WorkingDirectory"] == "/"


def test_the_folder_of_the_keys_is_made_as_systemd_would_before_they_are() -> None:
    unit = unit_settings()
    folder = f"/var/lib/{unit['StateDirectory']}"
    owner = f"-o {unit['User']} -g {unit['Group']}"
    made = f"install -d -m {unit['StateDirectoryMode'].lstrip('0')} {owner} {folder}"
    page = (ROOT / "docs/deployment.md").read_text()
    assert page.index(made) < page.index(f"--file {folder}/keys.json")
    assert made in UNIT.read_text()
