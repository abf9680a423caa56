"""vLLM's engine arguments: what the operator gave, over what suits the machine and checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.engine.manifest import Manifest
from service.engine.settings import EngineArgumentError, EngineSettings

_GIB = 1024**3
_SMALL = 1 * _GIB
"""Weights below this are a test-bench or embedded checkpoint, not one of billions."""

_OWNED = {
    "model": "set DEEPMEDIX_MODEL instead",
    "served_model_name": "it is the manifest's name",
    "limit_mm_per_prompt": "set DEEPMEDIX_LIMIT_IMAGES instead",
    "mm_processor_kwargs": "the manifest's pixels say what images look like",
    "enable_mm_embeds": "the service takes no embeddings",
    "enable_prompt_embeds": "the service takes no embeddings",
    "enable_log_requests": "prompts are never logged",
    "allowed_local_media_path": "the service opens films itself",
    "allowed_media_domains": "the service opens films itself",
    "trust_remote_code": "a checkpoint brings no code of its own",
    "skip_tokenizer_init": "the service needs the tokenizer",
}
"""Arguments that the service keeps to itself, and what to do instead."""

_NAMED = ("dtype", "quantization", "tensor_parallel_size", "max_model_len")


@dataclass(frozen=True)
class Machine:
    """What the defaults depend on.

    Attributes
    ----------
    cpu
        Whether vLLM runs on the CPU.
    weights
        Bytes of the checkpoint's weights; ``None`` where they are not on this machine yet.
    context
        Positions that the checkpoint can address; ``None`` where that is not known yet.
    kv_cache_is_set
        Whether the environment already says how much memory the CPU's cache takes.
    """

    cpu: bool
    weights: int | None = None
    context: int | None = None
    kv_cache_is_set: bool = False

    @property
    def small(self) -> bool:
        """Whether the checkpoint is known to be small."""
        return self.weights is not None and self.weights < _SMALL


def weights_size(folder: Path) -> int:
    """Return the bytes of a folder's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def check_arguments(settings: EngineSettings, known: Iterable[str]) -> None:
    """Refuse engine arguments that vLLM does not know, the service owns, or that contradict.

    Parameters
    ----------
    settings
        The operator's.
    known
        Names of vLLM's engine arguments.

    Raises
    ------
    EngineArgumentError
        Naming every argument at fault.
    """
    names = set(known)
    faults = []
    for name, value in settings.engine_args.items():
        if name in _OWNED:
            faults.append(f"{name} cannot be set: {_OWNED[name]}")
        elif name not in names:
            faults.append(f"{name} is not an engine argument of this vLLM")
        elif name in _NAMED and getattr(settings, name) not in (None, value):
            faults.append(f"{name} is given twice: DEEPMEDIX_{name.upper()} says otherwise")
    if faults:
        raise EngineArgumentError(f"Engine arguments that cannot be used: {'; '.join(faults)}.")


def image_limit(settings: EngineSettings, manifest: Manifest) -> int:
    """Return the most images of one request: what operator and checkpoint both allow."""
    return min(settings.limit_images, manifest.max_images)


def engine_arguments(
    settings: EngineSettings, manifest: Manifest, machine: Machine
) -> dict[str, Any]:
    """Return the arguments for ``AsyncEngineArgs``.

    Defaults first, then the operator's named settings, then the operator's engine arguments, then
    what the service owns.
    """
    arguments = _defaults(manifest, machine)
    given = {name: getattr(settings, name) for name in _NAMED}
    arguments |= {name: value for name, value in given.items() if value is not None}
    if settings.otlp_endpoint is not None:
        arguments["otlp_traces_endpoint"] = settings.otlp_endpoint
    arguments |= settings.engine_args
    return arguments | _owned(settings, manifest)


def _defaults(manifest: Manifest, machine: Machine) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        # Findings and impression of one film share its encoding and its prefix.
        "enable_prefix_caching": True,
        "mm_processor_cache_gb": 1 if machine.small else 4,
        "max_model_len": _context(machine.context, 4096 if machine.small else 16384),
        "disable_log_stats": False,  # vLLM's metrics, on the service's own page
        "use_tqdm_on_load": False,
    }
    if machine.cpu:
        arguments |= {
            # float32 gives the same greedy text whatever else is in the batch.
            "dtype": "float32" if machine.small else "bfloat16",
            "enforce_eager": True,  # compiling takes longer than start-up may
            "max_num_seqs": 32 if machine.small else 8,
        }
        if not machine.kv_cache_is_set:
            arguments["kv_cache_memory_bytes"] = (1 if machine.small else 4) * _GIB
    else:
        arguments |= {
            "dtype": "bfloat16",
            "gpu_memory_utilization": 0.3 if machine.small else 0.9,
            "enforce_eager": machine.small,
        }
    return arguments


def _context(positions: int | None, wanted: int) -> int:
    return wanted if positions is None else min(positions, wanted)


def _owned(settings: EngineSettings, manifest: Manifest) -> dict[str, Any]:
    pixels = manifest.pixels
    # The service has already brought every image to its final size.
    processor: dict[str, Any] = {"do_resize": False}
    if pixels.override_processor:
        size: Mapping[str, int] = {
            "shortest_edge": pixels.min_pixels,
            "longest_edge": pixels.max_pixels,
        }
        processor["size"] = dict(size)
    return {
        "served_model_name": manifest.name,  # a label of vLLM's metrics: never a path
        "limit_mm_per_prompt": {"image": image_limit(settings, manifest), "video": 0},
        "mm_processor_kwargs": processor,
        "enable_mm_embeds": False,
        "enable_log_requests": False,
        "trust_remote_code": False,
    }
