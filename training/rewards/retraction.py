"""Where a report takes back what it said, or says that it is none on this film.

By rule, as NegEx reads denials: the phrasings that are known. A report that unsays itself in other
words is read as one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Set

from training.rewards.wording import Wording, sentences

_WRONG = frozenset(
    (
        *("incorrect", "wrong", "false", "untrue", "mistaken", "disregard", "ignore", "opposite"),
        *("contrary", "reverse", "invented", "fictitious", "retracted", "withdrawn"),
        *("true", "correct", "real", "really", "accurate", "valid", "case"),
    )
)
_GONE = frozenset(("resolved", "gone", "cleared", "disappeared", "vanished"))
_OF_ALL = frozenset(("none", "nothing", "all", "each", "everything", "any"))
_WHAT = frozenset(
    (
        *("this", "that", "these", "those", "them", "it", "above", "foregoing", "preceding"),
        *("previous", "rest", "findings", "statements", "sentences"),
    )
)
"""Words of the first set, or of both others, stand in every text that :data:`_TAKEN_BACK` finds."""
_DISOWNING = frozenset(
    (
        *("disagree", "disagrees", "disagreed", "agree", "agrees", "made", "making", "make"),
        *("belong", "belongs", "pertain", "pertains", "apply", "applies", "refer", "refers"),
        *("relate", "relates", "describe", "describes", "exist", "match", "concern", "another"),
        *("different", "someone", "somebody", "example", "fabrication", "exercise", "joke"),
        *("draft", "template"),
        *("guess", "guesses", "guessing", "guessed", "placeholder", "sample", "fiction", "lie"),
        *("illustration", "demonstration", "teaching", "lying", "lied", "joking", "kidding"),
        *("hypothetical", "imaginary", "imagined", "fictional", "fabricated", "hallucinated"),
        *("fake", "bogus", "erroneous", "invalid", "inaccurate", "unfounded", "random"),
        *("refuted", "rejected", "overruled", "dismissed", "reject", "rejects", "overrules"),
        *("dismisses", "refutes", "corrects", "doubts", "discarded", "discard", "retract"),
        *("retracts", "withdraw", "withdraws", "believe", "trust", "rely", "back", "nonsense"),
        *("patient", "actual", "error", "errors", "crossed", "deleted", "struck", "void", "mixed"),
        *("copied", "opposite", "end", "dream", "use", "file", "send", "read", "strike", "scratch"),
        *("delete", "remove", "see", "find", "confirm", "found", "saw", "those", "none", "nothing"),
        *("unsupported", "baseless", "cancelled", "canceled", "test"),
    )
)
"""Words of which one stands in every text that :data:`_DISOWNED` finds."""
_IS_WRONG = r"(?:incorrect|wrong|false|untrue|mistaken|invented|fictitious|retracted|withdrawn)"
_IS_RIGHT = r"(?:true|correct|real|accurate|valid|the case)"
_IS_THERE = r"(?:present|there|seen|found|visible|identified|noted)"
_WHAT_WAS_SAID = (
    r"(?:(?:the |these |those )?(?:(?:above|foregoing|preceding|previous) )?(?:findings|statements"
    r"|sentences)|(?:the )?(?:above|foregoing|preceding|rest)|this|that|these|those|them|it)"
)
_BE = r"(?:is|are|was|were|being)"
_ENDS = r"(?=\s*\)?\s*(?:[.;!\n]|\Z))"
_TAKEN_BACK = re.compile(
    r"\b(?:above|foregoing|preceding|previous|this|that|report|findings?|it)\b[^.;]{0,20}?"
    rf"\b{_BE}(?: all| entirely| completely)? {_IS_WRONG}\b|\b(?:disregard|ignore)\b"
    rf"|\b{_WHAT_WAS_SAID} {_BE} (?:not|never) (?:\w+ly )?{_IS_RIGHT}{_ENDS}"
    rf"|\b(?:none|nothing|not any) of {_WHAT_WAS_SAID}"
    rf"(?: {_BE} (?:\w+ly )?(?:{_IS_RIGHT}|{_IS_THERE}))?{_ENDS}"
    rf"|\b(?:all|each|everything)(?: of)? {_WHAT_WAS_SAID}(?: {_BE}|:)?"
    rf" (?:{_IS_WRONG}|absent|denied|gone|not (?:{_IS_THERE}|{_IS_RIGHT}))\b"
    r"|\bthe (?:opposite|contrary|reverse)(?: of (?:\w+ ){1,3}?)? ?(?:is|was|holds)\b"
    rf"|(?:[:,(\u2013\u2014]|\s-)\s*(?:(?:that|this|which) is )?(?:{_IS_WRONG}"
    rf"|not (?:{_IS_RIGHT}|really)){_ENDS}",
    re.I,
)
"""Where a report takes back what it said."""
_NO_REPORT = (
    r"(?:fabrications?|examples?|exercises?|tests?|jokes?|drafts?|templates?|guess(?:es|work)?"
    r"|placeholders?|samples?|lies?|fiction|fantasy|illustrations?|demonstrations?|hallucinations?|inventions?"
    r"|errors?|mistakes?|nonsense|random text)"
)
_NOT_TRUE = (
    r"(?:fabricated|hallucinated|hypothetical|imaginary|imagined|fictional|fake|bogus|erroneous"
    r"|in error|invalid|inaccurate|unfounded|baseless|unsupported|random|refuted|rejected|overruled"
    r"|dismissed|cancel+ed|discarded|deleted|crossed out|struck out|void|made[ -]up|guessed)"
)
_TOLD = (
    rf"(?:{_WHAT_WAS_SAID}|(?:the |this |that |my |these |those )?(?:whole |entire )?(?:report|text"
    r"|reading|answer|description|observations?|everything|all)(?: (?:above|here))?)"
)
_ANOTHER = (
    r"(?:an?other|(?:an? )?different|the (?:wrong|other|next|previous)) (?:patient|person|case|man"
    r"|woman|child|film|study|radiograph|image|chest)"
)
_DISOWNED = re.compile(
    r"\b(?:dis|(?:do|does|did)(?: not|n['\u2019]t) )agree[sd]?\b"
    rf"|\b(?:made|making|make) (?:all |most |any )?(?:of )?{_TOLD}(?: all)? up\b"
    rf"|\b{_TOLD} (?:all |really |actually |probably )*(?:belongs?|pertains?|appl(?:y|ies)|refers?"
    rf"|relates?) to (?:{_ANOTHER}|someone|somebody|no ?(?:one|body))"
    rf"|\b{_TOLD} {_BE} (?:all |really |actually |probably )*(?:of|from|for|about|on) {_ANOTHER}"
    rf"|\b{_TOLD} (?:do|does|did)(?: not|n['\u2019]t) (?:apply|describe|belong|pertain|refer|relate"
    r"|exist|match|concern|hold)\b"
    rf"|\b{_TOLD} {_BE} (?:(?:only|just|merely|purely|all|completely|entirely|actually|really"
    rf"|probably|partly|been|simply) )*(?:an? )?(?:{_NO_REPORT}|{_NOT_TRUE})\b"
    rf"|\b(?:only|just|merely|purely) (?:an? )?{_NO_REPORT}\b"
    r"|\bfor (?:illustration|demonstration|teaching|testing|training)(?: purposes)?(?: only)?"
    r"(?=\s*[.;!)\n]|\Z)"
    r"|\bI (?:(?:was|am|have been) (?:\w+ )?(?:lying|joking|kidding|guessing)|lied|guess(?:ed)?"
    r"|retract|withdraw|reject|made)\b|\bjust kidding\b"
    rf"|\b(?:do|does|should)(?: not|n['\u2019]t) (?:believe|trust|rely on) (?:any of )?{_TOLD}"
    rf"|\b(?:discard|reject|retract|withdraw) (?:all of )?{_TOLD}|\btakes? {_TOLD} back\b"
    rf"|\btakes? back {_TOLD}"
    r"|\b(?:attending|radiologist|reviewer|consultant|colleague|supervisor|expert|reader)s?"
    r" (?:(?:\w+ly|has|have|then|later|himself|herself) )*(?:disagree|reject|overrul|refut|dismiss"
    r"|correct|doubt)(?:s|es|ed|e)?\b"
    r"|\bnot this (?:patient|film|study)\b|\b(?:an?other|a different|the wrong) patient's"
    r"|\bthe wrong (?:film|study|image|radiograph)\b|\bmixed up\b|\bcopied from\b|\bopposite day\b"
    r"|\bend of (?:the |this )?(?:example|template|sample)\b"
    r"|\b(?:it|this|that) was (?:all )?a dream\b"
    r"|\b(?:do not|don['\u2019]t|never) (?:use|read|file|send) (?:this|the|any) (?:report|text)\b"
    rf"|\b(?:strike|scratch|delete|remove) {_TOLD}"
    r"|\b(?:I|we|one|you) (?:(?:can|could|do|did)(?:not| not|n['\u2019]t) (?:\w+ly )?(?:see|find"
    r"|confirm) any(?:thing)?|(?:see|find|found|saw) (?:none|nothing))"
    r" of (?:this|these|that|it|them|the kind)\b"
    rf"|\b{_TOLD} (?:\w+ )?(?:describes?|concerns?|{_BE} those of) (?:an?other"
    r"|an? (?:different|prior|old)"
    r"|the (?:wrong|prior|previous|other|old|last))\b"
    rf"|\b(?:none|nothing|not any) of {_WHAT_WAS_SAID}(?: really| actually)? (?:applies|holds"
    r"|exists|matters|counts|can be (?:seen|confirmed|found)"
    rf"|{_BE} (?:seen|present|there|confirmed|found))"
    r"(?: (?:now|today|here|any ?more))?(?=\s*\)?\s*(?:[.;!\n]|\Z))"
    r"|\bthe (?:real|actual|true|correct) (?:findings?|report|reading|film)\b"
    r"|\b(?:wrong|another|different) patient(?=\s*\)?\s*(?:[.;!\n]|\Z))",
    re.I,
)
"""Where a report says that it is not one on this film."""
_NOW = r"(?:(?:but|and|or|actually|in fact|well|now|today|currently),? )*"
_ALL_BACK = re.compile(
    rf"{_NOW}(?:not(?: really| at all| so)?|not {_IS_RIGHT}|no|nope|never|(?:that (?:is|was) )?"
    rf"{_IS_WRONG}|(?:it|they|these|those|this|that|all)(?: (?:of|them|these|this|it|has|have|is"
    r"|are|all|both|now|since|been|completely))* (?:resolved|gone|cleared|disappeared|vanished)"
    rf"|all {_IS_WRONG}|(?:none|nothing)(?: of (?:them|it|this|that|these))? {_BE} {_IS_THERE})"
)
"""A sentence that says no more than that the one before is wrong."""
_ALL_NORMAL = re.compile(
    rf"{_NOW}(?:all|everything)(?: of)?(?: {_WHAT_WAS_SAID})?(?: {_BE})?(?: now)?"
    r" (?:normal|clear|unremarkable|negative|absent)(?: now| today)?"
)
"""A sentence that is no end of a report with findings; *otherwise all normal* is one."""
_BACK = _WRONG | {"not", "no", "nope", "never", "none", "nothing", *_GONE}
_ALL = frozenset(("all", "everything"))
"""Words that stand in what the two find."""
_EITHER = _DISOWNING | _WRONG
_TAKING_BACK = (_BACK - {"no"}) | _OF_ALL | _DISOWNING
_NO_AT_AN_END = ("no", ".")
"""As :func:`training.rewards.wording.count_words` pairs words."""
_BACK_ENDS = _BACK | {"so", "all", "really", "present", "there", "seen", "found", "visible"}
_BACK_ENDS |= {"identified", "noted", "resolved", "gone", "cleared", "disappeared", "vanished"}
_NORMAL_ENDS = frozenset(("normal", "clear", "unremarkable", "negative", "absent", "now", "today"))
"""And with which they end."""
_LONGEST = 48
"""Signs that such a sentence has at most."""


def unsays_itself(report: str, wording: Wording, findings: bool) -> bool:
    """Whether a report takes back what it said, disowns it, or ends with *all is normal*.

    Parameters
    ----------
    wording
        Its words: of those that may do so, most reports have none but a *no* within a sentence.
    findings
        Whether it names any.
    """
    words = wording.words
    if words.isdisjoint(_TAKING_BACK) and _NO_AT_AN_END not in wording.pairs:
        return False
    return _taken_back(report, words) or (findings and _calls_all_normal(report, words))


def _taken_back(report: str, words: Set[str]) -> bool:
    told = not (words.isdisjoint(_WRONG) and (words.isdisjoint(_OF_ALL) or words.isdisjoint(_WHAT)))
    if told and _TAKEN_BACK.search(report):
        return True
    if not words.isdisjoint(_EITHER) and _DISOWNED.search(report):
        return True
    return not words.isdisjoint(_BACK) and _says_all_is(_ALL_BACK, _BACK_ENDS, report)


def _calls_all_normal(report: str, words: Set[str]) -> bool:
    return not words.isdisjoint(_ALL) and _says_all_is(_ALL_NORMAL, _NORMAL_ENDS, report)


def _says_all_is(pattern: re.Pattern[str], ends: Set[str], report: str) -> bool:
    """Whether a sentence says that and nothing else, and answers no question."""
    for said in sentences(report.casefold().replace("?", " ")):
        if said.rpartition(" ")[2] in ends and len(said) < _LONGEST and pattern.fullmatch(said):
            return True
    return False
