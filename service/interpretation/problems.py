"""What a caller can get wrong about a study as a whole."""

from __future__ import annotations

from service.problem import Problem
from service.reading import Mode


def too_many_images(most: int) -> Problem:
    """More films than the checkpoint reads at once."""
    return Problem(
        "too-many-images",
        422,
        f"This checkpoint reads at most {most} image(s) of a study at once.",
        f"Send at most {most} image(s).",
    )


def mode_not_trained(known: tuple[Mode, ...]) -> Problem:
    """A report is asked for in a mode that this checkpoint has not learnt to write any in."""
    return Problem(
        "mode-not-trained",
        422,
        "This checkpoint has not learnt to write reports in this mode.",
        f"Ask with mode={' or mode='.join(known)}; questions may be asked in either.",
    )
