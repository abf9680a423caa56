"""How close two boxes are."""

from __future__ import annotations

Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in original pixels."""


def closeness(a: Box, b: Box) -> float:
    """Mean of IoU and, where it is positive, generalised IoU (Rezatofighi et al., 2019)."""
    overlap, union = _overlap(a, b)
    if union <= 0:
        return 0.0
    value = overlap / union
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    across = (ax1 if ax1 > bx1 else bx1) - (ax0 if ax0 < bx0 else bx0)
    hull = across * ((ay1 if ay1 > by1 else by1) - (ay0 if ay0 < by0 else by0))
    generalised = value - (hull - union) / hull
    return (value + generalised) / 2 if generalised > 0 else value / 2


def iou(a: Box, b: Box) -> float:
    """Intersection over union; 0 where both are empty."""
    ax0, ay0, ax1, ay1 = a  # as _overlap, of which most boxes need half: they do not touch
    bx0, by0, bx1, by1 = b
    across = (ax1 if ax1 < bx1 else bx1) - (ax0 if ax0 > bx0 else bx0)
    if across <= 0:
        return 0.0
    down = (ay1 if ay1 < by1 else by1) - (ay0 if ay0 > by0 else by0)
    if down <= 0:
        return 0.0
    overlap = across * down
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
    return overlap / union if union > 0 else 0.0


def _overlap(a: Box, b: Box) -> tuple[float, float]:
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    across = (ax1 if ax1 < bx1 else bx1) - (ax0 if ax0 > bx0 else bx0)
    down = (ay1 if ay1 < by1 else by1) - (ay0 if ay0 > by0 else by0)
    overlap = across * down if across > 0 and down > 0 else 0.0
    return overlap, (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
