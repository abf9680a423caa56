"""Whether a phrase of a sentence is affirmed or denied, as NegEx does (Chapman et al., 2001)."""

from __future__ import annotations

import re

DENYING = frozenset(
    (
        *("no", "not", "without", "free", "absent", "absence", "negative", "clear"),
        *("neither", "nor", "resolution", "resolved", "rather", "unlikely"),
    )
)
"""Words, lower case, without one of which no finding of a sentence is denied."""
_LOOKED_FOR = re.compile(
    r"\b(?:(?:evaluat(?:e|ed|ing|ion)|assess(?:ed|ing|ment)?) for"
    r"|(?<!not )(?<!unable to )(?<!difficult to )(?:rule[ -]out|r/o))(?: [\w-]+){0,3} $",
    re.I,
)
"""Before a mention that an indication only asks about."""
_REACH = 160
"""Characters after a mention within which it can be denied."""
_ASKED_REACH = 60
_NEGATION = re.compile(
    r"\b(?:no(?: longer)?|not|without|free of|absen(?:t|ce of)|negative for|clear of|neither|nor"
    r"|resolution of|resolved)\b"
    r"|^\W*unlikely\b",  # further on it denies what stands before it
    re.I,
)
_NOT_A_NEGATION = re.compile(
    r"\b(?:no|not|without)(?: any)? (?:significant |interval |appreciable )*"
    r"(?:change|increase|decrease|worsen\w*|improve\w*|only|exclude\w*|ruled out|be excluded)"
    r"|\bnot (?:be |been |entirely |completely )*(?:exclude\w*|ruled out)",
    re.I,
)
_OF_SOME = re.compile(
    r"\s+(?:other|additional|further|second|new|larger?|sizable|significant)\b", re.I
)
"""After *no*: others than these are denied, which says nothing of the finding as such."""
_TURN = re.compile(
    r"\b(?:but|however|although|though|except|yet|while|whereas|apart from|aside from|other than"
    r"|there (?:is|are|was|were))\b|(?:,|\band|\bwith)\s+(?=(?:an?|the|there|small|tiny|trace"
    r"|minimal|mild|moderate|large|severe|stable|unchanged)\b(?![^.;]*,? or\b))",
    re.I,
)
"""Where what was denied before is denied no longer."""
_DENIED_AFTER = re.compile(
    r"(?:(?!\b(?:is|are|was|were|has|have|had|seen|present|noted|there|but|with|without|no)\b)"
    r"[^.;]){0,120}?(?:\b(?:is|are|was|were|has|have|had)\b(?: been| now| also| currently)*"
    r" (?:not\b(?! (?:be |been |entirely )*(?:excluded|ruled out))|no longer|resolved|absent"
    r"|excluded|ruled out|cleared|unlikely)|\b(?:absent|resolved|unlikely)\b"
    r"|:\s*(?:no|none|absent|negative)\b)",
    re.I,
)
_MAYBE_DENIED_AFTER = re.compile(
    r"\b(?:not|no longer|resolved|absent|excluded|ruled|cleared|unlikely)\b|:", re.I
)


def negations(sentence: str) -> list[re.Match[str]]:
    """Negations that deny what follows them."""
    found = list(_NEGATION.finditer(sentence))
    if not found:
        return found
    other = [match.span() for match in _NOT_A_NEGATION.finditer(sentence)]
    return [m for m in found if not any(start <= m.start() < end for start, end in other)]


def turns(sentence: str) -> list[int]:
    """Where what was denied before is denied no longer."""
    return [match.start() for match in _TURN.finditer(sentence)]


def polarity(
    sentence: str, start: int, end: int, denials: list[re.Match[str]], turned: list[int]
) -> bool | None:
    """Whether what stands at ``start:end`` is affirmed; None where neither is said.

    Parameters
    ----------
    denials, turned
        Of the sentence: :func:`negations`, :func:`turns`.
    """
    if _LOOKED_FOR.search(sentence, max(0, start - _ASKED_REACH), start):
        return None
    for negation in reversed(denials):
        if negation.start() >= end:
            continue
        if any(negation.end() <= turn < start for turn in turned):
            break
        # "No other nodule", "no large effusion"
        return None if _OF_SOME.match(sentence, negation.end()) else False
    if _MAYBE_DENIED_AFTER.search(sentence, end, end + _REACH):
        return _DENIED_AFTER.match(sentence, end) is None
    return True
