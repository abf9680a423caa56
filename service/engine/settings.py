"""What an operator may say of the engine; ``None`` leaves it to the machine and the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class EngineArgumentError(Exception):
    """An engine argument that cannot be used; says which, and what is expected."""


class EngineNotInstalledError(Exception):
    """What the engine needs is not installed; says what, and how to install it."""


@dataclass(frozen=True)
class EngineSettings:
    """Which checkpoint to serve, and how.

    Attributes
    ----------
    model
        Folder of a checkpoint, or a hub id.
    engine_args
        Further arguments of vLLM's ``AsyncEngineArgs``, handed on as they are; they lead over
        every default, but may not open what the service keeps shut.
    manifest_sha256
        SHA-256 that the manifest's file must have; ``None``: any.
    dtype, quantization, tensor_parallel_size, max_model_len
        As vLLM names them.
    limit_images
        Most images of one request; the manifest may allow fewer.
    otlp_endpoint
        URL that vLLM's own spans are sent to as OTLP/HTTP.
    """

    model: str
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    dtype: str | None = None
    quantization: str | None = None
    tensor_parallel_size: int | None = None
    max_model_len: int | None = None
    limit_images: int = 4
    otlp_endpoint: str | None = None
    manifest_sha256: str | None = None
