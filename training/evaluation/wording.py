"""Overlap of a report's words with those of its reference."""

from __future__ import annotations

import re

from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

_WORD = re.compile(r"\w+")
_ROUGE_L = RougeScorer(["rougeL"], use_stemmer=True)


class _NoSynonyms:
    """Stands in for WordNet, whose data is in no package: METEOR of exact words and stems."""

    def synsets(self, word: str) -> list[object]:
        return []


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F1 with stemming."""
    return float(_ROUGE_L.score(reference, text)["rougeL"].fmeasure)


def meteor(text: str, reference: str) -> float:
    """METEOR over exact words and stems, without synonyms."""
    said, wanted = (_WORD.findall(part.lower()) for part in (text, reference))
    return float(single_meteor_score(wanted, said, wordnet=_NoSynonyms()))
