"""What is wrong with data, in words, with advice."""

from __future__ import annotations


class DataError(Exception):
    """Data that cannot be used as they are. The message says what is wrong and how to mend it."""
