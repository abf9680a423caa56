"""Films, and a decoder of them in this process."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from service.radiograph import Radiograph, load_radiograph


def png(width: int, height: int) -> bytes:
    """Return a ramp of greys as PNG bytes."""
    columns = np.linspace(40, 215, width, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.tile(columns, (height, 1))).save(out, format="PNG")
    return out.getvalue()


class InProcessDecoder:
    """Opens films without a worker, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, bool]] = []

    async def load(
        self, data: bytes, *, frame: int | None = None, allow_other_anatomy: bool = False
    ) -> Radiograph:
        self.asked.append((frame, allow_other_anatomy))
        return load_radiograph(data, frame=frame, allow_other_anatomy=allow_other_anatomy)
