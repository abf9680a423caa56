"""This machine's pip configuration, as the build's secrets and wheel folder."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

from docker.image_check.tools import run

_PASSED_ON = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
CERTIFICATES = "/run/secrets/certificates.pem"


@dataclass(frozen=True)
class PipSettings:
    """What the build needs to install packages as this machine does.

    Attributes
    ----------
    arguments
        For ``buildah build``.
    """

    arguments: tuple[str, ...]


def pip_settings(work: Path) -> PipSettings:
    """Write the secrets to ``work`` and return the arguments that hand them over.

    Folders named by ``find-links`` become the context ``wheels``; addresses of files are left
    out, since the build cannot see them.
    """
    found = _configuration()
    arguments: list[str] = []
    lines = ["[global]"]
    for name in _PASSED_ON:
        values = [value for value in found.get(name, "").split() if not value.startswith("file:")]
        if values:
            lines.append(f"{name} = {' '.join(values)}")
    certificates = found.get("cert", "")
    if certificates and Path(certificates).is_file():
        lines.append(f"cert = {CERTIFICATES}")
        arguments += ["--secret", f"id=certificates,src={certificates}"]
    secret = work / "pip.conf"
    secret.touch(mode=0o600)
    secret.write_text("\n".join(lines) + "\n")
    arguments += ["--secret", f"id=pip,src={secret}"]
    folders = [
        value.removeprefix("file://")
        for value in found.get("find-links", "").split()
        if Path(value.removeprefix("file://")).is_dir()
    ]
    if folders:
        arguments += ["--build-context", f"wheels={folders[0]}"]
    return PipSettings(tuple(arguments))


def _configuration() -> dict[str, str]:
    """Return pip's settings by name; the environment's lead over the files'."""
    told = run(sys.executable, "-m", "pip", "config", "list")
    files: dict[str, str] = {}
    environment: dict[str, str] = {}
    for line in told.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            place, _, name = key.rpartition(".")
            target = environment if place == ":env:" else files
            target[name] = str(ast.literal_eval(value))
    return files | environment
