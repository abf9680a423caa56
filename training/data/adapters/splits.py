"""Splits: the source's own words, or drawn by patient where it has none."""

from __future__ import annotations

import hashlib

_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validate", "val", "valid", "validation", "dev"), "validate"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SHARES = (("train", 0.8), ("validate", 0.1), ("test", 0.1))


def split_name(word: str) -> str | None:
    """Train, validate or test for a source's own word; None for any other."""
    return _WORDS.get(word.strip().lower())


def split_by_subject(subject: str) -> str:
    """A split drawn from the subject alone: 80% train, 10% validate, 10% test.

    The draw hashes the namespaced subject, so that data sets of one collection agree.
    """
    digest = hashlib.sha256(subject.encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    reached = 0.0
    for split, share in _SHARES:
        reached += share
        if place < reached:
            return split
    return _SHARES[-1][0]
