"""What the container does first, run in folders that stand for the image's."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docker.dockerfile import ROOT


class Container:
    """The places of the container, below a folder; the program is one that tells how it is run."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "opt"
        self.cache = folder / "cache"
        self.scratch = folder / "tmp"
        for place in (self.image, self.scratch):
            place.mkdir()
        program = folder / "bin" / "deepmedix"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\necho "$TRITON_CACHE_DIR|$*"\n')
        program.chmod(0o755)
        text = (ROOT / "docker" / "start.sh").read_text()
        places = {"/opt/deepmedix": self.image, "/cache": self.cache, "/tmp": self.scratch}
        text = re.sub("|".join(places), lambda found: str(places[found[0]]), text)
        self._script = folder / "start"
        self._script.write_text(text)
        self._path = str(program.parent)
        self.log = ""

    def ship(self, **modules: str) -> None:
        """Put these modules into the image, in place of those there."""
        for name, content in modules.items():
            place = self.image / "share" / "triton" / name / "cuda_utils.so"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)

    def start(self, **settings: str) -> str:
        environment = settings | {"PATH": self._path + os.pathsep + os.environ["PATH"]}
        done = subprocess.run(
            ["sh", self._script, "serve", "--port", "1"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.log = done.stderr
        return done.stdout.strip()


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def modules(folder: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in folder.glob("triton/*/*.so")}


def test_an_empty_volume_gets_tritons_module(container: Container) -> None:
    container.cache.mkdir()
    container.ship(one="first")
    assert container.start() == "|serve --port 1"
    assert modules(container.cache) == {"one": "first"}


def test_a_volume_of_an_older_image_gets_what_it_lacks_and_keeps_what_it_has(
    container: Container,
) -> None:
    container.cache.mkdir()
    container.ship(one="first")
    container.start()
    container.ship(one="of the newer image", two="second")
    compiled = container.cache / "triton" / "kernel" / "made-here.so"
    compiled.parent.mkdir()
    compiled.write_text("kernel")
    for _ in range(2):
        container.start()
        assert modules(container.cache) == {"one": "first", "two": "second", "kernel": "kernel"}


def test_without_a_gpu_there_is_nothing_to_copy(container: Container) -> None:
    container.cache.mkdir()
    container.start()
    assert list(container.cache.iterdir()) == []


def test_without_a_cache_all_is_kept_in_the_scratch_folder(container: Container) -> None:
    container.ship(one="first")
    for _ in range(2):  # a restart of the same container
        assert container.start() == f"{container.scratch}/triton|serve --port 1"
        assert modules(container.scratch) == {"one": "first"}


def test_what_it_says_is_the_log_that_the_program_writes(container: Container) -> None:
    container.start(DEEPMEDIX_MODEL='a "hospital\'s" \\ own', HF_HUB_OFFLINE="1")
    lines = [json.loads(line) for line in container.log.splitlines()]
    assert len(lines) == 3
    assert 'model a "hospital\'s" \\ own' in lines[1]["event"]
    assert all(line["level"] == "info" and line["timestamp"] for line in lines)
    container.start(DEEPMEDIX_LOG_FORMAT="console")
    assert container.log.splitlines()[0].startswith("start: ")
