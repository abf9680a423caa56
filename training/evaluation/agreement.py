"""How far judges agree."""

from __future__ import annotations

from collections.abc import Sequence


def cohens_kappa(pairs: Sequence[tuple[object, object]]) -> float:
    """Agreement of two beyond what chance gives (Cohen, 1960); 1 where chance leaves no room.

    Parameters
    ----------
    pairs
        What the one said and what the other said of each thing; one at least.
    """
    observed = sum(a == b for a, b in pairs) / len(pairs)
    expected = sum(
        sum(a == name for a, _ in pairs) * sum(b == name for _, b in pairs)
        for name in {name for pair in pairs for name in pair}
    )
    chance = expected / len(pairs) ** 2
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)
