"""Adapters by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from training.data.adapters.protocol import Adapter, DataSetCard
from training.data.store.errors import DataError

_ADAPTERS = {
    "mimic-cxr": "mimic_cxr:MimicCxr",
    "mimic-cxr-jpg": "mimic_cxr_jpg:MimicCxrJpg",
    "open-i": "open_i:OpenI",
    "mimic-ext-mimic-cxr-vqa": "mimic_ext_vqa:MimicExtVqa",
    "medical-cxr-vqa": "medical_cxr_vqa:MedicalCxrVqa",
    "vindr-cxr": "vindr_cxr:VinDrCxr",
    "ms-cxr": "ms_cxr:MsCxr",
    "padchest-gr": "padchest_gr:PadChestGr",
    "chest-imagenome": "chest_imagenome:ChestImaGenome",
    "chexpert-plus": "chexpert_plus:CheXpertPlus",
    "rexgradient": "rexgradient:ReXGradient",
    "rexvqa": "rexvqa:ReXVqa",
    "ct-radiographs": "ct_films:CtFilms",
    "jsonl": "plain:JsonLines",
    "csv": "plain:Csv",
}


def adapter_names() -> list[str]:
    """All names, in the order of the documentation."""
    return list(_ADAPTERS)


def card_of(name: str) -> DataSetCard:
    """What there is to know of a data set.

    Raises
    ------
    DataError
        When no adapter has that name.
    """
    card: DataSetCard = _adapter(name).card
    return card


def open_adapter(
    name: str, root: Path, *, images: Path | None = None, options: Mapping[str, str] | None = None
) -> Adapter:
    """The adapter of a data set on its folder.

    Parameters
    ----------
    root
        Folder (for ``jsonl`` and ``csv``: file) of the data set.
    images
        Folder of its films, where that is another.
    options
        Further settings, of those that the data set's card names.

    Raises
    ------
    DataError
        When the name, the folder or an option is unknown.
    """
    given = dict(options or {})
    known = card_of(name).options
    for option in given:
        if option not in known:
            there = ", ".join(known) or "none"
            raise DataError(f"{name} has no option {option!r}; it has {there}.")
    for path in (root, images):
        if path is not None and not path.exists():
            raise DataError(f"{path} is not there. Give the folder as it was published.")
    adapter: Adapter = _adapter(name)(root, images=images, **given)
    return adapter


def _adapter(name: str) -> Any:
    if name not in _ADAPTERS:
        raise DataError(f"No adapter is named {name!r}. There are {', '.join(_ADAPTERS)}.")
    module, _, attribute = _ADAPTERS[name].partition(":")
    return getattr(import_module(f"training.data.adapters.{module}"), attribute)
