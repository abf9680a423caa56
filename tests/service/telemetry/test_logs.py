import io
import json
import logging
import subprocess
import sys
import threading

import pytest
import structlog

from service.telemetry.logs import LogFormat, LogHandler, configure_logging

SECRET = "Mrs Smith"


@pytest.fixture
def log():
    """A function that logs with a logger of a name and returns the line as JSON."""
    out = io.StringIO()
    handler = LogHandler(LogFormat.JSON, stream=out)

    def take(name: str, message: object, *arguments: object, **options: object) -> dict:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        try:
            logger.error(message, *arguments, **options)
        finally:
            logger.removeHandler(handler)
        return json.loads(out.getvalue().splitlines()[-1])

    return take


def test_our_own_line_holds_its_message_and_its_facts(log):
    line = log("deepmedix.access", "%s %d", "GET", 200, extra={"route": "/report"})
    assert (line["event"], line["route"]) == ("GET 200", "/report")
    assert (line["level"], line["logger"]) == ("error", "deepmedix.access")
    assert line["timestamp"].endswith("Z")


def test_every_line_of_a_request_names_it(log):
    with structlog.contextvars.bound_contextvars(request_id="r", trace_id="t"):
        ours, theirs = log("deepmedix", "x"), log("uvicorn.error", "x")
    assert [(line["request_id"], line["trace_id"]) for line in (ours, theirs)] == [("r", "t")] * 2
    assert "request_id" not in log("deepmedix", "x")


def test_a_librarys_literal_text_and_numbers_stay(log):
    line = log("vllm.engine", "Loading %s took %.1f seconds for %d of %r", SECRET, 2.5, 3, SECRET)
    assert line["event"] == "Loading … took 2.5 seconds for 3 of '…'"


def test_a_librarys_composed_text_is_left_out(log):
    line = log("vllm.engine", f"Dumping {SECRET}")
    assert "Smith" not in str(line)
    assert "test_logs.py" in line["event"]


@pytest.mark.parametrize("name", ["deepmedix.errors", "service.api", "vllm.v1", "asyncio"])
def test_an_exceptions_text_is_left_out_whoever_logs_it(log, name):
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError:
        line = log(name, "it failed", exc_info=True)
    assert "Smith" not in str(line)
    assert "RuntimeError at" in line["error"]
    assert "from KeyError at" in line["error"]


def test_why_the_engine_did_not_start_is_told(log):
    try:
        raise RuntimeError("no memory for the cache")
    except RuntimeError:
        line = log("vllm.v1.engine.core", "EngineCore failed to start.", exc_info=True)
    assert "no memory for the cache" in line["error"]


def test_a_librarys_extras_and_what_other_handlers_left_are_dropped(log):
    line = log("httpx", "asked", extra={"url": SECRET, "message_of_other": SECRET})
    assert set(line) == {"event", "level", "logger", "timestamp"}


@pytest.mark.parametrize("name", ["vllm", "deepmedix"])
def test_arguments_that_do_not_fit_are_no_reason_to_print_them(name, capsys):
    out = io.StringIO()
    handler = LogHandler(LogFormat.JSON, stream=out)
    handler.emit(logging.makeLogRecord({"name": name, "msg": "%d", "args": (SECRET,)}))
    assert "Smith" not in out.getvalue() + capsys.readouterr().err


def test_a_thread_that_fails_and_a_warning_do_not_print_their_text(capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    program = (
        "import threading, warnings\n"
        "from service.telemetry import configure_logging, LogFormat\n"
        "configure_logging('info', LogFormat.JSON)\n"
        f"warnings.warn({SECRET!r})\n"
        "def fail(): raise RuntimeError(name)\n"
        f"name = {SECRET!r}\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Smith" not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert "RuntimeError at" in lines[-1]["event"]


def test_lines_for_a_terminal_are_readable():
    out = io.StringIO()
    handler = LogHandler(LogFormat.CONSOLE, stream=out)
    record = logging.makeLogRecord({"name": "deepmedix", "msg": "ready", "levelname": "INFO"})
    handler.emit(record)
    assert "ready" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_configuring_twice_writes_every_line_once(capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.delenv("DEEPMEDIX_LOG_FORMAT", raising=False)
    configure_logging("info")
    configure_logging("info")
    logging.getLogger("deepmedix").warning("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
    for handler in [h for h in logging.getLogger().handlers if isinstance(h, LogHandler)]:
        logging.getLogger().removeHandler(handler)
