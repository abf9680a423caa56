"""Triton's driver module is made with the image, and found where there is no compiler."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.dockerfile import ROOT

pytest.importorskip("triton.backends.nvidia.driver")

AFTERWARDS = """
import logging
logging.basicConfig()
from triton.backends.nvidia import driver
driver.CudaUtils()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc makes the module")
def test_the_module_is_taken_from_the_cache(tmp_path: Path) -> None:
    place = os.environ | {"TRITON_LIBCUDA_PATH": str(tmp_path / "no-driver-here")}
    subprocess.run(
        [sys.executable, ROOT / "docker" / "triton_driver.py", tmp_path], env=place, check=True
    )
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS],
        env=place | {"TRITON_CACHE_DIR": str(tmp_path), "CC": "/bin/false"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Found; it cannot be loaded without NVIDIA's driver, which this machine need not have.
    assert "could not be loaded" in done.stderr or done.returncode == 0
