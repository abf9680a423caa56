"""Prompt, images and sampling in; an asynchronous stream of text out. Nothing imports vLLM here."""

from service.engine.checkpoint import hash_files, load_manifest, write_manifest
from service.engine.failure import EngineStartTimeoutError, EngineStuckError, RestartPolicy
from service.engine.hub_cache import require_weights
from service.engine.manifest import (
    LineageRecord,
    Manifest,
    ManifestError,
    MeasuredResult,
    Pixels,
    SamplingDefaults,
    manifest_schema_json,
)
from service.engine.protocol import (
    Delta,
    Engine,
    EngineUnavailable,
    GenerationRequest,
    PromptTooLong,
    RequestRefused,
    Sampling,
    TooManyImages,
    Usage,
    WatchedEngine,
)
from service.engine.settings import EngineArgumentError, EngineNotInstalledError, EngineSettings
from service.engine.supervisor import EngineState, SupervisedEngine
from service.engine.vllm_engine import VllmEngine

__all__ = [
    "Delta",
    "Engine",
    "EngineArgumentError",
    "EngineNotInstalledError",
    "EngineSettings",
    "EngineStartTimeoutError",
    "EngineState",
    "EngineStuckError",
    "EngineUnavailable",
    "GenerationRequest",
    "LineageRecord",
    "Manifest",
    "ManifestError",
    "MeasuredResult",
    "Pixels",
    "PromptTooLong",
    "RequestRefused",
    "RestartPolicy",
    "Sampling",
    "SamplingDefaults",
    "SupervisedEngine",
    "TooManyImages",
    "Usage",
    "VllmEngine",
    "WatchedEngine",
    "hash_files",
    "load_manifest",
    "manifest_schema_json",
    "require_weights",
    "write_manifest",
]
