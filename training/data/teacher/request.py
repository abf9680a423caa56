"""What the teacher is asked: films, question, known answer, regions; and its content's key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from service.radiograph import PixelGrid
from service.reading import ClinicalContext, Conventions, Mode, build_prompt
from training.data.example import Box, Example
from training.data.teacher.errors import FilmError
from training.data.teacher.regions import Region, regions_of
from training.evaluation.overlap import box_iou

PROMPT = """\
You are an experienced thoracic radiologist who writes a worked example for trainees.

The task: {question}

The answer to arrive at: {answer}

Regions that you may cite, each with its box [x_min, y_min, x_max, y_max]:
{regions}

Write the reasoning that leads from what is seen on the {films} to that answer.
- Write {fewest} to {most} short steps, separated by semicolons. Each step is one sentence about \
one region: name the region in the words of the list and put its box after it, copied digit by \
digit.
- Say what is seen, and what follows from it. Look before you conclude.
- Cite no other boxes. Never mention the list, the boxes in words, the answer, a report or a \
reference: write as one who finds out.
- {prior}
- Deny nothing that the answer affirms, and affirm nothing that it denies.

Reply in exactly this form, and with nothing else:
<think> first step [x_min, y_min, x_max, y_max]; second step [x_min, y_min, x_max, y_max] \
</think>. The answer is: \\boxed{the answer}
"""
"""The question to the teacher; ``--prompt`` puts another in its place.

Filled in: ``{question}``, ``{answer}``, ``{regions}``, ``{films}``, ``{fewest}``, ``{most}``,
``{prior}``, ``{prompt}`` (the prompt of the checkpoint's manifest, thinking instruction included).
"""

_PRIOR = "The earlier film is image {number}: you may compare with it."
_PRIOR_REPORT = "An earlier report is given, and no earlier film: you may say what has changed."
_SENTENCES = "\n(Where an entry is a sentence, say it in words of your own.)"
_SEVERAL = " Say in each step which image it is about: image 1, image 2."
_NO_PRIOR = "There is no earlier film: speak of no change and no comparison."


@dataclass(frozen=True)
class Asking:
    """How the teacher is asked.

    Attributes
    ----------
    model
        Name that the server knows the teacher by.
    prompt
        Template of the question.
    conventions
        Whose questions for findings and impression are asked, and what ``{prompt}`` is.
    picture_pixels
        Largest area of a picture; boxes are written in pixels of the picture.
    pictures
        Whether the films are shown; where not, the teacher works from the regions alone.
    temperature, max_tokens
        Of the sampling.
    fewest, most
        Steps that are asked for.
    """

    model: str
    conventions: Conventions
    prompt: str = PROMPT
    picture_pixels: int = 1024 * 1024
    pictures: bool = True
    temperature: float = 0.7
    max_tokens: int = 1024
    fewest: int = 2
    most: int = 8

    @property
    def grid(self) -> PixelGrid:
        """Sizes of pictures."""
        return PixelGrid(min(56 * 56, self.picture_pixels), self.picture_pixels)


@dataclass(frozen=True)
class Question:
    """One request to the teacher, and what its reply is read with.

    Attributes
    ----------
    regions
        Those that may be cited, boxes in original pixels.
    extents
        Width and height of each picture: the space that the reply's boxes are in.
    text
        The user's turn.
    key
        SHA-256 of all that determines the answer: model, text, pictures (where they are not shown,
        their paths), sampling, attempt.
    """

    example: Example
    regions: tuple[Region, ...]
    extents: tuple[tuple[int, int], ...]
    text: str
    key: str
    attempt: int

    def by_overlap(self, box: Sequence[float], image: int) -> list[tuple[float, Region]]:
        """Regions of a film with their IoU with a box of its picture, the largest first.

        Held against what the teacher was shown: a small box in the picture's whole pixels is far
        from the film's, and copied digit by digit it is the same.
        """
        overlaps = []
        for region in self.regions:
            if region.image == image:
                shown = _shown(region.box, self.example.sizes[image], self.extents[image])
                same = list(box) == shown
                overlaps.append((1.0 if same else box_iou(box, shown), region))
        return sorted(overlaps, key=lambda pair: pair[0], reverse=True)


def has_prior(example: Example) -> bool:
    """Whether an earlier film or its report belongs to the question."""
    return bool(example.prior_report) or _prior_film(example) is not None


def _prior_film(example: Example) -> int | None:
    """Number from 1 of the earlier film; None where there is none."""
    if example.roles:
        return example.roles.index("prior") + 1 if "prior" in example.roles else None
    several = len(example.images)
    return several if several > 1 and example.question_type == "comparison" else None


def ask_about(example: Example, asking: Asking, films: Path, attempt: int = 0) -> Question:
    """Word the question about an example.

    Parameters
    ----------
    films
        Folder that the example's images are relative to.
    attempt
        Number of the try, from 0: each is another request.

    Raises
    ------
    FilmError
        When a film cannot be shown.
    """
    regions = regions_of(example)
    extents = tuple(asking.grid.size_for(*size) for size in example.sizes)
    text = _text(example, asking, regions, extents)
    content = [asking.model, text, asking.temperature, asking.max_tokens, attempt]
    if asking.pictures:
        content += [asking.picture_pixels, *(_digest(films / image) for image in example.images)]
    else:  # equal words on two patients' films are two questions
        content += [*example.images]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Question(example, regions, extents, text, key, attempt)


def request_body(question: Question, asking: Asking, films: Path) -> dict[str, Any]:
    """The body of the chat completion; pictures first, then the text.

    Raises
    ------
    FilmError
        When a film cannot be shown.
    """
    content: list[dict[str, Any]] = []
    if asking.pictures:
        example = question.example
        for image, size in zip(example.images, example.sizes, strict=True):
            url = f"data:image/png;base64,{_picture(films / image, asking.grid, size)}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    content.append({"type": "text", "text": question.text})
    return {
        "model": asking.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": asking.temperature,
        "max_tokens": asking.max_tokens,
        "seed": question.attempt,
    }


def _text(
    example: Example,
    asking: Asking,
    regions: Sequence[Region],
    extents: Sequence[tuple[int, int]],
) -> str:
    context = ClinicalContext(
        example.indication, example.technique, example.comparison, example.prior_report
    )
    asked, prompt = (
        build_prompt(
            asking.conventions,
            example.task,
            mode,
            question=example.question,
            context=context,
            images=len(example.images),
        )
        for mode in (Mode.ANSWER, Mode.THINK)
    )
    film = _prior_film(example)
    prior = _PRIOR.format(number=film) if film else _PRIOR_REPORT
    parts = {
        "{question}": asked,
        "{prompt}": prompt,
        "{answer}": example.answer,
        "{regions}": ("\n".join(_lines(regions, example, extents)) or "(none: cite no boxes)")
        + _SENTENCES * any(region.is_sentence for region in regions),
        "{films}": "film" if len(example.images) == 1 else "films",
        "{fewest}": str(asking.fewest),
        "{most}": str(asking.most),
        "{prior}": (prior if has_prior(example) else _NO_PRIOR)
        + _SEVERAL * (len(example.images) > 1),
    }
    text = asking.prompt
    for name, value in parts.items():
        text = text.replace(name, value)
    return text


def _lines(
    regions: Sequence[Region], example: Example, extents: Sequence[tuple[int, int]]
) -> list[str]:
    several = len(example.images) > 1
    return [
        f"- {f'image {r.image + 1}, ' if several else ''}{r.label}: "
        f"{_shown(r.box, example.sizes[r.image], extents[r.image])}"
        for r in regions
    ]


def _shown(box: Box, size: tuple[int, int], extent: tuple[int, int]) -> list[int]:
    """A box in whole pixels of the picture."""
    across, down = extent[0] / size[0], extent[1] / size[1]
    return [
        round(value * scale) for value, scale in zip(box, (across, down, across, down), strict=True)
    ]


def _digest(film: Path) -> str:
    try:
        stat = film.stat()
    except OSError as error:
        raise FilmError(f"{film.name} is not there") from error
    return _hash(film, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=100_000)
def _hash(film: Path, changed: int, size: int) -> str:
    with film.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _picture(film: Path, grid: PixelGrid, size: tuple[int, int]) -> str:
    """The film as the service renders it, as base64 of a PNG."""
    import io

    from PIL import Image

    from service.problem import Problem
    from training.stages.text_targets import film_pixels

    try:
        pixels = film_pixels(film, grid, size)
    except (OSError, ValueError, Problem) as error:
        raise FilmError(f"{film.name} cannot be shown ({error})") from error
    written = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()
