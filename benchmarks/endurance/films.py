"""Films to send: real ones, drawn ones of which no two are alike, and some that are none."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file

REAL = ("RG1_J2KI.dcm", "RG1_J2KR.dcm")
"""Two compressed copies of the real chest film in ``pydicom-data``."""

_SIDE = 320


def real_film(name: str) -> bytes:
    """Return the bytes of a film of the package ``pydicom-data``.

    Raises
    ------
    FileNotFoundError
        When the package is not installed.
    """
    path = get_testdata_file(name, download=False)
    if path is None:
        raise FileNotFoundError(f"{name} is not there: pip install pydicom-data==1.0.0")
    return Path(path).read_bytes()


def drawn_film(seed: int) -> bytes:
    """Return a PNG of ``_SIDE`` pixels a side; another seed, another film."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (8, 8), dtype=np.uint8)
    film = Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    film.save(buffer, format="PNG")
    return buffer.getvalue()


def truncated_film(generator: random.Random) -> bytes:
    """Return a real film, cut off amid its pixels."""
    film = real_film(REAL[0])
    return film[: generator.randrange(len(film) // 4, len(film) * 3 // 4)]


def noise(generator: random.Random) -> bytes:
    """Return bytes that begin like no film."""
    return b"not a film" + generator.randbytes(2000)
