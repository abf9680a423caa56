"""What passes between the service and a decode worker: JSON headers, and bytes in shared memory.

No pickle: a worker that a hostile film has taken over must not be able to hand objects back.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

from service.problem import Problem
from service.radiograph.film import Radiograph
from service.radiograph.limits import Limits

LENGTHS = struct.Struct(">IQ")
"""Bytes of header and of body; the header follows, the body is in the shared memory."""

READY, READY_UNCONFINED = b"R", b"U"
"""Sent by the worker when it has imported all it needs and confined itself; the second where the
kernel refuses no call for it."""

ACKNOWLEDGED = b"A"
"""Sent by the worker when it holds the whole request and begins to decode."""

_SCALARS = (
    "width", "height", "media_type", "view_position", "rendering", "pixel_aspect", "modality",
    "frame", "frames", "sop_class_uid", "sop_instance_uid", "study_instance_uid",
    "series_instance_uid",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What a worker is asked to decode; its reply names the same number."""

    number: int
    frame: int | None
    allow_other_anatomy: bool
    limits: Limits


def frame_message(header: dict[str, Any], body_length: int) -> bytes:
    """Return lengths and header."""
    encoded = json.dumps(header).encode()
    return LENGTHS.pack(len(encoded), body_length) + encoded


def request_header(request: DecodeRequest) -> dict[str, Any]:
    """Describe a request."""
    return asdict(request)


def read_request(header: dict[str, Any]) -> DecodeRequest:
    """Read what :func:`request_header` wrote."""
    return DecodeRequest(**{**header, "limits": Limits(**header["limits"])})


def radiograph_header(radiograph: Radiograph) -> dict[str, Any]:
    """Describe a radiograph; its pixels are the body."""
    affine = radiograph.to_original
    return {
        **{name: getattr(radiograph, name) for name in _SCALARS},
        "notices": [[notice.code, notice.detail] for notice in radiograph.notices],
        "to_original": [affine.a, affine.b, affine.c, affine.d, affine.e, affine.f],
        "shape": list(radiograph.pixels.shape),
    }


def problem_header(problem: Problem) -> dict[str, Any]:
    """Name a refusal; the body is empty."""
    return {"problem": problem.code}
