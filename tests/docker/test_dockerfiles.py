"""What a reviewer asks of the images, read off their files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service import health_check
from tests.docker.dockerfile import FILES, ROOT, last_stage, stages, values

pytestmark = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def test_hadolint_has_nothing_to_say_and_no_rule_is_off(path: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "--no-fail", "--disable-ignore-pragma", "--config", "/dev/null", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_hadolint_would_say_something(path: Path, tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text(re.sub(r"=\d[\w.:+]*-?\*", "", path.read_text()))
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", worse], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "DL3008" in done.stdout


def test_the_image_runs_as_its_own_user_by_number(path: Path) -> None:
    instructions = last_stage(path)
    assert values(instructions, "USER") == ["10001:10001"]
    words = [instruction.word for instruction in instructions]
    assert "RUN" not in words[words.index("USER") :]


def test_no_settings_file_is_looked_up_where_the_service_can_write(path: Path) -> None:
    assert values(last_stage(path), "WORKDIR") == ["/"]


def test_the_last_stage_installs_no_build_tool(path: Path) -> None:
    installed = " ".join(values(last_stage(path), "RUN"))
    for tool in ("gcc", "g++", "build-essential", "make", "cmake", "-dev", "git", "pip", "curl"):
        assert not re.search(rf"(?<![\w-]){re.escape(tool)}[\s=]", installed), tool
    assert "pip uninstall -y ninja pip" in " ".join(values(stages(path)[-2], "RUN"))


def test_signals_reach_the_program(path: Path) -> None:
    instructions = last_stage(path)
    assert values(instructions, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(values(instructions, "ENTRYPOINT")[0]) == ["start"]
    assert json.loads(values(instructions, "CMD")[0]) == ["serve"]
    assert (ROOT / "docker" / "start.sh").read_text().splitlines()[-1] == 'exec deepmedix "$@"'


def test_the_health_check_asks_for_readiness_without_a_shell(path: Path) -> None:
    (check,) = values(last_stage(path), "HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command == ["python3.11", "-m", health_check.__name__]


def test_nothing_is_fetched_from_a_hub_unless_told(path: Path) -> None:
    environment = " ".join(values(last_stage(path), "ENV"))
    assert "HF_HUB_OFFLINE=1" in environment
    assert "TRANSFORMERS_OFFLINE=1" in environment


def test_no_image_without_a_tag_and_no_registry_of_packages_is_named(path: Path) -> None:
    text = path.read_text()
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.M)
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim", base)
    for stage in values([i for s in stages(path) for i in s], "FROM"):
        assert stage.startswith(("${BASE_IMAGE}", "scratch "))
    assert "://" not in text


def test_packages_are_held_to_the_digests_of_the_lock(path: Path) -> None:
    installs = [run for run in values(stages(path)[-2], "RUN") if "pip install" in run]
    kind = "cpu" if path.suffix == ".cpu" else "gpu"
    assert f"pip install --no-deps --require-hashes -r requirements-{kind}.txt" in installs[0]
    assert all("--no-index" in run for run in installs[1:])


def test_licences_are_collected_and_the_image_is_labelled(path: Path) -> None:
    build, image = stages(path)[-2], last_stage(path)
    assert "licences --accelerator" in " ".join(values(build, "RUN"))
    (labels,) = values(image, "LABEL")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels


def test_the_version_is_that_of_the_program(path: Path) -> None:
    (stated,) = re.findall(r"^ARG VERSION=(\S+)$", path.read_text(), re.M)
    assert f'\nversion = "{stated}"\n' in (ROOT / "pyproject.toml").read_text()


def test_what_is_copied_is_in_the_context(path: Path) -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for stage in stages(path):
        for copied in values(stage, "COPY"):
            if "--from" not in copied:
                for source in copied.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(Path(source).match(pattern) for pattern in kept), source
