import asyncio
import io
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import typer
import uvicorn
import yaml
from PIL import Image
from typer.testing import CliRunner

import service.app
import service.cli
from service.cli import build_cli, checks, studies
from service.cli import serve as serve_command
from service.cli.start_up import StartUp
from service.engine import ManifestError, VllmEngine
from service.settings import Settings
from tests.service.scripted_engine import ScriptedEngine

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    """Commands that would start vLLM start an engine with a script."""
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: ScriptedEngine())


@pytest.fixture
def film(tmp_path) -> Path:
    path = tmp_path / "patient name.png"
    Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (200, 1))).save(path)
    return path


@pytest.fixture
def url():
    """A running service, on a loop and a thread of its own."""
    app = service.app.create_app(Settings(), engine=ScriptedEngine())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    while app.state.service.state == "starting":
        thread.join(0.01)
    yield address
    server.should_exit = True
    thread.join(30)


def run(*arguments):
    return RUNNER.invoke(build_cli(), [str(argument) for argument in arguments])


def test_a_report_without_a_service_is_made_in_this_process(film):
    result = run("report", film)
    assert result.exit_code == 0, result.output
    assert "The heart is enlarged" in result.stdout


def test_a_running_service_gives_the_same_report(film, url):
    def told(*arguments):
        result = run("report", film, "--format", "json", *arguments)
        assert result.exit_code == 0, result.output
        reply = json.loads(result.stdout)
        return {key: reply[key] for key in ("report", "reasoning", "images", "warnings")}

    assert told() == told("--url", url)


def test_the_files_name_is_not_sent(film, url, caplog):
    with caplog.at_level(logging.DEBUG):
        result = run("report", film, "--format", "json", "--url", url)
    assert "patient name" not in result.stdout + caplog.text


@pytest.mark.parametrize(
    ("name", "begins"), [("out.json", b"{"), ("out.md", b"# "), ("out.PNG", b"\x89PNG")]
)
def test_the_output_files_suffix_names_the_format(film, tmp_path, name, begins):
    result = run("report", film, "--output", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_question_comes_after_the_films(film):
    result = run("vqa", film, film, "Is there an effusion?", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["answer"]
    assert len(json.loads(result.stdout)["images"]) == 2


def test_options_reach_the_service(film):
    result = run(
        "report", film, "--format", "json", "--section", "impression", "--include", "raw_text"
    )
    reply = json.loads(result.stdout)
    assert reply["report"]["findings"] is None
    assert set(reply["raw_text"]) == {"impression"}


def test_a_rendering_needs_no_engine(film, tmp_path, monkeypatch):
    engine = ScriptedEngine()
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: engine)
    result = run("render", film, "-o", tmp_path / "seen.png")
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "seen.png").format == "PNG"
    assert not engine.started


def test_a_refusal_is_told_in_words_with_exit_status_1(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a film")
    result = run("report", path)
    assert result.exit_code == 1
    assert "unsupported-media-type" in result.stderr


def test_a_value_out_of_range_is_told_with_its_bound(film):
    result = run("report", film, "--temperature", "9")
    assert result.exit_code == 1
    assert "temperature: less_than_equal 2" in result.stderr


def test_a_service_that_is_not_there_is_told_in_words(film):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = run("report", film, "--url", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr


def test_an_engine_that_does_not_start_is_told_in_words(film, monkeypatch):
    engine = ScriptedEngine()
    engine.start_failure = RuntimeError("no weights")
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: engine)
    result = run("report", film)
    assert result.exit_code == 1
    assert "no weights" in result.stderr
    assert "doctor" in result.stderr


@pytest.mark.parametrize("command", ["report", "render"])
def test_traces_that_are_wanted_and_cannot_be_sent_are_told_in_words(film, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setenv("DEEPMEDIX_OTLP_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    result = run(command, film)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "deepmedix[otel]" in result.stderr


@pytest.mark.parametrize("command", [["render"], ["report", "--format", "png"]])
def test_a_picture_goes_to_standard_output_where_no_file_is_named(film, command):
    result = run(*command, film)
    assert result.exit_code == 0, result.stderr
    assert Image.open(io.BytesIO(result.stdout_bytes)).format == "PNG"


@pytest.mark.parametrize("command", [["render"], ["report", "--format", "png"]])
def test_a_picture_is_kept_off_a_terminal(film, command, monkeypatch):
    monkeypatch.setattr(studies, "_on_a_terminal", lambda: True)
    assert run(*command, film).exit_code == 2


def test_a_file_needs_a_known_format(film):
    assert run("report", film, "-o", "out.gif").exit_code == 2


def test_the_openapi_document_is_written(tmp_path):
    assert run("openapi", "-o", tmp_path / "o.yaml").exit_code == 0
    assert yaml.safe_load((tmp_path / "o.yaml").read_text())["paths"]["/report"]
    assert run("openapi").stdout == (tmp_path / "o.yaml").read_text()


def test_the_manifests_schema_is_printed():
    assert json.loads(run("manifest-schema").stdout)["title"] == "Manifest"


def test_the_version_is_printed():
    assert re.match(r"\d", run("version").stdout)


def test_further_commands_plug_in(monkeypatch):
    plugged = typer.Typer()

    @plugged.command()
    def hello():
        typer.echo("hello")

    @plugged.command()
    def goodbye():
        typer.echo("goodbye")

    module = type("module", (), {"cli": plugged})
    monkeypatch.setitem(__import__("sys").modules, "plugged_in", module)
    entries = [
        EntryPoint("extra", "plugged_in:cli", service.cli.COMMAND_GROUP),
        EntryPoint("absent", "not_installed_anywhere:cli", service.cli.COMMAND_GROUP),
    ]
    monkeypatch.setattr(service.cli, "entry_points", lambda group: entries)
    assert run("extra", "hello").stdout == "hello\n"
    absent = run("absent", "anything", "--at", "all")
    assert absent.exit_code == 1
    assert "not_installed_anywhere" in absent.output


@pytest.fixture
def handled_signals():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


async def test_a_small_piece_of_a_reply_does_not_wait_for_the_clients_acknowledgement():
    accepted = asyncio.get_running_loop().create_future()

    async def take(reader, writer):
        taken = writer.get_extra_info("socket")
        accepted.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = serve_command._bind(Settings(port=0))
    async with await asyncio.start_server(take, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        assert await accepted
        writer.close()


@pytest.mark.usefixtures("handled_signals")
def test_serve_says_what_it_does_and_stops_when_told(caplog):
    listener = serve_command._bind(Settings(port=0))
    port = listener.getsockname()[1]

    async def serve_and_stop():
        loop = asyncio.get_running_loop()

        async def stop_when_ready():
            while f"ready on http://127.0.0.1:{port}" not in caplog.text:
                await asyncio.sleep(0)
            loop.call_soon(signal.raise_signal, signal.SIGTERM)

        stopping = asyncio.create_task(stop_when_ready())
        async with asyncio.timeout(60):
            status = await serve_command._run(Settings(port=0), listener, StartUp())
        await stopping
        return status

    with caplog.at_level(logging.INFO, logger="deepmedix"):
        assert asyncio.run(serve_and_stop()) == 0
    for said in ("listening on", "starting the engine", "warming up", "ready on", "stopping"):
        assert said in caplog.text


def test_serve_ends_with_1_when_the_engine_does_not_start(monkeypatch, caplog):
    engine = ScriptedEngine()
    engine.start_failure = RuntimeError("no weights")
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: engine)
    settings = Settings(port=0)
    status = asyncio.run(serve_command._run(settings, serve_command._bind(settings), StartUp()))
    assert status == 1
    assert "no weights" in caplog.text
    assert "deepmedix doctor" in caplog.text


def test_serve_ends_with_1_when_traces_are_wanted_and_cannot_be_sent(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = Settings(port=0, otlp_endpoint="http://127.0.0.1:1/v1/traces")
    status = asyncio.run(serve_command._run(settings, serve_command._bind(settings), StartUp()))
    assert status == 1
    assert "deepmedix[otel]" in caplog.text


def test_serve_tells_at_once_that_the_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--port", taken.getsockname()[1])
    assert result.exit_code == 1
    assert "DEEPMEDIX_PORT" in result.stderr


def test_doctor_passes_where_all_is_well_and_fails_where_not(monkeypatch):
    well = [checks.Check("engine", checks.Verdict.OK, "fine")]
    ill = [*well, checks.Check("checkpoint", checks.Verdict.FAILURE, "gone", "Make one.")]
    warned = [*well, checks.Check("port", checks.Verdict.WARNING, "taken", "Choose another.")]
    for found, status in ((well, 0), (warned, 0), (ill, 1)):
        monkeypatch.setattr("service.cli.doctor.run_checks", lambda settings, f=found: f)
        assert run("doctor").exit_code == status
    as_json = json.loads(run("doctor", "--json").stdout)
    assert as_json[1] == {
        "name": "checkpoint",
        "verdict": "failure",
        "detail": "gone",
        "mend": "Make one.",
    }
    assert "Make one." in run("doctor").stdout


def test_doctor_finds_every_codec():
    assert checks._codecs().verdict is checks.Verdict.OK


def test_doctor_finds_a_checkpoint_that_is_not_there(tmp_path):
    check = checks._checkpoint(Settings(model=str(tmp_path / "nowhere")))
    assert check.verdict is checks.Verdict.FAILURE
    assert check.mend


def test_doctor_counts_the_memory_that_a_container_has_left(monkeypatch):
    monkeypatch.setattr(checks, "free_memory", lambda: 1024**3)
    small = checks._memory()
    assert small.verdict is checks.Verdict.WARNING
    assert small.detail.startswith("1.0 GiB")
    monkeypatch.setattr(checks, "free_memory", lambda: None)
    assert "control group" not in checks._memory().detail


KEY = "a secret of 32 characters or more"


def test_doctor_finds_an_audit_file_that_cannot_be_written(tmp_path):
    def verdict(path):
        return checks._audit(Settings(audit_file=path, audit_site_key=KEY)).verdict

    file = tmp_path / "audit.jsonl"
    assert verdict(file) is checks.Verdict.OK
    assert not list(tmp_path.iterdir())  # nothing was begun
    assert verdict(tmp_path / "not mounted" / "audit.jsonl") is checks.Verdict.FAILURE
    assert checks._audit(Settings()).verdict is checks.Verdict.OK


def test_doctor_finds_an_audit_file_of_somebody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).suffix != ".head")
    (tmp_path / "audit.jsonl.head").touch()
    found = checks._audit(Settings(audit_file=tmp_path / "audit.jsonl", audit_site_key=KEY))
    assert found.verdict is checks.Verdict.FAILURE
    assert "audit.jsonl.head" in found.detail
    assert str(os.geteuid()) in found.mend


def test_doctor_finds_tls_and_token_settings_that_cannot_be_used(tmp_path):
    missing = {"tls_certificate": tmp_path / "certificate", "tls_key": tmp_path / "key"}
    assert checks._tls(Settings(**missing)).verdict is checks.Verdict.FAILURE
    assert checks._tls(Settings()).verdict is checks.Verdict.OK
    for issuer, verdict in (
        ("http://idp.example", checks.Verdict.FAILURE),
        ("https://idp.example", checks.Verdict.OK),
    ):
        settings = Settings(oidc_issuer=issuer, oidc_audience="deepmedix")
        assert checks._tokens(settings).verdict is verdict


def test_a_checkpoint_with_another_manifest_than_the_one_that_is_pinned_is_refused(monkeypatch):
    monkeypatch.setattr(service.app, "VllmEngine", VllmEngine)
    pinned = Settings(manifest_sha256="0" * 64)
    check = checks._checkpoint(pinned)
    assert check.verdict is checks.Verdict.FAILURE
    assert "DEEPMEDIX_MANIFEST_SHA256" in check.detail
    with pytest.raises(ManifestError) as refused:
        service.app.create_app(pinned)
    assert str(refused.value) == check.detail


def test_doctor_finds_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        check = checks._port(Settings(port=taken.getsockname()[1]))
    assert check.verdict is checks.Verdict.WARNING


def test_a_check_that_breaks_is_a_failure_not_a_crash():
    def broken():
        raise ImportError("libsomething.so")

    check = checks._guarded("engine", broken)
    assert (check.verdict, check.name) == (checks.Verdict.FAILURE, "engine")


def test_settings_that_cannot_be_used_end_the_program_with_2(monkeypatch, capsys):
    monkeypatch.setenv("DEEPMEDIX_PORT", "eighty")
    monkeypatch.setattr("sys.argv", ["deepmedix", "doctor"])
    with pytest.raises(SystemExit) as ended:
        service.cli.main()
    assert ended.value.code == 2
    assert "DEEPMEDIX_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://host:port", "localhost", "127.0.0.1:8000"])
def test_an_address_that_is_none_is_told_in_words(film, url):
    result = run("report", film, "--url", url)
    assert result.exit_code == 1
    assert "--url is no web address" in result.stderr


@pytest.mark.parametrize("output", ["missing/out.json", "."])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    film, tmp_path, output, monkeypatch
):
    monkeypatch.setattr(service.app, "VllmEngine", None)
    result = run("report", film, "--format", "json", "-o", tmp_path / output)
    assert result.exit_code == 2
    assert run("openapi", "-o", tmp_path / output).exit_code == 2


def test_a_key_that_can_be_none_and_a_password_in_the_address_are_not_shown(film, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = run("report", film, "--url", f"http://ward:secret@127.0.0.1:{port}")
    assert "cannot be reached" in away.stderr
    assert "secret" not in away.stderr
    monkeypatch.setenv("DEEPMEDIX_API_KEY", "schlüssel")
    wrong = run("report", film, "--url", f"http://127.0.0.1:{port}")
    assert wrong.exit_code == 1
    assert "DEEPMEDIX_API_KEY" in wrong.stderr
    assert "schl" not in wrong.stderr
