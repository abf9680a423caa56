"""From a posed chest to a film: projection, field of view, exposure, and the exact boxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses
from scipy import ndimage

from training.data.ct_radiographs.anatomy import LEFT_LOBES, RIGHT_LOBES, Structure
from training.data.ct_radiographs.pathology import LOBE_NAMES, Chest, Placed, Plan
from training.data.ct_radiographs.pose import Patient

Box = tuple[int, int, int, int]

_VISIBLE_MM = {
    "pleural effusion": 9.0,
    "pneumothorax": 14.0,
    "consolidation": 9.0,
    "nodule": 2.5,
    "mass": 5.0,
}
"""Path length from which a part of a finding can belong to its box."""

_SHOWS = 4.0
"""Grey levels by which a finding must change a pixel for it to belong to the finding's box."""
_CONSPICUOUS = {"consolidation": 20.0, "nodule": 20.0, "mass": 20.0}
_CONSPICUOUS_BY_ITS_EDGE = 11.0
"""Grey levels by which a finding must change its pixels, on average, for anyone to call it.

Fluid and free air show by their edge, too.
"""


@dataclass(frozen=True)
class Region:
    """A named region with its box in pixels of the film, edges as in [x_min, x_max)."""

    name: str
    box: Box


@dataclass(frozen=True)
class FilmFinding:
    """A simulated finding that is visible on the film."""

    kind: str
    side: str | None
    box: Box
    severity: str | None = None
    lobe: str | None = None
    zone: str | None = None


@dataclass
class Film:
    """One simulated radiograph: uint8 pixels of shape (rows, columns) and what is on it."""

    pixels: np.ndarray
    view: str
    structures: list[Region]
    findings: list[FilmFinding]
    devices: list[Region] = field(default_factory=list)


def expose(
    patient: Patient, plans: list[Plan], rng: np.random.Generator, *, fixed: np.random.Generator
) -> Film:
    """Simulate the findings, project, crop to a field of view and form the image.

    Parameters
    ----------
    patient
        The posed patient; not changed.
    plans
        Findings to simulate, in the order given.
    rng
        Draws the places of findings, exposure and noise.
    fixed
        Draws the field of view: two films made with equal generators are framed alike.
    """
    chest = Chest(patient, rng)
    if not any(plan.kind == "cardiomegaly" for plan in plans):
        chest.shape_heart(float(rng.uniform(0.84, 1.0)))
    placed = chest.place_all(plans)
    path = chest.projection()
    frame = _Frame.around_lungs(patient, fixed)
    devices = _draw_devices(patient, path, rng)
    path = path + _soft_tissue(path, patient, rng)

    structures = []
    seen = patient.footprints
    named = {
        "right lung": _footprint(patient, RIGHT_LOBES),
        "left lung": _footprint(patient, LEFT_LOBES),
        "heart": chest.heart.sum(0) > 2,
        "trachea": seen[Structure.TRACHEA],
        "aorta": seen[Structure.AORTA],
    } | {name: seen[lobe] for lobe, name in LOBE_NAMES.items()}
    for name, mask in named.items():
        box = frame.box(mask)
        if box is not None:
            structures.append(Region(name, box))
    boxes = {region.name: region.box for region in structures}

    beam = frame.image(path)
    exposure = _Exposure.draw(beam, rng)
    findings = []
    for result in placed:
        without = exposure.show(beam - frame.image(result.change))
        shows = torch.from_numpy(np.abs(exposure.show(beam) - without)) * 255
        finding = _seen(result, frame.image(result.thickness), shows, boxes)
        if finding is not None:
            findings.append(finding)
    shown = [Region(name, box) for name, mask in devices if (box := frame.box(mask)) is not None]
    pixels = (exposure.show(beam, rng) * 255).round().astype(np.uint8)
    return Film(pixels, patient.pose.view, structures, findings, shown)


def _seen(
    result: Placed, thickness: torch.Tensor, shows: torch.Tensor, boxes: dict[str, Box]
) -> FilmFinding | None:
    """The finding as far as it shows on the film; None where nobody could call it.

    ``thickness`` (mm) and ``shows`` (grey levels by which the finding changes the film) have the
    film's shape.
    """
    plan = result.plan
    if plan.kind == "cardiomegaly":
        return FilmFinding("cardiomegaly", None, boxes["heart"]) if "heart" in boxes else None
    threshold = max(_VISIBLE_MM[plan.kind], 0.3 * float(thickness.max()))
    part = _largest((thickness > threshold) & (shows > _SHOWS))
    box = _box_of(part)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 5:
        return None
    if float(shows[part].mean()) < _CONSPICUOUS.get(plan.kind, _CONSPICUOUS_BY_ITS_EDGE):
        return None
    lung = boxes.get(f"{plan.side} lung")
    zone = None
    if lung is not None:
        height = ((box[1] + box[3]) / 2 - lung[1]) / max(lung[3] - lung[1], 1)
        zone = "upper" if height < 0.36 else "mid" if height < 0.66 else "lower"
    lobe = None if plan.lobe is None else LOBE_NAMES[plan.lobe]
    return FilmFinding(plan.kind, plan.side, box, result.severity, lobe, zone)


def _footprint(patient: Patient, structures: tuple[Structure, ...]) -> torch.Tensor:
    return torch.stack([patient.footprints[structure] for structure in structures]).any(0)


def _largest(mask: torch.Tensor) -> torch.Tensor:
    """The largest connected part: specks at its edge would stretch the box."""
    parts, count = ndimage.label(mask.numpy())
    if count < 2:
        return mask
    return torch.from_numpy(parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()))


def _box_of(mask: torch.Tensor) -> Box | None:
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass
class _Frame:
    """The film's field of view: a rotated, scaled crop of the projection."""

    grid: torch.Tensor

    @classmethod
    def around_lungs(cls, patient: Patient, rng: np.random.Generator) -> _Frame:
        lungs = _footprint(patient, LEFT_LOBES + RIGHT_LOBES)
        box = _box_of(lungs) or (0, 0, lungs.shape[1], lungs.shape[0])
        width, height = box[2] - box[0], box[3] - box[1]
        left, right = rng.uniform(0.02, 0.18, 2) * width
        above = rng.uniform(0.02, 0.14) * height
        below = rng.uniform(0.0, 0.18) * height
        x0, x1, y0, y1 = box[0] - left, box[2] + right, box[1] - above, box[3] + below
        pixels = rng.uniform(1.15, 1.75)
        columns, rows = round((x1 - x0) * pixels), round((y1 - y0) * pixels)
        turn = np.radians(rng.normal(0, 1.5))
        across = torch.linspace(-0.5, 0.5, columns) * (x1 - x0)
        down = torch.linspace(-0.5, 0.5, rows) * (y1 - y0)
        x = across[None] * np.cos(turn) - down[:, None] * np.sin(turn) + (x0 + x1) / 2
        y = across[None] * np.sin(turn) + down[:, None] * np.cos(turn) + (y0 + y1) / 2
        size = torch.tensor([lungs.shape[1], lungs.shape[0]], dtype=torch.float32)
        return cls((torch.stack([x, y], -1).float() * 2 / size - 1)[None])

    def image(self, projected: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(
            projected[None, None].float(), self.grid, padding_mode="zeros", align_corners=False
        )[0, 0]

    def box(self, projected: torch.Tensor) -> Box | None:
        return _box_of(self.image(projected) > 0.5)


def _soft_tissue(path: torch.Tensor, patient: Patient, rng: np.random.Generator) -> torch.Tensor:
    """Breast shadows and slow variation of soft tissue, in mm of water."""
    rows, columns = path.shape
    slow = torch.randn(
        (1, 1, 5, 5), generator=torch.Generator().manual_seed(int(rng.integers(2**31)))
    )
    extra = F.interpolate(slow, size=(rows, columns), mode="bicubic", align_corners=True)[0, 0]
    extra = extra * float(rng.uniform(0, 9)) * (path > 20)
    if patient.pose.view != "LATERAL" and rng.random() < 0.45:
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        size, drop = rng.uniform(28, 52), rng.uniform(0.58, 0.78) * rows
        for sign in (-1, 1):
            centre = columns / 2 + sign * rng.uniform(42, 62)
            distance = (((x - centre) / size) ** 2 + ((y - drop) / (size * 0.9)) ** 2).sqrt()
            edge = 0.05 + 0.25 * (y < drop)
            extra = extra + float(rng.uniform(10, 45)) * torch.sigmoid((1 - distance) / edge)
    return extra


def _draw_devices(
    patient: Patient, path: torch.Tensor, rng: np.random.Generator
) -> list[tuple[str, torch.Tensor]]:
    """Lay a pacemaker or an endotracheal tube over the projection; returns name and mask."""
    devices: list[tuple[str, torch.Tensor]] = []
    if patient.pose.view == "LATERAL":
        return devices
    y, x = torch.meshgrid(torch.arange(path.shape[0]), torch.arange(path.shape[1]), indexing="ij")
    left = _box_of(_footprint(patient, LEFT_LOBES))
    heart = _box_of(patient.footprints[Structure.HEART])
    trachea = _box_of(patient.footprints[Structure.TRACHEA])
    if left and heart and rng.random() < 0.12:
        cx = left[2] - rng.uniform(0.15, 0.4) * (left[2] - left[0])
        cy = left[1] + rng.uniform(0.12, 0.25) * (left[3] - left[1])
        radius = rng.uniform(11, 15)
        body = ((x - cx).abs() / radius) ** 4 + ((y - cy).abs() / (radius * 0.85)) ** 4 < 1
        ends = [
            (cx, cy),
            (heart[0] * 0.5 + heart[2] * 0.5, left[1] + 8.0),
            (heart[0] + 12, (heart[1] + heart[3]) / 2),
            ((heart[0] + heart[2]) / 2, heart[3] - 12),
        ]
        lead = _polyline(x, y, ends, 0.9)
        path += 90 * body + 45 * lead
        devices.append(("pacemaker", (body | lead).float()))
    if trachea and rng.random() < 0.10:
        cx = (trachea[0] + trachea[2]) / 2
        tip = trachea[1] + rng.uniform(0.45, 0.8) * (trachea[3] - trachea[1])
        tube = _polyline(x, y, [(cx + rng.normal(0, 2), 0.0), (cx, tip)], 2.6)
        core = _polyline(x, y, [(cx, 0.0), (cx, tip)], 1.2)
        path += 22 * (tube & ~core) + 14 * core
        devices.append(("endotracheal tube", tube.float()))
    return devices


def _polyline(
    x: torch.Tensor, y: torch.Tensor, points: list[tuple[float, float]], half_width: float
) -> torch.Tensor:
    drawn = torch.zeros_like(x, dtype=torch.bool)
    for (x0, y0), (x1, y1) in pairwise(points):
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-6)
        t = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length).clamp(0, 1)
        drawn |= (x - x0 - t * (x1 - x0)) ** 2 + (y - y0 - t * (y1 - y0)) ** 2 < half_width**2
    return drawn


@dataclass(frozen=True)
class _Exposure:
    """Detector and display: scatter, window, gamma, the S-shaped response of film; bone is white.

    ``low`` and ``high`` are in mm of water; ``noise`` is relative to the full scale.
    """

    scatter: float
    low: float
    high: float
    gamma: float
    response: tuple[float, float] | None
    noise: float

    @classmethod
    def draw(cls, path: torch.Tensor, rng: np.random.Generator) -> _Exposure:
        """Draw an exposure whose window suits the projection."""
        beam = path.numpy()
        scatter = float(rng.uniform(0.0, 0.45))
        signal = beam - scatter * _scattered(beam)
        inside = signal[beam > 15] if (beam > 15).any() else signal
        low, high = np.percentile(inside, [rng.uniform(0.3, 4), rng.uniform(91, 99.5)])
        return cls(
            scatter,
            float(low),
            float(max(high, low + 1e-3)),
            gamma=float(rng.uniform(0.7, 1.3)),
            response=(float(rng.uniform(2, 6)), float(rng.uniform(0.4, 0.6)))
            if rng.random() < 0.5
            else None,
            noise=float(rng.uniform(0.004, 0.022)),
        )

    def show(self, path: torch.Tensor, rng: np.random.Generator | None = None) -> np.ndarray:
        """The film of a projection (mm of water), 0..1; with quantum noise given a generator."""
        beam = path.numpy()
        image = (beam - self.scatter * _scattered(beam) - self.low) / (self.high - self.low)
        image = image.clip(-0.2, 1.2)
        if rng is not None:
            noise = rng.normal(0, 1, image.shape).astype(np.float32)
            image = image + noise * self.noise * (0.6 + 0.8 * image.clip(0, 1))
        image = image.clip(0, 1) ** self.gamma
        if self.response is not None:
            steep, middle = self.response
            dark, bright = (1 / (1 + np.exp(-steep * (end - middle))) for end in (0, 1))
            image = (1 / (1 + np.exp(-steep * (image - middle))) - dark) / (bright - dark)
        return np.asarray(image, dtype=np.float32)


def _scattered(beam: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(beam, 41, mode="nearest"))
