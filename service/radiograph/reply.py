"""A decode worker's reply, believed only as far as it is well formed.

A worker may have been taken over by a film that it opened: its reply is a stranger's input, whose
numbers, codes and texts must not reach replies, headers or logs unless they are of the kind that
an honest worker sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from service.notice import Notice
from service.radiograph.film import Radiograph
from service.radiograph.film_notices import FILM_NOTICES
from service.radiograph.geometry import Affine
from service.radiograph.problems import problem_of


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def _known(code: str) -> str:
    if code not in FILM_NOTICES:
        raise ValueError("no notice of this room")
    return code


_Word = Annotated[str, Field(max_length=64), AfterValidator(_printable)]
_Sentence = Annotated[str, Field(max_length=400), AfterValidator(_printable)]
_Code = Annotated[str, AfterValidator(_known)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=1, le=1 << 20)]
_Frames = Annotated[int, Field(ge=1, le=1 << 31)]
_MOST_OBLONG = 200.0


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    number: int


class _Refusal(_Reply):
    problem: str


class _Film(_Reply):
    width: _Pixels
    height: _Pixels
    media_type: Literal["application/dicom", "image/png", "image/jpeg"]
    view_position: _Word | None
    rendering: _Word
    pixel_aspect: Annotated[float, Field(ge=1 / _MOST_OBLONG, le=_MOST_OBLONG)]
    modality: _Word | None
    frame: _Frames
    frames: _Frames
    sop_class_uid: _Word | None
    sop_instance_uid: _Word | None
    study_instance_uid: _Word | None
    series_instance_uid: _Word | None
    notices: list[tuple[_Code, _Sentence]]
    to_original: Annotated[list[_Finite], Field(min_length=6, max_length=6)]
    shape: Annotated[list[PositiveInt], Field(min_length=2, max_length=3)]


def read_reply(header: Mapping[str, Any], body: npt.NDArray[np.uint8], number: int) -> Radiograph:
    """Read a worker's reply to the request of that number.

    Raises
    ------
    Problem
        The refusal, where the reply is one.
    ValueError
        Where the reply is not well formed, or to another request: another patient's film.
    """
    if header.get("number") != number:
        raise ValueError("The reply is to another request.")
    if "problem" in header:
        raise problem_of(_Refusal.model_validate(header).problem)
    film = _Film.model_validate(header)
    if film.shape[2:] not in ([], [3]):
        raise ValueError("The reply's pixels are neither grey nor colour.")
    pixels = body.reshape(film.shape)
    pixels.setflags(write=False)
    return Radiograph(
        pixels=pixels,
        notices=tuple(Notice(code, detail) for code, detail in film.notices),
        to_original=Affine(*film.to_original),
        **film.model_dump(exclude={"number", "notices", "to_original", "shape"}),
    )
