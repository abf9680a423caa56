"""The right words in the right order, and neither too few nor too many of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from training.negation import SENTENCE_ENDS, negations, polarity, turns
from training.rewards.padding import bulk_of

_STOP = "."
_PIECE = re.compile(r"[^\W_]+|[.;!?\n]")
_STOPS = frozenset(".;!?\n")
_APART = {
    code: _STOP if chr(code) in _STOPS else " " for code in range(128) if not chr(code).isalnum()
}
_SENTENCE_END = re.compile(r"(?:[;!?\n\u2026\u3002]|\.(?!\d)|(?<!\d)\.)+")
_DECIMAL = re.compile(r"[0-9]\.[0-9]")
_TELLING = re.compile(r"[^\W\d_]{2,}")
_TO_STOPS = dict.fromkeys(map(ord, _STOPS), _STOP)
_FULL_FROM, _FULL_TO, _NONE_BELOW, _NONE_ABOVE = 0.5, 1.75, 0.2, 3.0
"""Length as a share of the reference's: full marks between, none below and above."""
_OFTEN_SHARED = 0.5
"""F1 of words from which some of their pairs must be shared, too."""
_STEEP = 3
"""Power of the share of pairs that a text falls short by."""
_REMEMBERED = 4096
"""Texts; the completions of a group often share their answer."""
_ENOUGH_WORDS = 8
"""Words from which a text cannot be the reference's in another order by chance."""
_ARTICLES = frozenset(("a", "an", "the"))
_LEADS_ON = _ARTICLES | {"in", "of", "at", "on", "with", "and", "is", "are", "there"}
"""Words after which no sentence ends."""
_AFTER_NO_ARTICLE = _LEADS_ON | {"no", "was", "were", _STOP}
_FUNCTION_WORDS = _AFTER_NO_ARTICLE | {"or", "to", "from", "it", "this", "that", "for", "seen"}

Pair = tuple[str, str]
"""Two words that follow each other; a sentence begins and ends with a stop."""


_NO_PAIRS = frozenset[Pair]()


class Wording(NamedTuple):
    """The words of a text.

    Attributes
    ----------
    words
        Each word, case folded, and with its number from 1 where it stands there again: what two
        texts share of them are then the words that they have in common, as often as both do.
    pairs
        Pairs that stand there.
    length
        How many words there are.
    repeated
        How many of its sentences have stood before, whatever their case and signs.
    size
        Bytes of UTF-8.
    """

    words: Set[str | tuple[str, int]]
    pairs: Set[Pair]
    length: int
    repeated: int
    size: int


class WordAgreement(NamedTuple):
    """How the words of a text fit a reference's; all 0 to 1.

    Attributes
    ----------
    words
        F1 of the words in any order, less what the length is off.
    worth
        Half of that and half the same of distinct pairs: words in order within their sentences,
        which may stand in any order.
    in_order
        1 but for a salad: nearly all of the reference's words, and hardly a pair of them.
    """

    words: float
    worth: float
    in_order: float


@lru_cache(maxsize=_REMEMBERED)
def count_words(text: str) -> Wording:
    """The words and pairs of a text."""
    again: int | None = None
    if text.isascii():  # texts are made of few sentences
        parts = text.lower().translate(_APART).split(_STOP)
        told = [_sentence_words(part) for part in parts]
        pieces = [word for of_sentence, _ in told for word in of_sentence]
        pairs = _NO_PAIRS.union(*[pairs for _, pairs in told])
        if not any(part[:1].isdigit() for part in parts):  # *1.5 cm* is one sentence
            of_words = [words for words, _ in told if len(words) > 1]  # not *Rt.*, *1.*, *Dr.*
            again = len(of_words) - len(set(of_words))
    else:
        pieces = _pieces(text)
        pairs = _pairs(pieces)
        pieces = [piece for piece in pieces if piece != _STOP]
    if again is None:
        of_text = [said for said in sentences(text.casefold()) if " " in said]
        again = len(of_text) - len(set(of_text))
    words: set[str | tuple[str, int]] = set(pieces)
    if len(words) < len(pieces):
        counted = Counter(pieces)
        words.update([(word, n) for word, times in counted.items() for n in range(1, times)])
    return Wording(words, pairs, len(pieces), again, bulk_of(text).size)


@lru_cache(maxsize=_REMEMBERED)
def _sentence_words(sentence: str) -> tuple[tuple[str, ...], frozenset[Pair]]:
    words = sentence.split()
    return tuple(words), _pairs(words) if words else _NO_PAIRS


def compare_words(said: Wording, wanted: Wording) -> WordAgreement:
    """Hold a text's words against a reference's."""
    if not said.length or not wanted.length:
        same = float(said.length == wanted.length)
        return WordAgreement(same, same, 1.0)
    shared = 2 * len(said.words & wanted.words) / (said.length + wanted.length)
    ordered = 2 * len(said.pairs & wanted.pairs) / (len(said.pairs) + len(wanted.pairs))
    fit = length_share(said.length / wanted.length)
    if (longer := said.size / wanted.size) > _FULL_TO:  # in signs, or in words of many letters
        fit = min(fit, length_share(longer))
    needed = shared - _OFTEN_SHARED if said.length >= _ENOUGH_WORDS else 0.0
    in_order = (ordered / needed) ** _STEEP if ordered < needed else 1.0
    return WordAgreement(shared * fit, (shared + ordered) / 2 * fit, in_order)


def order_of_sentences(said: str, wanted: str) -> float | None:
    """How far a text of a reference's words tells its sentences one after the other, 0 to 1.

    1 where it has at most as many runs of words of one sentence as the reference has sentences
    (*Right lung clear. Normal heart size.*), and each article and preposition stands where one may:
    words in any order have many runs, and articles before a verb or a stop. None where only the
    runs are too many: a sentence may take up what two of the reference's say.
    """
    pieces = _pieces(said)
    misplaced = sum(
        (after == _STOP and word in _LEADS_ON) or (word in _ARTICLES and after in _AFTER_NO_ARTICLE)
        for word, after in pairwise([*pieces, _STOP])
    )
    places: dict[str, set[int]] = {}
    told = sentences(wanted)
    for number, sentence in enumerate(told):
        for word in _pieces(sentence):
            places.setdefault(word, set()).add(number)
    runs = 0
    here: set[int] = set()
    for word in pieces:
        if word in places and word not in _FUNCTION_WORDS:
            if here.isdisjoint(places[word]):
                runs += 1
                here = places[word]
            else:
                here = here & places[word]
    if misplaced:
        return min(1.0, len(told) / (runs + 2 * misplaced)) ** _STEEP
    return 1.0 if runs <= len(told) else None


@lru_cache(maxsize=_REMEMBERED)
def words_by_polarity(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Words that tell something, as far as they are affirmed, and as far as they are denied."""
    affirmed, denied = set(), set()
    for sentence in SENTENCE_ENDS.split(text):
        denials = negations(sentence)
        turned = turns(sentence, denials)
        for match in _TELLING.finditer(sentence):
            if (word := match[0].lower()) not in _FUNCTION_WORDS:
                holds = polarity(sentence, *match.span(), denials, turned)
                (denied if holds is False else affirmed).add(word)
    return frozenset(affirmed), frozenset(denied)


def same_polarity(said: str, wanted: str) -> float:
    """Of the words that both texts have, the share that both affirm or both deny."""
    affirmed, denied = words_by_polarity(said)
    held, lacking = words_by_polarity(wanted)
    shared = (affirmed | denied) & (held | lacking)
    same = (affirmed & held) | (denied & lacking)
    return len(same) / len(shared) if shared else 1.0


def length_share(ratio: float) -> float:
    """1 for a length about the reference's, falling to 0 for far too short and far too long."""
    if ratio < _FULL_FROM:
        return max(0.0, (ratio - _NONE_BELOW) / (_FULL_FROM - _NONE_BELOW))
    if ratio > _FULL_TO:
        return max(0.0, (_NONE_ABOVE - ratio) / (_NONE_ABOVE - _FULL_TO))
    return 1.0


@lru_cache(maxsize=_REMEMBERED)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, without their signs; *1.5 cm* ends none."""
    if text.isascii() and not _DECIMAL.search(text):  # the same, and faster
        parts = " ".join(text.translate(_TO_STOPS).split()).split(_STOP)
        return tuple(filter(None, map(str.strip, parts)))
    parts = _SENTENCE_END.split(text)
    return tuple(bare for said in parts if (bare := " ".join(said.split())))


def _pairs(pieces: list[str]) -> frozenset[Pair]:
    return frozenset(pairwise([_STOP, *pieces, _STOP])) - {(_STOP, _STOP)}


def _pieces(text: str) -> list[str]:
    """Words and stops."""
    if text.isascii():  # the same, and faster
        return text.lower().translate(_APART).replace(_STOP, f" {_STOP} ").split()
    return [_STOP if piece in _STOPS else piece for piece in _PIECE.findall(text.casefold())]
