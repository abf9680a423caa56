"""An engine core's first steps in its own process."""

import io
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from service.engine import child
from service.engine.environment import core_environment, without_settings
from service.telemetry import START_FAILURE_VARIABLE
from service.telemetry.engine_log import EngineLogHandler

ROOT = Path(__file__).parents[3]

PARENT = """
import multiprocessing, threading
from service.engine.environment import core_environment
from tests.service.engine.test_child import Settling, tell_and_wait

if __name__ == "__main__":
    reader, writer = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    core = context.Process(target=tell_and_wait, args=(Settling(), writer), name="EngineCore")
    with core_environment("/nowhere"):
        core.start()
    print(reader.recv(), flush=True)
    threading.Event().wait()
"""


class Settling:
    """An argument that settles the process which reads it, as vLLM's own arguments do."""

    def __reduce__(self):
        return child.settle, ()


def tell_and_wait(settled, writer):
    writer.send(os.getpid())
    signal.pause()


def tell_and_listen(settled, connection):
    connection.send(os.getpid())
    connection.recv()


def tell_environment(writer):
    writer.send(dict(os.environ))


def tell_folder(settled, writer):
    writer.send(tempfile.gettempdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux's")
def test_a_core_ends_when_the_service_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    core = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    waiting = multiprocessing.connection.wait([core], timeout=60)  # readable once it has ended
    os.close(core)
    assert waiting


def test_the_first_process_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv(START_FAILURE_VARIABLE, str(tmp_path / "start-failure"))
    handler = EngineLogHandler(stream=io.StringIO())
    assert child.start_failure(str(tmp_path)) is None
    for message, error in [
        ("AsyncLLM output_handler failed.", ValueError("what somebody asked")),
        ("WorkerProc failed to start.", ValueError("no memory for the cache")),
        ("EngineCore failed to start.", RuntimeError("see above")),
    ]:
        handler.emit(logging.makeLogRecord({"msg": message, "exc_info": (None, error, None)}))
    assert child.start_failure(str(tmp_path)) == "ValueError: no memory for the cache"


@pytest.mark.parametrize(("name", "expected"), [("EngineCore", True), ("other", False)])
def test_files_of_a_core_and_of_nobody_else_go_into_its_folder(tmp_path, name, expected):
    reader, writer = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    with core_environment(str(tmp_path)):
        process = context.Process(target=tell_folder, args=(Settling(), writer), name=name)
        process.start()
    assert (reader.recv() == str(tmp_path)) is expected
    process.join()


def test_a_core_and_nobody_else_takes_no_notice_of_a_signal_that_is_the_services(tmp_path):
    context = multiprocessing.get_context("spawn")
    for name, expected in (("EngineCore", 0), ("other", -signal.SIGHUP)):
        reader, writer = context.Pipe()
        with core_environment(str(tmp_path)):
            process = context.Process(target=tell_and_listen, args=(Settling(), writer), name=name)
            process.start()
        reader.recv()
        os.kill(process.pid, signal.SIGHUP)
        reader.send(None)
        process.join()
        assert process.exitcode == expected


def fail(settled, thread):
    def end():
        raise ValueError("DOE^JANE")

    if thread:
        ending = threading.Thread(target=end)
        ending.start()
        ending.join()
    else:
        end()


def warn(settled):
    logging.getLogger("a.library").warning("Failed to export %s", "DOE^JANE")


@pytest.mark.parametrize("name", ["EngineCore", "VllmWorker-0"])
def test_what_a_library_logs_in_a_process_of_the_engine_is_told_as_the_services_is(
    tmp_path, capfd, name
):
    context = multiprocessing.get_context("spawn")
    with core_environment(str(tmp_path)):
        process = context.Process(target=warn, args=(Settling(),), name=name)
        process.start()
    process.join()
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"].startswith("Failed to export")
    assert "DOE" not in line


@pytest.mark.parametrize("name", ["EngineCore", "VllmWorker-0"])
@pytest.mark.parametrize("thread", [True, False])
def test_what_ends_a_process_of_the_engine_is_told_without_its_text(tmp_path, capfd, name, thread):
    context = multiprocessing.get_context("spawn")
    with core_environment(str(tmp_path)):
        process = context.Process(target=fail, args=(Settling(), thread), name=name)
        process.start()
    process.join()
    told = capfd.readouterr().err
    assert "ValueError at" in told
    assert "DOE" not in told


def test_a_core_knows_no_secret_of_the_service(monkeypatch, tmp_path):
    secrets = {
        f"DEEPMEDIX_{name}": "a secret"
        for name in ("AUDIT_SITE_KEY", "AUDIT_COLLECTOR_TOKEN", "TLS_KEY_PASSWORD", "PORT")
    }
    for name, value in (secrets | {"DEEPMEDIX_LOG_FORMAT": "json", "HF_HOME": "/hub"}).items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe()
    with without_settings(), core_environment(str(tmp_path)):
        process = context.Process(target=tell_environment, args=(writer,), name="EngineCore")
        process.start()
    seen = reader.recv()
    process.join()
    assert "a secret" not in seen.values()
    ours = {name: value for name, value in seen.items() if name.startswith("DEEPMEDIX_")}
    assert ours == {"DEEPMEDIX_LOG_FORMAT": "json"}
    assert seen["HF_HOME"] == "/hub"
    assert dict(os.environ) == before


def test_the_service_has_its_settings_again_after_a_start_that_failed(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_AUDIT_SITE_KEY", "a secret")

    def fail():
        assert "DEEPMEDIX_AUDIT_SITE_KEY" not in os.environ
        raise RuntimeError

    with pytest.raises(RuntimeError), without_settings():
        fail()
    assert os.environ["DEEPMEDIX_AUDIT_SITE_KEY"] == "a secret"


def test_the_service_itself_is_left_as_it_is(tmp_path):
    before = tempfile.gettempdir()
    with core_environment(str(tmp_path)):
        child.settle()
    assert tempfile.gettempdir() == before


def test_the_operators_own_folder_is_named_again_afterwards(monkeypatch, tmp_path):
    monkeypatch.setenv(child.FOLDER, "mine")
    with core_environment(str(tmp_path)):
        assert os.environ[child.FOLDER] == str(tmp_path)
    assert os.environ[child.FOLDER] == "mine"


def test_a_signal_to_the_services_group_does_not_reach_a_core(tmp_path):
    """Ctrl-C and `timeout` signal the whole group; the service lets the core finish first."""
    context = multiprocessing.get_context("spawn")
    groups = []
    for name in ("EngineCore", "other"):
        reader, writer = context.Pipe()
        with core_environment(str(tmp_path)):
            process = context.Process(target=tell_and_listen, args=(Settling(), writer), name=name)
            process.start()
        groups.append(os.getpgid(reader.recv()))
        reader.send(None)
        process.join()
    assert groups[0] != os.getpgrp()
    assert groups[1] == os.getpgrp()
