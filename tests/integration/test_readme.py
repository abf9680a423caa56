"""The README's commands, as a new user runs them."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of the service that ``make serve`` starts, once it says that it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen(
        ["make", "serve"],
        cwd=ROOT,
        # Without what the make that runs the tests was given (ARGS=...).
        env={name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")}
        | {"DEEPMEDIX_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert served.stdout is not None
    said = []
    for line in served.stdout:
        said.append(line)
        if f"ready on http://127.0.0.1:{port}" in line:
            break
    else:
        pytest.fail("make serve ended before it was ready:\n" + "".join(said[-40:]))
    yield f"http://127.0.0.1:{port}"
    os.killpg(served.pid, signal.SIGTERM)
    served.communicate(timeout=60)


def test_the_readme_opens_with_the_two_commands_that_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert [line.split("#")[0].strip() for line in BLOCKS[0].splitlines()] == [
        "make serve",
        "make test",
    ]
    assert re.search(r"^serve:", makefile, re.M)
    assert re.search(r"^test:", makefile, re.M)


def test_continuous_integration_runs_the_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_first_requests_give_a_grounded_report_an_answer_and_a_picture(
    address: str, tmp_path: Path
) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    commands = BLOCKS[1].replace("http://127.0.0.1:8000", address)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace("\ncurl", "\necho; curl")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    report, answer = (json.loads(line) for line in done.stdout.split("\n") if line.strip())
    assert report["report"]["findings"]
    assert report["report"]["impression"]
    assert any(step["boxes"] for step in report["reasoning"])
    assert answer["answer"]
    assert "research use only" in report["disclaimer"]
    picture = Image.open(tmp_path / "reading.png")
    assert picture.format == "PNG"
    assert max(picture.size) >= 900


def test_the_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
