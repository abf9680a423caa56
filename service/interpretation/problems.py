"""What a caller can get wrong about a study as a whole."""

from __future__ import annotations

from service.problem import Problem


def too_many_images(most: int) -> Problem:
    """More films than the checkpoint reads at once."""
    return Problem(
        "too-many-images",
        422,
        f"This checkpoint reads at most {most} image(s) of a study at once.",
        f"Send at most {most} image(s).",
    )
