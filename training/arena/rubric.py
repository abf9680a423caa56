"""What a judge is asked, and what it may answer (docs/arena.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from training.arena.lines import sound
from training.data.example import Example
from training.systems.prediction import Prediction


class Choice(StrEnum):
    """A judge's verdict on the two texts as it was shown them."""

    A = "A"
    B = "B"
    TIE = "tie"
    BOTH_BAD = "both bad"


CRITERIA = {
    "correctness": "what is said is there is there, on the side and at the place named",
    "completeness": "nothing that matters is left out",
    "grounding": "the boxes of each step lie on what the step speaks of",
    "clarity": "short, in the language of radiology, without repetition or contradiction",
    "harm": "a miss or an invention that would change what is done for the patient",
}
"""By name, in the order of the prompt."""

PROMPT = """\
You are an experienced thoracic radiologist. Two systems, A and B, {task}. Judge which text you \
would rather have.

Weigh, in this order of importance:
{criteria}

Length is no merit. The order of A and B is random and means nothing.
{context}
Text A:
{first}

Text B:
{second}

Answer with JSON only: {{"reason": one short sentence, "decided_by": the criterion that decided \
({names}), "verdict": "A", "B", "tie" or "both bad"}}.
"""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 300},
        "decided_by": {"type": "string", "enum": list(CRITERIA)},
        "verdict": {"type": "string", "enum": [str(choice) for choice in Choice]},
    },
    "required": ["reason", "decided_by", "verdict"],
    "additionalProperties": False,
}
"""JSON schema of the answer, which the server is asked to hold its model to.

Every part has a type, every key is required and no other allowed, as OpenAI's strict mode demands.
"""
PLAIN_SCHEMA = {
    **SCHEMA,
    "properties": {**SCHEMA["properties"], "reason": {"type": "string"}},
}
"""The same with no bound on the length, for servers that know of none."""


@dataclass(frozen=True)
class Verdict:
    """What a judge said of two texts in one order.

    Attributes
    ----------
    decided_by
        One of :data:`CRITERIA`; empty where the judge did not say.
    """

    choice: Choice
    reason: str = ""
    decided_by: str = ""


def prompt_of(
    example: Example, first: Prediction, second: Prediction, *, reference: bool, pictures: bool
) -> str:
    """The question about one example; neither system is named.

    Parameters
    ----------
    reference
        Whether the judge is told what a radiologist wrote, and what is marked where.
    pictures
        Whether it sees the films.
    """
    films = "the film" if len(example.images) == 1 else f"the {len(example.images)} films"
    if example.question is not None:
        task = f'were asked about {films} of a chest: "{example.question}"'
    else:
        task = f"wrote the {example.task} of the report on {films} of a chest"
    context = [] if pictures else ["You are not shown the film."]
    if example.indication:
        context.append(f"Indication: {example.indication}")
    if reference:
        context.append(f"What a radiologist wrote: {example.answer}")
        regions = [
            f"{label} {_box(film, box, len(example.images))}"
            for film in range(len(example.images))
            for label, box in example.regions_of(film)
        ]
        if regions:
            context.append(f"What is marked, with boxes in pixels: {'; '.join(regions)}")
    criteria = "\n".join(f"- {name}: {meaning};" for name, meaning in CRITERIA.items())
    prompt = PROMPT.format(
        task=task,
        criteria=criteria,
        context="\n".join(["", *context, ""]) if context else "",
        first=_text(first, len(example.images)),
        second=_text(second, len(example.images)),
        names=", ".join(CRITERIA),
    )
    return sound(prompt)


def read_verdict(text: str) -> Verdict | None:
    """The verdict in a judge's answer; None where there is none, or more than one."""
    # A reason may quote the end of somebody's thoughts, which then is not the end of the judge's.
    found = _objects(text.rpartition("</think>")[2]) or _objects(text)
    verdicts = {str(item.get("verdict")) for item in found} & {str(choice) for choice in Choice}
    if len(verdicts) != 1:
        return None
    said = next(item for item in found if str(item.get("verdict")) in verdicts)
    decided = str(said.get("decided_by", ""))
    reason = sound(" ".join(str(said.get("reason", "")).split())[:300])
    return Verdict(Choice(verdicts.pop()), reason, decided if decided in CRITERIA else "")


def _text(prediction: Prediction, films: int) -> str:
    """Steps with their boxes, then the answer, in one form for all systems."""
    lines = []
    for number, step in enumerate(prediction.steps, 1):
        boxes = " ".join(_box(film, box, films) for film, box in step.boxes)
        lines.append(f"{number}. {step.text} {boxes}".rstrip())
    return "\n".join([*lines, f"Answer: {prediction.answer or '(nothing)'}"])


def _box(film: int, box: Sequence[float], films: int) -> str:
    """Corners; of several films, which one they are on."""
    corners = str([round(value) for value in box])
    return f"film {film + 1} {corners}" if films > 1 else corners


def _objects(text: str) -> Sequence[dict[str, Any]]:
    """Every JSON object in a text; its strings may hold braces."""
    decoder, found, position = json.JSONDecoder(), [], text.find("{")
    while position >= 0:
        try:
            said, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            found.append(said)
        position = text.find("{", end)
    return found
