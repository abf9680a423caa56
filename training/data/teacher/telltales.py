"""Words by which reasoning tells that its answer was known, or that there was an earlier film."""

from __future__ import annotations

import re

_SUPPLIED = (
    r"given|provided|supplied|known|correct|expected|stated|listed|intended|desired|required"
    r"|requested|wanted"
)
_MATTER = (
    r"answers?|findings?|regions?|box(?:es)?|labels?|information|impression|list|response|result"
    r"|diagnos[ie]s|conclusion|solution|reading|options?|choices?|data|descriptions?"
)
_SOURCE = (
    r"(?:answer|list|question|prompt|user|text|key|task|section|description|clinical note|history"
    r"|request|chart|record|label|radiology read|read|reading)s?"
)
_SAYS = (
    r"(?:says?|said|states?|stated|lists?|gives?|mentions?|mentioned|tells?|asks?|confirms?"
    r"|indicates?|describes?|specif(?:y|ies))"
)
_READER = r"(?:radiologist|doctor|physician|clinician|reader)"
_OF_A_READER = r"(?:'s|\u2019s|s'|s\u2019)"
_LEAKS = (
    # What was supplied, by its name.
    r"\b(?:report(?:s|ed|edly)?|references?|ground[- ]truths?|gold[- ]standards?|captions?"
    r"|annotations?|coordinates?|bounding[- ]box(?:es)?|bbox(?:es)?|metadata|documentation"
    r"|dictat(?:ions?|ed)|transcri(?:pts?|ptions?|bed))\b",
    r"\b(?-i:GT)\b",
    r"\bbox(?:es)?\s+(?:\d+\b|(?:out|under)lines?|shows?|indicates?|marks?|encloses?|contains?"
    r"|covers?|surrounds?)\b",
    r"\bgold(?:en)?[- ](?:labels?|truth|targets?|text)\b",
    r"\btargets?\s+(?:is|are|was|says?|answer|label|text|output|sentence)\b",
    r"\b(?:findings|impression)\s+section\b",
    r"\b(?:regions?|findings?|box)\s+list\b|\blist\s+(?:includes?|contains?)\b",
    # That it was supplied.
    rf"\b(?!expected regions? of)(?:{_SUPPLIED})\s+(?:final\s+)?(?:{_MATTER})\b",
    rf"\b(?:{_MATTER}|history|text)\s+(?:(?:that|which)\s+)?(?:(?:is|are|was|were)\s+)?"
    r"(?:given|provided|supplied|listed|stated)\b",
    r"\b(?:marked|labell?ed|annotated|highlighted)\s+(?:regions?|box(?:es)?)\b",
    r"\b(?:labell?ed|annotated|highlighted)\s+(?:areas?|structures?|findings?)\b",
    r"\b(?:regions?|area|box|structure)\s+(?:is|are|was|were)\s+"
    r"(?:labell?ed|annotated|tagged|marked as)\b",
    r"\b(?:we|i)\s+(?:was|were|am|are|have been)\s+(?:already\s+)?"
    r"(?:told|given|asked|instructed)\b",
    r"\b(?:we|i|you)\s+(?:already\s+)?(?:know|knew)\b|\b(?:already|is|are|was) known\b",
    # What it says.
    rf"\b{_SOURCE}\s+{_SAYS}\b|\blabels?\s+shows?\b",
    r"\b(?:impression|findings?|notes?)\s+(?:says?|said|mentions?|states?|lists?|reads?)\b",
    r"\b(?:according to|based on|per|as (?:given|listed)(?: in| by)?)\s+(?:the\s+)?(?:answer|list"
    r"|question|prompt|text|user|label|task|findings|impression|description|chart|record|note)s?\b",
    r"\bas\s+(?:(?:was|were|is|already|previously)\s+)*(?:told|instructed|asked|requested|desired"
    r"|provided|stated|noted|described|documented|mentioned|specified|labell?ed)\b"
    r"(?! by the \w+ sign)",
    # Whose words it is.
    rf"\b{_READER}s?\s+(?:says?|said|not(?:es?|ed)|states?|stated|describes?|described"
    r"|mentions?|mentioned|finds?|found|reads?|concludes?|concluded|saw)\b",
    rf"\b{_READER}(?:{_OF_A_READER})\s+(?:notes?|words|letter|request|impression|reading|read"
    r"|opinion|interpretation|description|conclusion|findings?|diagnosis)\b",
    r"\bradiology\s+(?:read|reading|note|impression|interpretation)\b",
    # That there is an answer to arrive at.
    r"\banswer\s*(?:[:=\u2013\u2014-]|is\b)",
    r"\b(?:the|this|that|gold|target|true|final)\s+(?:\w+\s+)?"
    r"(?:answer|prompt|instructions?|hint|solution)\b",
    r"\bmatch(?:es|ed|ing)?\s+(?:the|what is)\s+(?:expected|given|known|supplied)\b"
    r"(?!\s+(?:position|location|course|contour|appearance|size|shape|level|anatomy))",
    r"\b(?:response|reply|output|conclusion)\s+(?:must|should|has to|needs? to|ought to)\s+be\b",
    r"\b(?:we|i|you)\s+(?:(?:need|have|ought|are supposed|are to)\s+to|must|should)\s+"
    r"(?:conclude|answer|arrive|state|respond|reply|output|say|mention)\b",
    r"\b(?:the|our)\s+(?:user|question|task|prompt)\s+"
    r"(?:wants?|wanted|needs?|expects?|requests?|requires?)\b",
    r"\b(?:reach|arrive at|get to|justify|conclude)\s+(?:a\s+)?[\"'\u201c]?"
    r"(?:yes\b|no\b(?=[\"'\u201d]?\s*(?:[.,;]|\Z)))",
    r"\bto be concluded\b",
)
_LEAK = re.compile("|".join(_LEAKS), re.I)
_HISTORY = re.compile(r"\bhistory\b", re.I)

_FINDING = (
    r"(?:(?:pleural )?effusions?|pneumothora(?:x|ces)|o?edema|atelectas[ei]s|consolidations?"
    r"|opacit(?:y|ies)|opacifications?|infiltrates?|nodules?|mass(?:es)?|congestion|pneumonia"
    r"|cardiomegaly|fluid)"
)
_GROWING = (
    r"(?:increasing|decreasing|enlarging|growing|shrinking|diminishing|worsening|improving"
    r"|resolving|clearing|evolving)"
)
_LARGER = r"(?:larger|smaller|bigger|worse|better|denser|more|less|increased|decreased|improved)"
_FILM = r"(?:films?|stud(?:y|ies)|exam\w*|images?|imaging|radiographs?|x-?rays?|scans?|ct)"
_DAY = (
    r"(?:yesterday|\w+day(?:'s)?|_+|\d{1,2}[/:-]\d|(?:19|20)\d\d\b"
    r"|\d+ (?:hours?|days?|weeks?|months?|years?)\b)"
)
_GREAT = (
    r"(?:significant|substantial|relevant|appreciable|definite|major|overall|important|obvious"
    r"|other|real|great|much)"
)
_SHOWN = (
    r"seen|appreciated|visuali[sz]ed|evaluated|delineated|defined|demonstrated|depicted|assessed"
)
"""*Better seen on the lateral* is no change."""
_CHANGES = (
    # The earlier film.
    rf"\b(?:prior|previous(?:ly)?|earlier {_FILM}|comparison {_FILM}"
    rf"|(?:the )?last (?:time|{_FILM}|visit|week|month|year)|formerly|interval|yesterday)\b",
    r"\b(?:in|for|on) comparison\b|\bcomparison (?:is|was) made\b",
    r"\bcompar(?:ed|ison) (?:to|with) (?:(?:the |a |an )?"
    rf"(?:(?!(?:rest|normal|healthy|opposite|usual)\b)\w+ ){{0,2}}?{_FILM}\b|{_DAY})",
    r"\b(?:than|as|from|compared (?:to|with)) (?:it was|they were|(?:\w+ )?before|earlier|last)\b",
    rf"\bsince (?:the last|last|then|admission|{_DAY})",
    # What has become of something since.
    r"\b(?:unchanged|stable|no longer|new(?:ly)?|worsen(?:ed|ing)|improv(?:ed|ing|ement)"
    r"|resolv(?:ed|ing)|persist(?:s|ent|ing)|progress(?:ed|ion)|remains?|recurrent|evolving"
    r"|re-?demonstrat\w+|re-?accumulat\w+|re-?expan(?:ded|sion))\b",
    r"\bagain (?:seen|noted|demonstrated|visuali[sz]ed|identified|present|is|are)\b"
    r"|\b(?:once|is|are) again\b",
    r"\bstill (?:present|there|persists?|in place)\b"
    r"|(?<!no )(?<!evidence of )\bresidual (?:\w+ )?" + _FINDING + r"\b",
    r"\b(?:has|have|had) (?:(?:\w+ly|been|also|since|now) )*(?:increased|decreased|developed"
    r"|enlarged|cleared|grown|shrunk|changed|appeared|disappeared|diminished|evolved|become)\b"
    r"(?! in (?:lucency|density|aeration)\b)",
    r"\b(?:has|have|had) been (?:\w+ly )?(?:repositioned|advanced|placed|inserted"
    r"|(?:placement|insertion|removal|development|resolution) of)\b",
    r"(?<!breast )\b(?:been|was|were) (?:\w+ly )?(?:removed|withdrawn|retracted|extubated)\b",
    rf"\bno (?:{_GREAT} )*change\b|\bno (?:{_GREAT} )+changes\b"
    r"|\b(?:little|minimal|slight) (?:overall )?change\b",
    r"\b(?:increased|decreased|change[ds]?) (?:in size )?(?:from|since)\b",
    r"\b(?:increase|decrease|reduction) in (?:the )?(?:(?:size|extent) of (?:the )?)?"
    rf"(?:\w+ ){{0,2}}?(?!opaci){_FINDING}\b",
    rf"\b{_GROWING} (?:\w+ ){{0,3}}?{_FINDING}\b(?! (?:towards?|from)\b)",
    rf"\b{_FINDING} (?:is|are|was|were) (?:\w+ly )?{_GROWING}\b(?! (?:in \w+ )?(?:towards?|to)\b)",
    rf"\b{_FINDING} (?:is |are |appears? |looks? )?(?:\w+ly |somewhat |much )?"
    r"(?:larger|smaller|bigger|worse|better)\b"
    rf"(?! (?:on|in|at|than|of|{_SHOWN}|medially|laterally)\b)",
    r"\b(?:increased|decreased) (?:\w+ )?(?!opaci|fluid)" + _FINDING + r"\b",
    rf"\b{_LARGER} (?:\w+ )?(?:now|today)\b|\bnow {_LARGER}\b",
    r"\b(?:getting|becoming|become|became) " + _LARGER + r"\b(?! (?:towards?|from|at|in)\b)",
    r"\bin the meantime\b",
)
_CHANGE = re.compile("|".join(_CHANGES), re.I)


def find_leak(text: str, *, history: bool = False) -> str | None:
    """The first words that speak of the report, the list, the answer, or of having been told.

    Parameters
    ----------
    history
        Whether the question itself tells a clinical history, which is nobody's secret then.
    """
    found = _LEAK.search(_HISTORY.sub("indication", text) if history else text)
    return found[0] if found else None


def find_change(text: str) -> str | None:
    """The first words that speak of a change, or of an earlier film."""
    found = _CHANGE.search(text)
    return found[0] if found else None
