"""What other processes of the service's own user can read of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The reader gets an empty environment. Changing the user hides a process by itself: undone first,
# so that the test shows what a service that is started as its user shows.
_WORK = """
import ctypes, os, subprocess
from service.private_memory import forbid_inspection

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)

def read():
    environ = f"/proc/{os.getpid()}/environ"
    done = subprocess.run(["/bin/cat", environ], env={}, capture_output=True)
    return b"of-the-site" in done.stdout

shown = read()
forbid_inspection()
print(shown, read())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_the_service_starts_cannot_read_its_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WORK],
        capture_output=True,
        text=True,
        check=True,
        env={"DEEPMEDIX_AUDIT_SITE_KEY": "of-the-site"},
    )
    assert done.stdout.split() == ["True", "False"]
