"""How systems write what they say: their texts read, their boxes brought to original pixels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from training.data.example import Example
from training.systems.prediction import Corners, PredictedStep


@dataclass(frozen=True)
class Shown:
    """A film as the system was shown it.

    Attributes
    ----------
    width, height
        Of the film, in original pixels.
    columns, rows
        Of the picture that was sent.
    """

    width: int
    height: int
    columns: int
    rows: int


@dataclass(frozen=True)
class Said:
    """What a text says.

    Attributes
    ----------
    complete
        Whether it has the form that the system was asked for.
    """

    answer: str
    steps: tuple[PredictedStep, ...] = ()
    complete: bool = True
    notices: tuple[str, ...] = ()


Space = Callable[[Sequence[float], Shown], Corners]
"""From four numbers as a system writes them to original pixels."""
Format = Callable[[str, Example, Sequence[Shown]], Said]


def of_picture(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are pixels of the picture that was sent: Qwen2.5-VL."""
    across, down = film.width / film.columns, film.height / film.rows
    x0, y0, x1, y1 = numbers
    return _within((x0 * across, y0 * down, x1 * across, y1 * down), film)


def fraction_of(full: float) -> Space:
    """Numbers are parts of ``full`` of width and height: CheXagent 100, DeepSeek-VL2 999."""

    def space(numbers: Sequence[float], film: Shown) -> Corners:
        x0, y0, x1, y1 = (number / full for number in numbers)
        across, down = film.width, film.height
        return _within((x0 * across, y0 * down, x1 * across, y1 * down), film)

    return space


def rows_first(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are y_min, x_min, y_max, x_max in thousandths: Gemma and MedGemma (``box_2d``)."""
    y0, x0, y1, x1 = numbers
    return fraction_of(1000)((x0, y0, x1, y1), film)


def of_centre_crop(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are fractions of the central square of the film: MAIRA-2, whose processor crops."""
    side = min(film.width, film.height)
    left, top = (film.width - side) / 2, (film.height - side) / 2
    x0, y0, x1, y1 = numbers
    return _within((left + x0 * side, top + y0 * side, left + x1 * side, top + y1 * side), film)


def plain(text: str, example: Example, shown: Sequence[Shown]) -> Said:
    """The text is the answer: LLaVA-Rad, HuatuoGPT-Vision, DeepSeek-VL, and most others."""
    answer = text.strip()
    return Said(answer, complete=bool(answer))


def headed_report(text: str, example: Example, shown: Sequence[Shown]) -> Said:
    """A report with headings, of which only the section asked for is the answer: MedGemma."""
    answer = _section(text, str(example.task)) if example.question is None else text
    answer = re.sub(r"\*\*|^\s*[*•-]\s+", "", answer, flags=re.MULTILINE).strip()
    return Said(" ".join(answer.split()), complete=bool(answer))


def tagged_thinking(text: str, example: Example, shown: Sequence[Shown]) -> Said:
    """``<think>...</think>``, then the answer, maybe in ``<answer>`` or a box: Qwen2.5-VL thinking.

    Boxes in the reasoning are pixels of the picture that was sent.
    """
    thought, closed, rest = text.partition("</think>")
    if not closed:
        thought, rest = "", text
    boxed = re.search(r"\\boxed\{(.*)\}", rest, re.DOTALL)
    answered = re.search(r"<answer>(.*?)(?:</answer>|$)", rest, re.DOTALL)
    found = answered or boxed
    answer = re.sub(r"^\W*(?:the )?(?:final )?answer(?: is)?:?\s*", "", rest, flags=re.IGNORECASE)
    answer = (found[1] if found else answer).strip()
    sentences = re.split(r"(?<=[.;])\s+|\n+", thought.replace("<think>", "").strip())
    steps = [_with_brackets(sentence, shown) for sentence in sentences if sentence.strip()]
    return Said(answer, tuple(steps), complete=bool(closed and answer))


def json_boxes(key: str, space: Space) -> Format:
    """Text with a JSON list of objects ``{key: [four numbers], "label": ...}``, fenced or not."""

    def read(text: str, example: Example, shown: Sequence[Shown]) -> Said:
        steps, spans, notices = [], [], []
        for begin, end, items in _json_lists(text):
            spans.append((begin, end))
            for item in items:
                box = _numbers(item.get(key)) if isinstance(item, dict) else None
                if box is None:
                    notices.append("box-malformed")
                    continue
                placed = (0, space(box, shown[0]))
                steps.append(PredictedStep(str(item.get("label") or ""), (placed,)))
        for begin, end in reversed(spans):
            text = text[:begin] + text[end:]
        answer = re.sub(r"```(?:json)?\s*```", "", text).strip()
        return Said(answer, tuple(steps), bool(answer or steps), tuple(dict.fromkeys(notices)))

    return read


_REFERRED = re.compile(
    r"<\|ref\|>(?P<text>.*?)<\|/ref\|>\s*<\|(?P<kind>box|det)\|>(?P<boxes>.*?)<\|/(?P=kind)\|>",
    re.DOTALL,
)


def referred(space: Space) -> Format:
    """``<|ref|>text<|/ref|><|box|>(x,y),(x,y)<|/box|>``: CheXagent; ``<|det|>``: DeepSeek-VL2."""

    def read(text: str, example: Example, shown: Sequence[Shown]) -> Said:
        steps = tuple(
            PredictedStep(
                found["text"].strip(),
                tuple((0, space(box, shown[0])) for box in _fours(found["boxes"])),
            )
            for found in _REFERRED.finditer(text)
        )
        answer = _REFERRED.sub(lambda found: found["text"], text).strip()
        return Said(" ".join(answer.split()), steps, bool(answer))

    return read


_OBJECT = re.compile(r"<obj>(?P<text>.*?)(?P<boxes>(?:<box>.*?</box>\s*)*)</obj>", re.DOTALL)


def grounded_sentences(text: str, example: Example, shown: Sequence[Shown]) -> Said:
    """MAIRA-2: ``<obj> text <box><x10><y20><x30><y40></box></obj>``, in hundredths of its crop.

    Also as its processor converts it, a JSON list of ``[sentence, null | [[x0, y0, x1, y1], ...]]``
    in fractions of the crop.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    steps = []
    if isinstance(content, list):
        for item in content:
            if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str):
                return Said("", complete=False, notices=("malformed",))
            boxes = [_numbers(box) for box in item[1] or ()]
            placed = tuple((0, of_centre_crop(box, shown[0])) for box in boxes if box)
            steps.append(PredictedStep(item[0].strip(), placed))
    else:
        for found in _OBJECT.finditer(text):
            boxes = [[n / 100 for n in box] for box in _fours(found["boxes"])]
            placed = tuple((0, of_centre_crop(box, shown[0])) for box in boxes)
            steps.append(PredictedStep(found["text"].strip(), placed))
        if not steps:
            return plain(re.sub(r"</?(?:obj|box)>", " ", text), example, shown)
    answer = " ".join(step.text for step in steps)
    return Said(answer, tuple(steps), bool(answer))


def _within(box: Corners, film: Shown) -> Corners:
    x0, x1 = sorted(min(max(x, 0.0), float(film.width)) for x in (box[0], box[2]))
    y0, y1 = sorted(min(max(y, 0.0), float(film.height)) for y in (box[1], box[3]))
    return x0, y0, x1, y1


def _section(text: str, name: str) -> str:
    """What stands under a heading; the whole text where there is no such heading."""
    heading = r"^[\s#*]*{}[\s*]*:?[\s*]*"
    found = re.search(heading.format(name), text, re.IGNORECASE | re.MULTILINE)
    if found is None:
        return text
    others = r"^[\s#*]*(?:findings|impression|conclusion|recommendations?|comparison|technique)\b"
    rest = text[found.end() :]
    end = re.search(others, rest, re.IGNORECASE | re.MULTILINE)
    return rest[: end.start()] if end else rest


_BRACKET = re.compile(r"\[\s*(-?\d[^\[\]]*)\]")


def _with_brackets(sentence: str, shown: Sequence[Shown]) -> PredictedStep:
    boxes = []
    for found in _BRACKET.finditer(sentence):
        boxes += [(0, of_picture(box, shown[0])) for box in _fours(found[1])]
    bare = " ".join(_BRACKET.sub("", sentence).split()).rstrip(" ;")
    return PredictedStep(re.sub(r" (?=[.,])", "", bare), tuple(boxes))


def _fours(text: str) -> list[list[float]]:
    """The numbers of a text, four by four; none where they do not come out even."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    if len(numbers) % 4:
        return []
    return [numbers[n : n + 4] for n in range(0, len(numbers), 4)]


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and isfinite(number) for number in value):
        return None
    return [float(number) for number in value]


def _json_lists(text: str) -> Iterator[tuple[int, int, list[Any]]]:
    """Begin, end and content of each JSON list of objects in a text."""
    decoder, position = json.JSONDecoder(), 0
    while (begin := text.find("[", position)) >= 0:
        try:
            content, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            position = begin + 1
            continue
        if isinstance(content, list) and content and isinstance(content[0], dict):
            yield begin, end, content
        position = end
