"""vLLM's OpenAI-compatible server with the embedded checkpoint: a teacher, or a judge."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.settings import EMBEDDED_CHECKPOINT


@contextmanager
def running_chat_server() -> Iterator[str]:
    """Base URL of the server; its model is called ``embedded``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(EMBEDDED_CHECKPOINT), "--served-model-name", "embedded"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "4096", "--max-num-seqs", "8"]
    command += ["--max-num-batched-tokens", "4096", "--skip-mm-profiling"]
    command += ["--limit-mm-per-prompt", json.dumps({"image": 1, "video": 0})]
    # A model that knows nothing of JSON would go on with blanks until its tokens are spent.
    blanks = {"backend": "xgrammar", "disable_any_whitespace": True}
    command += ["--structured-outputs-config", json.dumps(blanks)]
    quiet = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    # An engine in this process has set vLLM's variables for itself, and silenced its log with them.
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("VLLM_")}
    server = subprocess.Popen(
        command,
        env=inherited | quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if "Application startup complete" in line:
                break
        else:
            pytest.fail("the server did not start:\n" + "".join(said[-30:]))
        # What it says later is read, too: a full pipe would stop it.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)
