"""Affine maps between pixel spaces.

Coordinates are continuous: pixel ``i`` spans ``[i, i + 1]``, so an image ``w`` pixels wide has its
right edge at ``w``. The origin is top left, ``x`` along columns, ``y`` along rows.
"""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""``(x_min, y_min, x_max, y_max)``."""


@dataclass(frozen=True, slots=True)
class Affine:
    """``x' = a x + b y + c`` and ``y' = d x + e y + f``."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def identity(cls) -> Affine:
        """Return the map that leaves every point where it is."""
        return cls(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @classmethod
    def scaling(cls, x: float, y: float) -> Affine:
        """Return the map that multiplies ``x`` and ``y`` by the given factors."""
        return cls(x, 0.0, 0.0, 0.0, y, 0.0)

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Map one point."""
        return self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f

    def apply_box(self, box: Box) -> Box:
        """Map two opposite corners and return the box that they span, minima first."""
        x0, y0 = self.apply(box[0], box[1])
        x1, y1 = self.apply(box[2], box[3])
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def then(self, other: Affine) -> Affine:
        """Return the map that applies this one first and ``other`` after it."""
        return Affine(
            other.a * self.a + other.b * self.d,
            other.a * self.b + other.b * self.e,
            other.a * self.c + other.b * self.f + other.c,
            other.d * self.a + other.e * self.d,
            other.d * self.b + other.e * self.e,
            other.d * self.c + other.e * self.f + other.f,
        )

    def inverse(self) -> Affine:
        """Return the map back.

        Raises
        ------
        ValueError
            When the map flattens the plane and has no inverse.
        """
        determinant = self.a * self.e - self.b * self.d
        if determinant == 0.0:
            raise ValueError("The affine map has no inverse.")
        a, b = self.e / determinant, -self.b / determinant
        d, e = -self.d / determinant, self.a / determinant
        return Affine(a, b, -(a * self.c + b * self.f), d, e, -(d * self.c + e * self.f))


def clip_box(box: Box, width: float, height: float) -> Box:
    """Return the part of a box that lies on an image of the given size.

    A box wholly outside becomes a box without area on the nearest edge.
    """
    x_min, y_min, x_max, y_max = box
    return (
        min(max(x_min, 0.0), width),
        min(max(y_min, 0.0), height),
        min(max(x_max, 0.0), width),
        min(max(y_max, 0.0), height),
    )
