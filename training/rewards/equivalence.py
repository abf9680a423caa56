"""Whether two short answers say the same, as a radiologist would take them."""

from __future__ import annotations

import re
from functools import lru_cache

from training.labels import kind_of, name_findings, read_findings

_BETWEEN = re.compile(r"\s*(?:[|,;/]|\band\b|\bor\b)\s*")
_WORD = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_CLAUSE = re.compile(r"[^|,.;:/]+")
_FILLING_WORDS = (
    "a an the is are it there in of at on to any seen noted present located evidence side sided"
    " view film image size"
)
_FILLING = frozenset(_FILLING_WORDS.split())
_SAME = {
    "yeah": "yes",
    "yep": "yes",
    "true": "yes",
    "correct": "yes",
    "false": "no",
    "nope": "no",
    "incorrect": "no",
    "normally": "normal",
    "unremarkable": "normal",
    "bilateral": "both",
    "bilaterally": "both",
    "nothing": "none",
    "mild": "small",
    "minimal": "small",
    "slight": "small",
    "trace": "small",
    "tiny": "small",
    "severe": "large",
    "big": "large",
    "bigger": "larger",
    "increased": "larger",
    "worse": "larger",
    "worsened": "larger",
    "decreased": "smaller",
    "improved": "smaller",
    "stable": "unchanged",
    "same": "unchanged",
    "middle": "mid",
    "lungs": "lung",
    "lobes": "lobe",
    "zones": "zone",
    "rt": "right",
    "lt": "left",
    "man": "male",
    "woman": "female",
    "anteroposterior": "ap",
    "posteroanterior": "pa",
    "one": "1",
    "two": "2",
    "three": "3",
}
_ASKS = re.compile(r"\?|^\s*(?:is|are|was|were|do|does|did|can|which|what|where|how)\b")
_BOTH = re.compile(r"\b(?:yes\W+no|no\W+yes)\b")
_IS_YES = frozenset(("yes", "present", "positive"))
_IS_NO = frozenset(("no", "absent", "negative", "none"))
_YES, _NO = frozenset({("yes",)}), frozenset({("no",)})

Items = frozenset[tuple[str, ...]]


def answer_worth(said: str, reference: str, asked: frozenset[str] = frozenset()) -> float:
    """What an answer to a question is worth, 0 to 1; 1 where it says what the reference says.

    Items are divided by ``|``, commas, semicolons, slashes, *and* or *or*; case, stops, articles
    and the order of words and items do not count, and common synonyms are one. One answer wanted,
    nothing but that one counts; of a list, every item named in vain takes away one that is right.
    After a *yes* or *no* a reason may follow that does not deny it; the reason alone will do.

    Parameters
    ----------
    said, reference
        The two answers.
    asked
        Labels of the findings that the question names.
    """
    wanted = _items(reference)
    if wanted in (_YES, _NO):
        return float(says_yes(said, asked) is (wanted == _YES))
    found = _items(said)
    if found == wanted:
        return float(bool(wanted))
    if len(wanted) < 2:
        return 0.0
    right = len(wanted & found)
    return max(0, 2 * right - len(found)) / len(wanted)


def is_closed(reference: str) -> bool:
    """Whether the answer wanted is *yes* or *no*."""
    return _items(reference) in (_YES, _NO)


@lru_cache(maxsize=65_536)
def says_yes(said: str, asked: frozenset[str] = frozenset()) -> bool | None:
    """Whether an answer says *yes* or *no* of the findings asked for.

    None where it says neither or both, or asks.
    """
    lower = said.lower()
    spoken = [words for clause in _CLAUSE.findall(lower) if (words := _words(clause))]
    if not spoken or _ASKS.search(lower) or _BOTH.search(lower):
        return None
    verdicts = {words[0] == "yes" for words in spoken if words in (["yes"], ["no"])}
    if spoken[0][0] in ("yes", "no"):
        verdicts.add(spoken[0][0] == "yes")
    elif len(spoken) == len(spoken[0]) == 1 and spoken[0][0] in _IS_YES | _IS_NO:
        verdicts.add(spoken[0][0] in _IS_YES)
    if asked:
        kinds = {kind_of(label) for label in asked}
        found = read_findings(said)
        verdicts |= {True for label in found.affirmed if kind_of(label) in kinds}
        verdicts |= {False for label in found.denied if kind_of(label) in kinds}
    return verdicts.pop() if len(verdicts) == 1 else None


@lru_cache(maxsize=65_536)
def _items(answer: str) -> Items:
    named = name_findings(answer.lower())
    items = (tuple(sorted(_words(item))) for item in _BETWEEN.split(named))
    return frozenset(item for item in items if item)


def _words(text: str) -> list[str]:
    words = [_SAME.get(word, word) for word in _WORD.findall(text)]
    telling = [word for word in words if word not in _FILLING]
    return telling or words
