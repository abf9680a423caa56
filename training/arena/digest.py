"""Why one system won over another: by which criterion, in whose words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from training.arena.match import Match, Outcome

_EXAMPLES = 3


def digest(matches: Sequence[Match], order: Sequence[str]) -> str:
    """Markdown: of each pair the wins by criterion, and some reasons; the better system first.

    Parameters
    ----------
    order
        Systems from best to worst.
    """
    parts = []
    for better, worse in combinations(order, 2):
        own = [match for match in matches if {match.first, match.second} == {better, worse}]
        if not own:
            continue
        won = [match for match in own if _winner(match) == better]
        lost = [match for match in own if _winner(match) == worse]
        lines = [f"### {better} against {worse}", ""]
        lines.append(f"Won {len(won)}, lost {len(lost)}, tied {len(own) - len(won) - len(lost)}.")
        for name, some in ((better, won), (worse, lost)):
            if some:
                counted = Counter(match.decided_by or "not said" for match in some)
                why = ", ".join(
                    f"{criterion} {count}" for criterion, count in counted.most_common()
                )
                lines += ["", f"{name} won by {why}."]
                reasons: dict[str, Match] = {}
                for match in some:
                    if match.reason:
                        reasons.setdefault(match.reason, match)
                lines += [
                    f"- {reason} (A is {match.first}, B is {match.second}; {match.judge})"
                    for reason, match in list(reasons.items())[:_EXAMPLES]
                ]
        parts.append("\n".join(lines))
    return "\n\n".join(["## Why", *parts]) if parts else ""


def _winner(match: Match) -> str:
    return {Outcome.FIRST: match.first, Outcome.SECOND: match.second}.get(match.outcome, "")
