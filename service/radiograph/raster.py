"""PNG and JPEG films: bytes → ``Radiograph``."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from service.notice import Notice
from service.radiograph import problems
from service.radiograph.film import RASTER_RENDERING, Radiograph
from service.radiograph.grey import look_up
from service.radiograph.image_headers import (
    ImageHeader,
    has_countless_scans,
    jpeg_header,
    png_header,
)
from service.radiograph.limits import Limits
from service.radiograph.orientation import EXIF_TURNS, Turn

PNG, JPEG = "image/png", "image/jpeg"

# Below this, a whole bit or more is unused: a detector's values, not display values.
_FULL_RANGE_16_BIT = 1 << 15

COLOUR = Notice("colour-image", "The film is stored in colour; radiographs are greyscale.")
ALPHA = Notice("alpha-flattened", "Transparent parts of the image were laid over black.")
LOW_RANGE = Notice(
    "fallback-window",
    "The 16-bit image uses a small part of its range and names no window; grey levels were "
    "spread over its 0.5th to 99.5th percentile.",
)


def load_raster(data: bytes, media_type: str, *, frame: int | None, limits: Limits) -> Radiograph:
    """Decode a PNG or JPEG film for display.

    Parameters
    ----------
    data
        The whole file.
    media_type
        ``image/png`` or ``image/jpeg``, found from the content.
    frame
        ``None`` or 1; these formats hold one frame.
    limits
        Caps checked against the header before decoding.

    Raises
    ------
    Problem
        ``image-too-large``, ``frame-out-of-range``, ``decode-failed``.
    """
    header = png_header(data) if media_type == PNG else jpeg_header(data)
    if header is None or (media_type == JPEG and has_countless_scans(data)):
        raise problems.decode_failed()
    if (
        header.width * header.height > limits.max_pixels
        or header.width * header.height * header.samples * (2 if header.precision > 8 else 1)
        > limits.max_frame_bytes
    ):
        raise problems.image_too_large()
    if frame not in (None, 1):
        raise problems.frame_out_of_range()
    notices: list[Notice] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[media_type[6:].upper()]) as image:
                if image.size != (header.width, header.height):
                    raise problems.decode_failed()
                turn = _exif_turn(image)
                pixels = _display_values(image, header, notices)
    except MemoryError:
        raise problems.decode_out_of_memory() from None
    except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError):
        raise problems.decode_failed() from None
    if not turn.is_identity:
        notices.append(
            Notice("orientation-corrected", "The image was turned upright as its EXIF asks.")
        )
    upright = turn.apply(pixels)
    upright.setflags(write=False)
    return Radiograph(
        pixels=upright,
        width=header.width,
        height=header.height,
        media_type=media_type,
        view_position=None,
        rendering=RASTER_RENDERING,
        notices=tuple(notices),
        to_original=turn.to_original(header.width, header.height),
    )


def _exif_turn(image: Image.Image) -> Turn:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block must not lose the film; its readers raise freely
        return Turn()
    return EXIF_TURNS.get(value, Turn()) if isinstance(value, int) else Turn()


def _display_values(
    image: Image.Image, header: ImageHeader, notices: list[Notice]
) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_16_bit(np.asarray(image), notices)
    if image.has_transparency_data:
        image = _over_black(image, notices, grey=header.samples == 2 or _is_grey(image))
    if _is_grey(image):
        pixels = np.asarray(image.convert("L"))
    else:
        pixels = grey_if_equal(np.asarray(image.convert("RGB")))
        if pixels.ndim == 3:
            notices.append(COLOUR)
    if header.precision == 16:
        # Pillow keeps the upper byte of each sample where there are several.
        pixels = _from_16_bit(pixels.astype(np.uint16) * 257, notices)
    return pixels


def grey_if_equal(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return one channel where all three hold the same, else the image as it is."""
    red = pixels[..., 0]
    if np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]):
        return np.ascontiguousarray(red)
    return pixels


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or (image.mode == "P" and _palette_is_grey(image))


def _palette_is_grey(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _over_black(image: Image.Image, notices: list[Notice], *, grey: bool) -> Image.Image:
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    flat = layered.convert("RGB")
    if alpha.getextrema() != (255, 255):
        notices.append(ALPHA)
        flat = Image.composite(flat, Image.new("RGB", flat.size), alpha)
    return flat.getchannel("R") if grey else flat


def _from_16_bit(values: npt.NDArray[np.generic], notices: list[Notice]) -> npt.NDArray[np.uint8]:
    """Reduce 16-bit samples to 8: the full range by 257, a low range by its percentiles."""
    words: npt.NDArray[np.uint16] = np.clip(values, 0, 65535).astype(np.uint16)
    top = int(words.max())
    codes = np.arange(65536, dtype=np.float64)
    low, high = 0.0, 65535.0
    if 0 < top < _FULL_RANGE_16_BIT:
        low, high = (float(v) for v in np.percentile(words[::4, ::4], (0.5, 99.5)))
        if high <= low:
            low, high = 0.0, float(top)
        notices.append(LOW_RANGE)
    lut = np.floor(np.clip((codes - low) / (high - low), 0.0, 1.0) * 255.0 + 0.5)
    table: npt.NDArray[np.uint8] = lut.astype(np.uint8)
    return look_up(table, words)
