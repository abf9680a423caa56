"""What a radiologist would say of a simulated film: reasoning, report and questions.

Phrases vary; what they say follows from the film's ground truth alone. Sides are not named on a
lateral film, where both lungs lie over each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.ct_radiographs.film import Box, FilmFinding
from training.data.ct_radiographs.generate import FilmRecord
from training.data.example import ReasoningTarget

SIDES = ("right", "left")
KINDS = ("pneumothorax", "pleural effusion", "consolidation", "mass", "nodule")
_SYNONYMS = {
    "pneumothorax": ("pneumothorax",),
    "pleural effusion": ("pleural effusion", "pleural effusion", "effusion"),
    "consolidation": ("consolidation", "consolidation", "airspace consolidation"),
    "mass": ("mass", "mass", "rounded mass"),
    "nodule": ("nodule", "nodule", "pulmonary nodule"),
}
MOST_BOXES = 5
"""Findings of one kind and side that are boxed, from the top."""
_PLURAL = {"mass": "masses", "rounded mass": "rounded masses"}


class Narrator:
    """Speaks of one film; equal generators give equal words."""

    def __init__(self, record: FilmRecord, rng: np.random.Generator) -> None:
        self.record = record
        self.rng = rng
        self.lateral = record.view == "LATERAL"
        self.boxes = {region.name: region.box for region in record.structures}
        self.enlarged = any(f.kind == "cardiomegaly" for f in record.findings)

    def say(self, *phrases: str) -> str:
        """One of the phrases."""
        return phrases[int(self.rng.integers(len(phrases)))]

    def of(self, kind: str, side: str | None = None) -> list[FilmFinding]:
        """Findings of a kind, on one side unless the film is a lateral, from top to bottom."""
        found = [
            f
            for f in self.record.findings
            if f.kind == kind and (side is None or self.lateral or f.side == side)
        ]
        return sorted(found, key=lambda f: f.box[1])[:MOST_BOXES]

    def labels(self) -> tuple[str, ...]:
        """Finding labels of the film, sorted; sided unless the film is a lateral."""
        return tuple(
            sorted(
                {
                    f.kind if f.side is None or self.lateral else f"{f.side} {f.kind}"
                    for f in self.record.findings
                }
            )
        )

    def regions(self) -> tuple[tuple[str, Box], ...]:
        """Label and box of every finding."""
        return tuple(
            (f.kind if f.side is None or self.lateral else f"{f.side} {f.kind}", f.box)
            for f in self.record.findings
        )

    # Reasoning ------------------------------------------------------------------------------

    def steps(self) -> list[ReasoningTarget]:
        """The systematic look: heart, right side, left side, devices."""
        steps = [self.heart_step()]
        for side in (None,) if self.lateral else SIDES:
            steps += self.side_steps(side)
        for device in self.record.devices:
            article = "An" if device.name[0] in "aeiou" else "A"
            steps.append(ReasoningTarget(f"{article} {device.name} is present", ((0, device.box),)))
        return steps

    def heart_step(self) -> ReasoningTarget:
        """What is said of the heart."""
        boxes = ((0, self.boxes["heart"]),) if "heart" in self.boxes else ()
        text = (
            self.say("The cardiac silhouette is enlarged", "The heart is enlarged")
            if self.enlarged
            else self.say("The heart is normal in size", "The cardiac silhouette is normal in size")
        )
        return ReasoningTarget(text, boxes)

    def side_steps(self, side: str | None) -> list[ReasoningTarget]:
        """One step for every kind of finding on a side, or that it is clear."""
        found = [(kind, self.of(kind, side)) for kind in KINDS]
        steps = [self.finding_step(kind, side, items) for kind, items in found if items]
        return steps or [self.clear_step(side)]

    def clear_step(self, side: str | None) -> ReasoningTarget:
        """A normal lung, or both on a lateral film."""
        names = [f"{side} lung"] if side else [f"{s} lung" for s in SIDES]
        boxes = [self.boxes[name] for name in names if name in self.boxes]
        text = f"The {side} lung is clear" if side else "The lungs are clear"
        return ReasoningTarget(text, ((0, _around(boxes)),) if boxes else ())

    def finding_step(
        self, kind: str, side: str | None, items: Sequence[FilmFinding]
    ) -> ReasoningTarget:
        """All findings of a kind on a side, each boxed."""
        boxes = tuple((0, item.box) for item in items)
        noun = self.noun_phrase(kind, side, items)
        return ReasoningTarget(
            self.say(f"There is {noun}", f"{noun[0].upper()}{noun[1:]} is seen")
            if not noun.startswith("multiple")
            else f"There are {noun}",
            boxes,
        )

    def noun_phrase(
        self, kind: str, side: str | None, items: Sequence[FilmFinding], article: bool = True
    ) -> str:
        """For example ``a moderate left pleural effusion``."""
        name = self.say(*_SYNONYMS[kind])
        where = "" if side is None else f"{side} "
        if kind in ("nodule", "mass"):
            if len(items) > 1:
                plural = _PLURAL.get(name, name + "s")
                place = "" if side is None else f" in the {side} lung"
                return f"multiple {plural}{place}"
            place = "" if side is None else f" in the {side} {items[0].zone} zone"
            return f"{'a ' if article else ''}{name}{place}"
        if kind == "consolidation":
            place = "" if side is None else f" in the {items[0].lobe}"
            return f"{name}{place}"
        severity = items[0].severity
        return f"{'a ' if article else ''}{severity} {where}{name}"

    # Report ---------------------------------------------------------------------------------

    def findings(self) -> str:
        """The FINDINGS section."""
        sentences = [
            self.say("The heart is enlarged.", "Cardiomegaly is present.")
            if self.enlarged
            else self.say("Heart size is normal.", "The heart is normal in size.")
        ]
        for side in (None,) if self.lateral else SIDES:
            nouns = [
                self.noun_phrase(kind, side, items)
                for kind in KINDS
                if (items := self.of(kind, side))
            ]
            if nouns:
                for noun in nouns:
                    verb = "are" if noun.startswith("multiple") else "is"
                    sentences.append(f"There {verb} {noun}.")
            else:
                sentences.append(f"The {side} lung is clear." if side else "The lungs are clear.")
        absent = [kind for kind in ("pneumothorax", "pleural effusion") if not self.of(kind)]
        if len(absent) == 2:
            sentences.append(
                self.say(
                    "No pleural effusion or pneumothorax.",
                    "There is no pleural effusion or pneumothorax.",
                )
            )
        elif absent:
            sentences.append(f"No {absent[0]}.")
        for device in self.record.devices:
            article = "An" if device.name[0] in "aeiou" else "A"
            sentences.append(f"{article} {device.name} is present.")
        return " ".join(sentences)

    def impression(self) -> str:
        """The IMPRESSION section."""
        sentences = []
        for side in (None,) if self.lateral else SIDES:
            for kind in KINDS:
                if items := self.of(kind, side):
                    noun = self.noun_phrase(kind, side, items, article=False)
                    sentences.append(f"{noun[0].upper()}{noun[1:]}.")
        if self.enlarged:
            sentences.append("Cardiomegaly.")
        if not sentences:
            sentences.append(
                self.say("No acute cardiopulmonary abnormality.", "Normal chest radiograph.")
            )
        return " ".join(sentences)

    # Questions ------------------------------------------------------------------------------

    def questions(self) -> list[tuple[str, str, str, list[ReasoningTarget]]]:
        """Type, question, answer and steps of everything that can be asked of this film."""
        asked = [self._presence(kind) for kind in (*KINDS, "cardiomegaly")]
        asked.append(
            (
                "view",
                self.say("Which view is this?", "Is this a frontal or a lateral view?"),
                "Lateral" if self.lateral else "Frontal",
                [],
            )
        )
        asked.append(
            (
                "size",
                self.say("What is the size of the heart?", "How large is the heart?"),
                "Enlarged" if self.enlarged else "Normal",
                [self.heart_step()],
            )
        )
        names = [d.name for d in self.record.devices]
        asked.append(
            (
                "device",
                self.say("Which device is present?", "Is there a support device?"),
                " | ".join(sorted(n.capitalize() for n in names)) if names else "None",
                [
                    ReasoningTarget(f"There is {n}", ((0, d.box),))
                    for n, d in zip(names, self.record.devices, strict=True)
                ],
            )
        )
        kinds = [k for k in (*KINDS, "cardiomegaly") if self.of(k)]
        asked.append(
            (
                "type",
                self.say("What abnormalities are seen?", "Which findings are present?"),
                " | ".join(k.capitalize() for k in kinds) if kinds else "None",
                self.steps(),
            )
        )
        if not self.lateral:
            asked += self._sided()
        return asked

    def _presence(self, kind: str) -> tuple[str, str, str, list[ReasoningTarget]]:
        found = self.of(kind)
        article = "" if kind in ("consolidation", "cardiomegaly") else "a "
        question = self.say(f"Is there {article}{kind}?", f"Does the film show {article}{kind}?")
        if kind == "cardiomegaly":
            steps = [self.heart_step()]
        elif not found:
            steps = [ReasoningTarget(f"No {kind} is seen")]
        else:
            steps = [
                self.finding_step(kind, side, items)
                for side in ((None,) if self.lateral else SIDES)
                if (items := self.of(kind, side))
            ]
        return "presence", question, "Yes" if found else "No", steps

    def _sided(self) -> list[tuple[str, str, str, list[ReasoningTarget]]]:
        asked = []
        for kind in KINDS:
            by_side = {side: self.of(kind, side) for side in SIDES if self.of(kind, side)}
            if not by_side:
                continue
            steps = [self.finding_step(kind, side, items) for side, items in by_side.items()]
            answer = "Both" if len(by_side) == 2 else next(iter(by_side)).capitalize()
            asked.append(
                (
                    "side",
                    self.say(f"On which side is the {kind}?", f"Which side is the {kind} on?"),
                    answer,
                    steps,
                )
            )
            if len(by_side) > 1:
                continue
            side, items = next(iter(by_side.items()))
            if len(items) > 1:
                continue
            if kind == "consolidation" and items[0].lobe:
                asked.append(
                    (
                        "location",
                        self.say(f"Which lobe does the {kind} lie in?", f"Where is the {kind}?"),
                        items[0].lobe.capitalize(),
                        steps,
                    )
                )
            elif kind in ("mass", "nodule"):
                asked.append(
                    (
                        "location",
                        f"Where is the {kind}?",
                        f"{side.capitalize()} {items[0].zone} zone",
                        steps,
                    )
                )
            elif items[0].severity:
                asked.append(
                    (
                        "level",
                        self.say(f"How large is the {kind}?", f"What is the extent of the {kind}?"),
                        items[0].severity.capitalize(),
                        steps,
                    )
                )
        return asked


def _around(boxes: Sequence[Box]) -> Box:
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
