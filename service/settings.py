"""Settings of the service, from the environment, a TOML file and built-in defaults."""

from __future__ import annotations

import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from service.telemetry import LogFormat

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "embedded"
"""The small checkpoint that ships with the program."""

CONFIG_FILE = "deepmedix.toml"
"""Looked for in the working directory when ``DEEPMEDIX_CONFIG`` names no other file."""

ENV_PREFIX = "DEEPMEDIX_"

_MIB = 1024 * 1024

Names = Annotated[tuple[str, ...], NoDecode]
"""Several names, separated by commas in the environment, a list in the file."""


class SettingsError(Exception):
    """Settings that cannot be used; the text says which and what is expected of it."""


class Settings(BaseSettings):
    """Every knob of ``deepmedix serve``.

    A value is looked for in the command's own options, then in the environment
    (``DEEPMEDIX_`` and the name in capitals), then in the TOML file, then here.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,  # a time without end, or none at all, is meant by no setting
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What the log shows. Prompts, answers and identifiers never."
    )
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="How a line looks: json, console, or auto: console on a terminal, else json.",
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="URL that spans are sent to as OTLP/HTTP, as http://collector:4318/v1/traces; "
        "unset: none are kept.",
    )
    trace_state: bool = Field(
        False,
        description="Whether a caller's tracestate goes on into spans; it is free text of the "
        "caller.",
    )

    model: str = Field(
        str(EMBEDDED_CHECKPOINT),
        description="Folder of a checkpoint, or its hub id. Default: the embedded checkpoint.",
    )
    manifest_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 that the checkpoint's manifest must have; unset: any.",
    )
    dtype: str | None = Field(None, description="Weights' number format, as vLLM names them.")
    quantization: str | None = Field(None, description="Quantisation, as vLLM names them.")
    tensor_parallel_size: int | None = Field(None, ge=1, description="GPUs that share the model.")
    max_model_len: int | None = Field(
        None,
        ge=256,
        description="Tokens of prompt, images and reply together. Default: 16384, or 4096 for a "
        "checkpoint below 1 GiB, or what it can address, if less. DeepMedix-R1 on a 24 GB card: "
        "set 8192 or less.",
    )
    limit_images: int = Field(4, ge=1, le=4, description="Most images that one request may hold.")
    engine_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further vLLM engine arguments, passed through as they are (JSON in the "
        "environment, a table in the file).",
    )

    # What happens when the engine dies or hangs: docs/operation.md.
    engine_start_timeout: float = Field(
        1800.0,
        gt=0,
        description="Seconds that the engine's first start may take, the reading of a blank film "
        "included; beyond, the service exits with status 1.",
    )
    engine_stall_timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds without an answer after which the engine counts as hung and is "
        "replaced. Default: 30; 300 for a large checkpoint on a CPU.",
    )
    engine_restarts: int = Field(
        3,
        ge=0,
        description="Failures of the engine in a row that are mended by a restart; at the next one "
        "the service exits with status 1.",
    )
    engine_restart_window: float = Field(
        600.0,
        gt=0,
        description="Seconds that the engine must run well for its failures to be forgotten.",
    )
    engine_restart_delay: float = Field(
        1.0,
        ge=0,
        description="Seconds from the first failure to the restart; each further one in a row "
        "doubles them.",
    )
    engine_restart_delay_max: float = Field(
        60.0, ge=0, description="Most seconds from a failure to the restart."
    )
    engine_restart_timeout: float = Field(
        600.0, gt=0, description="Seconds that a restart may take; beyond, it has failed."
    )

    decode_workers: int = Field(1, ge=1, le=64, description="Processes that open films.")
    decode_timeout: float = Field(20.0, gt=0, description="Seconds that opening one film may take.")
    decode_memory: int = Field(
        2048 * _MIB, ge=256 * _MIB, description="Bytes of memory that opening one film may take."
    )
    film_memory_bytes: int = Field(
        128 * _MIB,
        ge=0,
        description=(
            "Bytes of decoded films kept for further questions, 256 films at most; 0: none."
        ),
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

    # What comes before a request is known, and after its reply.
    max_header_bytes: int = Field(
        64 * 1024,
        ge=1024,
        description="Most bytes of a request's line and headers, trailers too; beyond: 431.",
    )
    header_timeout: float = Field(
        10.0,
        gt=0,
        description="Seconds from a connection to the end of its request's headers; beyond: 408.",
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Most open connections; beyond, the one that idles or does not read its reply "
        "for longest gives way, and where none does: 503.",
    )
    send_timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds in which a client must take 16 KiB of the reply that waits for it, a "
        "twentieth where that is more, "
        "or all that is left; beyond, it is cut off.",
    )

    max_concurrency: int = Field(16, ge=1, description="Requests that are worked on at once.")
    max_queue: int = Field(
        64, ge=0, description="Requests that may wait beyond those; further ones get 503."
    )
    max_admitted_tokens: int = Field(
        524_288,
        ge=1024,
        description="Estimated tokens of all requests at work and waiting; beyond: 503.",
    )
    max_admitted_bytes: int = Field(
        1024 * _MIB,
        ge=1024,
        description="Bytes of the bodies and the opened films of all requests at work and waiting; "
        "beyond: 503.",
    )
    caller_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of the requests, of the tokens and of the bytes that one caller may "
        "hold; beyond: 429.",
    )
    retry_after: int = Field(
        5,
        ge=1,
        description="Seconds that a 429 or 503 asks the caller to wait while the service's own "
        "rate is not measured yet.",
    )
    request_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds that a request may take, the most that it may ask for; beyond: 504.",
    )
    shutdown_grace: int = Field(
        30, ge=0, description="Seconds that running requests get to finish after SIGTERM."
    )
    shutdown_delay: float = Field(
        1.0,
        ge=0,
        description="Least seconds between SIGTERM and the closing of the port, in which "
        "`/readyz` says 503.",
    )

    idempotency_entries: int = Field(
        1024, ge=1, description="Most replies that are kept for a repeated Idempotency-Key."
    )
    idempotency_bytes: int = Field(
        32 * _MIB, ge=0, description="Most bytes of memory that those replies may take."
    )
    idempotency_expiry: float = Field(900.0, gt=0, description="Seconds that such a reply is kept.")

    # Who may call.
    insecure: bool = Field(
        False,
        description="Listen on an address that other machines reach although no caller must show "
        "who it is.",
    )
    allowed_hosts: Names = Field(
        (),
        description="Names, beside localhost, by which the service is asked on loopback without "
        "authentication (a proxy's on the same machine); any other: 421.",
    )
    keys_file: Path | None = Field(
        None, description="File of the API keys, as `deepmedix keys` keeps it; turns them on."
    )
    oidc_issuer: str | None = Field(
        None, description="Issuer of OpenID Connect tokens, exactly as in `iss`; turns them on."
    )
    oidc_audience: str | None = Field(
        None, description="What a token's `aud` must hold. Needed with OIDC_ISSUER."
    )
    oidc_jwks_url: str | None = Field(
        None, description="Address of the issuer's keys. Default: what its discovery document says."
    )
    oidc_algorithms: Names = Field(
        ("RS256", "PS256", "ES256", "EdDSA"),
        description="Signature algorithms taken; asymmetric ones only.",
    )
    oidc_leeway: float = Field(
        60.0, ge=0, le=300, description="Seconds by which the issuer's clock may differ."
    )
    oidc_scope_claims: Names = Field(
        ("scope", "scp", "roles"),
        description="Claims that hold a token's scopes or roles; a dot leads into an object.",
    )
    oidc_scopes: dict[str, Literal["read", "admin"]] = Field(
        {"read": "read", "admin": "admin"},
        description="Which scope of ours each name of the issuer's stands for, as "
        '{"radiology-reader": "read"} (JSON in the environment).',
    )
    metrics_public: bool = Field(
        True, description="Whether /metrics is open; else it needs the scope `admin`."
    )

    # How they reach us.
    tls_certificate: Path | None = Field(
        None, description="Certificate chain (PEM); turns TLS on, 1.2 at least."
    )
    tls_key: Path | None = Field(None, description="The certificate's private key (PEM).")
    tls_key_password: SecretStr | None = Field(None, description="Password of that key.")
    tls_client_ca: Path | None = Field(
        None,
        description="Authorities (PEM); only clients with a certificate of one of them connect.",
    )
    trusted_proxies: Names = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
    )

    # What is recorded.
    audit_file: Path | None = Field(
        None, description="File of the audit trail; turns recording on. See docs/security.md."
    )
    audit_collector: str | None = Field(
        None, description="Base address of a FHIR R4 server that gets every AuditEvent."
    )
    audit_collector_token: SecretStr | None = Field(
        None, description="Bearer token for that server."
    )
    audit_queue: int = Field(
        10_000, ge=1, description="Audit events that may wait for the collector."
    )
    audit_site_key: SecretStr | None = Field(
        None,
        description="Secret that studies' identities are hashed with, 32 characters at least. "
        "Needed for recording.",
    )
    audit_failure: Literal["closed", "open"] = Field(
        "closed", description="Whether a request that cannot be recorded is refused."
    )
    audit_fsync: bool = Field(
        True, description="Whether each line is on the disk before its reply goes out."
    )
    audit_addresses: Literal["full", "prefix", "none"] = Field(
        "full", description="How much of callers' network addresses is recorded."
    )
    audit_scope: Literal["readings", "all"] = Field(
        "readings",
        description="Which requests leave an event: those that patient data can pass and refused "
        "credentials, or every one but the probes, each by itself. See docs/security.md.",
    )

    @field_validator(
        "allowed_hosts", "oidc_algorithms", "oidc_scope_claims", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("oidc_scopes", mode="before")
    @classmethod
    def _lead_to_our_scopes(cls, value: Any) -> Any:
        if isinstance(value, dict) and not {"read", "admin"}.issuperset(map(str, value.values())):
            raise ValueError(
                "each key must be a name of the issuer's, each value the scope of ours that it "
                'stands for, read or admin: {"radiology-reader": "read"}'
            )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("must be addresses or networks (10.0.0.0/8)") from None
        return value

    @field_validator("audit_site_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters (`openssl rand -hex 32` makes one)")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.max_admitted_bytes < self.max_body_bytes:
            raise ValueError(
                "DEEPMEDIX_MAX_ADMITTED_BYTES must be at least DEEPMEDIX_MAX_BODY_BYTES: else the "
                "largest body could never be taken"
            )
        if self.oidc_issuer is not None and self.oidc_audience is None:
            raise ValueError(
                "DEEPMEDIX_OIDC_ISSUER needs DEEPMEDIX_OIDC_AUDIENCE: else a token that was made "
                "for another service would be taken"
            )
        if self.oidc_issuer is None and (self.oidc_audience or self.oidc_jwks_url):
            raise ValueError(
                "DEEPMEDIX_OIDC_AUDIENCE and DEEPMEDIX_OIDC_JWKS_URL need DEEPMEDIX_OIDC_ISSUER: "
                "without it nobody is asked for a token"
            )
        if not self.metrics_public and self.keys_file is None and self.oidc_issuer is None:
            raise ValueError(
                "DEEPMEDIX_METRICS_PUBLIC=false needs DEEPMEDIX_KEYS_FILE or DEEPMEDIX_OIDC_ISSUER:"
                " without them nobody can show that they may read the metrics"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("DEEPMEDIX_TLS_CERTIFICATE and DEEPMEDIX_TLS_KEY go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("DEEPMEDIX_TLS_CLIENT_CA needs DEEPMEDIX_TLS_CERTIFICATE")
        if (self.audit_file or self.audit_collector) and self.audit_site_key is None:
            raise ValueError(
                "recording needs DEEPMEDIX_AUDIT_SITE_KEY, a secret of this site that studies' "
                "identities are hashed with (`openssl rand -hex 32` makes one; keep it)"
            )
        return self

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
    known |= {f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}API_KEY"}  # the latter is the client's
    return sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``None`` among the overrides means "not given".

    Raises
    ------
    SettingsError
        When a value is of the wrong kind, a key is unknown, or the file cannot be read or is not
        TOML.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config_file()} is not valid TOML in UTF-8: {error}") from error
    except OSError as error:
        raise SettingsError(f"{config_file()} cannot be read: {error.strerror}") from error
    except SourceError as error:
        # The source's text names the field and the place it came from, not the value.
        raise SettingsError(f"{error}: the value is not valid JSON") from error


def _explain(error: ValidationError) -> str:
    lines = ["Some settings cannot be used:"]
    for item in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"])
        if not name:  # of several settings together
            lines.append(f"  {item['msg'].removeprefix('Value error, ')}")
        elif item["type"] == "extra_forbidden":
            lines.append(f"  {name}: there is no such setting (known: {', '.join(_names())})")
        else:
            lines.append(f"  {name} ({ENV_PREFIX}{name.upper()}): {item['msg']}")
    return "\n".join(lines)


def _names() -> list[str]:
    return sorted(Settings.model_fields)
