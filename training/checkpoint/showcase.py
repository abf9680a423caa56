"""One real film, read by a checkpoint: a section of its model card, with the picture."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from PIL import Image
from pydicom.data import get_testdata_file

from service.engine import EngineSettings, VllmEngine
from service.interpretation import Interpretation, StudyRequest, interpret
from service.radiograph import RadiographDecoder
from service.reading import Task
from service.results.overlay import overlay_png

REAL_FILM = "RG1_UNCR.dcm"
"""The one real chest film among pydicom's test data (package ``pydicom-data``)."""

PICTURE = "reading.jpg"
_LONGER_SIDE = 1000


def real_film() -> Path | None:
    """Where :data:`REAL_FILM` lies; None where ``pydicom-data`` is not installed."""
    found = get_testdata_file(REAL_FILM, download=False)
    return Path(str(found)) if found else None


def read_real_film(model: Path, film: Path) -> Interpretation:
    """Report of a film at temperature 0, read as the service reads it.

    Raises
    ------
    service.engine.ManifestError
        When the checkpoint does not verify.
    service.problem.Problem
        When the film cannot be read.
    """

    async def read() -> Interpretation:
        decoder, engine = RadiographDecoder(), VllmEngine(EngineSettings(str(model)))
        await asyncio.gather(decoder.start(), engine.start())
        try:
            request = StudyRequest((film.read_bytes(),), temperature=0.0)
            return await interpret(request, decoder=decoder, engine=engine)
        finally:
            await asyncio.gather(decoder.close(), engine.stop())

    return asyncio.run(read())


def showcase(reading: Interpretation, folder: Path, name: str = REAL_FILM) -> str:
    """Write the picture into the checkpoint's folder; returns the section for its card."""
    picture = Image.open(io.BytesIO(overlay_png(reading))).convert("RGB")
    picture.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
    picture.save(folder / PICTURE, quality=80, optimize=True)
    lines = [
        "## One real film",
        "",
        f"`{name}` of pydicom's test data, read at temperature 0. Nobody has verified the reading.",
        "",
        f"![The film with numbered boxes]({PICTURE})",
        "",
    ]
    for section in reading.sections:
        title = "Findings" if section.task is Task.FINDINGS else "Impression"
        lines += [f"**{title}.** {section.reading.answer}", ""]
    lines += ["The steps of the findings, boxes in the film's own pixels:", ""]
    for step in reading.sections[0].reading.steps:
        boxes = " ".join(
            f"[{box.x_min:.0f}, {box.y_min:.0f}, {box.x_max:.0f}, {box.y_max:.0f}]"
            for box in step.boxes
        )
        lines.append(f"* {step.text} {boxes}".rstrip())
    return "\n".join(lines) + "\n"
