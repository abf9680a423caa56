"""Limits of control groups, read from files as the kernel shows them."""

import os
from pathlib import Path

import pytest

from service.cgroup import free_memory, usable_cores

GIB = 1024**3


@pytest.fixture(autouse=True)
def _machine_of_32_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)))


def groups(folder: Path, own: str, files: dict[str, object]) -> tuple[Path, Path]:
    """A ``/sys/fs/cgroup`` with these files, and the ``/proc/self/cgroup`` that goes with it."""
    told = folder / "own"
    told.write_text(own)
    for name, content in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder / "cgroup", told


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 32),
        ("0::/\n", {"cpu.max": "max 100000"}, 32),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000"}, 32),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "800000 100000"}, 2),
        (
            "5:cpu,cpuacct:/docker/1\n0::/\n",
            {"cpu/cpu.cfs_quota_us": 300_000, "cpu/cpu.cfs_period_us": 100_000},
            3,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100_000},
            32,
        ),
    ],
)
def test_the_quota_of_any_group_bounds_the_cores(
    tmp_path: Path, own: str, files: dict[str, object], cores: int
) -> None:
    """In a container the path may be the host's, and the files lie where all groups are mounted."""
    assert usable_cores(*groups(tmp_path, own, files)) == cores


def test_the_affinity_bounds_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert usable_cores(*groups(tmp_path, "0::/\n", {"cpu.max": "400000 100000"})) == 2


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"memory.max": "max", "memory.current": GIB}, None),
        (
            "0::/\n",
            {
                "memory.max": 8 * GIB,
                "memory.current": 3 * GIB,
                "memory.stat": f"anon 5\ninactive_file {GIB}",
            },
            6 * GIB,
        ),
        (
            "0::/a\n",
            {"a/memory.max": 4 * GIB, "a/memory.current": GIB, "memory.current": 9 * GIB},
            3 * GIB,
        ),
        (
            "4:memory:/\n",
            {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": GIB},
            GIB,
        ),
    ],
)
def test_free_memory_is_what_a_group_may_take_still(
    tmp_path: Path, own: str, files: dict[str, object], free: int | None
) -> None:
    assert free_memory(*groups(tmp_path, own, files)) == free


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "own") == 32
    assert free_memory(tmp_path, tmp_path / "own") is None
