"""Whether two short answers say the same, as a radiologist would take them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from unicodedata import normalize

from training.labels import (
    KINDS,
    clashes,
    finding_labels,
    kind_of,
    name_findings,
    read_findings,
    side_of,
)
from training.rewards.agreement import affirm, deny, kinds
from training.rewards.answer_words import (
    BEGINS_A_PLACE,
    BELIEVE,
    BESIDE_SEEN,
    BUT_POSSIBLY,
    BY_DEGREE,
    DETAILS,
    DEVICES,
    DOUBTS,
    ELSEWHERE,
    LIKELY,
    OF_A_DEVICE,
    OF_A_PLEURAL_SIDE,
    OF_A_SIGN,
    POSTURES,
    SAME,
    SEEN,
    SUSPECTS,
    VALUES,
    in_full,
    with_names_of_findings,
)
from training.rewards.predicates import film_called_normal, predicate_of
from training.rewards.step_words import structures_named

_EITHER_KIND = re.compile(r"\b(\w+)/(\w+)\b")
_BETWEEN = re.compile(r"\s*(?:[|,;/&\n]|\band\b|\bor\b)\s*")
_WORD = re.compile(r"[^\W_]+(?:[.-][^\W_]+)*")
_CLAUSE = re.compile(
    r"[|,.;:/&()\n]|\s-+\s|[\u2013\u2014]|\b(?:and|or|but|though|although|however|yet|while|whereas"
    r"|unless|except|wait)\b"
)
_FILLING_WORDS = (
    "a an the is are it s there in of at on to any seen noted present located evidence side sided"
    " sides sized view film image size patient"
)
_FILLING = frozenset(_FILLING_WORDS.split())
_ALONE = {"f": "female", "m": "male", "y": "yes", "n": "no", "l": "left", "r": "right"}
"""Letters that stand for a word where they are all that an item says."""
_WRITTEN_OUT = {
    f"{side[0]}{zone[0]}{part[0]}": f"{side} {zone} {part}"
    for side in ("right", "left")
    for zone in ("upper", "middle", "lower")
    for part in ("lobe", "zone")
}
_SHORT = re.compile(rf"\b(?:{'|'.join(_WRITTEN_OUT)})\b")
_VIEW = re.compile(r"\b(?:(?P<ap>anter(?:o|ior))|poster(?:o|ior))[ -]+(?:anterior|posterior)\b")
_UNCHANGED = re.compile(
    r"\b(?:no|without)(?: (?:any|significant|interval|appreciable|definite|substantial|relevant))*"
    r" change\b|\bnot(?: significantly)? changed\b"
)
_NOT_ENLARGED = re.compile(
    r"\b(?:(?:the )?(?:heart|cardiac silhouette)(?: size)? is )?not enlarged\b"
)
_MEASURE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)[ -]?(cm|mm)\b")
_WHOLE_NUMBER = re.compile(r"(?<![\d.])(\d+)\.0+(?![\d.])")
_SIDED = re.compile(r"\b(\w+?)(?:-sided|(?:ly)?[ -]sized)\b")
_INITIALS = re.compile(r"\b([ap])\.([ap])\b\.?")
_LEFT_AND_RIGHT = re.compile(r"\b(?:left (?:and|&) right|right (?:and|&) left)\b")
_NO_FINDING = re.compile(
    r"(?:there (?:is|are|was|were) )?"
    r"(?:no (?!(?:doubt|lack|normal|other|further|additional|fewer|less|absence)\b)(?:\w+ ){0,3}"
    r"(?:findings?|abnormalit(?:y|ies)|disease|process|patholog(?:y|ies))"
    r"|(?:nothing|none) (?:is )?"
    r"(?:abnormal|acute|wrong|pathological|suspicious|remarkable|of note))"
    r"(?: (?:is|are|was|were))?(?: (?:seen|noted|present|identified|found|detected|visible))?"
    r"|(?:all|everything)(?: (?:is|looks|appears))? (?:normal|unremarkable)"
)
_SIDES = frozenset(("left", "right", "both"))
_OF_A_SIDE = frozenset(("lung", "hemithorax", "chest"))
_HEIGHTS = frozenset(("upper", "mid", "lower"))
_OF_A_HEIGHT = frozenset(("lobe", "zone", "lung", "field", "third"))
_OF_LUNG = frozenset(("lung", "pulmonary"))
_PARTS_OF_LUNG = frozenset(("lobe", "zone"))
_DETAILS = _HEIGHTS | _OF_A_HEIGHT | frozenset(("small", "moderate", "large", "base", "apex"))
"""What may stand with a finding where the reference names no more than its kind."""
_SIZES = frozenset(("small", "moderate", "large"))
_HEIGHTS_AND_ENDS = _HEIGHTS | frozenset(("base", "apex"))
_MANY = frozenset(("many", "several", "multiple", "few", "numerous"))
_PLACES = _HEIGHTS_AND_ENDS | _OF_A_HEIGHT
_VIEWS = frozenset(("ap", "pa", "frontal", "lateral"))
_VALUES = (
    _SIDES,
    _PLACES,
    _SIZES,
    frozenset(("larger", "smaller", "unchanged", "new")),
    _VIEWS,
    frozenset(("male", "female")),
    frozenset(("normal", "enlarged", "abnormal")),
    *VALUES,
)
"""Answers of which one is right; what else of its set stands beside it is another."""
_ANY_VALUE = frozenset[str]().union(*_VALUES)
_OF_KINDS = frozenset(word for kind in KINDS for word in kind.split())
_DENIALS = frozenset(
    (
        *("no", "not", "never", "without", "neither", "nor", "none", "isn", "aren", "absent"),
        *("negative", "unlikely", "excluded", "resolved", "free"),
    )
)
_BY_THE_WAY = frozenset(
    (
        *("only", "just", "solely", "alone", "measures", "measuring", "measured", "approximately"),
        *("about", "projection", "lies", "lie", "appears", "looks", "be", "was", "were", "has"),
        *("they", "this", "that", "these", "which"),
    )
)
"""What may stand in an answer in a sentence and tells nothing."""
_OF_A_LIST = frozenset(
    (
        *("finding", "findings", "abnormality", "abnormalities", "possible", "possibly", "likely"),
        *("probable", "probably", "include", "includes", "including", "with", "as", "well", "also"),
        *("following", "both", "new", "mild", "acute", "chronic", "i", "show", "shows"),
    )
)
_UNDERMINES = frozenset(
    (
        *("hardly", "scarcely", "barely", "rarely", "anything", "opposite", "contrary"),
        *("instead", "than"),
    )
)
"""Beside which a finding is not named as being there: *anything but a mass*."""
_DEVICES_ALONE = DEVICES - {"central", "venous", "arterial", "gastric", "feeding", "line"}
_AROUND = frozenset(("lung", "pulmonary", "hemithorax"))
_ITEM_END = re.compile(r"[|,;:&\n]|/|\.(?!\d)|\b(?:and|or|with)\b")
_CHOICE = re.compile(r"\s*\(?([A-H])[.):]\s*(\S.*)", re.S)
"""An answer of a multiple choice with its letter: ``A. Left lung``."""
_OPTION = re.compile(
    r"(?:^|(?<=[\s(]))([A-Ha-h])[.):]\s*(.+?)(?=[\s,;]+\(?[A-Ha-h][.):]\s|\s*\Z)", re.S
)
"""An answer of several that a question lists: ``(a) right upper lobe (b) left lower lobe``."""
_OPTION_SAID = re.compile(r"\s*\(?([A-Ha-h])[.):]\s*(\S.*)", re.S)
_LETTER_WANTED = re.compile(r"\W*([A-H])\W*")
"""A reference that is a letter: of a choice, or of a sex."""
_LETTER = re.compile(
    r"\W*(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:?\s+)?\W*([a-h])\W*", re.I
)
"""The letter alone, or as *Option B*."""
_SPACES = re.compile(r" {2,}")
_MARKUP = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it))\s*\{([^{}]*)\}")
_ANSWER_IS = re.compile(
    r"\W*(?:(?:so|thus|therefore),? )?(?:(?:the|my) )?(?:final |correct |right )?answer"
    r"(?: is|:| is:)\s*(?=\w)",
    re.I,
)
"""What may stand before an answer that is one."""
_ASKS = re.compile(r"\?|^\s*(?:is|are|was|were|do|does|did|can|which|what|where|how)\b")
_VERDICT_FIRST = re.compile(r"\W*(?:yes|no)\s*[,.;:]", re.I)
_NEGATED_VERDICT = re.compile(r"\b(?:not|never|neither)\W+(?:yes|no)\b")
_IS_YES = frozenset(("yes", "present", "positive"))
_NEITHER = {"neither", "nor"}
_GONE = frozenset(("absent", "absence", "negative", "unlikely", "excluded", "resolved"))
"""Words that deny, unless the question is about just that: *Has it resolved?*"""
_SAYS_NO = _GONE | _NEITHER | {"no", "none", "not", "never", "without", "isn", "aren"}
_BESIDE_WORDS = (
    "i we do does did see have has had been be was were this that these one 1 all longer visible"
    " visualized visualised show shows identified detected found apparent evident appreciated"
    " observed demonstrated shown sign signs definite definitely certainly clearly absolutely"
    " actually really indeed patient chest radiograph study exam images"
)
_BESIDE = _FILLING | frozenset(_BESIDE_WORDS.split())
"""What a plain *yes* or *no* may stand with and be one still: *none seen*, *not visible*."""
_EVADES = re.compile(
    r"\b(?:if|can ?not|unable|unsure|uncertain|unknown|undetermined|n[/.]?a)\b"
    r"|\b(?:no|not|never|without|neither|nothing|hard|difficult|impossible)\b[^|,.;:/&\n]{0,80}?"
    r"\b(?:sure|certain|tell|say|said|know(?:ing|able)?|answer\w*|determin\w+|assess(?:ed|able)?"
    r"|evaluat(?:ed?|able)|evaluable|judged?|decided?|idea|clue|comment|opinion|applicable|mind)\b"
)
"""What is no answer, though it may hold a *no*."""
_FILM = r"(?:films?|images?|pictures?|radiographs?|x-?rays?|views?|projections?|study|lungs?)"
_UNSEEN = re.compile(
    rf"\b(?P<film>{_FILM} )?can ?not (?=(?:(?P<looks>see)|(?:be )?"
    r"(?:seen|identified|found|detected|appreciated|visuali[sz]ed))\b(?P<rest>[^.;,!]*))"
)
_POORLY = re.compile(
    r"(?: it)? (?:\w+ly|well|because|due|whether|if|how)\b"
    rf"|(?: (?:any|an?|one|of|the|this|that|these))* {_FILM}\b"
)
_OF_THIS_FILM = re.compile(rf" (?:on|in) (?:this|these|the) {_FILM}\b")
_IT = re.compile(r" (?:one|it|any|an?)\b")
_INDEED = re.compile(r"\W*(?:yes,? )?(?:indeed|certainly|definitely|absolutely|of course)\W*")
_STILL_THERE = re.compile(
    r"\b(?:not|never)(?: (?:yet|\w+ly))* (?:resolved|cleared|disappeared|gone)\b"
)
_NOT_BEFORE = re.compile(
    r"\b(?:not|never)(?: \w+ly)? (?:seen|present|noted|visible|identified)"
    r" (?:previously|before|earlier|(?:on|in|at) (?:the |a )?(?:prior|previous|earlier|last)\b)"
    r"|\b(?:not previously|previously not|not before) (?:seen|present|noted|visible|identified)\b"
)
_NO_LONGER = re.compile(
    r"\b(?:can )?(?:no longer|not any ?more)(?: be)? (?:seen|visible|present|there|identified)\b"
)
_EXCEPTION = re.compile(
    r"\b(?:except(?:ing)?|but|save|(?:other|rather) than|apart from|aside from|besides)"
    r"(?: for| that)?\b([^|,.;:&\n]*)"
)
"""After a *no*: *except a small one on the left*."""
_OF_AN_EXCEPTION = frozenset(("1", "some", "small", "moderate", "large", "left", "right", "both"))
_IS_THERE = re.compile(
    r"\W*(?:(?:is|are|was|were) there|(?:do|does|can|could)\b[^?]*?\b(?:show|shows|see)\b)"
)
_WHERE = re.compile(r"\b(?:in|on|of|at|within|over|near|from|to|for|with)\b")
_VERDICT_ON = re.compile(r"^[^:.;,|\n]*:\s*((?:yes|no|none|absent|present|negative|positive)\b)")
"""*Pacemaker: no* says no more than *no*."""
_AND_ON = re.compile(r"^\W*(yes|no)\s+(?=(?:it|there|this|that|they|i|we|not|the|none)\b)")
"""A *yes* or *no* that a sentence follows without a comma."""
_AFFIRMS = re.compile(r"(?:there|it|they) (?:is|are|was|were|does|do|has|have)(?: indeed)?")
_LETTERS = {"y": "yes", "n": "no"}
_ENDING = re.compile(r"(?<=\w{3})(?:ed|es|ing|s|e)$")
_QUALIFYING_WORDS = (
    "left right both upper lower mid lobe zone lung base bases apex apices side small moderate"
    " large larger smaller acute new other"
)
_QUALIFYING = frozenset(_QUALIFYING_WORDS.split())
"""What a *not* may limit without taking back the *yes* before it."""
_AS_WELL = frozenset(("also", "too", "well", "another", "additional", "second"))
"""With which a side that is not the one asked about is no answer to it."""
_WITH_A_SIDE = _FILLING | _QUALIFYING | {"only", "just", "solely", "alone"}
"""What a clause may hold that says no more than on which side: *only on the right*."""
_RETRACTS = frozenset(("wrong", "mistaken", "mistake", "disregard", "ignore"))
_EITHER = {True, False}
_ABOVE_SIZE = frozenset(("enlarged", "cardiomegaly", "large", "larger", "dilated"))
"""Of a heart, one and the same."""
_ENLARGED, _ZERO = (frozenset({(word,)}) for word in ("enlarged", "0"))
_YES, _NO, _NONE, _NORMAL = (frozenset({(word,)}) for word in ("yes", "no", "none", "normal"))

Items = frozenset[tuple[str, ...]]


def answer_worth(
    said: str, reference: str, asked: frozenset[str] = frozenset(), question: str = ""
) -> float:
    """What an answer to a question is worth, 0 to 1; 1 where it says what the reference says.

    Items are divided by ``|``, commas, semicolons, slashes, ``&``, new lines, *and* or *or*; case,
    stops, articles and the order of words and items do not count, common synonyms and
    abbreviations are one, and *both* is left and right. One answer wanted, nothing but that one
    counts; of a list, every item named in vain takes away one that is right. After a *yes* or *no*
    a reason may follow that does not deny it; the reason alone will do. *I cannot tell* is neither.
    Of a multiple choice the letter, its text, or both. Where a finding is wanted by its kind alone,
    its side, size or place in the lung may stand beside it, unless the question tells another side.

    Parameters
    ----------
    said, reference
        The two answers.
    asked
        Labels of the findings that the question names.
    question
        Its words; where they are not known, a denial of any finding is a *no* if none is asked for.
    """
    if "/" in reference and (one_of := _with_one_of_each(reference)):
        return max(answer_worth(said, one, asked, question) for one in one_of)
    said, reference = _plain(said), _plain(reference)
    choice = _CHOICE.match(reference)
    if not choice and (wanted_letter := _LETTER_WANTED.fullmatch(reference)):
        told = _CHOICE.match(said) or _LETTER.fullmatch(said)
        if told:
            return float(told[1].upper() == wanted_letter[1])
    if choice:
        letter = _LETTER.fullmatch(said)
        if letter:
            return float(letter[1].upper() == choice[1])
        reference = choice[2]
        chosen = _CHOICE.match(said)
        if chosen:
            if chosen[1] != choice[1]:
                return 0.0
            said = chosen[2]
    wanted, single = _items(reference)
    if not choice and (options := _options(question)):
        letter = _LETTER.fullmatch(said)
        chosen = letter or _OPTION_SAID.match(said)
        if chosen and (text := options.get(chosen[1].lower())) is not None:
            if _items(text)[0] != wanted:
                return 0.0
            said = text if letter else chosen[2]
    if wanted in (_YES, _NO):
        return float(says_yes(said, asked, question) is (wanted == _YES))
    if _VERDICT_FIRST.match(reference):  # *Yes, there is cardiomegaly*
        verdict = says_yes(reference, asked, question)
        if verdict is not None:
            return float(says_yes(said, asked, question) is verdict)
    found, _ = _items(said)
    if (found == _NONE and _finds_nothing(reference)) or (wanted == _NONE and _finds_nothing(said)):
        return 1.0
    if wanted == _NONE and found != wanted and "device" not in structures_named(question):
        called_so = film_called_normal(said) and not read_findings(said).affirmed
        return float(found == _NORMAL or called_so)
    if wanted == _ZERO and found != _ZERO:
        return float(found == _NONE or (bool(asked) and says_yes(said, asked, question) is False))
    if wanted in (_ENLARGED, _NORMAL) and "heart" in structures_named(question):
        found = frozenset(map(_size_of_heart, found))
    if found != wanted:
        labels = read_findings(reference).affirmed
        if wanted and wanted == frozenset(tuple(_sorted_words(label)) for label in labels):
            return _worth_of_findings(said, labels, question)
        found = _without_what_is_known(found, wanted, asked, question)
    if found == wanted:  # of signs alone, only the same ones
        return float(bool(wanted) or (bool(said.strip()) and said.strip() == reference.strip()))
    if single:
        return 0.0
    right = len(wanted & found)
    return max(0, 2 * right - len(found)) / len(wanted)


def _with_one_of_each(reference: str) -> tuple[str, ...]:
    """References in which one kind, or both, stand for *Nodule/Mass*; none where there is none."""
    either = [e for e in _EITHER_KIND.finditer(reference) if {e[1].lower(), e[2].lower()} <= KINDS]
    if not either:
        return ()
    ways = [reference]
    for pair in either:
        ways = [way.replace(pair[0], one) for way in ways for one in (pair[1], pair[2])]
    return (*ways, reference.replace("/", " | "))


def _without_what_is_known(
    found: Items, wanted: Items, asked: frozenset[str], question: str
) -> Items:
    """Items without words that the question has, and details that nobody asks for.

    *The effusion is small*, asked how large it is, is *small*. What is wanted, and whatever could
    stand in its place, is left, such as a size beside a size; so are alternatives that the question
    names, and items of details alone where there are no others.
    """
    words = frozenset(word for item in wanted for word in item)
    stems, _, in_question = _words_of_question(question)
    kinds_of_it = kinds(asked) or (KINDS if words <= _SIDES else frozenset())
    known = _BY_THE_WAY.union(*(kind.split() for kind in kinds_of_it))
    choice = "or" in in_question or "/" in question or bool(_options(question))
    told = frozenset[str]() if choice else frozenset(in_question) - _DENIALS
    for values in _VALUES:
        if len(told & values) > 1:
            told -= values
    kept = words
    for values in _VALUES:
        if not words.isdisjoint(values):
            kept |= values
    if words & _OF_KINDS:
        kept |= _OF_KINDS
    if words & DEVICES:
        kept |= DEVICES
    numbers = any(word[0].isdigit() for word in words)
    if numbers:
        kept |= _MANY
    if words & {"ap", "pa"}:  # a frontal view, either
        kept -= {"frontal"}
    details = _details(words, told, frozenset(in_question) if choice else told) - kept
    known = (known | told) - kept | details
    told_stems = frozenset() if choice else stems
    reduced, idle = set(), set()
    for item in found:
        if _DENIALS.isdisjoint(item):
            rest = [
                word
                for word in (_singular(word, words) for word in item)
                if word not in known
                and (numbers or not word[0].isdigit() or word == "0")
                and not ("-" in word and details.issuperset(_parts(word)))
                and (word in kept or word in _ANY_VALUE or _ENDING.sub("", word) not in told_stems)
            ]
            if len(_SIDES.intersection(item)) > 1:
                reduced.add(item)
            elif rest:
                reduced.add(tuple(_bare_place(rest)))
            else:
                idle.add(item)
        elif len(found) < 2 or not _denies_another(item, wanted):
            reduced.add(item)
    return frozenset(reduced or idle)


def _details(
    words: frozenset[str], told: frozenset[str], in_question: frozenset[str]
) -> frozenset[str]:
    """What may be told beside the words wanted; not the other side than a question tells."""
    details = DETAILS | _SIZES
    numbers = any(word[0].isdigit() for word in words)
    open_to_all = words.isdisjoint(_ANY_VALUE) and {"device"}.issuperset(
        structures_named(" ".join(words))
    )
    if open_to_all or words <= _SIDES | _SIZES or numbers:
        details |= _PLACES
    if words <= _SIDES:
        details |= OF_A_PLEURAL_SIDE
    if words & {"ap", "pa"}:
        details |= {"frontal"}
    if words & POSTURES:
        details |= {"ap", "pa"}
    if words & DEVICES:
        details |= OF_A_DEVICE
    if open_to_all or (words & _ANY_VALUE and words.isdisjoint(_SIDES | _PLACES)) or numbers:
        details |= {"left", "right"}
    if told & _SIDES:
        details -= _SIDES
    return details - (in_question - told)


def _size_of_heart(item: tuple[str, ...]) -> tuple[str, ...]:
    """What is said of a heart's size, as *normal* or *enlarged* where it is one of them."""
    if _ABOVE_SIZE.isdisjoint(item):
        return item
    rest = {*item} - _ABOVE_SIZE - _SIZES - {"heart"}
    if rest in ({"no"}, {"not"}) and len(_ABOVE_SIZE.intersection(item)) == 1:
        return ("normal",)
    return tuple(sorted({"enlarged", *rest}))


def _singular(word: str, wanted: frozenset[str]) -> str:
    return word[:-1] if word[-1] == "s" and word[:-1] in wanted else word


def _parts(word: str) -> set[str]:
    """Of *semi-erect*, the words as :data:`SAME` has them, without a number."""
    parts = (SAME.get(part, part) for part in word.split("-"))
    return {part for part in parts if not part.isdigit()}


def _denies_another(item: tuple[str, ...], wanted: Items) -> bool:
    """Whether an item denies what is not wanted either: *left, not right*."""
    rest = tuple(word for word in item if word != "not")
    return len(rest) + 1 == len(item) and bool(rest) and rest not in wanted


def _worth_of_findings(said: str, wanted: frozenset[str], question: str) -> float:
    """What an answer is worth where findings are wanted and nothing else.

    Whatever it affirms beside them is named in vain, and so is an item that names no finding; what
    it denies is not held against it, unless it affirms that as well.
    """
    lower = said.lower()
    read = read_findings(said)
    if _EVADES.search(lower) or _RETRACTS.intersection(_tokens(lower)):
        return 0.0
    if clashes(read.affirmed, read.denied) or film_called_normal(said):
        return 0.0
    there = _SIDES.intersection(_words_of_question(question)[2])
    found: set[object] = set()
    for label in read.affirmed:
        kind, side = kind_of(label), side_of(label)
        elsewhere = side and there and side not in there and "both" not in there
        found.add(kind if kind in wanted and not elsewhere else label)
    for part in _ITEM_END.split(name_findings(lower)):
        tokens = {*_tokens(part)}
        if tokens & _UNDERMINES or tokens == {"not"}:
            return 0.0
        words = tokens - _BESIDE - _OF_A_LIST - _DETAILS - _SIDES - _AROUND - OF_A_SIGN
        words -= {word for word in words if word.isdigit()}
        if words & _OF_KINDS:  # what else is told of a finding is of no matter, but a device
            words &= _DEVICES_ALONE
        if words and _DENIALS.isdisjoint(words):
            found.add(tuple(sorted(words)))
    right = len(wanted & found)
    if len(wanted) == 1:
        return float(found == wanted)
    return max(0, 2 * right - len(found)) / len(wanted)


def _sorted_words(kind: str) -> list[str]:
    return sorted(kind.split())


def _plain(answer: str) -> str:
    """An answer without its markup and what announces it, and with findings by their names.

    What announces it is left where nothing follows.
    """
    if "  " in answer:  # long runs would be searched from each of their spaces
        answer = _SPACES.sub(" ", answer)
    if "\\" in answer:
        answer = _MARKUP.sub(r"\1", answer)
    announced = _ANSWER_IS.match(answer) if "nswer" in answer.lower() else None
    return with_names_of_findings(answer[announced.end() :] if announced else answer)


def is_closed(reference: str) -> bool:
    """Whether the answer wanted is *yes* or *no*."""
    choice = _CHOICE.match(reference)
    return _items(choice[2] if choice else reference)[0] in (_YES, _NO)


def asks_more(question: str, asked: frozenset[str]) -> bool:
    """Whether a closed question is whether what it names is gone, larger or otherwise so."""
    words = _words_of_question(question)[2]
    return predicate_of(question, words, asked) is not None


def asks_for_presence_alone(question: str) -> bool:
    """Whether a question that names a finding asks of it nothing but whether, and where, it is."""
    named = sum((kind.split() for kind in KINDS), ["left", "right", "any"])
    words = _tokens(name_findings(question).lower())
    return (_BESIDE | {"can", "could", "showing", "shows"}).union(named).issuperset(words)


@lru_cache(maxsize=65_536)
def says_yes(said: str, asked: frozenset[str] = frozenset(), question: str = "") -> bool | None:
    """Whether an answer says *yes* or *no* of the findings asked for.

    None where it says neither or both, takes back what it said, evades, or asks. It says *no* with
    a plain word for it, or by denying what is asked for: a finding or words of the question. Asked
    about a side, what is there on the other side alone is a *no*, and what is denied there alone is
    neither.
    """
    said = _plain(said)
    lower = said.lower().replace("\u2019", "'").replace("can't", "cannot")
    lower = in_full(lower.replace("n't", " not"))
    lower = _UNSEEN.sub(lambda no: "not " if _is_unseen(no, asked, question) else no[0], lower)
    if _INDEED.fullmatch(lower):
        return True
    lower = _AND_ON.sub(r"\1, ", lower).replace("ruled out", "excluded")
    if any(no.search(lower) for no in (_ASKS, _NEGATED_VERDICT, _EVADES)):
        return None
    if not asked and (by_name := with_names_of_findings(question)) != question:
        asked = finding_labels(by_name)
    told, spared, words_asked = _words_of_question(question)
    predicate = predicate_of(question, words_asked, asked)
    if not spared:
        lower = _NOT_BEFORE.sub("new", _STILL_THERE.sub("persists", lower))
    if predicate:
        lower = _UNCHANGED.sub("unchanged", lower)
        if "gone" in predicate.says:
            lower = _NO_LONGER.sub("gone", lower)
    if not asked and ":" in lower:
        lower = _VERDICT_ON.sub(r"\1", lower)
    spoken = [words for clause in _CLAUSE.split(lower) if (words := _tokens(clause))]
    if not spoken:
        return None
    if _RETRACTS.difference(words_asked).intersection(word for words in spoken for word in words):
        return None
    side = _one_side(asked)
    several, every = _several(asked, words_asked)
    as_well = any(not _AS_WELL.isdisjoint(words) for words in spoken)
    verdicts: set[bool] = set()
    taken_back = here = elsewhere = False
    for words in spoken:
        words = [_LETTERS.get(word, word) for word in words]
        if words[0] == "yes":
            verdicts.add(True)
            words = words[1:]
        clause = " ".join(words)
        believed = "so" in words or "there" in words
        hedged = not (LIKELY if believed else LIKELY - BELIEVE).isdisjoint(words)
        words = [word for word in words if word not in LIKELY | BY_DEGREE]
        words = words[1:] if hedged and words[:1] == ["i"] else words
        found = read_findings(clause)
        if predicate:
            verdict = predicate.verdict(words, clause, found, _finds_nothing(clause))
            if verdict is not None:
                verdicts.add(verdict)
                continue
        elif asked and (film_called_normal(clause) or _is_normal(words, words_asked)):
            verdicts.add(False)
        named = found.affirmed | found.denied
        denials = _SAYS_NO.intersection(words) - spared
        if side and not denials and not as_well:
            where = _SIDES.intersection(words)
            if where and not named and _WITH_A_SIDE.issuperset(words):
                here |= side in where or "both" in where
                elsewhere = True
            elsewhere |= affirm(kinds(asked), found.affirmed)
        if several and named and "yes" not in words:
            continue  # one of them by itself is no answer
        if named and not affirm(asked, found.affirmed) and not deny(asked, found.denied):
            if not asked and not question and not found.affirmed and len(denials) == 1:
                verdicts.add(False)
            continue
        if "yes" in words:  # *maybe yes* is none
            verdicts |= {True} if verdicts or _BESIDE.issuperset({*words} - {"yes"}) else _EITHER
        if len(denials) > 1 and not denials <= _NEITHER:
            return None
        if denials:
            rest = {_ENDING.sub("", word) for word in words if word not in denials | _BESIDE}
            if not rest or (rest <= told and True not in verdicts) or _finds_nothing(clause):
                verdicts.add(False)
            taken_back |= _denies(words, denials)
        elif (
            _affirms(words)
            or (hedged and _BESIDE.issuperset(words))
            or (_is_seen(words, told) and _asks_for_sight(question))
            or (len(spoken) == 1 and _AFFIRMS.fullmatch(" ".join(words)))
            or not (predicate or several or named or not _states(words, told, question))
        ):
            verdicts.add(True)
    if asked and not predicate:
        found = read_findings(said)
        denied = deny(asked, found.denied)
        if several:
            there = {label for label in asked if affirm({label}, found.affirmed)}
            gone = {label for label in asked if deny({label}, found.denied)}
            if every:
                here = there == asked
                denied = bool(gone or there) and not here
            else:
                here, denied = bool(there), gone == asked
        else:
            here |= affirm(asked, found.affirmed)
        verdicts |= {True} if here else set()
        verdicts |= {False} if denied or (elsewhere and not here) else set()
    if verdicts == {False} and (_suspects(lower, spoken, side) or BUT_POSSIBLY.search(lower)):
        return None
    if verdicts == {False} and not predicate and _excepts(lower, side):
        return None
    if len(verdicts) != 1 or (True in verdicts and taken_back):
        return None
    return True in verdicts


def _is_unseen(no: re.Match[str], asked: frozenset[str], question: str) -> bool:
    """Whether it is what is asked for that *cannot be seen*: that is a *no*.

    It is none where *it cannot be seen well*, where nothing can, or where the film is to blame: *I
    cannot see*, *I cannot see the film*, *it cannot be seen on this view*.
    """
    rest = no["rest"]
    if no["film"] or _POORLY.match(rest):
        return False
    found = read_findings(no.string)
    if not kinds(asked).isdisjoint(kinds(found.affirmed | found.denied)):
        return True
    if _OF_THIS_FILM.search(rest):
        return False
    seen = _stems_that_tell(_tokens(rest))
    return not no["looks"] or bool(
        _IT.match(rest) or (seen and seen <= _words_of_question(question)[0])
    )


@lru_cache(maxsize=4_096)
def _options(question: str) -> dict[str, str]:
    """Answers that a question lists, by their letters, which begin with A and go on in order."""
    found = {option[1].lower(): option[2].strip(" ,;") for option in _OPTION.finditer(question)}
    return found if len(found) > 1 and [*found] == [*"abcdefgh"[: len(found)]] else {}


@lru_cache(maxsize=4_096)
def _words_of_question(question: str) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    """Its words without their endings, those that would deny elsewhere, and all as they stand."""
    words = _tokens(in_full(question.lower()))
    by_name = _tokens(in_full(with_names_of_findings(question).lower()))
    stems = frozenset(_ENDING.sub("", word) for word in (*words, *by_name))
    return stems, _GONE.intersection(words), tuple(words)


def _one_side(asked: frozenset[str]) -> str | None:
    """The side asked about, where it is one."""
    sides = {side_of(label) for label in asked}
    return sides.pop() if len(sides) == 1 else None


def _several(asked: frozenset[str], words: tuple[str, ...]) -> tuple[bool, bool]:
    """Whether a question asks for more than one label, and whether for all of them."""
    if len(asked) < 2:
        return False, False
    return True, "or" not in words and ("and" in words or "both" in words)


def _excepts(lower: str, side: str | None) -> bool:
    """Whether a *no* is followed by what is there nevertheless, named by size or side alone."""
    for exception in _EXCEPTION.finditer(lower):
        words = {*_tokens(exception[1])}
        sides = words & {"left", "right"}
        if side and sides and side not in sides:
            continue
        if words & _OF_AN_EXCEPTION and words <= _BESIDE | _QUALIFYING | _OF_AN_EXCEPTION:
            return True
    return False


def _suspects(lower: str, spoken: list[list[str]], side: str | None) -> bool:
    """Whether what is said not to be there is said to be possible after all: *no, but possible*."""
    if DOUBTS.isdisjoint(_WORD.findall(lower)):
        return False
    for words in spoken[1:]:
        doubts, sides = DOUBTS.intersection(words), {"left", "right"}.intersection(words)
        if not doubts or (side and sides and side not in sides):
            continue
        rest = {*words} - doubts - BY_DEGREE
        if rest <= _BESIDE | _QUALIFYING | {"be", "still", "yet"} and (rest or doubts & SUSPECTS):
            return True
    return False


def _is_normal(words: list[str], words_asked: tuple[str, ...]) -> bool:
    """Whether a clause is a bare *normal* or *clear*, and the question has neither word."""
    telling = {*words} - _BESIDE
    return bool(telling) and telling <= {"normal", "clear"} and telling.isdisjoint(words_asked)


def _is_seen(words: list[str], told: frozenset[str]) -> bool:
    """Whether a clause is a plain *visible*, or *it can be seen*."""
    words = _before_a_place(words, told)
    return not SEEN.isdisjoint(words) and (_FILLING | SEEN | BESIDE_SEEN).issuperset(words)


@lru_cache(maxsize=4_096)
def _asks_for_sight(question: str) -> bool:
    """Whether it is asked if something is there, or seen, and not if it is gone."""
    words = _WORD.findall(question.lower())
    return _SAYS_NO.isdisjoint(words) and (
        not SEEN.isdisjoint(words) or _IS_THERE.match(question.lower()) is not None
    )


def _states(words: list[str], told: frozenset[str], question: str) -> bool:
    """Whether a clause states what a question asks, in its words: *a pacemaker is present*.

    Where a question does not ask where, a place may be told; and details.
    """
    needed = _to_be_stated(question)
    if not needed:
        return False
    rest = _stems_that_tell(words)
    if needed <= rest <= told:
        return True
    if _WHERE.search(question):
        return False
    words = _before_a_place(words, told)
    more = DETAILS | OF_A_DEVICE
    if _SIZES.isdisjoint(_words_of_question(question)[2]):
        more |= _SIZES
    telling = [word for word in words if not more.issuperset(_parts(word))]
    return needed <= _stems_that_tell(words) and _stems_that_tell(telling) <= told


def _before_a_place(words: list[str], told: frozenset[str]) -> list[str]:
    """A clause up to where it tells a place: *the tip is seen* at the carina.

    All of it, where that is on another film, or on another side than the question tells.
    """
    for i, word in enumerate(words):
        if i and (word in BEGINS_A_PLACE or (word[0].isdigit() and word != "1")):
            sides = {"left", "right"}.intersection(words[i:])
            other = ELSEWHERE.intersection(words[i:]) or (told & _SIDES and sides - told)
            return words if other else words[:i]
    return words


@lru_cache(maxsize=4_096)
def _to_be_stated(question: str) -> frozenset[str]:
    """Words without their endings with which alone a clause states what a question asks.

    All but where, of *is there one*; the last, of *is it so*; and all of any other.
    """
    lower = in_full(with_names_of_findings(question).lower())
    begins, *where = _WHERE.split(lower, maxsplit=1)
    if _IS_THERE.match(lower):
        return _stems_that_tell(_tokens(begins))
    words = [word for word in _tokens(lower) if word not in _BESIDE]
    return _stems_that_tell(words if where else words[-1:])


def _stems_that_tell(words: Iterable[str]) -> frozenset[str]:
    return frozenset(_ENDING.sub("", word) for word in words if word not in _BESIDE)


def _affirms(words: list[str]) -> bool:
    """Whether a clause is a plain *present* or the like."""
    return not _IS_YES.isdisjoint(words) and _FILLING.issuperset({*words} - _IS_YES)


def _denies(words: list[str], denials: frozenset[str]) -> bool:
    """Whether a clause denies more than a size or a side, and so takes back a *yes*."""
    rest = {*words} - _FILLING - denials
    return not rest or not rest <= _QUALIFYING or words[0] not in denials


@lru_cache(maxsize=65_536)
def _items(answer: str) -> tuple[Items, bool]:
    """The items of an answer, and whether it is one answer, as it was written."""
    lower = in_full(_INITIALS.sub(r"\1\2", _as_written(answer).lower()))
    lower = _SIDED.sub(r"\1", lower)
    lower = _UNCHANGED.sub("unchanged", _NOT_ENLARGED.sub("normal", lower))
    lower = _LEFT_AND_RIGHT.sub("both", lower)
    lower = _WHOLE_NUMBER.sub(r"\1", _MEASURE.sub(_in_millimetres, lower))
    lower = _SHORT.sub(lambda match: _WRITTEN_OUT[match[0]], lower)
    lower = _VIEW.sub(lambda match: "ap" if match["ap"] else "pa", lower)
    written = [item for part in _BETWEEN.split(name_findings(lower)) if (item := _item(part))]
    items: set[tuple[str, ...]] = set()
    for item in written:
        if "both" in item:
            rest = [word for word in item if word != "both"]
            items |= {tuple(sorted([side, *rest])) for side in ("left", "right")}
        else:
            items.add(item)
    return frozenset(items), len(set(written)) < 2


def _in_millimetres(measure: re.Match[str]) -> str:
    return f"{float(measure[1]) * (10 if measure[2] == 'cm' else 1):g}mm"


def _item(text: str) -> tuple[str, ...]:
    if _finds_nothing(text):
        return ("normal",)
    words = _words(text)
    if len(words) > 1 and not (KINDS.isdisjoint(words) and _PARTS_OF_LUNG.isdisjoint(words)):
        words = [word for word in words if word not in _OF_LUNG] or words
    words = _bare_place(words)
    if len(words) == 1:
        words = [_ALONE.get(words[0], words[0])]
    return tuple(sorted(words))


def _bare_place(words: list[str]) -> list[str]:
    """A side or height without the word for what it is of: *left lung*, *right upper lobe*."""
    bare = [word for word in words if word not in _OF_A_SIDE]
    if bare and _SIDES.issuperset(bare):
        return bare
    if _HEIGHTS_AND_ENDS.isdisjoint(words):
        return words
    return [word for word in words if word not in _OF_A_HEIGHT]


def _finds_nothing(text: str) -> bool:
    return _NO_FINDING.fullmatch(text.strip(" .").lower()) is not None


def _as_written(text: str) -> str:
    """Accents composed, so that one letter is one sign."""
    return text if text.isascii() else normalize("NFC", text)


def _tokens(text: str) -> list[str]:
    return [SAME.get(word, word) for word in _WORD.findall(_as_written(text))]


def _words(text: str) -> list[str]:
    words = _tokens(text)
    telling = [word for word in words if word not in _FILLING]
    return telling or words
