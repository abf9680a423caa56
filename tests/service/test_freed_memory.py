import subprocess
import sys

import pytest

# Blocks as large as a film, each with something small behind it that stays.
_WORK = """
import os, sys
from service.freed_memory import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

if sys.argv[1] == "yes":
    return_freed_memory()
largest = b"x" * (16 << 20)
del largest
before = resident()
films, stays = [], []
for _ in range(20):
    films.append(b"x" * (4 << 20))
    stays.append(b"y" * 600)
held = resident() - before
films.clear()
print(held, resident() - before)
"""


def _mebibytes(asked: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _WORK, asked], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_films_do_not_stay_with_the_process():
    held, kept = _mebibytes("yes")
    assert held >= 78
    assert kept <= 4
