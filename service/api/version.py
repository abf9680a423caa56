"""The version of the program that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the installed version, or ``0+source`` when run from a tree without installation."""
    try:
        return version("deepmedix")
    except PackageNotFoundError:
        return "0+source"
