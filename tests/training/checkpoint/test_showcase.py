"""The model card's real film."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from service.interpretation import StudyRequest, interpret
from tests.service.interpretation.films import InProcessDecoder, png
from tests.service.scripted_engine import GROUNDED, Script, ScriptedEngine
from training.checkpoint.showcase import PICTURE, real_film, showcase


async def test_the_card_shows_picture_report_and_steps(tmp_path: Path) -> None:
    reading = await interpret(
        StudyRequest(films=(png(448, 448),)),
        decoder=InProcessDecoder(),
        engine=ScriptedEngine(Script(GROUNDED)),
    )
    card = showcase(reading, tmp_path)
    assert f"]({PICTURE})" in card
    assert max(Image.open(tmp_path / PICTURE).size) <= 1000
    report = reading.sections[0].reading
    assert f"**Findings.** {report.answer}" in card
    for step in report.steps:
        assert f"* {step.text}{' [' if step.boxes else chr(10)}" in card


def test_the_real_film_is_there() -> None:
    film = real_film()
    assert film is not None
    assert film.is_file()
