"""A picture of simulated films with their boxes, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.data.ct_radiographs.generate import FilmRecord

_TILE = 300
_CAPTION = 40
_COLOURS = {
    "cardiomegaly": "#56b4e9",
    "pleural effusion": "#e69f00",
    "pneumothorax": "#009e73",
    "consolidation": "#f0e442",
    "nodule": "#cc79a7",
    "mass": "#d55e00",
}
"""Okabe and Ito's colours, which the colour-blind can tell apart."""


def draw_contact_sheet(
    records: Sequence[FilmRecord], folder: Path, *, columns: int = 5
) -> Image.Image:
    """RGB picture of the films in rows, findings boxed and named below each."""
    rows = -(-len(records) // columns)
    sheet = Image.new("RGB", (columns * _TILE, rows * (_TILE + _CAPTION)), "black")
    font = ImageFont.load_default(size=12)
    for index, record in enumerate(records):
        film = Image.open(folder / record.path).convert("RGB")
        scale = min(_TILE / film.width, _TILE / film.height) * 0.97
        film = film.resize((round(film.width * scale), round(film.height * scale)))
        draw = ImageDraw.Draw(film)
        for finding in record.findings:
            box = [value * scale for value in finding.box]
            draw.rectangle(box, outline=_COLOURS[finding.kind], width=2)
        for device in record.devices:
            draw.rectangle([value * scale for value in device.box], outline="white", width=1)
        x, y = index % columns * _TILE, index // columns * (_TILE + _CAPTION)
        sheet.paste(film, (x + (_TILE - film.width) // 2, y))
        names = [f"{f.side} {f.kind}" if f.side else f.kind for f in record.findings]
        names += [device.name for device in record.devices]
        unique = list(dict.fromkeys(names)) or ["normal"]
        text = f"{record.view}: {', '.join(unique[:3])}\n{', '.join(unique[3:])}"
        ImageDraw.Draw(sheet).text((x + 4, y + _TILE + 2), text, fill="white", font=font)
    return sheet
