"""Bytes of a film in, what a reader and the model see out, and the way back to its pixels."""

from service.radiograph.decoder import RadiographDecoder
from service.radiograph.film import Radiograph
from service.radiograph.film_notices import FILM_NOTICES
from service.radiograph.geometry import Affine, Box, clip_box
from service.radiograph.grid import PixelGrid, resize_to_grid
from service.radiograph.image_headers import stated_size
from service.radiograph.limits import Limits
from service.radiograph.load import load_radiograph, media_type_of
from service.radiograph.memory import FilmMemory
from service.radiograph.model_image import ModelImage, fit_to_grid, render_png

__all__ = [
    "FILM_NOTICES",
    "Affine",
    "Box",
    "FilmMemory",
    "Limits",
    "ModelImage",
    "PixelGrid",
    "Radiograph",
    "RadiographDecoder",
    "clip_box",
    "fit_to_grid",
    "load_radiograph",
    "media_type_of",
    "render_png",
    "resize_to_grid",
    "stated_size",
]
