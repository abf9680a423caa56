"""The service keeps to its OpenAPI document: every check of schemathesis, on the real engine."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvicorn

from service.api.connection import ProblemProtocol
from service.app import create_app
from service.settings import Settings
from tests.conformance.run import command, judge
from tests.integration.running_engine import RunningEngine


class BriefEngine(RunningEngine):
    """The real engine, whose checkpoint says that a few words are enough: hundreds are asked."""

    @property
    def manifest(self):
        manifest = super().manifest
        sampling = manifest.sampling.model_copy(update={"max_tokens": 4})
        return manifest.model_copy(update={"sampling": sampling})


@pytest.mark.timeout(600)
async def test_every_check_of_schemathesis_passes_on_the_real_engine(engine, tmp_path):
    app = create_app(Settings(), engine=BriefEngine(engine))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http=ProblemProtocol))
    # Signals are the test runner's.
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not hasattr(app.state, "service") or not app.state.service.started.is_set():
            await asyncio.wait({serving}, timeout=0.05)
            assert not serving.done()
        answers = tmp_path / "answers.json"
        line, environment = command(
            f"http://127.0.0.1:{listener.getsockname()[1]}", answers, examples=3, seed=0
        )
        check = await asyncio.create_subprocess_exec(
            *line,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await check.communicate()
        lines = said.decode(errors="replace").splitlines()
        assert check.returncode == 0, "\n".join(line[:400] for line in lines)[-20_000:]
        told, enough = judge(answers)
        assert enough, told
    finally:
        server.should_exit = True
        await serving
