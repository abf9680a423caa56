"""Running the programs that the check is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

NEEDED = ("debootstrap", "buildah", "podman", "runc")
"""Debian packages, each with a program of its name."""


class CheckError(Exception):
    """What the image does is not what it should do; the text says what."""


def missing() -> str | None:
    """Return what keeps the check from running here, and how to mend it; ``None`` if nothing."""
    if os.geteuid() != 0:
        return "The check builds a root file system, so it must run as root."
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"Missing: apt-get install --no-install-recommends {' '.join(absent)}"
    return None


def say(text: str) -> None:
    """Print a step with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command: str | Path, check: bool = True, **more: object) -> str:
    """Run a program and return its standard output.

    Raises
    ------
    CheckError
        When it fails and ``check`` is set, with the end of what it said.
    """
    done = subprocess.run(  # type: ignore[call-overload]  # keywords are passed on
        [str(part) for part in command], capture_output=True, text=True, check=False, **more
    )
    if check and done.returncode:
        said = (done.stdout + done.stderr)[-4000:]
        raise CheckError(
            f"{' '.join(map(str, command[:6]))} ... ended with {done.returncode}:\n{said}"
        )
    return str(done.stdout)


def engine(program: str, work: Path) -> list[str]:
    """Return the beginning of a ``buildah`` or ``podman`` command that stores in ``work``."""
    command = [program, "--root", str(work / "storage"), "--runroot", str(work / "run")]
    command += ["--storage-driver", "overlay"]
    if program == "podman":
        # crun refuses the mixed cgroups of some build machines.
        command += ["--runtime", "runc", "--cgroup-manager", "cgroupfs"]
    return command
