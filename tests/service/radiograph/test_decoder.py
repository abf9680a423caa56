"""Worker processes: limits are kept, death is survived, and nothing is written to disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from film_files import path_of

from service.problem import Problem
from service.radiograph import Limits, RadiographDecoder, load_radiograph, shared_bytes
from service.radiograph import decoder as decoding
from service.radiograph.metrics import LOSSES, Loss

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


_FLOODING = """
import os, sys
from service.radiograph.wire import ACKNOWLEDGED, LENGTHS, READY

os.write(1, READY)
sys.stdin.buffer.read1(1)
os.write(1, ACKNOWLEDGED + LENGTHS.pack({announced}, 0))
while True:
    os.write(1, bytes(1 << 16))
"""


@pytest.mark.parametrize("announced", [0xFFFFFFFF, 1 << 20])
async def test_a_worker_that_floods_the_service_is_replaced(
    monkeypatch: pytest.MonkeyPatch, announced: int
) -> None:
    start = asyncio.create_subprocess_exec

    async def flooding(*_: object, **more: object) -> asyncio.subprocess.Process:
        return await start(sys.executable, "-c", _FLOODING.format(announced=announced), **more)

    decoder = RadiographDecoder(time_limit=20)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", flooding)
    await decoder.start()
    with pytest.raises(Problem) as refusal:
        await decoder.load(path_of("RG1_UNCR.dcm").read_bytes())
    assert refusal.value.code == "decode-failed"
    assert decoder.worker_pids == ()
    monkeypatch.undo()
    assert (await decoder.load(path_of("RG1_UNCR.dcm").read_bytes())).width == 1841
    await decoder.close()


@pytest.mark.parametrize("confined", [True, False])
async def test_a_worker_that_the_kernel_does_not_confine_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, confined: bool
) -> None:
    start = asyncio.create_subprocess_exec

    async def started(*_: object, **more: object) -> asyncio.subprocess.Process:
        said = "READY" if confined else "READY_UNCONFINED"
        program = f"import sys; from service.radiograph.wire import {said} as said"
        program += "; sys.stdout.buffer.write(said); sys.stdout.flush(); sys.stdin.read()"
        return await start(sys.executable, "-c", program, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    decoder = RadiographDecoder()
    await decoder.start()
    assert ("seccomp" in caplog.text) is not confined
    await decoder.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2)")
def test_a_worker_ends_with_its_parent() -> None:
    program = """
import asyncio, os, signal
from service.radiograph import RadiographDecoder

async def main():
    decoder = RadiographDecoder()
    await decoder.start()
    pid, = decoder.worker_pids
    os.kill(pid, signal.SIGSTOP)  # as one that is within a codec, it does not read on
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PROGRAM_ROOT
    )
    pid = int(done.stdout)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state in "ZX":
            return
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it outlives its parent")


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


async def test_a_worker_killed_while_idle_is_replaced_and_told_to_the_operator_alone(
    decoder: RadiographDecoder, build_dicom, caplog
) -> None:
    (before,) = decoder.worker_pids
    lost = LOSSES.labels(reason=Loss.DIED)._value.get()
    os.kill(before, signal.SIGKILL)
    film = await decoder.load(build_dicom(**WINDOW))
    assert film.pixels.shape == (64, 64)
    assert decoder.worker_pids != (before,)
    assert caplog.text.count("a process that opens films was lost (died)") == 1
    assert LOSSES.labels(reason=Loss.DIED)._value.get() == lost + 1


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


async def test_a_worker_crashed_by_a_film_blames_the_film(
    decoder: RadiographDecoder, caplog
) -> None:
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
    assert "lost (crashed)" in caplog.text


async def test_time_beyond_the_limit_gives_a_clear_problem_and_a_new_worker(build_dicom) -> None:
    decoder = RadiographDecoder(time_limit=0.05)
    await decoder.start()
    with pytest.raises(Problem) as refusal:
        await decoder.load(path_of("RG1_J2KR.dcm").read_bytes())
    assert refusal.value.code == "decode-timeout"
    await decoder.close()


async def test_memory_beyond_the_limit_gives_a_clear_problem(build_dicom) -> None:
    small = RadiographDecoder(memory_limit=8_000_000)
    await small.load(build_dicom(**WINDOW))
    with pytest.raises(Problem) as refusal:
        await small.load(path_of("RG1_UNCR.dcm").read_bytes())
    assert refusal.value.code in {"decode-out-of-memory", "decode-worker-died"}
    await small.close()


@pytest.mark.parametrize("patience", [60.0, 0.0])
async def test_giving_up_a_request_leaves_a_worker_for_the_next(
    decoder: RadiographDecoder, build_dicom, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(decoding, "_ABANDONED_LIMIT", patience)
    before = decoder.worker_pids
    task = asyncio.create_task(decoder.load(path_of("RG1_J2KR.dcm").read_bytes()))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)
    # The same one where it is soon done, another where it takes too long.
    assert (decoder.worker_pids == before) is (patience > 0)


async def test_a_film_that_comes_while_the_worker_starts_is_nobody_elses(build_dicom) -> None:
    decoder = RadiographDecoder()
    films = [build_dicom(Rows=rows, Columns=32, **WINDOW) for rows in (16, 24, 40)]
    first, _, second = await asyncio.gather(
        decoder.load(films[0]), decoder.start(), decoder.load(films[1])
    )
    third = await decoder.load(films[2])
    assert [film.height for film in (first, second, third)] == [16, 24, 40]
    assert len(decoder.worker_pids) == 1
    await decoder.close()


async def test_a_worker_gives_way_to_a_new_one_after_so_many_films(build_dicom) -> None:
    decoder = RadiographDecoder(films_a_worker=2)
    await decoder.start()
    before = decoder.worker_pids
    for _ in range(2):
        assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)
        assert len(decoder.worker_pids) <= 1
    films = await asyncio.gather(*(decoder.load(build_dicom(**WINDOW)) for _ in range(3)))
    assert {film.pixels.shape for film in films} == {(64, 64)}
    assert decoder.worker_pids != before
    await decoder.close()
    assert decoder.worker_pids == ()


async def test_a_reply_to_another_request_is_given_to_nobody(
    decoder: RadiographDecoder, build_dicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decoder.worker_pids
    misread = decoding.read_reply
    monkeypatch.setattr(
        decoding, "read_reply", lambda header, body, number: misread(header, body, number + 1)
    )
    with pytest.raises(Problem) as refusal:
        await decoder.load(build_dicom(**WINDOW))
    assert refusal.value.code == "decode-failed"
    monkeypatch.undo()
    assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)
    assert decoder.worker_pids != before


async def test_whatever_breaks_an_exchange_off_the_worker_is_not_used_again(
    decoder: RadiographDecoder, build_dicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object, size: int) -> np.ndarray:
        raise RuntimeError

    before = decoder.worker_pids
    monkeypatch.setattr(shared_bytes.SharedBytes, "take", broken)
    with pytest.raises(RuntimeError):
        await decoder.load(build_dicom(**WINDOW))
    monkeypatch.undo()
    assert (await decoder.load(build_dicom(**WINDOW))).pixels.shape == (64, 64)
    assert decoder.worker_pids != before


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
    build_dicom, caplog
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
    assert "lost" not in caplog.text  # it was our doing


async def test_a_worker_may_write_no_file_and_dump_no_core(decoder: RadiographDecoder) -> None:
    (pid,) = decoder.worker_pids
    await decoder.load(path_of("RG1_UNCR.dcm").read_bytes())
    limits = Path(f"/proc/{pid}/limits").read_text()
    for name in ("Max file size", "Max core file size"):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line[len(name) :].split()[0] == "0"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
async def test_every_thread_of_a_worker_is_confined(decoder: RadiographDecoder) -> None:
    (pid,) = decoder.worker_pids
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    assert threads
    for thread in threads:
        status = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
        assert status["Seccomp"].strip() == "2"
        assert status["NoNewPrivs"].strip() == "1"


_ATTEMPTS = """
import ctypes, multiprocessing, os, pathlib, platform, resource, socket, subprocess, sys, threading
from service.radiograph.confinement import confine

confine(8 << 30, parent=os.getppid())
libc = ctypes.CDLL(None, use_errno=True)
TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]

def call(*arguments):
    if libc.syscall(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "")

file, folder = pathlib.Path(sys.argv[1]), os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
attempts = {
    "open to write": lambda: open(file, "r+"),
    "open to replace": lambda: open(file, "w"),
    "open to append": lambda: open(file, "a"),
    "open in a folder": lambda: os.open("keys", os.O_RDWR, dir_fd=folder),
    "new file": lambda: open(file.with_name("new"), "x"),
    "nameless file": lambda: os.open(file.parent, os.O_TMPFILE | os.O_RDWR),
    "truncate": lambda: os.truncate(file, 0),
    "rename": lambda: os.rename(file, file.with_name("other")),
    "remove": lambda: os.remove(file),
    "link": lambda: os.link(file, file.with_name("other")),
    "symbolic link": lambda: os.symlink(file, file.with_name("other")),
    "folder": lambda: os.mkdir(file.with_name("other")),
    "mode": lambda: os.chmod(file, 0o777),
    "times": lambda: os.utime(file),
    "attribute": lambda: os.setxattr(file, "user.a", b"b"),
    "fork": os.fork,
    "worker": lambda: multiprocessing.get_context("fork").Process(target=print).start(),
    "connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "local socket": lambda: socket.socket(socket.AF_UNIX),
    "program": lambda: subprocess.run(["/bin/true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "signal to a thread": lambda: call(TGKILL, os.getppid(), os.getppid(), 0),
    "another's limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9)),
    "ring": lambda: call(425, 1, None),
    "other table": lambda: call(0x40000000 + 39),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, "done")
    except PermissionError:
        print(name, "refused")
thread = threading.Thread(target=print, args=("thread", "done"))
thread.start()
thread.join()
print("reading", "done" if file.read_text() == "kept" else "")
print("limits", "done" if resource.getrlimit(resource.RLIMIT_NOFILE) else "")
sys.stdout.flush()
os.abort()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp")
def test_a_worker_can_only_read_and_reach_nobody(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", _ATTEMPTS, str(tmp_path / "keys")],
        capture_output=True,
        text=True,
        cwd=PROGRAM_ROOT,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT, done.stderr
    outcomes = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert outcomes.pop("thread") == "done"
    assert outcomes.pop("limits") == "done"
    assert outcomes.pop("reading") == "done"
    assert len(outcomes) == 25
    assert set(outcomes.values()) == {"refused"}, outcomes
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("keys", "kept")]


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
