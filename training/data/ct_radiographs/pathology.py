"""Simulated findings, placed in the volume before projection so that their boxes are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from training.data.ct_radiographs.anatomy import LEFT_LOBES, Structure
from training.data.ct_radiographs.pose import DEPTH_MM, PIXEL_MM, Patient

SIDES = ("left", "right")
LOBE_NAMES = {
    Structure.LEFT_UPPER_LOBE: "left upper lobe",
    Structure.LEFT_LOWER_LOBE: "left lower lobe",
    Structure.RIGHT_UPPER_LOBE: "right upper lobe",
    Structure.RIGHT_MIDDLE_LOBE: "right middle lobe",
    Structure.RIGHT_LOWER_LOBE: "right lower lobe",
}
SEVERITIES = ("small", "moderate", "large")


@dataclass(frozen=True)
class Plan:
    """What is to be simulated: a finding, its side or lobe, and how much of it.

    ``kind`` is one of ``cardiomegaly``, ``pleural effusion``, ``pneumothorax``,
    ``consolidation``, ``nodule``, ``mass``. ``amount`` lies in 0..1 within the kind's range.
    """

    kind: str
    side: str | None
    amount: float
    lobe: Structure | None = None


@dataclass
class Placed:
    """A finding as it came out in the volume.

    Attributes
    ----------
    thickness
        Path length through the finding in mm, shape (rows, columns) of the projected film.
    severity
        ``small``, ``moderate`` or ``large`` for effusion and pneumothorax, else None.
    change
        What the finding adds to the projection, in mm of water, of the same shape; negative for
        air. What lies within something as dense adds nothing.
    """

    plan: Plan
    thickness: torch.Tensor
    severity: str | None = None
    change: torch.Tensor = field(default_factory=lambda: torch.zeros(()))


SCATTERED = 0.08
"""Share of films with several nodules or masses, as metastases lie."""
_NORMAL = 0.2


def plan_findings(rng: np.random.Generator, scattered: float = SCATTERED) -> list[Plan]:
    """Draw the findings of one film; about one film in five is normal.

    Effusion and a large heart are the most frequent, nodules and masses the rarest, in the order of
    the CheXpert labels of MIMIC-CXR (Johnson et al., 2019), though less unequal.

    Parameters
    ----------
    scattered
        Share of films with several nodules or masses, at most 0.8.
    """
    roll = rng.random()
    if roll < _NORMAL:
        return []
    if roll < _NORMAL + scattered:
        kind = "mass" if rng.random() < 0.55 else "nodule"
        sides = SIDES if rng.random() < 0.75 else (str(rng.choice(SIDES)),)
        plans = [
            Plan(kind, side, rng.random()) for side in sides for _ in range(int(rng.integers(2, 4)))
        ]
        if rng.random() < 0.25:
            plans.append(Plan("pleural effusion", str(rng.choice(SIDES)), rng.random()))
        return plans
    wanted = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    kinds = rng.choice(
        ["cardiomegaly", "pleural effusion", "pneumothorax", "consolidation", "nodule", "mass"],
        size=wanted,
        replace=False,
        p=[0.24, 0.28, 0.14, 0.18, 0.07, 0.09],
    )
    plans = []
    for kind in kinds:
        side = str(rng.choice(SIDES))
        if kind == "cardiomegaly":
            plans.append(Plan("cardiomegaly", None, rng.random()))
        elif kind == "pleural effusion":
            both = rng.random() < 0.3
            plans += [
                Plan("pleural effusion", s, rng.random()) for s in (SIDES if both else (side,))
            ]
        elif kind == "consolidation":
            lobe = Structure(int(rng.integers(1, 6)))
            side = "left" if lobe in LEFT_LOBES else "right"
            plans.append(Plan("consolidation", side, rng.random(), lobe))
        else:
            plans.append(Plan(str(kind), side, rng.random()))
    # Free air and fluid filling the same side hide each other; keep the fluid.
    fluid = {p.side for p in plans if p.kind == "pleural effusion"}
    return [p for p in plans if not (p.kind == "pneumothorax" and p.side in fluid)]


_PLACED_IN_ORDER = (
    "cardiomegaly",
    "pleural effusion",
    "pneumothorax",
    "consolidation",
    "mass",
    "nodule",
)
"""Fluid and air first: what they would overwrite could no longer be told from them."""


class Chest:
    """A posed patient whose attenuation findings are written into.

    The patient itself is left as it is, so that several films can share one pose.
    """

    def __init__(self, patient: Patient, rng: np.random.Generator) -> None:
        self.patient = patient
        self.rng = rng
        self.attenuation = patient.attenuation.clone()
        self.heart = patient.mask(Structure.HEART)
        self.opacities: list[tuple[int, int, float]] = []
        """Row, column and radius in pixels of the rounded opacities so far."""

    def lung(self, side: str) -> torch.Tensor:
        """Mask of one lung."""
        return self.patient.lungs[side]

    def shape_heart(self, factor: float) -> None:
        """Scale the heart about its centre; above 1 it displaces lung, below 1 lung fills in."""
        if factor >= 1:
            grown = _scaled(self.heart, (1 + (factor - 1) * 0.4, 1 + (factor - 1) * 0.5, factor))
            gained = grown & (self.patient.lungs["left"] | self.patient.lungs["right"])
            self.attenuation[gained] = 1.04
            self.heart = self.heart | gained
        else:
            shrunk = _scaled(self.heart, (1.0, 1.0, factor))
            near_lung = self.heart & ~shrunk
            self.attenuation[near_lung] = 0.22
            self.heart = self.heart & shrunk

    def place_all(self, plans: Sequence[Plan]) -> list[Placed]:
        """Write findings into the volume; those that find no room are left out."""
        placed = []
        for plan in sorted(plans, key=lambda plan: _PLACED_IN_ORDER.index(plan.kind)):
            before = self.projection()
            result = _SIMULATIONS[plan.kind](self, plan)
            if result is not None:
                result.change = self.projection() - before
                placed.append(result)
        return placed

    def projection(self) -> torch.Tensor:
        """Line integrals in mm of water, shape (rows, columns)."""
        return self.attenuation.sum(0) * DEPTH_MM


def _scaled(mask: torch.Tensor, factors: tuple[float, float, float]) -> torch.Tensor:
    """The mask, magnified about its centroid by the factors (depth, rows, columns)."""
    found = mask.nonzero().float()
    centre = found.mean(0)
    axes = [
        ((torch.arange(n) - c) / f + c).round().long().clamp(0, n - 1)
        for n, c, f in zip(mask.shape, centre.tolist(), factors, strict=True)
    ]
    return mask[axes[0]][:, axes[1]][:, :, axes[2]]


def _thickness(weight: torch.Tensor) -> torch.Tensor:
    return weight.sum(0) * DEPTH_MM


def _across(chest: Chest, lung: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Height above the base (mm, per row) and distance 0..1 from the midline towards the wall."""
    rows = lung.any(2).any(0).nonzero()[:, 0]
    height = (rows.max() - torch.arange(lung.shape[1])).float() * PIXEL_MM
    columns = lung.any(1).any(0).nonzero()[:, 0]
    low, high = int(columns.min()), int(columns.max())
    along = (torch.arange(lung.shape[2]) - low).float() / max(high - low, 1)
    heart_column = float(chest.heart.any(1).any(0).nonzero()[:, 0].float().mean())
    if (low + high) / 2 < heart_column:
        along = 1 - along
    return height, along.clamp(0, 1)


def _effusion(chest: Chest, plan: Plan) -> Placed | None:
    lung = chest.lung(str(plan.side))
    if not lung.any():
        return None
    height, lateral = _across(chest, lung)
    level = 38 + 100 * plan.amount**1.3
    # The meniscus: fluid climbs the chest wall.
    rise = (
        level * (0.72 + 0.5 * lateral**2)
        if chest.patient.pose.view != "LATERAL"
        else (level * (0.75 + 0.5 * (2 * lateral - 1) ** 2))
    )
    fluid = lung & (height[None, :, None] < rise[None, None, :])
    chest.attenuation[fluid] = 1.02
    return Placed(plan, _thickness(fluid.float()), SEVERITIES[int(level > 66) + int(level > 98)])


def _pneumothorax(chest: Chest, plan: Plan) -> Placed | None:
    lung = chest.lung(str(plan.side))
    if not lung.any():
        return None
    height, lateral = _across(chest, lung)
    top = float(height[lung.any(2).any(0)].max())
    retreat = 0.78 - 0.42 * plan.amount
    edge = (height / top)[None, :, None] + 0.30 * lateral[None, None, :] - 0.12 - retreat
    air = lung & (edge > 0)
    collapsed = lung & (edge <= 0)
    chest.attenuation[air] = 0.01
    chest.attenuation[collapsed] *= 1.12 + 0.25 * plan.amount
    chest.attenuation[collapsed & (edge > -0.018)] += 0.25  # the visceral pleural line
    level = int(plan.amount > 0.35) + int(plan.amount > 0.7)
    return Placed(plan, _thickness(air.float()), SEVERITIES[level])


def _consolidation(chest: Chest, plan: Plan) -> Placed | None:
    lobe = chest.patient.mask(Structure(int(plan.lobe or 0)))
    voxels = lobe.nonzero()
    if len(voxels) < 500:
        return None
    rng = chest.rng
    weight = torch.zeros_like(chest.attenuation)
    seeds = voxels[chest.rng.integers(len(voxels), size=6)]
    behind = [float(chest.patient.soft_tissue[int(row), int(column)]) for _, row, column in seeds]
    seed = seeds[int(np.argmin(behind))].float()
    radius = 30 + 22 * plan.amount
    for _ in range(int(rng.integers(1, 4))):
        centre = seed + torch.tensor(rng.normal(0, radius / 3, 3) / _SPACING, dtype=torch.float32)
        _add_blob(weight, centre.tolist(), radius * rng.uniform(0.7, 1.15, 3), softness=0.13)
    weight *= lobe * float(rng.uniform(0.85, 1.0))
    chest.attenuation += weight * (1.0 - chest.attenuation).clamp(min=0)
    return Placed(plan, _thickness(weight))


def _rounded(chest: Chest, plan: Plan) -> Placed | None:
    lung = chest.lung(str(plan.side))
    rng = chest.rng
    # A nodule measures at most 30 mm (Fleischner Society glossary, 2008).
    radius = 10 + 4.5 * plan.amount if plan.kind == "nodule" else 17 + 12 * plan.amount
    voxels = lung.nonzero()
    if len(voxels) < 500:
        return None
    size = torch.tensor(lung.shape)
    reach = torch.eye(3) * torch.tensor(radius * 0.75 / _SPACING, dtype=torch.float32)[:, None]
    for _ in range(30):
        centre = voxels[int(rng.integers(len(voxels)))].float()
        around = torch.cat([centre + reach, centre - reach]).round().long()
        around = torch.minimum(around.clamp(min=0), size - 1)
        inside = lung[around[:, 0], around[:, 1], around[:, 2]].float().mean()
        row, column = int(centre[1]), int(centre[2])
        apart = all(
            np.hypot(row - r, column - c) > 0.85 * (radius / PIXEL_MM + other)
            for r, c, other in chest.opacities
        )
        # Wholly behind the diaphragm or the spine nobody could call it.
        if apart and inside > 0.8 and chest.patient.soft_tissue[row, column] < 100:
            break
    else:
        return None
    weight = torch.zeros_like(chest.attenuation)
    radii = radius * rng.uniform(0.88, 1.12, 3)
    _add_blob(weight, centre.tolist(), radii, softness=float(rng.uniform(0.03, 0.08)))
    weight *= chest.patient.labels.clamp(max=7) % 7 > 0  # lung or heart
    chest.opacities.append((row, column, radius / PIXEL_MM))
    # Small ones that are seen at all are often calcified.
    density = float(rng.uniform(1.1, 1.5) if plan.kind == "mass" else rng.uniform(1.5, 2.5))
    chest.attenuation += weight * (density - chest.attenuation).clamp(min=0)
    return Placed(plan, _thickness(weight))


def _cardiomegaly(chest: Chest, plan: Plan) -> Placed | None:
    chest.shape_heart(1.2 + 0.35 * plan.amount)
    return Placed(plan, _thickness(chest.heart.float()))


_SPACING = np.array([DEPTH_MM, PIXEL_MM, PIXEL_MM])

_SIMULATIONS: dict[str, Callable[[Chest, Plan], Placed | None]] = {
    "cardiomegaly": _cardiomegaly,
    "pleural effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "consolidation": _consolidation,
    "nodule": _rounded,
    "mass": _rounded,
}


def _add_blob(
    volume: torch.Tensor, centre: list[float], radii: np.ndarray, softness: float
) -> None:
    """Raise the volume to a soft-edged ellipsoid (radii in mm) where that is higher."""
    low, high, axes = [], [], []
    for n, c, r, spacing in zip(volume.shape, centre, radii, _SPACING, strict=True):
        reach = r * 1.4 / spacing
        low.append(max(int(c - reach), 0))
        high.append(min(int(c + reach) + 2, n))
        axes.append(((torch.arange(low[-1], high[-1]) - c) * spacing / r) ** 2)
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return
    distance = (axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]).sqrt()
    blob = torch.sigmoid((1 - distance) / softness)
    part = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    torch.maximum(part, blob, out=part)
