"""Replies that say what another has said, to the word or nearly so."""

from __future__ import annotations

import re

from training.data.example import Example
from training.data.teacher.reasons import Reason

_WORD = re.compile(r"\w+")
_SHINGLE = 3
_PERMUTATIONS = 128


class Duplicates:
    """Remembers the words of every text that was kept; boxes do not count as words.

    Near-duplicates are found by MinHash (Broder 1997; ``datasketch``) and judged by the true
    Jaccard similarity of their runs of three words. Seeds are fixed: equal texts in equal order
    give equal verdicts.

    Parameters
    ----------
    threshold
        Similarity from which two texts are one; 1 leaves only equal ones.
    """

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        # Candidates are looked for somewhat below, since their similarity is estimated.
        self._index = MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=_PERMUTATIONS)
        self._kept: dict[str, frozenset[str]] = {}
        self._texts: set[str] = set()

    def judge(self, example: Example) -> Reason | None:
        """The reason to leave an example out; one that is not left out is remembered."""
        words = [w for step in example.steps for w in _WORD.findall(step.text.lower())]
        # Equal reasoning on the way to another question is another lesson.
        words += ["|", *_WORD.findall((example.question or example.task).lower())]
        text = " ".join(words)
        if text in self._texts:
            return Reason.DUPLICATE
        if self._threshold < 1 and self._is_near(example.id, words):
            return Reason.NEAR_DUPLICATE
        self._texts.add(text)
        return None

    def _is_near(self, name: str, words: list[str]) -> bool:
        from datasketch import MinHash

        count = max(1, len(words) - _SHINGLE + 1)
        shingles = frozenset(" ".join(words[i : i + _SHINGLE]) for i in range(count))
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        for other in self._index.query(sketch):
            found = self._kept[other]
            if len(found & shingles) / len(found | shingles) >= self._threshold:
                return True
        self._index.insert(name, sketch)
        self._kept[name] = shingles
        return False
