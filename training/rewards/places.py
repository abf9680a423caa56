"""Whether what is boxed is where it is said to be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from service.reading import ParsedText
from training.labels import kind_of, read_findings, side_of
from training.negation import negations, polarity
from training.rewards.agreement import RELATED, kinds, relatives, same_side
from training.rewards.geometry import Box, closeness, iou
from training.rewards.step_words import StepWords, structures_named
from training.rewards.wording import sentences
from training.unlisted import OTHER_NAMES, affirms

if TYPE_CHECKING:
    from training.rewards.truth import Place, Truth

_DUPLICATE = 0.9
"""IoU from which two boxes of one finding are one box given twice."""
_WHOLE_FILM, _WHOLE_FILM_OF_A_FINDING = 0.85, 0.6
"""Share of the film from which a box points at nothing."""
_FAR_TOO_LARGE, _LARGE = 5.0, 0.2
"""Area in those of all true boxes of the finding, and share of the film, from both of which a box
points at nothing."""
_OVERLAPPING = 0.5
"""IoU of the true boxes of two findings from which one box may stand for each of them."""
_UNPLACED, _UNPLACED_BOXES = 0.25, 2
"""What a box costs around a structure that nobody knows the place of, and how many may be drawn
before each costs as much as one around nothing."""
_ELSEWHERE = 0.1
"""IoU below which a box does not show the structure that it is said to."""
_TOUCHES_NOTHING = 0.1
"""What a box costs that touches no place of the finding that it is said to show, lest it be worth
as much as none: little, for who looks for a small one may well miss it."""
_SPAM = 20
"""Tricks from which no further box is looked at."""
_BOXES_TOO_MANY = 2
"""Boxes that a finding or structure may have beyond the true ones; each further one is spam."""
_FEW = 3
"""Boxes up to which all pairings are tried out."""
_NOTHING = frozenset(("nothing", "none"))
_WORD = re.compile(r"\w+")

Sided = tuple[str | None, Box]
_NOBODY_KNOWS: list[tuple[str | None, Box | None]] = [(None, None)]
"""In place of the boxes of a finding that has none: any box shows it as well as another."""


class Places(NamedTuple):
    """The boxes of a reading, in original pixels.

    Attributes
    ----------
    of_findings
        Boxes with their sides by image and kind of the finding that their step affirms.
    stray
        Boxes around nothing named or what is denied, given twice, for two findings that lie apart
        too, around the whole film or far more than the finding, far from the structure named, and
        too many around a structure or a finding; a part of one for a box
        around a structure of unknown place, and a little for one that misses its finding.
    shown
        Labels that a box of their step shows, as far as their places are known: it covers some
        of one.
    unnamed
        How many of a place's boxes fit a region that their step does not name.
    """

    of_findings: dict[Place, list[Sided]]
    stray: float
    shown: frozenset[str]
    unnamed: dict[Place, int]


def read_places(parsed: ParsedText, said: Sequence[StepWords], truth: Truth) -> Places:
    """Sort the boxes of a parsed text by what its steps name (``said``)."""
    found: dict[Place, list[Sided]] = {}
    structures: dict[Place, int] = {}
    beside: dict[Place, list[Sided]] = {}
    shown: set[str] = set()
    pointed: dict[tuple[int, Box], int] = {}
    stray: float = 0
    unplaced = 0
    unnamed: dict[Place, int] = {}
    boxes, scales = truth.boxes, truth.scales
    for step, words in zip(parsed.steps, said, strict=True):
        if not step.boxes:
            continue
        findings = words.findings
        whole = _WHOLE_FILM_OF_A_FINDING if findings else _WHOLE_FILM
        for (x0, y0, x1, y1), image, _, _ in step.boxes:
            if stray + unplaced > _SPAM:
                break
            across, down, area = scales[image]
            size = (x1 - x0) * (y1 - y0)
            if size > whole * area:
                stray += 1
            original = (x0 * across, y0 * down, x1 * across, y1 * down)
            if findings:
                kind, side = findings[0]
                if len(findings) > 1:
                    kind, side = _nearest(original, image, findings, truth)
                place = (image, kind)
                given = found.get(place)
                if given is None:
                    given = found[place] = []
                if size > _LARGE * area:
                    stray += _far_too_large(original, boxes.get(place, ()))
                if len(found) > 1:
                    stray += _shows_another(original, place, found, truth)
                if given:
                    most = max(len(boxes.get(place, ())), 1) + _BOXES_TOO_MANY
                    stray += any(iou(original, other) > _DUPLICATE for _, other in given)
                    stray += len(given) >= most
                given.append((side, original))
                if len(findings) > 1:
                    for other, where in findings:
                        if other != kind and _lie_together(place, (image, other), truth):
                            beside.setdefault((image, other), []).append((where, original))
                touches = False
                for kind, side in findings:
                    for where, other in boxes.get((image, kind), _NOBODY_KNOWS):
                        overlap = iou(original, other) if other else 1.0
                        if overlap:
                            touches = True
                            if overlap >= _ELSEWHERE and (side == where or same_side(side, where)):
                                shown.add(f"{side} {kind}" if side else kind)
                if not touches:
                    stray += _TOUCHES_NOTHING
                continue
            place = _structure_shown(original, image, words.shown, truth)
            if place:
                structures[place] = structures.get(place, 0) + 1
            elif region := _region_shown(original, image, step.text, truth):
                name, box = region
                if name and not _names_another(step.text, words.structures, name):
                    found.setdefault((image, name), []).append((None, original))
                    unnamed[image, name] = unnamed.get((image, name), 0) + 1
                pointed[image, box] = pointed.get((image, box), 0) + 1
            elif any((image, name) not in truth.structures for name in words.structures):
                unplaced += 1
            else:
                stray += 1
    if unplaced:
        stray += unplaced if unplaced > _UNPLACED_BOXES else unplaced * _UNPLACED
    for place, times in structures.items():
        stray += max(0, times - len(truth.structures[place]) - _BOXES_TOO_MANY)
    if pointed:
        stray += sum(pointed.values()) - len(pointed)
    if beside:
        found = beside | found
    if truth.alternatives:  # what shows one of *Nodule/Mass* shows the other
        for label in tuple(shown):
            kind, side = kind_of(label), side_of(label)
            others = [other for other, of in truth.alternatives.items() if of == kind]
            shown.update(f"{side} {other}" if side else other for other in others)
    return Places(found, stray, frozenset(shown), unnamed)


def closeness_of_places(said: Places, named: frozenset[str], truth: Truth) -> float | None:
    """How well boxes fit, 0 to 1, averaged over the findings due and those named or boxed in vain.

    Of a question, what is boxed where another finding is counts for nothing.

    Boxes of one finding are matched one to one, left with left; one missing and one too many both
    count 0, and one given by another word of its family, or on a region that its step does not
    name, half. None where nothing is due, named or boxed: nothing to point at earns nothing.

    Parameters
    ----------
    said
        What is boxed.
    named
        What the answer affirms, which must lie somewhere, too.
    truth
        What is there; findings of which nobody knows where are left out.
    """
    boxed = said.of_findings
    total, count = 0.0, 0
    taken: tuple[Place, ...] = ()
    for place, wanted in truth.due.items():
        count += 1
        if place in boxed:
            total += _named_share(place, said) * matched_closeness(
                boxed[place], truth.boxes[place], wanted
            )
        elif (same := _shadow_boxed(place, boxed, truth)) is not None:
            total += matched_closeness(boxed[same], truth.boxes[place], wanted)
        elif fits := _boxed_by_another_word(place, wanted, boxed, truth, taken):
            value, related = max(fits)
            taken += (related,)
            total += RELATED * value
    for place, given in boxed.items():
        if place in truth.due or place in taken or place in truth.others:
            continue
        if place[1] not in truth.unboxed:
            count += 1
            if place in truth.boxes:
                total += _named_share(place, said) * matched_closeness(
                    given, truth.boxes[place], len(truth.boxes[place])
                )
    if named:
        kinds_named = kinds(named)
        vain = kinds_named - truth.expected
        if vain:  # another word beside the right one is for what that one's box shows
            vain -= frozenset().union(*map(relatives, kinds_named & truth.expected))
        count += len(vain - {kind for _, kind in boxed} if vain else vain)
    return total / count if count else None


def _shadow_boxed(place: Place, boxed: dict[Place, list[Sided]], truth: Truth) -> Place | None:
    """Where a finding's relative is boxed that is there, too, and on the same shadow.

    *Opacity, likely atelectasis* has one region by two names: a box by either shows both.
    """
    for kind in relatives(place[1]):
        other = place[0], kind
        if other in boxed and _lie_together(place, other, truth):
            return other
    return None


def _named_share(place: Place, said: Places) -> float:
    """What boxes of a place are worth, those whose step does not name it half."""
    unnamed = said.unnamed.get(place)
    return 1 - (1 - RELATED) * unnamed / len(said.of_findings[place]) if unnamed else 1.0


def _boxed_by_another_word(
    place: Place,
    wanted: int,
    boxed: dict[Place, list[Sided]],
    truth: Truth,
    taken: Sequence[Place],
) -> list[tuple[float, Place]]:
    """Where relatives of a finding are boxed that are not there themselves, and how well."""
    others = [(place[0], kind) for kind in relatives(place[1])]
    return [
        (matched_closeness(boxed[other], truth.boxes[place], wanted), other)
        for other in others
        if other in boxed and other not in truth.boxes and other not in taken
    ]


def matched_closeness(said: list[Sided], true: list[Sided], wanted: int) -> float:
    """Mean closeness of boxes matched one to one; missing ones and those too many count 0."""
    if len(said) == len(true) == 1:
        return _fit(said[0], true[0])
    most = max(len(said), wanted)
    fits = [[_fit(a, b) for b in true] for a in said]
    if len(said) > len(true):
        fits = [list(column) for column in zip(*fits, strict=True)]
    if len(fits) <= _FEW and len(fits[0]) <= _FEW:
        columns = permutations(range(len(fits[0])), len(fits))
        best = max(sum(row[j] for row, j in zip(fits, chosen, strict=True)) for chosen in columns)
    else:
        import numpy as np
        from scipy.optimize import linear_sum_assignment

        array = np.array(fits)
        best = float(array[linear_sum_assignment(array, maximize=True)].sum())
    return min(1.0, best / most)


def _fit(said: Sided, true: Sided) -> float:
    return closeness(said[1], true[1]) if same_side(said[0], true[0]) else 0.0


def _nearest(
    box: Box, image: int, findings: tuple[tuple[str, str | None], ...], truth: Truth
) -> tuple[str, str | None]:
    """Which of a step's findings a box shows: the one that it fits best."""
    return max(
        findings,
        key=lambda finding: max(
            (_fit((finding[1], box), true) for true in truth.boxes.get((image, finding[0]), ())),
            default=0.0,
        ),
    )


def _far_too_large(box: Box, true: Sequence[Sided]) -> bool:
    """Whether a box would hold a finding several times over, as far as its place is known."""
    return bool(true) and _area(box) > _FAR_TOO_LARGE * sum(_area(other) for _, other in true)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shows_another(box: Box, place: Place, found: dict[Place, list[Sided]], truth: Truth) -> bool:
    """Whether a box is one already given for another finding, which lies elsewhere."""
    here = truth.boxes.get(place)
    if not here:
        return False
    for other, given in found.items():
        there = truth.boxes.get(other)
        if other == place or other[0] != place[0] or not there:
            continue
        for _, before in given:
            if iou(box, before) > _DUPLICATE:
                if not _lie_together(place, other, truth):
                    return True
                break
    return False


def _lie_together(place: Place, other: Place, truth: Truth) -> bool:
    """Whether one box may stand for each of two findings."""
    here, there = truth.boxes.get(place, ()), truth.boxes.get(other, ())
    return any(iou(one, another) > _OVERLAPPING for _, one in here for _, another in there)


def _region_shown(box: Box, image: int, text: str, truth: Truth) -> tuple[str | None, Box] | None:
    """The region that a box fits whose step names no finding, unless the step denies something."""
    near = [region for region in truth.regions_on(image) if iou(box, region[1]) > _OVERLAPPING]
    if not near or _denies(text):
        return None
    return max(near, key=lambda region: (region[0] is not None, iou(box, region[1])))


@lru_cache(maxsize=65_536)
def _denies(text: str) -> bool:
    """Whether a sentence denies anything, before it or after it."""
    return any(
        not _NOTHING.isdisjoint(sentence.lower().split())
        or any(negation.denies_on for negation in negations(sentence))
        or any(
            polarity(sentence, *word.span(), (), ()) is False for word in _WORD.finditer(sentence)
        )
        for sentence in sentences(text)
    )


@lru_cache(maxsize=65_536)
def _names_another(text: str, structures: tuple[str, ...], name: str) -> bool:
    """Whether a step that does not name a region's finding tells of another, or of none.

    Another structure than the finding's own is one; the lung, in which most of them lie, is none.
    """
    others = {*structures} - {"lung", *structures_named(name)}
    if others or read_findings(text).normal:
        return True
    return any(affirms(text, other) for other in OTHER_NAMES)


def _structure_shown(box: Box, image: int, names: tuple[str, ...], truth: Truth) -> Place | None:
    """The first of the structures named that a box shows, as far as their places are known."""
    for name in names:
        place = image, name
        for other in truth.structures.get(place, ()):
            if iou(box, other) >= _ELSEWHERE:
                return place
    return None
