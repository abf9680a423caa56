"""Settings of the service, from the environment, a TOML file and built-in defaults."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "embedded"
"""The small checkpoint that ships with the program."""

CONFIG_FILE = "deepmedix.toml"
"""Looked for in the working directory when ``DEEPMEDIX_CONFIG`` names no other file."""

ENV_PREFIX = "DEEPMEDIX_"

_MIB = 1024 * 1024


class SettingsError(Exception):
    """Settings that cannot be used; the text says which and what is expected of it."""


class Settings(BaseSettings):
    """Every knob of ``deepmedix serve``.

    A value is looked for in the command's own options, then in the environment
    (``DEEPMEDIX_`` and the name in capitals), then in the TOML file, then here.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, protected_namespaces=()
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What the log shows. Prompts, answers and identifiers never."
    )

    model: str = Field(
        str(EMBEDDED_CHECKPOINT),
        description="Folder of a checkpoint, or its hub id. Default: the embedded checkpoint.",
    )
    dtype: str | None = Field(None, description="Weights' number format, as vLLM names them.")
    quantization: str | None = Field(None, description="Quantisation, as vLLM names them.")
    tensor_parallel_size: int | None = Field(None, ge=1, description="GPUs that share the model.")
    max_model_len: int | None = Field(
        None, ge=256, description="Tokens of prompt, images and reply together."
    )
    limit_images: int = Field(4, ge=1, le=4, description="Most images that one request may hold.")
    engine_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further vLLM engine arguments, passed through as they are (JSON in the "
        "environment, a table in the file).",
    )

    decode_workers: int = Field(1, ge=1, le=64, description="Processes that open films.")
    decode_timeout: float = Field(20.0, gt=0, description="Seconds that opening one film may take.")
    decode_memory: int = Field(
        2048 * _MIB, ge=256 * _MIB, description="Bytes of memory that opening one film may take."
    )
    film_memory_bytes: int = Field(
        128 * _MIB, ge=0, description="Bytes of decoded films kept for further questions; 0: none."
    )
    film_memory_seconds: float = Field(
        300.0, gt=0, description="Seconds after which a decoded film is forgotten."
    )
    max_body_bytes: int = Field(
        64 * _MIB, ge=1024, description="Most bytes of a request's body; beyond: 413."
    )
    body_timeout: float = Field(
        60.0, gt=0, description="Seconds that the arrival of a body may take; beyond: 408."
    )

    max_concurrency: int = Field(16, ge=1, description="Requests that are worked on at once.")
    max_queue: int = Field(
        64, ge=0, description="Requests that may wait beyond those; further ones get 429."
    )
    retry_after: int = Field(
        5, ge=1, description="Seconds that a 429 or 503 asks the caller to wait."
    )
    shutdown_grace: int = Field(
        30, ge=0, description="Seconds that running requests get to finish after SIGTERM."
    )

    @field_validator("model")
    @classmethod
    def _model_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must name a checkpoint folder or a hub id")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command, then environment, then file: dotenv and secret folders are not read."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, toml


def config_file() -> Path | None:
    """Return the TOML file in force, or ``None`` where there is none.

    Raises
    ------
    SettingsError
        When ``DEEPMEDIX_CONFIG`` names a file that does not exist.
    """
    named = os.environ.get(f"{ENV_PREFIX}CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            raise SettingsError(f"{ENV_PREFIX}CONFIG names a file that does not exist: {named}")
        return path
    path = Path(CONFIG_FILE)
    return path if path.is_file() else None


def unknown_environment() -> list[str]:
    """Return the ``DEEPMEDIX_`` variables of the environment that no setting answers to."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    known.add(f"{ENV_PREFIX}CONFIG")
    return sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``None`` among the overrides means "not given".

    Raises
    ------
    SettingsError
        When a value is of the wrong kind, a key is unknown or the file is not TOML.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config_file()} is not valid TOML: {error}") from error
    except SourceError as error:
        # The source's text names the field and the place it came from, not the value.
        raise SettingsError(f"{error}: the value is not valid JSON") from error


def _explain(error: ValidationError) -> str:
    lines = ["Some settings cannot be used:"]
    for item in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"  {name}: there is no such setting (known: {', '.join(_names())})")
        else:
            lines.append(f"  {name} ({ENV_PREFIX}{name.upper()}): {item['msg']}")
    return "\n".join(lines)


def _names() -> list[str]:
    return sorted(Settings.model_fields)
