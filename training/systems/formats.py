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
"""From four numbers as a system writes them to original pixels, wherever those lie."""
Format = Callable[[str, Example, Sequence[Shown]], Said]


def of_picture(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are pixels of the picture that was sent: Qwen2.5-VL."""
    across, down = film.width / film.columns, film.height / film.rows
    x0, y0, x1, y1 = numbers
    return x0 * across, y0 * down, x1 * across, y1 * down


def fraction_of(full: float) -> Space:
    """Numbers are parts of ``full`` of width and height: CheXagent 100, DeepSeek-VL2 999."""

    def space(numbers: Sequence[float], film: Shown) -> Corners:
        x0, y0, x1, y1 = (number / full for number in numbers)
        across, down = film.width, film.height
        return x0 * across, y0 * down, x1 * across, y1 * down

    return space


def rows_first(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are y_min, x_min, y_max, x_max in thousandths: Gemma and MedGemma (``box_2d``)."""
    y0, x0, y1, x1 = numbers
    return fraction_of(1000)((x0, y0, x1, y1), film)


def of_centre_crop(numbers: Sequence[float], film: Shown) -> Corners:
    """Numbers are fractions of the central square of the film: MAIRA-2, whose processor crops.

    An odd pixel is cut off at the right or the bottom (``adjust_box_for_original_image_size``).
    """
    side = min(film.width, film.height)
    left, top = (film.width - side) // 2, (film.height - side) // 2
    x0, y0, x1, y1 = numbers
    return left + x0 * side, top + y0 * side, left + x1 * side, top + y1 * side


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
        opened = "<think>" in text
        thought, rest = (text, "") if opened else ("", text)
    found = _ANSWERED.findall(rest) or _BOXED.findall(rest)  # the last is what it comes to
    bare = re.sub(r"^\W*(?:the )?(?:final )?answer(?: is)?:?\s*", "", rest, flags=re.IGNORECASE)
    answer = (found[-1] if found else bare).strip()
    sentences = re.split(r"(?<=[.;])\s+|\n+", thought.replace("<think>", "").strip())
    notices: list[str] = [] if closed else ["think-unclosed"]
    steps = [_with_brackets(sentence, shown, notices) for sentence in sentences if sentence.strip()]
    return Said(answer, tuple(steps), bool(closed and answer), tuple(dict.fromkeys(notices)))


_ANSWERED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


def json_boxes(key: str, space: Space) -> Format:
    """Text with objects ``{key: [four numbers], "label": ...}``, listed or not, fenced or not.

    Of a list that was cut off the objects that are whole count, with a notice.
    """

    def read(text: str, example: Example, shown: Sequence[Shown]) -> Said:
        steps, spans = [], []
        notices: list[str] = []
        cut = False
        for begin, end, items, whole in _json_objects(text, key):
            spans.append((begin, end))
            if not whole:
                cut = True
                notices.append("boxes-cut-off")
            for item in items:
                box = _numbers(item.get(key)) if isinstance(item, dict) else None
                if box is None:
                    notices.append("box-malformed")
                    continue
                placed = (0, _placed(space(box, shown[0]), shown[0], notices))
                steps.append(PredictedStep(str(item.get("label") or ""), (placed,)))
        for begin, end in reversed(spans):
            text = text[:begin] + text[end:]
        answer = re.sub(r"```(?:json)?\s*(?:```|$)", "", text).strip()
        complete = bool(answer or steps) and not cut
        return Said(answer, tuple(steps), complete, tuple(dict.fromkeys(notices)))

    return read


_REFERRED = re.compile(
    r"<\|ref\|>(?P<text>.*?)<\|/ref\|>\s*<\|(?P<kind>box|det)\|>(?P<boxes>.*?)<\|/(?P=kind)\|>",
    re.DOTALL,
)


def referred(space: Space) -> Format:
    """``<|ref|>text<|/ref|><|box|>(x,y),(x,y)<|/box|>``: CheXagent; ``<|det|>``: DeepSeek-VL2."""

    def read(text: str, example: Example, shown: Sequence[Shown]) -> Said:
        notices: list[str] = []
        steps = tuple(
            PredictedStep(
                found["text"].strip(),
                tuple(
                    (0, _placed(space(box, shown[0]), shown[0], notices))
                    for box in _fours(found["boxes"], notices)
                ),
            )
            for found in _REFERRED.finditer(text)
        )
        answer = _REFERRED.sub(lambda found: found["text"], text).strip()
        return Said(" ".join(answer.split()), steps, bool(answer), tuple(dict.fromkeys(notices)))

    return read


_OBJECT = re.compile(r"<obj>(?P<text>.*?)(?P<boxes>(?:<box>.*?</box>\s*)*)</obj>", re.DOTALL)


def grounded_sentences(text: str, example: Example, shown: Sequence[Shown]) -> Said:
    """MAIRA-2: ``<obj> text <box><x10><y20><x30><y40></box></obj>``, in bins of its crop.

    There are 100 bins to a side, 0 to 99; one stands for its middle. Also as its processor
    converts the text, a JSON list of ``[sentence, null | [[x0, y0, x1, y1], ...]]`` in fractions
    of the crop.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    steps = []
    notices: list[str] = []
    if isinstance(content, list):
        for item in content:
            if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str):
                return Said("", complete=False, notices=("malformed",))
            given = item[1] if isinstance(item[1], list | tuple) else ()
            boxes = [_numbers(box) for box in given]
            steps.append(_on_crop(item[0], boxes, shown, notices))
    else:
        for found in _OBJECT.finditer(text):
            binned = _fours(found["boxes"], notices)
            boxes = [[(n + 0.5) / _BINS for n in box] if _are_bins(box) else None for box in binned]
            steps.append(_on_crop(found["text"], boxes, shown, notices))
        if not steps:
            return plain(re.sub(r"</?(?:obj|box)>", " ", text), example, shown)
    answer = " ".join(step.text for step in steps)
    return Said(answer, tuple(steps), bool(answer), tuple(dict.fromkeys(notices)))


_BINS = 100
_ROUNDING = 0.5
"""Original pixels beyond the film that come of rounding."""


def _are_bins(box: Sequence[float]) -> bool:
    return all(0 <= n < _BINS and n == int(n) for n in box)


def _on_crop(
    text: str, boxes: Sequence[list[float] | None], shown: Sequence[Shown], notices: list[str]
) -> PredictedStep:
    placed = []
    for box in boxes:
        if box is None:
            notices.append("box-malformed")
            continue
        placed.append((0, _placed(of_centre_crop(box, shown[0]), shown[0], notices)))
    return PredictedStep(text.strip(), tuple(placed))


def _placed(box: Corners, film: Shown, notices: list[str]) -> Corners:
    """The box put in order and clipped to its film, which is noted as our own service notes it."""
    if box[0] > box[2] or box[1] > box[3]:
        notices.append("box-inverted")
    x0, x1 = sorted(min(max(x, 0.0), float(film.width)) for x in (box[0], box[2]))
    y0, y1 = sorted(min(max(y, 0.0), float(film.height)) for y in (box[1], box[3]))
    ordered = (*sorted(box[::2]), *sorted(box[1::2]))
    if any(abs(a - b) > _ROUNDING for a, b in zip(ordered, (x0, x1, y0, y1), strict=True)):
        notices.append("box-clipped")
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


def _with_brackets(sentence: str, shown: Sequence[Shown], notices: list[str]) -> PredictedStep:
    boxes = []
    for found in _BRACKET.finditer(sentence):
        for box in _fours(found[1], notices):
            boxes.append((0, _placed(of_picture(box, shown[0]), shown[0], notices)))
    bare = " ".join(_BRACKET.sub("", sentence).split()).rstrip(" ;")
    return PredictedStep(re.sub(r" (?=[.,])", "", bare), tuple(boxes))


def _fours(text: str, notices: list[str]) -> list[list[float]]:
    """The finite numbers of a text, four by four; none where they do not come out even."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    if len(numbers) % 4 or not all(map(isfinite, numbers)):
        notices.append("box-malformed")
        return []
    return [numbers[n : n + 4] for n in range(0, len(numbers), 4)]


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
        return None
    try:
        numbers = [float(number) for number in value]
    except OverflowError:  # an integer beyond all floats
        return None
    return numbers if all(map(isfinite, numbers)) else None


def _json_objects(text: str, key: str) -> Iterator[tuple[int, int, list[Any], bool]]:
    """Begin, end and content of each JSON list of objects and of each object with ``key``.

    The last is whether it was written to its end; where it was not, the objects that are whole.
    """
    position = 0
    while found := _OPENING.search(text, position):
        begin = found.start()
        content, end = _decoded(text, begin)
        if end < 0 and _begins(text, begin, key):
            items, end = _whole_objects(text, begin)
            yield begin, end, items, False
        elif end < 0:
            end = begin + 1
        elif isinstance(content, list) and content and isinstance(content[0], dict):
            yield begin, end, content, True
        elif isinstance(content, dict):
            if key in content:
                yield begin, end, [content], True
            else:
                end = begin + 1  # an object may hold what is looked for
        position = end


_OPENING = re.compile(r"[\[{]")


def _begins(text: str, begin: int, key: str) -> bool:
    """Whether a list of objects with ``key``, or such an object, opens there."""
    return re.compile(rf'(?:\[\s*)?\{{\s*"{key}"|\[\s*\{{').match(text, begin) is not None


def _whole_objects(text: str, begin: int) -> tuple[list[Any], int]:
    """Objects of a list up to where it breaks off; and the end of what was broken off."""
    items = []
    position = begin + (text[begin] == "[")
    while found := re.compile(r"[\s,]*(?=\{)").match(text, position):
        content, end = _decoded(text, found.end())
        if end < 0:
            fence = text.find("```", found.end())
            return items, fence if fence >= 0 else len(text)
        items.append(content)
        position = end
    rest = re.compile(r"[\s,]*").match(text, position)
    return items, rest.end() if rest else position


def _decoded(text: str, begin: int) -> tuple[Any, int]:
    """The JSON value there and its end; -1 where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None, -1
