"""What one film's report and answers were worth, in original pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from service.reading import Reading
from training.data.ct_radiographs.generate import FilmRecord
from training.data.ct_radiographs.language import MOST_BOXES
from training.data.example import Example
from training.evaluation.overlap import box_iou, matched_overlaps
from training.evaluation.wording import meteor, rouge_l
from training.labels import finding_labels, read_findings
from training.whole_file import write_whole

_BROKEN_BOXES = frozenset(("box-malformed", "box-not-finite", "box-inverted", "box-empty"))
_FOUND = 0.5
"""IoU from which a box counts as found (PASCAL VOC)."""


@dataclass(frozen=True)
class FilmScore:
    """What one film's report was worth.

    Attributes
    ----------
    said, truth
        Labels of the findings named, and of those present.
    overlaps
        For each label rightly named, the IoU of each true box with the box given for it; 0 for
        none, and for a box too many.
    detections
        For each label named or present: boxes found (IoU at least 0.5), given, and true.
    heart
        IoU of the heart's box; None where the film has none.
    rouge_l, meteor
        Of the report's answer against the reference.
    words
        Words of the whole text, reasoning included.
    answers
        Question type, whether it was answered rightly, and the answer given.
    unparsed
        Texts of the report and the answers that were not complete or held a box that is none.
    text
        Of the report.
    view
        PA, AP or LATERAL.
    with_lateral
        The same of the film read together with the lateral of its study, boxes on the film itself;
        None where there is no lateral.
    """

    id: str
    said: tuple[str, ...]
    truth: tuple[str, ...]
    overlaps: tuple[tuple[str, tuple[float, ...]], ...]
    detections: tuple[tuple[str, int, int, int], ...]
    heart: float | None
    rouge_l: float
    meteor: float
    words: int
    answers: tuple[tuple[str, bool, str], ...]
    unparsed: tuple[str, ...]
    text: str
    view: str = ""
    with_lateral: FilmScore | None = None

    @property
    def parsed(self) -> bool:
        """Whether every text was complete and every box in it whole."""
        return not self.unparsed


def score_report(record: FilmRecord, example: Example, reading: Reading) -> FilmScore:
    """Hold a reading of the findings against the film's ground truth, in original pixels.

    Of a study of several films, the first counts: its boxes alone are looked at.
    """
    said = read_findings(reading.answer).affirmed
    truth = frozenset(example.labels)
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    heart = None
    for step in reading.steps:
        found = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in step.boxes if b.image == 0]
        for label in finding_labels(step.text):
            boxes.setdefault(label, []).extend(found)
        words = step.text.lower()
        if found and heart is None and ("heart" in words or "cardiac" in words):
            heart = found[0]
    overlaps, detections = [], []
    for label in sorted(said | truth | set(boxes)):
        wanted = [box for name, box in example.regions if name == label][:MOST_BOXES]
        given = boxes.get(label, [])
        matched = matched_overlaps(wanted, given)
        detections.append((label, sum(v >= _FOUND for v in matched), len(given), len(wanted)))
        if label in said & truth:
            overlaps.append((label, tuple(matched)))
    true_heart = next((r.box for r in record.structures if r.name == "heart"), None)
    return FilmScore(
        id=record.id,
        said=tuple(sorted(said)),
        truth=tuple(sorted(truth)),
        overlaps=tuple(overlaps),
        detections=tuple(detections),
        heart=None if true_heart is None else box_iou(true_heart, heart or (0, 0, 0, 0)),
        rouge_l=rouge_l(reading.answer, example.answer),
        meteor=meteor(reading.answer, example.answer),
        words=len(reading.raw_text.split()),
        answers=(),
        unparsed=unparsed(reading),
        text=reading.raw_text,
        view=record.view,
    )


def unparsed(*readings: Reading) -> tuple[str, ...]:
    """Texts that were not complete or held a box that is none."""
    return tuple(
        reading.raw_text
        for reading in readings
        if not reading.complete or any(n.code in _BROKEN_BOXES for n in reading.notices)
    )


def same_answer(said: str, truth: str) -> bool:
    """Equal as sets of lower-cased items separated by ``|``, final stops ignored."""

    def items(text: str) -> set[str]:
        return {item.strip().rstrip(".").lower() for item in text.split("|")}

    return items(said) == items(truth)


def write_scores(scores: Sequence[FilmScore], path: Path) -> None:
    """One JSON line a film, with the model's text, so that it can be scored again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(asdict(score)) + "\n" for score in scores))


def read_scores(path: Path) -> list[FilmScore]:
    """What :func:`write_scores` wrote."""
    reader = TypeAdapter(FilmScore)
    return [reader.validate_json(line) for line in path.read_text().split("\n") if line]
