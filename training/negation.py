"""Whether a phrase of a sentence is affirmed or denied, as NegEx does (Chapman et al., 2001)."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

DENYING = frozenset(
    (
        *("no", "not", "without", "free", "absent", "absence", "negative", "clear"),
        *("neither", "nor", "resolution", "resolved", "rather", "unlikely", "likely"),
        *("never", "cannot", "devoid", "lack", "lacks", "lacking", "lacked"),
        *("existent", "nonexistent", "false", "untrue", "t"),  # the t of *isn't*
        *("isnt", "arent", "wasnt", "werent", "doesnt", "dont", "didnt"),
        *("hasnt", "havent", "hadnt", "cant", "couldnt", "wouldnt", "aint"),
    )
)
"""Words, lower case, without one of which no finding of a sentence is denied."""
_NT = r"n['\u2019\u00b4`]?t"
_SHORTENED = rf"(?:is|are|was|were|do|does|did|has|have|had|ca|could|would|ai){_NT}"
_NOT = rf"(?:not|never|can(?:not| not)|no longer|{_SHORTENED})"
_BE = r"(?:is|are|was|were|has|have|had)"
_SHOWN = (
    r"(?:seen|present|identified|visuali[sz]ed|visible|detected|demonstrated|evident|appreciated"
    r"|noted|found|observed|apparent|shown)"
)
_SLIGHTLY = r"(?: (?:\w+ly|to|be|been|yet|so|quite|any|much|all that))*"
_UNTOLD = (
    r"(?:chang\w+|increas\w+|decreas\w+|worse\w*|better|improv\w*|progress\w*|differ\w+|new|as|only"
    r"|larger?|bigg?(?:er)?|small(?:er)?|greater|resolv\w+|clear(?:ed|ing)?|calcified|cavitary|well"
    r"|exclu\w+|rule[sd]? out|free|devoid|lack\w*|absent|without|negative|unlikely|assess\w*"
    r"|evaluat\w+|determin\w+|distinguish\w*|previously)\b"
)
"""After *not*: what leaves the finding in place."""
_STILL_TOLD = rf"(?!{_SLIGHTLY} {_UNTOLD})"
_PARTLY_DONE = r"(?:partial|incomplete|near|almost|largely|mostly|some)\w*(?:[ -][a-z]+)?[ -]"
NORMAL = r"normal\b(?! to\b|,? (?:is |but |it is )*now\b)"
"""Not *normal to mildly enlarged*, *previously normal, now enlarged*."""
_BEFORE_NOW = (
    r"(?![^.;,]{0,40}\b(?:previously|before"
    r"|(?:on|in|at) (?:\w+ ){0,2}(?:prior|previous|earlier|older))\b)"
)
"""After *not seen*: not where it says that something is new."""
_LOOKED_FOR = re.compile(
    r"\b(?:(?:evaluat(?:e|ed|ing|ion)|assess(?:ed|ing|ment)?) for"
    r"|(?<!not )(?<!n['\u2019\u00b4`]t )(?<!cant )(?<!unable to )(?<!difficult to )"
    r"(?:rule[ -]out|r/o))(?: [\w-]+){0,3} $",
    re.I,
)
"""Before a mention that an indication only asks about."""
_REACH = 160
"""Characters after a mention within which it can be denied."""
_ASKED_REACH = 60
_ENDS = r"(?=\s*(?:$|[.,;:!)]))"
_UNLIKELY_ENDS = (
    r"(?=\s*(?:$|[.,;:!)]|(?:given|in|at|on|but|and|or|because|due|from|by|based|as|with"
    r"|to be (?:present|there))\b))"
)
"""After *unlikely* where it denies what stands before it, not *unlikely pneumonia*."""
_NEGATION = re.compile(
    rf"\b(?:no(?: longer)?|not|never|cannot|{_SHORTENED}|without|free (?:of|from)|devoid of"
    r"|lack(?:s|ed|ing)?(?: of)?|(?<!is )(?<!are )(?<!was )(?<!were )absent|absence of"
    r"|non-?existent|negative for|clear of|neither|nor|rather than|(?:false|untrue) that"
    r"|resolution of|(?<!has )(?<!have )(?<!is )(?<!been )resolved"
    rf"|(?:unlikely|less likely)(?!{_UNLIKELY_ENDS}))\b",
    re.I,
)
_LEFT_IN_PLACE = re.compile(
    rf"{_NOT}{_SLIGHTLY} {_UNTOLD}"
    r"|(?:no|without)(?: [\w-]+){0,3}? (?:change|changes(?! of)|increase|decrease|worsening"
    r"|improvement|progression|resolution|clearing|lack|only|excluded)\b"
    r"(?!,? or\b|,[^.;]{0,120}\bor\b)",
    re.I,
)
"""Negations of a change, or of a negation: what is named after them is there."""
_PARTLY_BEFORE = re.compile(rf"\b{_PARTLY_DONE}$", re.I)
"""Before *resolution*: some is left."""
_OF_SOME = re.compile(
    r"\s+(?:other|additional|further|second|new|larger?|sizable|significant)\b", re.I
)
"""After *no*: others than these are denied, which says nothing of the finding as such."""
_SOME = (
    r"(?:an?|the|there|small|tiny|trace|minimal|mild|moderate|large|severe|stable|unchanged"
    r"|enlarged|persist(?:ent|ing)|residual|known)"
)
_SIDED = r"(?:left|right|bilateral|bibasilar|biapical|bibasal)"
_NO_LIST = r"(?![^.;]{0,200}?,? or\b)"
_TURN = re.compile(
    r"\b(?:but|however|although|though|except|yet|while|whereas|despite|given|apart from|aside from"
    r"|other than|(?<!that )there (?:is|are|was|were))\b"
    rf"|(?:,|\band|\bwith)\s+(?=(?:{_SIDED} )?{_SOME}\b{_NO_LIST})"
    rf"|(?:,|\bwith)\s+(?=(?:{_SIDED}|new)\b(?! (?:or|and|side)\b){_NO_LIST})"
    rf"|\b{_SHOWN}(?=, {_NO_LIST})",
    re.I,
)
"""Where what was denied before is denied no longer."""
_JOINT = re.compile(r",\s+(?:and\s+)?|\sand\s+", re.I)
_CLAUSE = re.compile(
    r"(?!(?:or|nor|no|not|without|neither|if|as|which|that)\b)"
    rf"(?:(?!\b(?:and|or|nor)\b)[^.;,]){{2,80}}?\b(?:{_BE}|persists?|remains?|appears?)\b"
    rf"(?P<shown>(?: \w+)? {_SHOWN}\b)?",
    re.I,
)
"""After a joint: a clause with a verb of its own."""
_ADJECTIVES = re.compile(r"(?: \w+(?:al|ar|ble|cute|ed|ic|nt|ve))+", re.I)
"""Before a comma: *no displaced, acute fracture is seen*."""
_VERB = re.compile(rf"\b{_BE}\b", re.I)
_BEFORE = 30
"""Characters before *resolution* in which *partial* is looked for."""
_BACK = 120
"""Characters before a joint in which a verb is looked for."""
_GONE = r"(?:no|none|not|never|nil|absent|negative|excluded|unlikely|nonexistent)"
_AND_ANOTHER = (
    r",\s+(?!(?:which|that|as|if|when|considered|felt|thought|\w+ly)\b)"
    rf"(?:(?!\b(?:and|or|nor)\b)[^.;,]){{2,60}}?\b(?:{_BE}|less likely|unlikely)\b"
)
"""*Right effusion, left effusion has resolved*: the second alone has."""
_DENIED_AFTER = re.compile(
    rf"(?:(?!\b(?:{_BE}|(?<!previously )(?:seen|present|noted)|there|but|with|without|no)\b"
    rf"|\b{_PARTLY_DONE}resol|{_AND_ANOTHER})[^.;]){{0,120}}?"
    rf"(?:\b{_BE}\b(?: been| now| also| currently| considered| felt| thought| believed| to be"
    r"| completely| fully| entirely)*"
    rf" (?:(?:not|never)\b{_STILL_TOLD}{_BEFORE_NOW}|no longer{_STILL_TOLD}"
    r"|resolved|absent|excluded|ruled out|cleared|non-?existent|nil|false"
    rf"|(?:less likely|unlikely){_UNLIKELY_ENDS})"
    rf"|\b(?:(?:is|are|was|were|has|have|had|ca|could){_NT}|can(?:not| not)|could not)\b"
    rf"{_STILL_TOLD}{_BEFORE_NOW}"
    rf"|\b(?:does|do|did|would)(?: not|{_NT}) (?:be|exist|persist|remain|occur|appear|show)\b"
    rf"{_STILL_TOLD}{_BEFORE_NOW}"
    rf"|\b(?:not(?: (?!previously)\w+ly)?|no longer) {_SHOWN}\b{_BEFORE_NOW}"
    r"|\b(?:absent|resolved|denied|non-?existent)\b"
    rf"|\b(?:less likely|unlikely){_UNLIKELY_ENDS}"
    rf"|:\s*{_GONE}\b{_STILL_TOLD}|\(\s*{_GONE}\s*\)|\s[-\u2013\u2014]+\s*{_GONE}{_ENDS})",
    re.I,
)
_MAYBE_DENIED_AFTER = re.compile(
    r"\b(?:not|never|cannot|longer|resolved|absent|excluded|ruled|cleared|unlikely|likely|nil|false"
    rf"|nonexistent|denied)\b|{_NT}\b|[:(]|[-\u2013\u2014] ?[nae]",
    re.I,
)
_ASKED = re.compile(r"\?(?![a-z])")
"""Not *?pneumonia*, which is a hedge."""
_SUPPOSED = re.compile(r"\W*(?:if|unless|whether|suppos\w+|assuming|should|were)\b[^,]*", re.I)
_CALLED_ABNORMAL = re.compile(
    rf"\b(?:{_NOT}|neither|nor|hardly|far from)"
    r"(?: (?:\w+ly|be|been|quite|at all|within|in|of|an?))*"
    r" (?:normal|clear|unremarkable|negative)\b(?! (?:whether|if|for|how)\b)",
    re.I,
)


class Negation(NamedTuple):
    """What denies: a word or phrase, and up to where what it denies may begin."""

    start: int
    end: int
    reach: int
    denies_on: bool
    """Whether it denies what follows to the end, not only up to the word for a change."""


_start = attrgetter("start")


def negations(sentence: str) -> list[Negation]:
    """Negations that deny what follows them, in order."""
    found = []
    kept = 0
    for match in _NEGATION.finditer(sentence):
        start, end = match.span()
        if start >= kept:  # else the second of "not free of"
            left = _LEFT_IN_PLACE.match(sentence, start)
            if left:
                kept = left.end()
            elif sentence[start : start + 5].lower() == "resol" and _PARTLY_BEFORE.search(
                sentence, max(0, start - _BEFORE), start
            ):
                kept = start + 1
        # "No emphysematous change in the effusion": what comes before *change* is denied
        denies_on = start >= kept
        found.append(Negation(start, end, len(sentence) if denies_on else kept, denies_on))
    return found


def turns(sentence: str, denials: Sequence[Negation]) -> list[int]:
    """Where what was denied before is denied no longer, in order.

    Parameters
    ----------
    denials
        :func:`negations` of the sentence.
    """
    if not any(one.denies_on for one in denials):
        return []
    found = [match.start() for match in _TURN.finditer(sentence)]
    joints = [
        joint.start()
        for joint in _JOINT.finditer(sentence, denials[0].end)
        if _opens_a_clause(sentence, joint, denials)
    ]
    return sorted(found + joints) if joints else found


def _opens_a_clause(sentence: str, joint: re.Match[str], denials: Sequence[Negation]) -> bool:
    """Whether what follows says something of its own, and is no further item of a list.

    *No effusion and pneumothorax are seen* is a list, unlike *There is no effusion and
    pneumothorax is seen*, and *No effusion, pneumothorax is seen*.
    """
    clause = _CLAUSE.match(sentence, joint.end())
    if not clause:
        return False
    denial = denials[bisect_left(denials, joint.end(), key=_start) - 1]
    before = max(denial.end, joint.start() - _BACK)
    if _ADJECTIVES.fullmatch(sentence, before, joint.start()):
        return False
    if not clause["shown"]:
        return True
    if joint[0][0] == "," and sentence.find(",", before, joint.start()) < 0:
        return True
    return bool(_VERB.search(sentence, max(0, joint.start() - _BACK), joint.start()))


def polarity(
    sentence: str, start: int, end: int, denials: Sequence[Negation], turned: Sequence[int]
) -> bool | None:
    """Whether what stands at ``start:end`` is affirmed; None where neither is said.

    Parameters
    ----------
    denials, turned
        Of the sentence: :func:`negations`, :func:`turns`.
    """
    if _LOOKED_FOR.search(sentence, max(0, start - _ASKED_REACH), start):
        return None
    last = bisect_left(denials, end, key=_start) if denials else 0
    if last:
        denial = denials[last - 1]
        turn = bisect_left(turned, denial.end)
        still = turn == len(turned) or turned[turn] >= start
        if denial.start >= start:  # "the heart is not enlarged", but "not changed, enlarged"
            still &= denial.denies_on or end - denial.reach <= len(" in size")
        if still and start < denial.reach:
            # "No other nodule", "no large effusion"
            some = denial.start < start and _OF_SOME.match(sentence, denial.end)
            return None if some else False
    if _MAYBE_DENIED_AFTER.search(sentence, end, end + _REACH):
        return _DENIED_AFTER.match(sentence, end) is None
    return True


def asked_until(sentence: str) -> int:
    """Up to where a sentence only asks, or supposes: *Is there a mass?*, *If there is one,*."""
    end = 0
    if "?" in sentence:
        for match in _ASKED.finditer(sentence):
            end = match.end()
    supposed = _SUPPOSED.match(sentence)
    return max(end, supposed.end()) if supposed else end


def called_abnormal(sentence: str) -> bool:
    """Whether a sentence denies that something is normal or clear."""
    return _CALLED_ABNORMAL.search(sentence) is not None
