"""What opening a film costs beside pydicom, highdicom and MONAI: ``python -m benchmarks.films``.

The same real films, in turn within each round. Ours is the whole of it: guard, decode, window,
turn upright, 8 bit; ``worker`` is the same in the process that the service opens films in, its
transport included. pydicom's is ``dcmread`` and ``pixel_array`` (stored values, nothing rendered);
highdicom's is ``Image`` with the modality and VOI transformation; MONAI's is ``LoadImage`` with
its pydicom reader. MONAI is no dependency of this project: ``make bench`` installs it into
``.bench/monai``; by hand, ``pip install --no-deps --target DIR monai`` and ``--monai DIR``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import highdicom
import pydicom
from pydicom.data import get_testdata_file

from benchmarks.intervals import paired_ratio
from service.radiograph import RadiographDecoder, load_radiograph

FILMS = ("RG1_UNCR.dcm", "RG1_UNCI.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm")

_MONAI = """
import json, sys, time
from monai.transforms import LoadImage
load = LoadImage(reader="PydicomReader", image_only=True)
load(sys.argv[1])
for _ in sys.stdin:
    started = time.perf_counter()
    load(sys.argv[1])
    print(time.perf_counter() - started, flush=True)
"""


def _pydicom(path: Path, data: bytes) -> None:
    _ = pydicom.dcmread(io.BytesIO(data)).pixel_array


def _highdicom(path: Path, data: bytes) -> None:
    image = highdicom.Image.from_dataset(pydicom.dcmread(io.BytesIO(data)), copy=False)
    image.get_frame(1, apply_voi_transform=True)


def _seconds(work: Callable[[Path, bytes], None], path: Path, data: bytes) -> tuple[float, float]:
    """Return seconds by the clock and of the processor, which a busy machine changes less."""
    started, worked = time.perf_counter(), time.process_time()
    work(path, data)
    return time.perf_counter() - started, time.process_time() - worked


async def measure(name: str, rounds: int, monai: str | None) -> dict[str, list[float]]:
    """Return seconds by reader, a value for each round; the first round is left out."""
    found = get_testdata_file(name)
    assert isinstance(found, str)
    path = Path(found)
    data = path.read_bytes()
    decoder = RadiographDecoder()
    await decoder.start()
    other = _monai(monai, path) if monai else None
    times: dict[str, list[float]] = {}
    try:
        for number in range(rounds + 1):
            gc.collect()
            taken: dict[str, float] = {}
            taken["pydicom"], taken["pydicom CPU"] = _seconds(_pydicom, path, data)
            taken["ours"], taken["ours CPU"] = _seconds(
                lambda _, data: load_radiograph(data), path, data
            )
            started = time.perf_counter()
            await decoder.load(data)
            taken["worker"] = time.perf_counter() - started
            taken["highdicom"], _ = _seconds(_highdicom, path, data)
            if other is not None:
                assert other.stdin is not None
                assert other.stdout is not None
                other.stdin.write("\n")
                other.stdin.flush()
                taken["monai"] = json.loads(other.stdout.readline())
            if number:
                for reader, seconds in taken.items():
                    times.setdefault(reader, []).append(seconds)
    finally:
        await decoder.close()
        if other is not None:
            other.terminate()
    return times


def _monai(folder: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _MONAI, str(path)],
        env={**os.environ, "PYTHONPATH": folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the median times, and ours as ratios with 95% intervals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="of every reader (15)")
    parser.add_argument("--films", nargs="+", choices=FILMS, default=FILMS, help="which (all)")
    parser.add_argument("--monai", help="folder into which MONAI was installed")
    options = parser.parse_args(arguments)
    print("Opening a film: median ms; ratios [95% interval]")
    for name in options.films:
        times = asyncio.run(measure(name, options.rounds, options.monai))
        told = ", ".join(f"{reader} {median(t) * 1000:.1f}" for reader, t in times.items())
        print(f"{name}: {told}")
        for reader in ("pydicom", "highdicom", "monai"):
            if reader in times:
                print(f"  ours / {reader}: {paired_ratio(times['ours'], times[reader])}")
        print(
            f"  ours / pydicom, CPU time: {paired_ratio(times['ours CPU'], times['pydicom CPU'])}"
        )
        print(f"  in the worker / pydicom: {paired_ratio(times['worker'], times['pydicom'])}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
