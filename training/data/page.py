"""A page of examples with boxes drawn: one HTML file that needs nothing else, and no network.

Boxes are drawn as SVG over each film in its original pixels, so that what is seen is what is
stored.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from service.problem import Problem
from service.radiograph import Affine, load_radiograph
from training.data.example import Box, Example
from training.data.inspection import pseudonym
from training.data.store import images_folder

if TYPE_CHECKING:
    import jinja2

_LONGEST_SIDE = 512
_QUALITY = 80
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's colours, which the colour-blind can tell apart."""
_STRUCTURE = "#9a9a9a"


@dataclass(frozen=True)
class DrawnBox:
    """A box in the space of the film's view box, and how it is drawn."""

    label: str
    colour: str
    kind: str
    """finding, step or structure: the line's style."""
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class DrawnFilm:
    """A film as the page shows it; ``fault`` in its place when it cannot be opened."""

    role: str
    width: int
    height: int
    pixel_aspect: float = 1.0
    data: str = ""
    fault: str = ""
    boxes: tuple[DrawnBox, ...] = ()


def write_page(path: Path, store: Path, examples: Sequence[Example]) -> None:
    """Write the page.

    Parameters
    ----------
    path
        HTML file to write.
    store
        Store that the examples come from.
    examples
        What to show, in order.

    Raises
    ------
    DataError
        When the store cannot be read.
    """
    environment = page_environment()
    environment.globals["pseudonym"] = pseudonym
    root = images_folder(store)
    shown = [(example, draw_films(example, root)) for example in examples]
    page = environment.get_template("page.html").render(name=store.name, shown=shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def page_environment(*folders: Path) -> jinja2.Environment:
    """Templates of those folders and of this one: escaped, and strict about what is missing."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def draw_films(example: Example, root: Path) -> list[DrawnFilm]:
    """Every film of an example as the service renders it, with its boxes."""
    colours = _colours(example)
    films = []
    for image, path in enumerate(example.images):
        role = example.roles[image] if example.roles else f"film {image + 1}"
        width, height = example.sizes[image]
        try:
            film = load_radiograph((root / path).read_bytes(), allow_other_anatomy=True)
        except OSError:
            films.append(DrawnFilm(role, width, height, fault="The image is missing."))
            continue
        except Problem as problem:
            films.append(DrawnFilm(role, width, height, fault=problem.title))
            continue
        rows, columns = film.pixels.shape[:2]
        boxes = _boxes(example, image, colours, film.to_original.inverse())
        films.append(
            DrawnFilm(
                role, columns, rows, film.pixel_aspect, _as_jpeg(film.pixels), boxes=tuple(boxes)
            )
        )
    return films


def _colours(example: Example) -> dict[str, str]:
    labels = dict.fromkeys(
        label for image in range(len(example.images)) for label, _ in example.regions_of(image)
    )
    return {label: _COLOURS[n % len(_COLOURS)] for n, label in enumerate(labels)}


def _boxes(
    example: Example, image: int, colours: dict[str, str], to_shown: Affine
) -> list[DrawnBox]:
    def drawn(label: str, box: Box, colour: str, kind: str) -> DrawnBox:
        x_min, y_min, x_max, y_max = to_shown.apply_box(box)
        return DrawnBox(label, colour, kind, x_min, y_min, x_max - x_min, y_max - y_min)

    structures = example.structures if image == 0 else ()
    return [
        *(drawn(label, box, _STRUCTURE, "structure") for label, box in structures),
        *(
            drawn(f"step {number}: {step.text}", box, "#ffffff", "step")
            for number, step in enumerate(example.steps, 1)
            for of_image, box in step.boxes
            if of_image == image
        ),
        *(drawn(label, box, colours[label], "finding") for label, box in example.regions_of(image)),
    ]


def _as_jpeg(pixels: object) -> str:
    picture = Image.fromarray(pixels)  # type: ignore[arg-type]  # uint8 of two or three axes
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=_QUALITY)
    return base64.b64encode(written.getvalue()).decode()
