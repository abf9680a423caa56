"""What became of every example: a table for the console and a file for the record."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.teacher.reasons import Reason

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Tally:
    """Counts of a run.

    Attributes
    ----------
    examples
        Examples that were gone through.
    kept
        Those whose reply was kept.
    by_reason
        Replies by the reason that rejected them; where an example was asked about again, each of
        its replies counts. An example that was not asked about counts once.
    dropped
        Examples by the reason that rejected their last reply: with ``kept`` they make up all.
    cached, asked
        Replies that were there already, and requests that were answered now.
    prompt_tokens, completion_tokens
        Of all replies, where the server counts them.
    refusal
        Status and words of the last request that the server refused; empty where it refused none.
    """

    examples: int = 0
    kept: int = 0
    by_reason: Counter[Reason] = field(default_factory=Counter)
    dropped: Counter[Reason] = field(default_factory=Counter)
    cached: int = 0
    asked: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refusal: str = ""

    def write(self, path: Path) -> None:
        """Write all counts as JSON."""
        content = {
            "examples": self.examples,
            "kept": self.kept,
            "dropped": {str(reason): self.dropped[reason] for reason in _ordered(self.dropped)},
            "replies_rejected": {
                str(reason): self.by_reason[reason] for reason in _ordered(self.by_reason)
            },
            "meaning": {str(reason): reason.meaning for reason in _ordered(self.by_reason)},
            "replies": {"asked_now": self.asked, "there_already": self.cached},
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
        }
        path.write_text(json.dumps(content, indent=2) + "\n")

    def told_of_refusals(self) -> str:
        """How many requests the server refused, and the last in its words; empty where none."""
        count = self.by_reason[Reason.REFUSED]
        return f"The server refused {count} requests, the last: {self.refusal}" if count else ""

    def table(self) -> Table:
        """The counts, most frequent reason first."""
        from rich.table import Table

        share = f" ({self.kept / self.examples:.0%})" if self.examples else ""
        table = Table(title=f"Kept {self.kept} of {self.examples} examples{share}")
        table.add_column("rejected because")
        table.add_column("replies", justify="right")
        table.add_column("examples lost", justify="right")
        table.add_column("meaning")
        for reason in _ordered(self.by_reason):
            lost = str(self.dropped[reason] or "")
            table.add_row(str(reason), str(self.by_reason[reason]), lost, reason.meaning)
        return table


def _ordered(counts: Counter[Reason]) -> list[Reason]:
    order = list(Reason)
    return sorted((r for r in counts if counts[r]), key=lambda r: (-counts[r], order.index(r)))
