"""Over several processes every weight learns from all samples, and log-probabilities stay whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loopback has another name there")


@pytest.fixture(scope="module", params=["no", "bf16"])
def shared(request: pytest.FixtureRequest, tiny: Path) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            str(Path(__file__).with_name("sharded_gradients.py")),
            str(tiny / "model"),
            request.param,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",  # whatever the host's name resolves to
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return {"precision": request.param, **json.loads(line)}


def test_every_gradient_is_the_mean_over_the_processes(shared: dict[str, Any]) -> None:
    within = 1e-4 if shared["precision"] == "no" else 0.1
    assert shared["largest"][1] < within, shared
    assert shared["head"] < within, shared


def test_log_probabilities_are_float32_at_any_precision(shared: dict[str, Any]) -> None:
    assert shared["dtype"] == "torch.float32"
    assert shared["difference"] < (1e-4 if shared["precision"] == "no" else 0.05)
