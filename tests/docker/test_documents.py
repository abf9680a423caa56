"""What the threat model and the deployment page rest on is there."""

import re

import pytest

from tests.docker.dockerfile import ENDS, ROOT

PAGES = ("docs/threat-model.md", "docs/deployment.md", "SECURITY.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_and_file_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tests|docker|docs|service)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_is_named_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("page", ["README.md", "docs/deployment.md"])
def test_a_container_is_given_longer_to_stop_than_the_service_takes(page: str) -> None:
    from service.settings import Settings

    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.S)
    commands = re.findall(r"^docker run .*", "\n".join(blocks).replace("\\\n", " "), re.M)
    serving = [command for command in commands if "--entrypoint" not in command]
    assert [command.split()[-1] for command in serving] == ["deepmedix:cpu", "deepmedix:gpu"]
    for command in serving:
        seconds = re.search(r" --stop-timeout (\d+) ", command)
        assert seconds, command
        assert int(seconds[1]) >= Settings.model_fields["shutdown_grace"].default + ENDS
        assert ("--gpus all" in command) == command.endswith("gpu")


def test_no_film_lies_on_the_disk_of_the_proxy_that_is_shown() -> None:
    (told,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/security.md").read_text(), re.S)
    for setting in ("proxy_request_buffering off;", "proxy_buffering off;"):
        assert setting in told
    # nginx ignores the first for chunked uploads that it passes on in HTTP/1.0, its default.
    assert "proxy_http_version 1.1;" in told


def test_every_threat_has_a_proof() -> None:
    rows = re.findall(r"^\| \d+ \|.*$", (ROOT / "docs/threat-model.md").read_text(), re.M)
    assert len(rows) > 10
    for row in rows:
        assert "`tests/" in row.split("|")[4], row
