"""Worker processes: limits are kept, death is survived, and nothing is written to disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from film_files import path_of

from service.problem import Problem
from service.radiograph import Limits, RadiographDecoder, load_radiograph, shared_bytes

PROGRAM_ROOT = Path(__file__).resolve().parents[3]
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest_asyncio.fixture
async def decoder() -> AsyncIterator[RadiographDecoder]:
    decoder = RadiographDecoder()
    await decoder.start()
    yield decoder
    await decoder.close()


async def test_a_worker_gives_what_decoding_here_gives(
    decoder: RadiographDecoder, build_dicom
) -> None:
    data = build_dicom(
        PatientOrientation=["R", "F"], PixelAspectRatio=[2, 1], ViewPosition="PA", **WINDOW
    )
    there, here = await decoder.load(data), load_radiograph(data)
    assert np.array_equal(there.pixels, here.pixels)
    assert not there.pixels.flags.writeable
    for name in ("width", "height", "media_type", "view_position", "rendering", "notices",
                 "to_original", "pixel_aspect", "modality", "frame", "frames",
                 "sop_instance_uid"):  # fmt: skip
        assert getattr(there, name) == getattr(here, name), name


async def test_soon_nothing_of_a_film_is_left_in_the_memory_shared_with_a_worker(
    decoder: RadiographDecoder, build_dicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_bytes, "_KEPT_SECONDS", 0.0)
    (pid,) = decoder.worker_pids

    def held() -> list[int]:
        return [
            descriptor.stat().st_size
            for descriptor in Path(f"/proc/{pid}/fd").iterdir()
            if os.readlink(descriptor).startswith("/memfd:film")
        ]

    for data in (build_dicom(**WINDOW), build_dicom(BodyPartExamined="FOOT")):
        with suppress(Problem):
            await decoder.load(data)
        async with asyncio.timeout(5):
            while held() != [0]:
                await asyncio.sleep(0)


async def test_options_reach_the_worker(decoder: RadiographDecoder) -> None:
    data = path_of("emri_small.dcm").read_bytes()
    with pytest.raises(Problem) as refusal:
        await decoder.load(data)
    assert refusal.value.code == "not-a-chest-radiograph"
    film = await decoder.load(data, frame=3, allow_other_anatomy=True)
    assert film.frame == 3


async def test_refusals_come_back_whole(decoder: RadiographDecoder) -> None:
    for data, code, status in (
        (b"", "empty-body", 400),
        (b"hello", "unsupported-media-type", 415),
        (path_of("image_dfl.dcm").read_bytes(), "unsupported-transfer-syntax", 415),
        (path_of("test-SR.dcm").read_bytes(), "no-pixel-data", 422),
    ):
        with pytest.raises(Problem) as refusal:
            await decoder.load(data)
        assert (refusal.value.code, refusal.value.status) == (code, status)


async def test_bytes_beyond_the_limit_never_reach_a_worker() -> None:
    decoder = RadiographDecoder(limits=Limits(max_bytes=1000))
    with pytest.raises(Problem) as refusal:
        await decoder.load(bytes(1001))
    assert refusal.value.code == "file-too-large"
    assert decoder.worker_pids == ()


async def test_a_worker_killed_while_idle_is_replaced_unnoticed(
    decoder: RadiographDecoder, build_dicom
) -> None:
    (before,) = decoder.worker_pids
    os.kill(before, signal.SIGKILL)
    film = await decoder.load(build_dicom(**WINDOW))
    assert film.pixels.shape == (64, 64)
    assert decoder.worker_pids != (before,)


async def test_a_worker_takes_no_notice_of_a_signal_that_is_the_services(
    decoder: RadiographDecoder, build_dicom
) -> None:
    (before,) = decoder.worker_pids
    os.kill(before, signal.SIGHUP)
    await decoder.load(build_dicom(**WINDOW))
    assert decoder.worker_pids == (before,)


async def test_a_worker_killed_at_work_gives_a_clear_problem_and_is_replaced(
    decoder: RadiographDecoder, build_dicom
) -> None:
    data = path_of("RG1_J2KR.dcm").read_bytes()
    (pid,) = decoder.worker_pids
    cpu_before = cpu_ticks(pid)
    task = asyncio.create_task(decoder.load(data))
    while cpu_ticks(pid) < cpu_before + 5:  # it is decoding
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Problem) as refusal:
        await task
    assert refusal.value.code == "decode-worker-died"
    assert (refusal.value.status, refusal.value.retry_after) == (503, 1)
    assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


async def test_a_worker_crashed_by_a_film_blames_the_film(decoder: RadiographDecoder) -> None:
    data = path_of("RG1_J2KR.dcm").read_bytes()
    (pid,) = decoder.worker_pids
    cpu_before = cpu_ticks(pid)
    task = asyncio.create_task(decoder.load(data))
    while cpu_ticks(pid) < cpu_before + 5:
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGSEGV)
    with pytest.raises(Problem) as refusal:
        await task
    assert (refusal.value.code, refusal.value.status) == ("decode-failed", 422)


async def test_time_beyond_the_limit_gives_a_clear_problem_and_a_new_worker(build_dicom) -> None:
    decoder = RadiographDecoder(time_limit=0.05)
    await decoder.start()
    with pytest.raises(Problem) as refusal:
        await decoder.load(path_of("RG1_J2KR.dcm").read_bytes())
    assert refusal.value.code == "decode-timeout"
    await decoder.close()


async def test_memory_beyond_the_limit_gives_a_clear_problem(
    decoder: RadiographDecoder, build_dicom
) -> None:
    (pid,) = decoder.worker_pids
    await decoder.load(build_dicom(**WINDOW))
    status = Path(f"/proc/{pid}/status").read_text()
    held = next(int(line.split()[1]) for line in status.splitlines() if "VmSize" in line) * 1024
    small = RadiographDecoder(memory_limit=held + 8_000_000)
    with pytest.raises(Problem) as refusal:
        await small.load(path_of("RG1_UNCR.dcm").read_bytes())
    assert refusal.value.code in {"decode-out-of-memory", "decode-worker-died"}
    await small.close()


async def test_giving_up_a_request_frees_the_worker(
    decoder: RadiographDecoder, build_dicom
) -> None:
    task = asyncio.create_task(decoder.load(path_of("RG1_J2KR.dcm").read_bytes()))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)


async def test_more_films_than_workers_wait_their_turn(build_dicom) -> None:
    decoder = RadiographDecoder(workers=2)
    data = build_dicom(**WINDOW)
    films = await asyncio.gather(*(decoder.load(data) for _ in range(10)))
    assert len(films) == 10
    assert len(decoder.worker_pids) == 2
    await decoder.close()
    assert decoder.worker_pids == ()
    with pytest.raises(RuntimeError, match="closed"):
        await decoder.load(data)


async def test_closing_ends_films_in_work_and_in_waiting_and_starts_no_worker(
    build_dicom,
) -> None:
    decoder = RadiographDecoder()
    await decoder.start()
    slow, quick = path_of("RG1_J2KR.dcm").read_bytes(), build_dicom(**WINDOW)
    tasks = [asyncio.create_task(decoder.load(data)) for data in (slow, quick)]
    for _ in range(10):
        await asyncio.sleep(0)
    await decoder.close()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, Problem)
        assert outcome.code == "decode-worker-died"
    assert decoder.worker_pids == ()


async def test_a_worker_may_write_no_file_and_dump_no_core(decoder: RadiographDecoder) -> None:
    (pid,) = decoder.worker_pids
    await decoder.load(path_of("RG1_UNCR.dcm").read_bytes())
    limits = Path(f"/proc/{pid}/limits").read_text()
    for name in ("Max file size", "Max core file size"):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line[len(name) :].split()[0] == "0"


def test_a_worker_imports_nothing_of_the_engine() -> None:
    program = (
        "import sys, service.radiograph.worker;"
        "print([n for n in ('torch', 'transformers', 'vllm', 'fastapi', 'scipy', 'pandas')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=PROGRAM_ROOT,
        env={**os.environ, "PYTHONPATH": str(PROGRAM_ROOT)},
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
