"""Which part of a sentence tells of the film in question.

A report says what its film shows. What it asks somebody to look for, supposes, tells of patients
in general, of another film or of somebody else is neither affirmed nor denied of it.
"""

from __future__ import annotations

import re

from training.negation import TELLS, earlier_until

_WANTED = re.compile(
    r"\W*(?:please |kindly |then |also |to |we |i |one |you |the reader |should |must |will )*"
    r"(?:(?:evaluate|assess|look|search|check|watch|screen|monitor|ask)(?:ed|ing)? (?:\w+ ){0,3}?"
    r"for\b|rule[ -]out\b|r/o\b|exclude\b|(?:the |your )?(?:task|aim|goal) (?:is|was) to\b"
    r"|(?:the )?differential(?: diagnos\w+)? to (?:search|consider|exclude|check|rule out)\b"
    r"|(?:search|review|look-?up) (?:patterns?|lists?|items?)\b|expect(?:ed|ing)?\b"
    r"|(?:(?:possible )?(?:answers|options|candidates|choices)|labels|keywords|check-?list|template"
    r"|example|sample(?: report)?|(?:clinical )?(?:indication|question|history)"
    r"|reason for exam\w*)(?: are| include)?\s*:?(?<!\w)(?= )|(?:the )?options (?:are|include)\b)"
    rf"(?:(?!\b{TELLS}\b)[^.;])*",
    re.I,
)
"""From the start of a sentence: what it asks somebody to look for, or gives as an example."""
_IMAGINED = re.compile(
    r"\W*(?:now |just |let us |let's |please |one (?:may|might|could) )*(?:imagine|pretend"
    r"|suppos\w+|assume|assuming|say there|picture|expect|dream|whether|to (?:prevent|avoid))\b"
    r"|\W*(?:many |most |some |other |typical |common |the |elderly |healthy )*"
    r"(?:patients|people|cases|persons|individuals|adults|children|dogs|cats|animals)"
    r" (?!(?:is|was)\b)"
    r"|\W*(?:typical |common |classic(?:al)? )(?:signs|features|findings|causes|examples?)"
    r" (?:of|include|are)\b"
    r"|\W*in (?:general|theory|practice|books|healthy|patients|elderly|my dream)\b"
    r"|\W*(?:next|tomorrow|one day|some day|in the future)\b",
    re.I,
)
"""From the start of a sentence that tells of no film."""
_WHO_ELSE = (
    r"(?:brothers?|sisters?|siblings?|twins?|mothers?|fathers?|parents?|sons?|daughters?|cousins?"
    r"|uncles?|aunts?|grand\w+|wife|husband|spouse|relatives?|family members?|neighbou?rs?"
    r"|colleagues?)"
)
_IRREAL = re.compile(
    r"(?<!which )(?<!that )(?<!this )(?<!it )\bwould(?: not|n['\u2019]t)?(?: \w+ly)? (?:have )?(?:"
    r"(?:be|been)(?: \w+ly)? (?:abnormal|pathologic\w*|different|reported|noted|described|mentioned"
    r"|listed|seen|visible|present|found|there|on the|in the|at the|expected|an? (?:finding|sign)"
    r"|findings|signs|surprising|alarming|bad|serious|wrong|unusual)"
    r"|look(?:ed)?|appear(?:ed)?|differ(?:ed)?|qualify|count|read|say|state|describe|shown?)\b"
    rf"|\b{_WHO_ELSE}(?: (?:also|once|\w+ly))? (?:has|have|had|is|was|were|showed|shows)\b"
    rf"|\b{_WHO_ELSE}(?:['\u2019]s?\b|\s*:)"
    r"|\b(?:an?other|different|other|wrong|next|previous|typical|hypothetical|imaginary|fictional"
    r"|textbook|sample) (?:patient|case|example|person|individual|chest|world)s?\b"
    r"|\b(?:someone|somebody|anyone|everyone) else\b|\bhypothetical(?:ly)?\b|\btextbooks?\b"
    r"|\b(?:(?:could|might|may) have been|will (?:be|develop|get|appear|show|have))\b"
    r"|\b(?:claims?|claimed|alleges?|alleged(?:ly)?|supposed(?:ly)?|purported(?:ly)?|pretends?)\b"
    r"|\b(?:are|is) (?:very |quite )?(?:common|frequent|rare|usual|often|usually|commonly"
    r"|typically)(?: \w+)? in\b|\b(?:one (?:sees|finds|expects)|you (?:see|find|expect))\b"
    r"|\beither\b[^.;]*\bor (?:they|it) (?:is|are) not\b|\bin theory\b"
    r"|\bnobody (?:said|says|claims)\b|\btypical report\b"
    r"|\b(?:is|are) (?:an? )?(?:\w+ )?(?:emergenc(?:y|ies)|defined as|terms? for|accumulations? of"
    r"|conditions? (?:in|of))\b"
    r"|\b(?:possible|potential|typical) findings\b[^.;]*\binclude\b"
    r"|\btrained on\b|\b(?:dream|imagination|fairy)\w*\b",
    re.I,
)
"""In a sentence that tells of no film, or of another's."""
_UNKNOWN = re.compile(
    r"\b(?:un(?:clear|certain|known|sure)|(?:not|never) (?:known|clear|certain|sure)|wonder\w*"
    r"|asks?|asked|questions?|queries|queried|doubtful|cannot (?:say|tell)"
    r"|to (?:see|determine|decide|check))"
    r" (?:\w+ )?(?:whether|if)\b.*",
    re.I | re.S,
)
"""From where on a sentence says that it is not known."""
_LIST_GOES_ON = re.compile(
    rf"(?:,| and| or|,? (?:and|or))(?: (?!(?:{TELLS}|with|without|no|not)\b)[\w-]+){{0,4}} ", re.I
)
_STILL = re.compile(
    r"\b(?:unchanged|stable|persist\w*|remain\w*|increas\w*|decreas\w*|larger|smaller|again|still"
    r"|similar\w*|redemonstrat\w*|improv\w*|wors\w*|progress\w*|resolving|not changed|no change"
    r"|grown|shrunk|same|continu\w*)\b",
    re.I,
)
_AND_NOW = re.compile(r"\b(?:now|today|is|are|has|have|also|compar\w*)\b", re.I)
"""With what an earlier film showed, and after it: what this one shows of it."""
_GONE_SINCE = re.compile(
    r"(?<!partially )(?<!partly )(?<!nearly )(?<!almost )(?<!not )\b(?:resolved|gone|cleared"
    r"|disappeared|vanished|normal)\b",
    re.I,
)
_WORDS = """
if unless whether suppose supposed supposing supposedly assume assuming should were had would wouldn
will could might may evaluate evaluated evaluating assess assessed assessing look looked looking
search searched searching check checked checking watch watching screen screened screening monitor
monitored monitoring ask asks asked asking rule o exclude review lookup checklist template example
sample differential indication question questions history reason task aim goal expect expected
expecting answers options candidates choices labels keywords imagine pretend pretends picture dream
dreams imagination say let patients people cases persons individuals adults children dogs cats
animals typical common classic classical general theory practice books healthy elderly next tomorrow
day future brother brothers sister sisters sibling siblings twin twins mother mothers father fathers
parent parents son sons daughter daughters cousin cousins uncle uncles aunt aunts grandmother
grandfather grandparents wife husband spouse relative relatives family neighbor neighbour neighbors
neighbours colleague colleagues another other different wrong previous patient case examples person
individual world else hypothetical hypothetically textbook textbooks claim claims claimed allege
alleges alleged allegedly purported purportedly frequent rare usual often usually commonly
typically either theory nobody emergency emergencies defined term terms accumulation
accumulations condition conditions possible potential one you prevent avoid trained fairy earlier
prior older old last preceding former formerly previously risk
"""
UNASSERTING = frozenset(_WORDS.split())
"""Words, lower case, without one of which a sentence tells of its film in whole, but for questions
by their sign."""


def untold_of(sentence: str) -> tuple[int, int]:
    """Up to where, and from where on, a sentence tells nothing of the film in question.

    *Look for a mass*, *A mass would be abnormal*, *His brother has a mass*, *The prior film showed
    a mass* and *It is not known whether there is a mass* tell nothing; *The mass of the prior film
    is unchanged* does.
    """
    end = len(sentence)
    if _IMAGINED.match(sentence) or _IRREAL.search(sentence):
        return end, end
    wanted = _WANTED.match(sentence)
    until = wanted.end() if wanted else 0
    earlier = earlier_until(sentence)
    if earlier > until and (
        _GONE_SINCE.search(sentence, earlier)
        or not (_STILL.search(sentence) or _AND_NOW.search(sentence, earlier))
    ):
        until = earlier
    unknown = _UNKNOWN.search(sentence)
    return until, unknown.start() if unknown else end


def list_goes_on(sentence: str, end: int, start: int) -> bool:
    """Whether two mentions, of which one ends and the other starts there, stand in one list."""
    return _LIST_GOES_ON.fullmatch(sentence, end, start) is not None
