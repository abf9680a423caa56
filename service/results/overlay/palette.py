"""Colours that people with any colour vision tell apart, on a film and under black figures.

The hues are those of Okabe and Ito's "Color Universal Design" set, less its black and its dark
blue, which a film swallows.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

STEP_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermilion
)

INK: Colour = (0, 0, 0)
BACKGROUND: Colour = (17, 20, 24)
TEXT: Colour = (232, 235, 239)
MUTED: Colour = (150, 158, 168)
RULE: Colour = (58, 65, 74)
CAUTION: Colour = (255, 203, 92)


def step_colour(position: int) -> Colour:
    """Return the colour of the step at a position, from 0, among those with boxes."""
    return STEP_COLOURS[position % len(STEP_COLOURS)]
