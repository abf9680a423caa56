"""Identities sent in every place and through every door: none of them is left anywhere.

The real service in a process of its own, at its loudest log level, with everything that it writes
kept: see ``observed_service``.
"""

from __future__ import annotations

import base64
import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.docker.monitoring import families, metrics_named
from tests.integration.door import (
    Keys,
    Replies,
    malformed_heads,
    refused_credentials,
    repeats,
    unknown_hosts,
)
from tests.integration.observed_service import observed_service
from tests.integration.sentinels import SENTINELS, ask_everything, dicom, found_in, laced
from tests.service.telemetry.otlp_receiver import ReceivedSpan

MAX_BODY_BYTES = 4 * 1024 * 1024
pytestmark = pytest.mark.timeout(900)  # a whole service is started

STAGES = {"queue", "decode", "generate", "parse", "render"}


@dataclass
class Evidence:
    """What was left of all requests, by the place where it was found.

    Attributes
    ----------
    replies
        Of the routes, with the status expected of an engine that works.
    door
        Of what is before the routes, with the status expected.
    heads
        The same where nothing came that is a request.
    """

    places: dict[str, bytes]
    log: list[str] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)
    replies: Replies = field(default_factory=list)
    door: Replies = field(default_factory=list)
    heads: Replies = field(default_factory=list)
    page: str = ""
    core_limits: list[tuple[str, str]] = field(default_factory=list)

    def leaks(self) -> dict[str, set[str]]:
        """Which identities were found where."""
        found = {place: found_in(data) for place, data in self.places.items()}
        return {place: names for place, names in found.items() if names}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """What the service with its real engine leaves."""
    return gather(tmp_path_factory.mktemp("observed"))


def gather(folder: Path, *program: str, keys: Keys | None = None) -> Evidence:
    """Ask a service everything, where it has keys with one of them, and keep what it leaves."""
    environment = {"DEEPMEDIX_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    credential = {}
    if keys is not None:
        environment["DEEPMEDIX_KEYS_FILE"] = str(keys.path)
        credential = {"X-API-Key": keys.read}
    with observed_service(folder, *program, **environment) as service:
        with httpx.Client(base_url=service.url, timeout=300, headers=credential) as client:
            replies = ask_everything(client, MAX_BODY_BYTES)
            door = repeats(client)
            if keys is None:
                door += unknown_hosts(client)
            else:
                door += refused_credentials(service.url, keys, MAX_BODY_BYTES)
            heads = malformed_heads(service.url)
            page = client.get("/metrics").text
            limits = [core_limits(pid) for pid in service.processes()]
            replies += after_the_engines_death(service, client)
        service.look()
        service.stop()
        everything = [reply for _, reply in (*replies, *door, *heads)]
        errors = [reply for reply in everything if reply.status_code >= 400]
        headers = [str(reply.headers.multi_items()) for reply in everything]
        places = {
            "log": "".join(service.log).encode(),
            "metrics": page.encode(),
            "spans": b"".join(service.receiver.bodies),
            "error bodies": b"\n".join(reply.content for reply in errors),
            "reply headers": "\n".join(headers).encode(),
            "file names": "\n".join(service.files).encode(),
        }
        if service.audit_file.exists():
            places["audit"] = service.audit_file.read_bytes()
        places |= service.files
        return Evidence(
            places,
            log=service.log,
            spans=service.receiver.spans,
            replies=replies,
            door=door,
            heads=heads,
            page=page,
            core_limits=[*filter(None, limits)],
        )


def core_limits(pid: int) -> tuple[str, str] | None:
    """Limit of core files and filter of core dumps of a process, while it lives."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        chosen = Path(f"/proc/{pid}/coredump_filter").read_text()
    except OSError:
        return None
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    return line.removeprefix("Max core file size").split()[1], chosen.strip()


def after_the_engines_death(service, client) -> Replies:
    """Kill the engine's process, where it has one, and ask once more."""
    for pid in service.processes()[1:]:
        try:
            name = Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            continue
        if "EngineCor" in name:  # the kernel keeps 15 letters of VLLM::EngineCore
            os.kill(pid, signal.SIGKILL)
            files = {"image": (SENTINELS["filename"], dicom())}
            reply = client.post("/report", files=files, headers=laced())
            return [(reply.status_code, reply)]
    return []


def unexpected(replies: Replies) -> list[tuple[str, str, int, int]]:
    """Method, path, and the status expected and given, where they differ."""
    return [
        (reply.request.method, reply.request.url.path, expected, reply.status_code)
        for expected, reply in replies
        if reply.status_code != expected
    ]


def test_every_request_was_answered_as_expected(evidence):
    assert unexpected([*evidence.replies, *evidence.door, *evidence.heads]) == []


def test_no_identity_is_left_anywhere(evidence):
    assert evidence.leaks() == {}


@pytest.mark.parametrize("place", sorted(SENTINELS))
@pytest.mark.parametrize(
    "disguise",
    [
        str.encode,
        lambda text: b"x" + text.upper().encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: base64.b64encode(b"film " + text.encode() + b" film"),
    ],
)
def test_an_identity_that_is_left_would_be_found(place, disguise):
    data = b"before " + disguise(SENTINELS[place]) + b" after"
    assert Evidence({"log": data, "metrics": b"before"}).leaks() == {"log": {place}}


def test_the_bytes_of_an_identifier_that_is_left_would_be_found():
    for place in ("traceid", "spanid"):
        assert found_in(b"before" + bytes.fromhex(SENTINELS[place]) + b"after") == {place}


def test_with_keys_an_engine_that_quotes_what_it_was_asked_in_a_librarys_ways_is_not_heard(
    tmp_path,
):
    keys = Keys(tmp_path / "keys.json")
    evidence = gather(tmp_path, "-m", "tests.integration.quoting_engine", "quietly", keys=keys)
    assert unexpected([*evidence.door, *evidence.heads]) == []
    assert b'"401 unauthenticated' in evidence.places["audit"]
    assert evidence.leaks() == {}
    for key in (keys.read, keys.admin):
        assert [place for place, data in evidence.places.items() if key.encode() in data] == []
    assert [reply for _, reply in evidence.replies if reply.status_code == 500]
    assert "RuntimeError at" in "".join(evidence.log)


def test_an_engine_that_leaks_what_it_was_asked_is_caught(tmp_path):
    leaks = gather(tmp_path, "-m", "tests.integration.quoting_engine", "openly").leaks()
    asked = {"question", "indication", "comparison", "priorreport", "query"}
    assert leaks["log"] == asked
    files = {place: left for place, left in leaks.items() if place != "log"}
    in_temporary_files = [left for place, left in files.items() if str(tmp_path) in place]
    in_unlinked_files = [left for place, left in files.items() if place.startswith("/proc/")]
    assert set().union(*in_temporary_files) == set().union(*in_unlinked_files) == asked
    assert len(files) == len(in_temporary_files) + len(in_unlinked_files)


def test_every_request_has_a_line_of_json_that_names_it(evidence):
    # Native code, and vLLM's processes before they configure their loggers, write as they like.
    lines = [json.loads(line) for line in evidence.log if line.startswith("{")]
    access = [line for line in lines if line["logger"] == "deepmedix.access"]
    replies = [*evidence.replies, *evidence.door]
    assert len(access) >= len(replies)
    for line in access:
        assert {"route", "status", "request_id"} <= set(line)
        # What is refused before a request is whole has no method, and was never timed.
        rest = {"code"} if "method" not in line else {"seconds", "trace_id"}
        assert rest <= set(line)
    assert sum("method" in line for line in access) >= len(evidence.replies)
    ids = {reply.headers["X-Request-Id"] for _, reply in replies}
    assert ids <= {line["request_id"] for line in access}


def test_the_spans_of_a_request_and_vllms_own_are_one_trace(evidence):
    ours = [span for span in evidence.spans if span.service == "deepmedix"]
    requests = {span.span_id: span for span in ours if span.name == "POST /report"}
    assert {span.trace_id for span in requests.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    assert {span.parent_id for span in requests.values()} == {"b7ad6b7169203331"}
    stages = {span.name for span in ours if span.parent_id in requests}
    assert stages == STAGES
    generations = {span.span_id for span in ours if span.name == "generate"}
    engine = [span for span in evidence.spans if span.parent_id in generations]
    assert engine
    assert {span.service for span in engine} == {"deepmedix-engine"}


def test_no_process_dumps_its_memory(evidence):
    assert len(evidence.core_limits) >= 2  # the service and a decode worker
    assert {limit for limit, _ in evidence.core_limits} == {"0"}
    assert {int(chosen, 16) for _, chosen in evidence.core_limits} == {0}


def test_vllms_metrics_that_are_looked_at_exist(evidence):
    looked_at = {name for name in metrics_named() if name.startswith("vllm:")}
    assert looked_at
    # Counters are declared without the suffix that their samples bear, or with it.
    declared = families(evidence.page)
    assert {
        name for name in looked_at if not {name, name.removesuffix("_total")} & declared
    } == set()
