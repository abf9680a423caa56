"""What the system refuses, in the words of a command."""

from __future__ import annotations


def described(error: OSError) -> str:
    """Name the file, where there is one, and why it cannot be read or written."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."
