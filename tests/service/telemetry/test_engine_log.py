"""vLLM's own logging, in a process of its own, set up as vLLM sets it up."""

import json
import os
import subprocess
import sys

import pytest

from service.telemetry import ENGINE_LOGGING

pytest.importorskip("vllm")

PROGRAM = """
import torch
from vllm.config.logging import LoggingConfig
from vllm.logger import configure_logging_if_needed, init_logger
from vllm.logging_utils.dump_input import dump_engine_exception

configure_logging_if_needed(LoggingConfig())

class Output:
    pass

output = Output()
output.prompt = "Mrs Smith"
output.pixels = torch.tensor([12345.0])
dump_engine_exception("Mrs Smith", output, output)
try:
    raise ValueError("Mrs Smith")
except ValueError:
    init_logger("vllm.v1.engine.async_llm").exception("AsyncLLM output_handler failed.")
"""


def test_a_dump_of_the_engines_input_shows_nothing_of_it():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=os.environ
        | {"VLLM_LOGGING_CONFIG_PATH": str(ENGINE_LOGGING), "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr
    assert "Smith" not in done.stderr
    assert "12345" not in done.stderr
    # Before vLLM configures its logger, Python itself prints the warnings of its import.
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines if line["logger"].endswith("dump_input")][1:] == [
        "Dumping scheduler output for model execution: …",
        "Dumping scheduler stats: …",
    ]
    assert "ValueError at" in lines[-1]["error"]
