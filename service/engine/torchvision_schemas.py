"""Make transformers and vLLM importable beside companions that do not fit the installed torch.

PyPI's torchvision, torchaudio and torchcodec are built for CUDA. Beside a CPU build of torch their
compiled parts cannot be loaded, and then importing them fails ("operator torchvision::nms does not
exist", "Could not load this library"), and with them transformers' Qwen2-VL classes and vLLM's
multimodal inputs, although nothing compiled of theirs is ever called here. For torchvision it is
enough to declare the two schemas that its import looks for; the two for sound and video are hidden,
as if they were not installed. Where a package's compiled part loads, nothing is done to it.

It must happen in every process, before transformers is imported. vLLM calls :func:`install` in each
of its own (engine core, worker, model inspection) as an entry point of ``vllm.platform_plugins``:
of its plugins the only ones that are called before it imports transformers.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from service.engine.child import settle

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_DISPENSABLE = {"torchaudio": "lib/_torchaudio.*", "torchcodec": "libtorchcodec_image.*"}
"""Packages that nothing here needs, and the compiled part that their import cannot do without."""

_NEEDING = frozenset(("transformers", "torchvision", "datasets"))
"""What cannot be imported without the repair, or looks for what it hides."""

# A library's definitions last as long as the object that made them.
_libraries: list[Any] = []


def register() -> bool:
    """Repair what is broken; safe to call any number of times.

    Returns
    -------
    bool
        Whether anything had to be repaired, by this or an earlier call.
    """
    _declare_torchvision()
    for name, pattern in _DISPENSABLE.items():
        _hide_broken(name, pattern)
    # None in sys.modules is Python's own way to say that a module is not to be found.
    hidden = any(name in sys.modules and sys.modules[name] is None for name in _DISPENSABLE)
    return bool(_libraries) or hidden


def register_when_needed() -> None:
    """Call :func:`register` just before the first import of what needs it.

    For packages that may be imported without ever needing it: the repair loads torch, which takes
    seconds.
    """
    if _NEEDING.isdisjoint(sys.modules):
        sys.meta_path.insert(0, _BeforeNeeded())
    else:
        register()


class _BeforeNeeded(MetaPathFinder):
    """Finds nothing; repairs when asked for what needs it, once."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in _NEEDING:
            sys.meta_path.remove(self)
            register()


def install() -> None:
    """Entry point of vLLM's platform plugins, called first in each of its processes.

    Repairs, lets an engine core end with the service (:mod:`service.engine.child`), and has no
    platform to offer.
    """
    settle()
    register()


def _declare_torchvision() -> None:
    package = _package("torchvision")
    if package is None or _libraries or _loads(package, "_C.*"):
        return
    torch: Any = import_module("torch")  # largely untyped
    if torch._C._dispatch_has_kernel("torchvision::nms"):
        return
    from torch import library  # here, so that importing this module does not load torch

    untyped: Any = library
    fragment = untyped.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        fragment.define(schema)
    _libraries.append(fragment)


def _hide_broken(name: str, pattern: str) -> None:
    package = _package(name)
    if package is not None and not _loads(package, pattern):
        sys.modules[name] = None  # type: ignore[assignment]  # see register


def _package(name: str) -> Path | None:
    """Folder of a package that is installed and has not been imported yet."""
    if name in sys.modules:
        return None
    spec = PathFinder.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _loads(folder: Path, pattern: str) -> bool:
    """Whether a package's compiled part, where it has one, fits the installed torch."""
    torch: Any = import_module("torch")
    for library in sorted(folder.glob(pattern)):
        try:
            torch.ops.load_library(str(library))
        except (ImportError, OSError):
            return False
    return True
