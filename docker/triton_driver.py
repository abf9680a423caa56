"""Compile Triton's CUDA driver module while the image is built, where there is a compiler.

Triton compiles that one module with a C compiler when a kernel is first launched, and keeps it
in its cache under a digest of source, folders and libraries. The last stage of the image has no
compiler, so the module is made here, against a library that stands in for the driver's:
``python docker/triton_driver.py CACHE`` with ``TRITON_LIBCUDA_PATH`` as it is in the container.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main(cache: Path) -> None:
    """Fill Triton's cache in ``cache`` with the driver module."""
    os.environ["TRITON_CACHE_DIR"] = str(cache)
    from triton.backends.nvidia import driver

    with tempfile.TemporaryDirectory() as folder:
        stand_in = Path(folder) / "libcuda.so.1"
        subprocess.run(
            ["gcc", "-shared", "-Wl,-soname,libcuda.so.1", "-x", "c", "/dev/null", "-o", stand_in],
            check=True,
        )
        os.environ["LIBRARY_PATH"] = folder  # searched by gcc after the folders of the digest
        # Compiled and kept; it cannot be loaded without the driver itself.
        with contextlib.suppress(ImportError):
            driver.CudaUtils()
    made = [str(path) for path in cache.rglob("cuda_utils*.so")]
    if not made:
        sys.exit("Triton's driver module was not made: has Triton changed how it compiles it?")
    print(f"Wrote {made[0]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
