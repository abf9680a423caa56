"""A container of the image, locked down as docker/compose.yaml does."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docker.image_check.tools import CheckError, engine, run

NAME = "deepmedix-image-check"
_POLL = 1.0
_LOCKED_DOWN = (
    "--network", "none", "--read-only", "--tmpfs", "/tmp:size=512m", "--cap-drop", "all",
    "--security-opt", "no-new-privileges",
    # podman sets the timer of the health check through systemd; the check is run by hand.
    "--no-healthcheck",
)  # fmt: skip


class Container:
    """Runs the image's own entry point without a network, capabilities or a writable root."""

    def __init__(self, image: str, work: Path) -> None:
        self._image = image
        self._podman = engine("podman", work)

    def run_once(
        self, *arguments: str, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run the image with a command until it ends."""
        return subprocess.run(
            [*self._podman, "run", "--rm", "--pull", "never", *_LOCKED_DOWN, *_limits(), *options,
             self._image, *arguments],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def start(self, options: Sequence[str] = ()) -> None:
        """Start the image with its own command, in the background."""
        run(*self._podman, "rm", "--force", "--ignore", NAME)
        run(
            *self._podman, "run", "--detach", "--name", NAME, "--pull", "never", *_LOCKED_DOWN,
            *_limits(), *options, self._image,
        )  # fmt: skip

    def execute(
        self, *command: str, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container."""
        return subprocess.run(
            [*self._podman, "exec", *options, NAME, *command],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def health(self) -> int:
        """Run the image's own health check and return its exit status."""
        told: Any = json.loads(run(*self._podman, "image", "inspect", self._image))
        check = told[0].get("HealthCheck") or told[0]["Healthcheck"]
        kind, *command = check["Test"]
        if kind != "CMD":
            raise CheckError("the health check is not in exec form")
        return self.execute(*command).returncode

    def wait_until_healthy(self, patience: float) -> float:
        """Return the seconds until the health check passed.

        Raises
        ------
        CheckError
            When the container ends first, or patience does.
        """
        begun = time.monotonic()
        while time.monotonic() - begun < patience:
            if not self.running():
                raise CheckError(f"the container ended by itself:\n{self.log()}")
            if self.health() == 0:
                return time.monotonic() - begun
            time.sleep(_POLL)
        raise CheckError(f"not healthy after {patience:.0f} s:\n{self.log()}")

    def running(self) -> bool:
        """Whether the container's first process runs."""
        told = run(*self._podman, "inspect", "--format", "{{.State.Running}}", NAME)
        return told.strip() == "true"

    def stop(self, grace: int) -> int:
        """Send the image's stop signal, wait, and return the exit status (137: it was killed)."""
        run(*self._podman, "stop", "--time", str(grace), NAME)
        return int(run(*self._podman, "inspect", "--format", "{{.State.ExitCode}}", NAME))

    def log(self) -> str:
        """Return what the container wrote."""
        done = subprocess.run(
            [*self._podman, "logs", NAME],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def remove(self) -> None:
        """Remove the container."""
        run(*self._podman, "rm", "--force", "--ignore", NAME)


def _limits() -> list[str]:
    """Return this process's own limits: a build machine may not let a container have more."""
    return [
        part
        for name, which in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        for part in ("--ulimit", f"{name}={_limit(which)}")
    ]


def _limit(which: int) -> str:
    soft, hard = resource.getrlimit(which)
    ceiling = min(value for value in (hard, 16384) if value != resource.RLIM_INFINITY)
    return f"{min(soft, ceiling) if soft != resource.RLIM_INFINITY else ceiling}:{ceiling}"
