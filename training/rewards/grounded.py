"""Our reward: the right findings in the right words at the right places, reasoned coherently.

``overall = format x honesty x readable x (weighted mean of the parts)``, all between 0 and 1:

* ``format``: 1 for a text that parses without a flag, as its mode demands, and in think mode says
  something in its steps where the reference does, with one answer and all in letters of one
  script (:mod:`training.rewards.disguise`); else 0.
* ``honesty``: halved for every trick (:mod:`training.rewards.honesty`).
* ``findings``: of a report, F1 of the findings affirmed with their sides
  (:mod:`training.rewards.agreement`), and where the reference calls the film normal, that this is
  said; of a question, what the answer is worth (:mod:`training.rewards.equivalence`).
* ``words``: F1 of a report's words and of their pairs, length-aware
  (:mod:`training.rewards.wording`).
* ``places``: closeness of boxes over the findings, matched one to one
  (:mod:`training.rewards.places`).
* ``coherence``: whether the answer follows from the steps (:mod:`training.rewards.coherence`);
  counts as far as the answer is right.
* ``readable``: of a report, what is left where hardly a word is the reference's, or all are but in
  no order.

A part that an example has no truth for is left out of the mean: findings where the reference tells
of none and does not call the film normal either, places where there is nothing to point at and
nothing is pointed at. A wrong answer to a question earns nothing, however well it is boxed, and a
report's boxes earn half as far as it does not say what they show. Hardly a word of the reference's
is enough for a report as short as its findings allow and right in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from service.reading import Mode, parse_text
from training.labels import Findings, clashes, read_findings
from training.rewards.agreement import kinds, label_f1, settled
from training.rewards.change import changed_otherwise
from training.rewards.coherence import coherence as coherence_of
from training.rewards.disguise import disguised
from training.rewards.equivalence import answer_worth
from training.rewards.honesty import affirmed_in
from training.rewards.honesty import honesty as honesty_of
from training.rewards.places import closeness_of_places, read_places
from training.rewards.predicates import just_normal, names_what_is_grave, same_called_normal
from training.rewards.protocol import Rollout
from training.rewards.truth import Truth
from training.rewards.wording import (
    WordAgreement,
    compare_words,
    count_words,
    order_of_sentences,
    same_polarity,
)

Agreement = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""For pairs of a report and its reference, how far their findings agree, 0 to 1."""

_HARDLY_A_WORD = 0.25
"""Word F1 below which a report is not taken for one on the film in question, unless it is short
and its findings are right."""
_SHORT, _SHORT_PER_FINDING = 12, 8
"""Words that a report may take to say that all is normal, and for each finding: up to so many it is
short, however few the reference takes."""
_CONTRADICTED = 2
"""Findings in vain that one counts which reference and report contradict each other on: it is
worse than to say nothing of it."""
TOLERATED = frozenset(("box-image-assumed",))
"""Notices that leave a text's format whole."""


def grounded(
    rollouts: Sequence[Rollout],
    *,
    findings: float = 0.4,
    words: float = 0.15,
    places: float = 0.35,
    coherence: float = 0.1,
) -> list[Mapping[str, float]]:
    """Score rollouts; ``overall`` and every part lie in 0 to 1.

    Parameters
    ----------
    rollouts
        Completions with their examples; boxes of the truth are in original pixels.
    findings, words, places, coherence
        Weights of the parts; only their proportions matter.

    Raises
    ------
    ValueError
        When a weight is negative or all are zero.
    """
    weights = {"findings": findings, "words": words, "places": places, "coherence": coherence}
    return score_rollouts(rollouts, weights)


def score_rollouts(
    rollouts: Sequence[Rollout],
    weights: Mapping[str, float],
    agreement: Agreement | None = None,
) -> list[Mapping[str, float]]:
    """:func:`grounded` with another judge of whether two reports name the same findings.

    Parameters
    ----------
    rollouts, weights
        As for :func:`grounded`.
    agreement
        In place of the rule-based labeler; asked once for all reports among the rollouts.

    Raises
    ------
    ValueError
        When a weight is negative or all are zero.
    """
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError("The weights of the grounded reward must not be negative, nor all zero.")
    truths: dict[int, Truth] = {}  # the rollouts of a group share their example
    read = []
    for rollout in rollouts:
        truth = truths.get(id(rollout.example))
        if truth is None:
            truth = truths[id(rollout.example)] = Truth(rollout)
        read.append(_Read(rollout.completion, truth))
    # Each pass over all of them before the next: its code then stays in the processor's caches.
    for part in (_Read.parse, _Read.name_what_is_said, _Read.judge_findings):
        for one in read:
            part(one)
    if agreement is not None:
        reports = [one for one in read if one.truth.report]
        pairs = [(one.parsed.answer, one.truth.example.answer) for one in reports]
        for one, value in zip(reports, agreement(pairs) if pairs else (), strict=True):
            one.right = min(1.0, max(0.0, float(value)))
    for part in (
        *(_Read.find_places, _Read.judge_honesty, _Read.compare_words),
        *(_Read.judge_coherence, _Read.judge_places),
    ):
        for one in read:
            part(one)
    return [one.score(weights) for one in read]


class _Read:
    """A completion, read once; its methods are to be called in their order."""

    __slots__ = (
        *("completion", "truth", "parsed", "said", "answered", "right", "found", "stepped"),
        "contradicted",
        *("honesty", "length", "wording", "coherent", "close"),
    )

    def __init__(self, completion: str, truth: Truth) -> None:
        self.completion = completion
        self.truth = truth

    def parse(self) -> None:
        truth = self.truth
        example = truth.example
        self.parsed = parse_text(
            self.completion, mode=example.mode, images=len(example.images), extents=truth.extents
        )

    def name_what_is_said(self) -> None:
        words_of = self.truth.words_of
        self.said = [words_of(step.text) for step in self.parsed.steps]
        self.stepped = affirmed_in(self.said)
        self.answered: Findings = read_findings(self.parsed.answer)

    def judge_findings(self) -> None:
        self.contradicted = 0
        self.right = self._right()

    def find_places(self) -> None:
        self.found = read_places(self.parsed, self.said, self.truth)

    def judge_honesty(self) -> None:
        said, answered, stepped = self.said, self.answered, self.stepped
        self.honesty = honesty_of(
            self.completion, self.parsed, said, answered, stepped, self.found, self.truth
        )

    def compare_words(self) -> None:
        self.wording: WordAgreement | None = None
        if self.truth.report:
            words = count_words(self.parsed.answer)
            self.length = words.length
            self.wording = wording = compare_words(words, self.truth.words)
            if wording.in_order < 1.0:
                self.wording = wording._replace(in_order=self._in_order(wording.in_order))
            # Where nothing is told, there is nothing but its words; a denial is in what it denies.
            if self.truth.told_nothing or self.contradicted:
                alike = same_polarity(self.parsed.answer, self.truth.example.answer)
                worth = wording.worth * alike * 0.5**self.contradicted
                self.wording = self.wording._replace(worth=worth)

    def _in_order(self, paired: float) -> float:
        """What is left of a report of the reference's words with few of their pairs.

        All, as far as its findings are right, where its sentences are whole all the same.
        """
        whole = order_of_sentences(self.parsed.answer, self.truth.example.answer)
        if whole is None:
            return paired
        return max(paired, self.right or 0.0) if whole == 1.0 else min(paired, whole)

    def judge_coherence(self) -> None:
        self.coherent = 0.0
        if self.truth.example.mode is Mode.THINK:
            self.coherent = coherence_of(
                self.parsed, self.said, self.answered, self.stepped, self.found, self.truth
            )

    def judge_places(self) -> None:
        truth = self.truth
        self.close: float | None = None
        if truth.places_known and truth.example.mode is Mode.THINK:
            named = self.answered.affirmed | self.stepped if truth.report else frozenset()
            self.close = closeness_of_places(self.found, named, truth)

    def _right(self) -> float | None:
        """None where the reference of a report has nothing to hold the findings against."""
        truth, said = self.truth, self.answered.affirmed
        if not truth.report:
            return answer_worth(
                self.parsed.answer, truth.example.answer, truth.asked, truth.question
            )
        if truth.told_nothing:
            return None
        if truth.labels or said:
            named = settled(said)
            in_vain = int(self._names_what_is_grave())
            if named != truth.labels:
                self.contradicted = self._contradicted(named)
            if truth.changes:
                self.contradicted += changed_otherwise(self.parsed.answer, truth.changes)
            if self.contradicted:
                in_vain += _CONTRADICTED * self.contradicted
            return label_f1(named, truth.labels, in_vain)
        abnormal = self.answered.abnormal and not truth.told.abnormal
        if just_normal(self.parsed.answer):
            return 1.0
        return float(self.answered.normal and not abnormal)

    def _contradicted(self, named: frozenset[str]) -> int:
        """How many findings a report affirms that the reference denies, or denies that it affirms.

        What the reference says against itself is not held against a report.
        """
        true, told = self.truth.labels, self.truth.told
        made_up = clashes(named - true, told.flatly_denied)
        return len(made_up) + len(clashes(true - named, self.answered.flatly_denied))

    def _names_what_is_grave(self) -> bool:
        """Whether a report names what no label stands for and the reference knows nothing of."""
        return (
            self.answered.abnormal
            and names_what_is_grave(self.parsed.answer)
            and not names_what_is_grave(self.truth.example.answer)
        )

    def _told_in_short(self, length: int) -> float:
        """How far a report of so many words is right in other words than the reference's."""
        truth = self.truth
        most = max(truth.length, _SHORT + _SHORT_PER_FINDING * len(truth.labels))
        if self.right is None or length >= 2 * most:
            return 0.0
        right = self.right
        if right and not truth.labels:
            right *= same_called_normal(
                self.parsed.answer, self.answered, truth.example.answer, truth.told
            )
        return min(1.0, 2 - length / most) * right * right

    def _reasons_as_due(self) -> bool:
        """Whether a step names something, where the reference's do."""
        if self.truth.example.mode is not Mode.THINK or not self.truth.reasons:
            return True
        return any(words.named for words in self.said)

    def _in_form(self) -> bool:
        parsed, truth = self.parsed, self.truth
        return (
            parsed.complete
            and not (parsed.notices and {notice.code for notice in parsed.notices} - TOLERATED)
            and self.completion.count(r"\boxed") < 2
            and self._reasons_as_due()
            and (truth.disguised or not disguised(self.completion, truth.words.words))
        )

    def score(self, weights: Mapping[str, float]) -> dict[str, float]:
        wording = self.wording
        right = self.right or 0.0
        parts = {} if self.right is None else {"findings": right}
        unread = 0
        if wording is not None:
            parts["words"] = wording.worth
            if self.right is None:
                right = wording.worth
                unread = len(kinds(self.answered.affirmed) - kinds(self.truth.labels))
        if self.truth.example.mode is Mode.THINK:
            parts["coherence"] = right and right * self.coherent
            if self.close is not None:
                share = 1.0
                if wording is None:  # of a question all is paid as far as the answer is right
                    share = right
                elif self.right is not None:
                    share = (1 + right) / 2
                parts["places"] = share and share * self.close
        mean = total = 0.0
        for name, value in parts.items():
            total += weights[name]
            mean += weights[name] * value
        mean = mean / total if total else 0.0
        if unread:  # each another word for what the reference tells of, or made up
            mean /= 1 + unread
        if wording is not None:
            told = wording.words / _HARDLY_A_WORD
            if told < 1.0:
                told = max(told, self._told_in_short(self.length))
            parts["readable"] = readable = wording.in_order * min(1.0, told)
            mean *= readable
        format_ = float(self._in_form())
        overall = format_ * self.honesty * mean
        return {"overall": overall, "format": format_, "honesty": self.honesty, **parts}
