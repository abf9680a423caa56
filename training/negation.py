"""Whether a phrase of a sentence is affirmed or denied, as NegEx does (Chapman et al., 2001)."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

SENTENCE_ENDS = re.compile(r"(?<=[.;!?])\s+|\n+")
"""What to split a text at, for what is read here sentence by sentence."""

DENYING = frozenset(
    (
        *("no", "not", "without", "free", "absent", "absence", "negative", "clear"),
        *("neither", "nor", "resolution", "resolved", "rather", "unlikely", "likely"),
        *("never", "cannot", "devoid", "lack", "lacks", "lacking", "lacked"),
        *("existent", "nonexistent", "false", "untrue", "t"),  # the t of *isn't*
        *("zero", "nil", "nothing", "hardly", "excluded", "ruled", "none", "instead", "opposed"),
        *("doubt", "doubts", "fail", "fails", "failed", "failing"),
        *("favor", "favors", "favored", "favoring", "favour", "favours", "favoured", "favouring"),
        *("isnt", "arent", "wasnt", "werent", "doesnt", "dont", "didnt"),
        *("hasnt", "havent", "hadnt", "cant", "couldnt", "wouldnt", "aint"),
        *("gone", "cleared", "disappeared", "vanished", "denied", "doubtful", "nowhere"),
        *("against", "inconsistent", "incompatible", "insufficient", "wrong", "incorrect"),
        *("mimic", "mimics", "mimicking", "simulate", "simulates", "simulating"),
        *("rule", "rules", "ruling", "exclude", "excludes", "o"),  # the o of *r/o*
        *("evaluate", "evaluated", "evaluating", "evaluation", "assess", "assessed", "assessing"),
        *("assessment", "look", "looking", "watch", "monitor", "screening", "risk", "history"),
        *("chance", "probability", "likelihood", "expected", "anticipated", "feared", "sought"),
        *("denies", "anything", "confirmed", "refuted", "disproved", "disproven", "dispelled"),
        *("hoped", "searched", "looked", "asked", "queried", "question", "missing"),
        *("improbable", "discounted", "dismissed", "develop"),
        *("should", "must", "needs", "need", "remains", "remain", "n"),
    )
)
"""Words, lower case, without one of which no finding of a sentence is denied or only looked for."""
_NT = r"n['\u2019\u00b4`]?t"
_SHORTENED = rf"(?:is|are|was|were|do|does|did|has|have|had|ca|could|would|ai){_NT}"
_NOT = rf"(?:not|never|can(?:not| not)|no longer|{_SHORTENED})"
_BE = r"(?:is|are|was|were|has|have|had)"
_SHOWN = (
    r"(?:seen|present|identified|visuali[sz]ed|visible|detected|demonstrated|evident|appreciated"
    r"|noted|found|observed|apparent|shown)"
)
_ENDS = r"(?=\s*(?:$|[.,;:!)]))"
_ITEM_ENDS = r"\s*(?:$|[.,;)])"
_SLIGHTLY = r"(?: (?:\w+ly|to|be|been|yet|so|quite|any|much|all that))*"
_AGAINST = (
    r"(?:argu(?:e|es|ed|ing)|speaks?|speaking|weighs?|weighing|militates?|mitigates?|evidence)"
    r"(?: \w+ly)? against"
)
_NOTHING_AGAINST = rf"no(?:thing|ne)\b(?: [\w-]+){{0,3}}? {_AGAINST}"
_UNTOLD = (
    r"(?:chang\w+|increas\w+|decreas\w+|worse\w*|better|improv\w*|progress\w*|differ\w+|new|as|only"
    r"|larger?(?! than normal)|bigg?(?:er)?|small(?:er)?|greater|resolv\w+|clear(?:ed|ing)?"
    r"|calcified|cavitary|well|exclu\w+|rul(?:e[sd]?|ing) out|free|devoid|lack\w*|absent|without"
    r"|negative|unlikely|assess\w*|evaluat\w+|determin\w+|distinguish\w*|previously|doubt\w*"
    rf"|fail\w*|{_AGAINST}|inconsistent|incompatible|wrong|incorrect)\b"
)
"""After *not*: what leaves the finding in place."""
_STILL_TOLD = rf"(?!{_SLIGHTLY} {_UNTOLD})"
_HALF = r"(?:only|merely|previously|newly|fully|completely|entirely|wholly|adequately|optimally)\b"
"""Adverbs after which what is *not seen* is there all the same."""
_NOT_THERE = (
    rf"(?:{_SHOWN}|something|there|here|real|true|the case|in evidence|suspected|expected"
    r"|anticipated|likely|probable|favou?red|suggested|indicated|supported|existent|imaged|reported"
    r"|discern(?:ed|ible)|demonstrable|recogni[sz](?:ed|able)|noticed|depicted|delineated"
    r"|detectable|identifiable|an? (?:concern|consideration|feature|finding)"
    r"|(?:thought|felt|believed|considered|deemed)(?: likely| present"
    r"| to (?:exist|be (?:present|there|likely)))"
    r"|confirmed|substantiated|borne out|proven|verified"
    r"|developed|recurred|re-?accumulated|occurred|re-?appeared|formed|returned|arisen|persisted"
    r"|(?:on|in|at|within) (?:the |this |these |either |any )?"
    r"(?:left|right|films?|images?|study|radiographs?|chest))"
)
_TOLD_GONE = rf"(?! {_HALF})(?={_SLIGHTLY}(?:{_ENDS}| {_NOT_THERE}\b))"
"""After a copula and *not*: what denies what stands before, unlike *is not loculated*."""
_PARTLY_DONE = r"(?:partial|incomplete|near|almost|largely|mostly|some)\w*(?:[ -][a-z]+)?[ -]"
NORMAL = r"normal\b(?! to\b|,? (?:is |but |it is )*now\b)"
"""Not *normal to mildly enlarged*, *previously normal, now enlarged*."""
_BEFORE_NOW = (
    r"(?![^.;,]{0,40}\b(?:previously|before"
    r"|(?:on|in|at) (?:\w+ ){0,2}(?:prior|previous|earlier|older))\b)"
)
"""After *not seen*: not where it says that something is new."""
TELLS = (
    r"(?:but|now|who|there|is|are|was|were|has|have|had|shows?|showed|showing|demonstrat\w+"
    r"|reveal\w*)"
)
_LOOKED_FOR = re.compile(
    r"\b(?:(?:evaluat(?:e|ed|ing|ion)|assess(?:ed|ing|ment)?|look(?:ing)?|watch|monitor|screening)"
    r" for|risk (?:of|for)|(?P<out>rule[ -]out|r/o|exclude))"
    rf"(?: (?!{TELLS}\b)[\w-]+){{0,3}} $"
    rf"|\b(?P<history>history of)(?: (?!(?:{TELLS}|with|without)\b)[\w-]+){{0,3}} $",
    re.I,
)
"""Before a mention that an indication only asks about, or tells of the past."""
_CANNOT = re.compile(
    r"\b(?:not|nor|never|cannot|cant|couldnt|unable|difficult|hard|impossible|fail(?:s|ed)?"
    r"|insufficient|inadequate|insensitive|too \w+|\w+n['\u2019\u00b4`]t)"
    r"(?: (?:to|be|been|able|possible|also|enough|sensitive|sufficient|adequate|\w+ly))* $",
    re.I,
)
"""Before *rule out* and *exclude*: what cannot be is hedged."""
_FITS = re.compile(
    r"\b(?:consistent|compatible|in (?:keeping|line)) with(?: [\w'\u2019]+){0,4} $", re.I
)
"""Before *history of*: *consistent with the patient's history of fibrosis* affirms it."""
_REACH = 160
"""Characters after a mention within which it can be denied."""
_ASKED_REACH = 60
_UNLIKELY_ENDS = (
    r"(?=\s*(?:$|[.,;:!)]|(?:given|in|at|on|but|and|or|because|due|from|by|based|as|with|than"
    r"|to be (?:present|there))\b))"
)
"""After *unlikely* where it denies what stands before it, not *unlikely pneumonia*."""
_AS_IT_WERE = r"(?: (?:\w+ly )?(?:consistent|compatible|in keeping|in line) with)?"
_NEGATION = re.compile(
    rf"\b(?:(?:(?:no(?: longer)?|zero|nil)\b(?!{_ITEM_ENDS})|denies|anything but"
    r"|nothing (?:like|of)"
    rf"|(?:(?!(?<=\bor )not{_ITEM_ENDS})not|{_SHORTENED}){_AS_IT_WERE}"
    r"|never|cannot|without|free (?:of|from)|devoid of"
    r"|lack(?:s|ed|ing)?(?: of)?|(?<!is )(?<!are )(?<!was )(?<!were )absent|absence of"
    r"|non-?existent|negative for|clear of|neither|nor|(?:false|untrue) that"
    r"|rather than|instead of|as opposed to|doubts?|hardly (?:any|an?)"
    r"|fail(?:s|ed|ing)? to (?:show|demonstrate|reveal|identify|confirm|display|depict)"
    r"|no(?:thing|ne) (?:(?:to|that|here|else) ){0,2}(?:suggest|indicat|support)\w*(?: of)?|nowhere"
    rf"|{_NOTHING_AGAINST}|{_AGAINST}|(?:inconsistent|incompatible) with"
    r"|rul(?:es|ing) out|excludes"
    r"|(?<!can )(?<!may )(?<!could )(?<!might )"
    r"(?P<like>mimic(?:s|king)?(?: of)?|simulat(?:es?|ing))"
    r"|insufficient evidence (?:of|for|to (?:suggest|support|call|diagnose|confirm))"
    r"|(?:wrong|incorrect) to (?:call|label|read|name|diagnose|describe|interpret|report|suspect)"
    r"|(?<![\d.])0 ?(?:%|percent)? (?:chance|probability|likelihood)(?: (?:of|for|that))?"
    r"|resolution of|(?<!has )(?<!have )(?<!is )(?<!been )resolved"
    r"|(?:is|was|seems) doubtful (?:that|whether|if)"
    rf"|(?:unlikely|less likely)(?!{_UNLIKELY_ENDS}))\b"
    r"|(?:excluded|ruled out|absent|negative|none|no|not (?:seen|present|found|identified))\s?:"
    r"(?=\s*\w))",
    re.I,
)
_PREFERRED = re.compile(
    r"\b(?:favou?r(?:s|ed|ing)?|more likely)\b[^.;]{0,80}?\b(?P<to>over|than)\b", re.I
)
"""*Atelectasis is favored over pneumonia*, *more likely atelectasis than pneumonia*."""
_LEFT_IN_PLACE = re.compile(
    rf"{_NOT}{_SLIGHTLY}(?: (?:able|possible|sensitive|sufficient|adequate)(?: enough)? to"
    rf"(?: \w+ly)?)? {_UNTOLD}"
    r"|(?:no|without)(?: (?!(?:and|with|but)\b)[\w-]+){0,3}? (?:change|changes(?! of)|increase"
    r"|decrease|worsening|improvement|progression|resolution|clearing|lack|only|exclud(?:ed|ing)"
    r"|ruling out|against|doubt)\b"
    rf"(?!,? or\b|,[^.;]{{0,120}}\bor\b)|{_NOTHING_AGAINST}\b",
    re.I,
)
"""Negations of a change, or of a negation: what is named after them is there."""
_LIKENESS_ENDS = re.compile(
    r"[,;:]|\b(?:so|hence|thus|therefore|because|since|which|but|and (?:an?|the|there))\b", re.I
)
"""After *mimics pneumonia*: where something else is said."""
_PARTLY_BEFORE = re.compile(rf"\b{_PARTLY_DONE}$", re.I)
"""Before *resolution*: some is left."""
_OF_SOME = re.compile(
    r"\s+(?:other|additional|further|second|new|larger?|sizable|significant)\b", re.I
)
"""After *no*: others than these are denied, which says nothing of the finding as such."""
_SOME = (
    r"(?:an?|the|there|small|tiny|trace|minimal|mild|moderate|large|severe|stable|unchanged"
    r"|enlarged|persist(?:ent|ing)|residual|known|patchy|hazy|streaky|linear|increas(?:ed|ing)"
    r"|decreas(?:ed|ing)|worsen(?:ed|ing)|improv(?:ed|ing)|multiple|several|numerous|scattered|few"
    r"|old|healed|healing|calcified|chronic)"
)
_PERHAPS = r"(?:possibl[ey]|probabl[ey]|likely|suspected|questionable|presumed|maybe|perhaps)"
_OF_A_KIND = re.compile(
    r"\b(?:(?:sub)?acute|displaced|depressed|comminuted|compression|suspicious|concerning"
    r"|worrisome|tension|focal|lobar|segmental|confluent|discrete|overt|frank|florid|loculated"
    r"|layering|active|aggressive|destructive|pathologic(?:al)?|spiculated|cavitary|cavitating"
    r"|malignant|metastatic|solid|dominant|dense|gross|recent|recurrent|superimposed|calcified"
    r"|alveolar|infectious|free(?! of| from)|dependent)\b",
    re.I,
)
"""Before what is denied: *no acute fracture* leaves room for an old one."""
_TO_BE_OF_A_KIND = re.compile(
    r"(?:(?! and | or | nor )[^.;,:]){0,40}?\b(?:(?:suspicious|concerning|worrisome|suggestive"
    r"|characteristic|typical|diagnostic) (?:for|of)|to (?:suggest|indicate)"
    r"|that would suggest|(?:consistent|compatible) with|(?:under|with) tension)\b",
    re.I,
)
"""After it: *no opacity to suggest pneumonia* leaves room for another."""
_ITEM = re.compile(r"[.,;:]|\b(?:and|or|nor|but|with)\b", re.I)
_OF_A_KIND_REACH = 60
"""Characters before what is denied in which such a word is looked for."""
_SIDED = r"(?:left|right|bilateral|bibasilar|biapical|bibasal)"
_EARLIER = (
    r"(?:the |an? |his |her )?(?:\w+ ){0,2}?(?:prior|previous|earlier|older?|last|preceding|former)"
    r"(?: \w+){0,2}? (?:films?|stud(?:y|ies)|exam\w*|radiographs?|images?|x-?rays?|ct|scans?)"
)
_OF_EARLIER = re.compile(
    rf"\W*(?:(?:on|in|at) {_EARLIER}\b"
    rf"|{_EARLIER}(?:\s*:| (?:showed|demonstrated|revealed|had|was|were)\b)"
    r"|(?:previously|formerly),? there (?:was|were)\b)"
    r"(?:(?!\b(?:now|today|currently|presently|but|however|although|while|whereas|has|have)\b)"
    r"[^.;])*",
    re.I,
)
"""From the start of a sentence: what it says of a film before this one."""
_ON_EARLIER = re.compile(
    rf"(?: (?:is|was|were|seen|present|noted|found|visible)){{0,3}} (?:on|in|at) {_EARLIER}\b", re.I
)
_DEFINITE = re.compile(r"\b(?:the|this|that|these|those|longer|previous(?:ly)?)\b", re.I)
_NO_LIST = r"(?![^.;]{0,200}?,? or\b)"
_TURN = re.compile(
    r"\b(?:but|however|although|though|except|yet|while|whereas|despite|given|apart from|aside from"
    r"|other than|(?<!that )(?<!doubt )(?<!doubts )(?<!suggests )(?<!show )(?<!d: )there"
    r" (?:is|are|was|were))\b"
    rf"|(?P<item>(?:,|\band|\bwith)\s+(?=(?:{_SIDED} )?(?:{_PERHAPS}\b|{_SOME}\b{_NO_LIST})))"
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
_ADJECTIVES = re.compile(
    r"(?: (?:\w+(?:al|ar|ble|cute|ed|ic|nt|ve|ous)|old|new|large|small|patchy|hazy|streaky|definite"
    r"|discrete|obvious|gross|frank|overt|evidence|of))+ ?",
    re.I,
)
"""Before a comma: *no displaced, acute fracture is seen*."""
_VERB = re.compile(rf"\b{_BE}\b", re.I)
_BEFORE = 30
"""Characters before *resolution* in which *partial* is looked for."""
_BACK = 120
"""Characters before a joint in which a verb is looked for."""
_GONE = r"(?:no|none|not|never|nil|zero|absent|negative|excluded|unlikely|nonexistent)"
_MINUS = r"[-\u2013\u2014\u2212]"
_AND_ANOTHER = (
    r",\s+(?!(?:which|that|as|if|when|considered|felt|thought|\w+ly)\b)"
    rf"(?:(?!\b(?:and|or|nor)\b)[^.;,]){{2,60}}?\b(?:{_BE}|less likely|unlikely)\b"
)
"""*Right effusion, left effusion has resolved*: the second alone has."""
_SURELY = (
    r"(?:clearly|definitely|certainly|safely|confidently|clinically|radiographically|reliably"
    r"|absolutely|obviously|evidently|entirely|completely|fully|totally|definitively|really|simply"
    r"|actually|indeed|effectively|essentially|conclusively|firmly|plainly|therefore|thus|also|now)"
)
_DENIED_AFTER = re.compile(
    rf"(?:(?!\b(?:{_BE}|(?<!previously )(?:seen|present|noted)|there|but|with|without|no)\b"
    rf"|\b{_PARTLY_DONE}resol|{_AND_ANOTHER})[^.;]){{0,120}}?"
    rf"(?:\b{_BE}\b(?: been| now| also| all| since| currently| considered| felt| thought| believed"
    rf"| to be| completely| fully| entirely| \w+ed and {_BE})*"
    rf"(?: {_SURELY}){{0,2}} (?:(?:not|never|no longer)\b{_TOLD_GONE}{_BEFORE_NOW}"
    r"|resolved|absent|excluded|ruled out|cleared|non-?existent|nil|false|gone|disappeared|vanished"
    rf"|lacking|missing|denied|refuted|disprove[nd]|dispelled"
    rf"|(?:less likely|unlikely|improbable|doubtful){_UNLIKELY_ENDS})"
    rf"|\b(?:(?:is|are|was|were|has|have|had|ca|could){_NT}|can(?:not| not)|could not)\b"
    rf"{_TOLD_GONE}{_BEFORE_NOW}"
    rf"|\b(?:does|do|did|would)(?: not|{_NT}) (?:(?:exist|persist|occur|recur)\b{_STILL_TOLD}"
    rf"|(?:be|remain|appear|seem|show)\b{_TOLD_GONE}){_BEFORE_NOW}"
    rf"|\b(?:not(?: (?!{_HALF})\w+ly)?|no longer) {_SHOWN}\b{_BEFORE_NOW}"
    r"|\b(?:absent|resolved|denied|non-?existent)\b|\bnow gone\b"
    rf"|(?<!not )(?<!be )(?<!been )\b(?:excluded|ruled out|missing|lacking)\b"
    rf"(?:{_ENDS}| (?:on|by|at|in|with)\b)"
    rf"|\bcan (?:{_SURELY} )?be (?:{_SURELY} )?(?:excluded|ruled out|discounted|dismissed)\b"
    rf"|\bdid not (?:develop|occur|form|appear|recur)\b|\b(?:nowhere to be seen|is no more)\b"
    rf"|\b(?:less likely|unlikely|(?:seem|appear|look)s? doubtful){_UNLIKELY_ENDS})"
    # "Effusion, pneumothorax: none", but not of "Effusion: small, pneumothorax: none"
    rf"|(?:(?!\b(?:{_BE}|yes|present|seen|positive|with|without|but)\b)[^.;:(+]){{0,80}}?"
    rf"(?:(?:[:=]|[-=]>|\u2192)\s*(?:not\b{_TOLD_GONE}|0(?![.\d])|(?!not\b){_GONE}\b{_STILL_TOLD})"
    rf"|\(\s*(?:{_GONE}|{_MINUS}"
    r"|not (?:present|seen|visible|found|there|here|on|in|this)\b[^)]{0,30})"
    rf"\s*\)|\s{_MINUS}+\s*(?:no (?:evidence|signs?|trace)(?: of (?:it|this|one))?|{_GONE}){_ENDS})"
    r"|-free\b(?! (?:air|fluid|flow))"
    rf"|(?:(?!\byes\b)[^.;,:(+]){{0,60}}?,?\s+(?:no|(?<!not )negative){_ITEM_ENDS}"
    rf"|:?\s*{_MINUS}{_ITEM_ENDS}",
    re.I,
)
_MAYBE_DENIED_AFTER = re.compile(
    r"\b(?:no|not|never|cannot|longer|negative|refuted|disprove[nd]|dispelled"
    r"|resolved|absent|excluded|ruled|cleared|unlikely|improbable|likely|nil|discounted|dismissed"
    rf"|false|nonexistent|denied|gone|disappeared|vanished|doubtful|free|missing|lacking)\b"
    rf"|{_NT}\b|[:(=>\u2192]"
    rf"|{_MINUS} ?(?:[nzae]|\W|$)",
    re.I,
)
_SIGN = re.compile(rf"{_MINUS}|[=\u2192]|: ?0")
"""Of those that deny what stands before them, in a sentence without a word that does."""
_OR_NOT = re.compile(rf"(?:(?!\b{_BE}\b)[^.;,:]){{0,60}}?,? or not{_ITEM_ENDS}", re.I)
"""After a mention that is said to be there or not."""
ASKED = re.compile(r"(?<=[^\s(])\s?\?(?!\w)")
"""Not *?pneumonia*, *? pneumonia*, nor *pneumonia (?)*, which are hedges."""
_SUPPOSED = re.compile(r"\W*(?:if|unless|whether|suppos\w+|assuming|should|were|had)\b[^,]*", re.I)
_MODAL = r"\b(?:is|are|was|were|cannot|could|should|must|needs?|has|have|remains?)\b"
_AWAITED = re.compile(
    r"(?:(?!\b(?:is|are|was|were|but)\b)[^.;,]"
    rf"|,(?=[^.;]{{0,100}}\b(?:and|or)\b[^.;]{{0,60}}{_MODAL})){{0,120}}?"
    r"(?:\b(?:is|are|was|were|had been|has been)(?: \w+ly)? (?:expected|anticipated|feared|sought"
    r"|hoped for|looked for|searched for|asked about|queried|in question)\b(?! to\b|,? and)"
    r"|\b(?:can(?:not| not)|could not) be (?:assessed|evaluated|judged|determined|commented on)\b"
    r"|\b(?:is|are|was|were|has been|have been) not (?:\w+ly )?(?:assessed|evaluated|examined)\b"
    r"|\b(?:should|must|ought to|needs? to|ha(?:s|ve) to) be (?:excluded|ruled out|evaluated"
    r"|assessed|checked|looked for)\b|\bremains? to be (?:excluded|ruled out|shown|seen|proven"
    r"|determined)\b"
    r"|,? n/a\b)",
    re.I,
)
"""After a mention that was only thought of."""
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
        reach = len(sentence) if denies_on else kept
        if denies_on and match["like"] and not any(one.denies_on for one in found):
            reach = _likeness_until(sentence, end)
        found.append(Negation(start, end, reach, denies_on))
    preferred = [match.span("to") for match in _PREFERRED.finditer(sentence)]
    if preferred:
        found += [Negation(*span, len(sentence), True) for span in preferred]
        found.sort()
    return found


def _likeness_until(sentence: str, start: int) -> int:
    """Up to where it is said what something only looks like."""
    ends = _LIKENESS_ENDS.search(sentence, start)
    return ends.start() if ends else len(sentence)


def turns(sentence: str, denials: Sequence[Negation]) -> list[int]:
    """Where what was denied before is denied no longer, in order.

    Parameters
    ----------
    denials
        :func:`negations` of the sentence.
    """
    if not any(one.denies_on for one in denials):
        return []
    found = [
        match.start()
        for match in _TURN.finditer(sentence)
        if not (match["item"] and _is_an_adjective(sentence, match.start(), denials))
    ]
    joints = [
        joint.start()
        for joint in _JOINT.finditer(sentence, denials[0].end)
        if _opens_a_clause(sentence, joint, denials)
    ]
    return sorted(found + joints) if joints else found


def _is_an_adjective(sentence: str, joint: int, denials: Sequence[Negation]) -> bool:
    """Whether only adjectives stand between a denial and a joint: *no focal, hazy opacity*."""
    last = bisect_left(denials, joint, key=_start) - 1
    if last < 0 or joint - denials[last].end > _BACK:
        return False
    start, end = denials[last][:2]
    if sentence.endswith(("t", "T"), start, end):  # "The heart is not enlarged, mild edema"
        return False
    return _ADJECTIVES.fullmatch(sentence, end, joint) is not None


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
    sentence: str, start: int, end: int, denials: Sequence[Negation] | None, turned: Sequence[int]
) -> bool | None:
    """Whether what stands at ``start:end`` is affirmed; None where neither is said.

    Parameters
    ----------
    denials, turned
        Of the sentence: :func:`negations`, :func:`turns`. ``denials`` is None where no word of the
        sentence is among :data:`DENYING`, which saves most of the search.
    """
    if sentence.endswith(("non-", "Non-", "NON-"), 0, start):  # not "non-displaced fracture"
        return False
    if denials is None:
        if not _SIGN.search(sentence, end, end + _REACH):
            return True
    elif only_looked_for(sentence, start):
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
            return None if some or _denied_before(sentence, denial, start, end) else False
    if _MAYBE_DENIED_AFTER.search(sentence, end, end + _REACH):
        if _OR_NOT.match(sentence, end):
            return None
        if _DENIED_AFTER.match(sentence, end):
            return None if start < earlier_until(sentence) else False
    if denials is not None and _AWAITED.match(sentence, end):
        return None
    return True


def only_looked_for(sentence: str, start: int) -> bool:
    """Whether what begins there is what a film was made for, or lies in the past."""
    told = _LOOKED_FOR.search(sentence, max(0, start - _ASKED_REACH), start)
    if not told:
        return False
    begin, before = told.start(), max(0, told.start() - _ASKED_REACH)
    if told["out"]:
        return not _CANNOT.search(sentence, before, begin)
    return not (told["history"] and _FITS.search(sentence, before, begin))


def _denied_before(sentence: str, denial: Negation, start: int, end: int) -> bool:
    """Whether a denial is of what an earlier film showed: *no effusion on the prior film*."""
    if start < earlier_until(sentence):
        return True
    if not _ON_EARLIER.match(sentence, end):
        return False
    # "no longer", "resolution of the effusion on the prior film"
    return _DEFINITE.search(sentence, denial.start, start) is None


def earlier_until(sentence: str) -> int:
    """Up to where a sentence speaks of an earlier film: *On the prior film there was no mass.*"""
    told = _OF_EARLIER.match(sentence)
    return told.end() if told else 0


def denied_of_a_kind(sentence: str, start: int, end: int) -> bool:
    """Whether what is denied at ``start:end`` is denied of a kind: *no acute fracture*."""
    before = _ITEM.split(sentence[max(0, start - _OF_A_KIND_REACH) : start])[-1]
    return bool(_OF_A_KIND.search(before) or _TO_BE_OF_A_KIND.match(sentence, end))


def asked_until(sentence: str) -> int:
    """Up to where a sentence only asks, or supposes: *Is there a mass?*, *If there is one,*."""
    end = 0
    if "?" in sentence:
        for match in ASKED.finditer(sentence):
            end = match.end()
    supposed = _SUPPOSED.match(sentence)
    return max(end, supposed.end()) if supposed else end


def called_abnormal(sentence: str) -> bool:
    """Whether a sentence denies that something is normal or clear."""
    return _CALLED_ABNORMAL.search(sentence) is not None
