"""How the patient stands before the detector: view, geometry, and shape of the chest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses

from training.data.ct_radiographs.anatomy import VOXEL_MM, Anatomy, Structure

View = Literal["PA", "AP", "LATERAL"]

PIXEL_MM = 1.5
"""Pixel spacing of the projected film."""
DEPTH_MM = 5.0
"""Thickness of a slab along the beam."""
ROWS, COLUMNS = 220, 240
"""Shape of the projected film before it is cropped to its field of view."""
_DEPTH_EXTENT_MM = {"PA": 270.0, "AP": 270.0, "LATERAL": 350.0}


@dataclass(frozen=True)
class Pose:
    """Everything about a patient's position and shape that a film depends on.

    Angles are in degrees, displacements in mm, scales relative to the CT.
    """

    view: View
    rotation: tuple[float, float, float]
    scale: tuple[float, float, float]
    inspiration: float
    shape_seed: int
    shape_amplitude: float
    source_distance: float


@dataclass
class Patient:
    """A posed patient on the film's grid, of shape (depth, rows, columns).

    Attributes
    ----------
    attenuation
        Float32 relative to water; depth runs away from the x-ray source.
    labels
        Uint8 :class:`Structure` values.
    """

    pose: Pose
    attenuation: torch.Tensor
    labels: torch.Tensor

    @cached_property
    def lungs(self) -> dict[str, torch.Tensor]:
        """Mask of each lung, by side."""
        inside = (self.labels >= Structure.LEFT_UPPER_LOBE) & (
            self.labels <= Structure.RIGHT_LOWER_LOBE
        )
        left = inside & (self.labels <= Structure.LEFT_LOWER_LOBE)
        return {"left": left, "right": inside & ~left}

    @cached_property
    def soft_tissue(self) -> torch.Tensor:
        """Path through soft tissue and bone outside lungs and heart, in mm, (rows, columns)."""
        dense = (self.labels == Structure.OTHER) & (self.attenuation > 0.8)
        return dense.sum(0) * DEPTH_MM

    @cached_property
    def footprints(self) -> dict[Structure, torch.Tensor]:
        """Projected extent of every structure, bool of shape (rows, columns)."""
        return {structure: self.mask(structure).any(0) for structure in Structure}

    def mask(self, *structures: Structure) -> torch.Tensor:
        """Voxels of any of the structures."""
        found = self.labels == int(structures[0])
        for structure in structures[1:]:
            found |= self.labels == int(structure)
        return found


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: four in five films are frontal, of these three in five PA."""
    view: View = rng.choice(["PA", "AP", "LATERAL"], p=[0.52, 0.34, 0.14])
    return Pose(
        view=view,
        rotation=tuple(rng.normal(0, [2.0, 2.5, 2.0])),
        scale=tuple(rng.uniform([0.90, 0.90, 0.92], [1.10, 1.10, 1.12])),
        inspiration=float(rng.uniform(-16, 14)),
        shape_seed=int(rng.integers(2**31)),
        shape_amplitude=float(rng.uniform(2, 8)),
        source_distance=float(rng.uniform(800, 1050) if view == "AP" else rng.uniform(1550, 1850)),
    )


def pose_patient(anatomy: Anatomy, pose: Pose) -> Patient:
    """Resample the CT so that the beam runs along the first axis.

    The cone beam is approximated slab by slab: a slab's magnification follows from its distance to
    the source, path lengths are those of the central ray.
    """
    slabs = round(_DEPTH_EXTENT_MM[pose.view] / DEPTH_MM)
    depth = (torch.arange(slabs) - (slabs - 1) / 2) * DEPTH_MM
    up = ((ROWS - 1) / 2 - torch.arange(ROWS)) * PIXEL_MM
    across = (torch.arange(COLUMNS) - (COLUMNS - 1) / 2) * PIXEL_MM
    # Nearer to the source a ray is closer to the axis, so the same pixel sees a smaller offset.
    spread = (pose.source_distance + depth) / pose.source_distance
    w = depth[:, None, None].expand(slabs, ROWS, COLUMNS)
    u = across[None, None, :] * spread[:, None, None]
    v = up[None, :, None] * spread[:, None, None]
    u, v = u.expand_as(w), v.expand_as(w)

    if pose.view == "LATERAL":  # facing left on the film, left side to the detector
        x, y, z = w, -u, v
    elif pose.view == "PA":  # source behind, depth runs to the front
        x, y, z = u, w, v
    else:
        x, y, z = u, -w, v

    turn = _rotation(pose.rotation)
    points = torch.stack([x, y, z])
    points = torch.einsum("ij,j...->i...", turn, points)
    points = points / torch.tensor(pose.scale, dtype=torch.float32)[:, None, None, None]
    knots = torch.randn((1, 3, 5, 6, 6), generator=torch.Generator().manual_seed(pose.shape_seed))
    points += (
        pose.shape_amplitude
        * F.interpolate(knots, size=w.shape, mode="trilinear", align_corners=True)[0]
    )
    # A deeper breath lowers the diaphragm and leaves the apices where they are.
    points[2] += pose.inspiration * torch.sigmoid((-10 - points[2]) / 30)

    size = torch.tensor(anatomy.attenuation.shape[::-1], dtype=torch.float32)
    spacing = torch.tensor(VOXEL_MM[::-1])
    grid = points / (size * spacing / 2)[:, None, None, None]
    grid = grid.permute(1, 2, 3, 0)[None]
    attenuation = F.grid_sample(
        anatomy.attenuation[None, None], grid, padding_mode="border", align_corners=False
    )[0, 0]
    labels = F.grid_sample(
        anatomy.labels[None, None], grid, mode="nearest", padding_mode="zeros", align_corners=False
    )[0, 0].to(torch.uint8)
    return Patient(pose, attenuation, labels)


def _rotation(degrees: tuple[float, float, float]) -> torch.Tensor:
    """Rotation about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return torch.tensor(about_z @ about_y @ about_x, dtype=torch.float32)
