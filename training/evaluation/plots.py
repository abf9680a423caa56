"""Radar and bars of figures as SVG: text, so that a page needs no library and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import cos, isnan, pi, sin

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#777777")
"""Okabe and Ito's, which the colour-blind can tell apart."""
_RADIUS = 150
_MIDDLE = (330, 200)
_BAR, _LEFT, _WIDTH = 22, 260, 420


def colour(number: int) -> str:
    """Of the contender with that number."""
    return COLOURS[number % len(COLOURS)]


def radar(axes: Sequence[str], values: Mapping[str, Sequence[float]]) -> str:
    """One polygon a system over figures from 0 (middle) to 1 (rim); what is not known is left out.

    Parameters
    ----------
    values
        Of each system its figures in the order of the axes, NaN where there is none.
    """
    if len(axes) < 3:
        return ""
    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        points = " ".join(_at(n, len(axes), ring) for n in range(len(axes)))
        parts.append(f'<polygon points="{points}" class="grid"/>')
    for n, axis in enumerate(axes):
        x, y = _at(n, len(axes), 1.0).split(",")
        parts.append(f'<line x1="{_MIDDLE[0]}" y1="{_MIDDLE[1]}" x2="{x}" y2="{y}" class="grid"/>')
        x, y = _at(n, len(axes), 1.1).split(",")
        anchor = "middle" if abs(float(x) - _MIDDLE[0]) < 20 else "start"
        anchor = "end" if float(x) < _MIDDLE[0] - 20 else anchor
        parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(axis)}</text>')
    for number, (system, figures) in enumerate(values.items()):
        known = [
            _at(n, len(axes), min(max(v, 0.0), 1.0)) for n, v in enumerate(figures) if not isnan(v)
        ]
        parts.append(
            f'<polygon points="{" ".join(known)}" fill="{colour(number)}22" '
            f'stroke="{colour(number)}" stroke-width="2"><title>{escape(system)}</title></polygon>'
        )
    return _svg(660, 400, f"Radar of {len(values)} systems over {len(axes)} figures", parts)


def bars(title: str, figures: Sequence[tuple[str, float, float, float]]) -> str:
    """A bar for each name, value, and 95% interval."""
    known = [figure for figure in figures if not isnan(figure[1])]
    full = max([1.0, *(high for *_, high in known if not isnan(high))])
    parts = []
    for row, (name, value, low, high) in enumerate(known):
        y = row * _BAR + 4
        middle = y + _BAR / 2 - 3
        width = max(0.0, value) / full * _WIDTH
        parts.append(
            f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 6}" '
            f'fill="{colour(row)}"/>'
        )
        if not isnan(low):
            begin, end = (_LEFT + max(0.0, v) / full * _WIDTH for v in (low, high))
            parts.append(
                f'<line x1="{begin:.1f}" y1="{middle}" x2="{end:.1f}" y2="{middle}" class="span"/>'
            )
        parts.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{middle + 4}">{value:.3f}</text>')
    return _svg(_LEFT + _WIDTH + 60, len(known) * _BAR + 8, title, parts)


def _at(number: int, count: int, share: float) -> str:
    angle = 2 * pi * number / count - pi / 2
    x = _MIDDLE[0] + _RADIUS * share * cos(angle)
    y = _MIDDLE[1] + _RADIUS * share * sin(angle)
    return f"{x:.1f},{y:.1f}"


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
