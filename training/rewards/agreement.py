"""Whether two readings name the same findings."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from training.labels import kind_of, side_of

Labels = frozenset[str]
_SIDE_OF_ONE = 0.5
"""What a finding named is worth where only one of reading and truth knows its side."""
RELATED = 0.5
"""What a finding is worth that is named by another word for much the same shadow."""
_FAMILIES = (
    frozenset(("opacity", "consolidation", "pneumonia")),
    frozenset(("opacity", "atelectasis")),
    frozenset(("nodule", "mass", "lesion")),
)
_RELATIVES = {
    kind: frozenset().union(*(family for family in _FAMILIES if kind in family)) - {kind}
    for kind in frozenset().union(*_FAMILIES)
}


@lru_cache(maxsize=65_536)
def settled(labels: Labels) -> Labels:
    """Labels without those that stand there with a side as well: *a mass ... the left mass*."""
    sided = {kind_of(label) for label in labels if side_of(label)}
    return labels - sided if sided else labels


@lru_cache(maxsize=65_536)
def label_f1(said: Labels, true: Labels, in_vain: int = 0) -> float:
    """F1 of findings with their sides, 0 to 1; 1 where neither names any.

    A known side that is not named makes half a finding, a wrong one none, and one that is named
    beside the other side half a finding and one in vain. An opacity for a consolidation, or a mass
    for a nodule, is half of one, too. Where the truth knows no
    side, as on a lateral film, one that is named is made up, and makes half a finding, too.

    Parameters
    ----------
    in_vain
        How many findings are said that are none of the labels and not there.
    """
    if said == true and not in_vain:
        return 1.0
    right, named = shared(said, true)
    total = named + len(true) + in_vain
    return 2 * right / total if total else 1.0


def shared(said: Labels, true: Labels) -> tuple[float, int]:
    """How many of the true findings are named, and how many are named at all."""
    common = said & true
    right, named = float(len(common)), len(said)
    if len(common) == named:
        return right, named
    spare, missed = said - common, true - common
    if common:
        right -= _SIDE_OF_ONE * sum(_other_side(label) in common for label in spare)
    if not missed:
        return right, named
    for kind in {kind_of(label) for label in spare}:
        if kind in missed:  # without a side in truth: left and right are one
            right += _SIDE_OF_ONE
            named -= sum(kind_of(label) == kind for label in spare) - 1
        elif kind in spare and any(kind_of(label) == kind for label in missed):
            right += _SIDE_OF_ONE
    return right + RELATED * _count_related(spare, missed), named


def share_led_to(affirmed: Labels, supported: Labels, answered: Labels, any_step: bool) -> float:
    """F1 of a report's findings and those that its steps affirm, as far as they are supported."""
    if not affirmed and not answered:
        return float(any_step)
    if affirmed == answered == supported:
        return 1.0
    answered = settled(answered)
    right, named = shared(answered, settled(supported))
    return min(1.0, 2 * right / (named + len(settled(affirmed))))


def _count_related(spare: Labels, missed: Labels) -> int:
    """How many findings missed are named by another of their family, on their side."""
    named = kinds(spare)
    wanted = [label for label in missed if kind_of(label) not in named and related_to(label)]
    if not wanted:
        return 0
    wrong = [label for label in spare if kind_of(label) not in kinds(missed)]
    count = 0
    for label in sorted(wanted, key=_sided_first):  # those that fit any side take what is left
        side, family = side_of(label), related_to(label)
        fits = [one for one in wrong if kind_of(one) in family and same_side(side_of(one), side)]
        if fits:
            wrong.remove(min(fits, key=lambda one: (side_of(one) != side, one)))
            count += 1
    return count


def _sided_first(label: str) -> tuple[bool, str]:
    return side_of(label) is None, label


def related_to(label: str) -> Labels:
    """Kinds that name much the same shadow as a label."""
    return relatives(kind_of(label))


def relatives(kind: str) -> Labels:
    """Kinds that name much the same shadow."""
    return _RELATIVES.get(kind, frozenset())


@lru_cache(maxsize=65_536)
def _other_side(label: str) -> str | None:
    """The same finding on the other side."""
    side = side_of(label)
    return f"{'right' if side == 'left' else 'left'} {kind_of(label)}" if side else None


def elsewhere(labels: Labels) -> Labels:
    """Of findings of which one side is named alone, the labels of the other side."""
    unsided = labels - {label for label in labels if side_of(label)}
    others = {_other_side(label) for label in labels if kind_of(label) not in unsided}
    return frozenset(label for label in others if label and label not in labels)


def same_side(one: str | None, other: str | None) -> bool:
    """Whether two sides do not contradict each other."""
    return one is None or other is None or one == other


def count_beyond(labels: Labels, own: Labels) -> int:
    """How many labels are none of a text's own, on its side or where one of both has none."""
    return sum(not affirm((label,), own) for label in labels) if own else len(labels)


@lru_cache(maxsize=65_536)
def kinds(labels: Labels) -> Labels:
    """The findings without their sides."""
    return frozenset(map(kind_of, labels))


@lru_cache(maxsize=65_536)
def kindred(labels: Labels) -> Labels:
    """The findings without their sides, and those by which much the same shadow may be called."""
    found = kinds(labels)
    return found.union(*map(relatives, found))


def affirm(asked: Collection[str], labels: Collection[str]) -> bool:
    """Whether labels name one of those asked for, on its side or without one."""
    return any(
        kind_of(label) == kind_of(wanted) and same_side(side_of(label), side_of(wanted))
        for wanted in asked
        for label in labels
    )


def deny(asked: Collection[str], denied: Collection[str]) -> bool:
    """Whether one of those asked for is denied: on its side, or on both."""
    return any(
        label in denied
        or (kind := kind_of(label)) in denied
        or (f"left {kind}" in denied and f"right {kind}" in denied)
        for label in asked
    )
