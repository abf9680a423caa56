"""The rounds that make the embedded checkpoint, in order, and what each starts from."""

from __future__ import annotations

from typing import Literal, get_args

SUPERVISED = (
    *("warm_up", "sharpen", "polish", "refine"),
    *("sft", "cold_start", "cold_start_again"),
    *("widen", "settle"),
)
"""In order: the tower, the text on it, both once more on more films."""

Last = Literal[
    "settle",
    "grpo",
    "average",
    "grpo_again",
    "average_again",
    "grpo_third",
    "average_third",
    "scattered",
    "average_scattered",
    "scattered_again",
    "average_scattered_again",
]
"""Stages after which a run may end."""

ROUNDS: tuple[Last, ...] = get_args(Last)[1:]
"""Of stage 3: rewards, from the mean of the last round's start and its end; then stage 2's recipe
twice more, on films of which many show several nodules or masses, each with its mean."""

PAPER_ROUNDS = (
    *("grpo_paper", "average_paper"),
    *("grpo_paper_again", "average_paper_again"),
    "grpo_paper_third",
)
"""The same under the published reward."""

UNCREDITED_ROUNDS = (
    *("grpo_uncredited", "average_uncredited"),
    *("grpo_uncredited_again", "average_uncredited_again"),
    "grpo_uncredited_third",
)
"""The same without step credit: the rewards alone are what differs from the published one's."""

STARTS = {
    "sft": "start",
    "cold_start": "sft",
    "cold_start_again": "cold_start",
    "settle": "widened",
    "grpo": "settle",
    "grpo_again": "average",
    "grpo_third": "average_again",
    "scattered": "average_third",
    "scattered_again": "average_scattered",
    "grpo_paper": "settle",
    "grpo_paper_again": "average_paper",
    "grpo_paper_third": "average_paper_again",
    "grpo_uncredited": "settle",
    "grpo_uncredited_again": "average_uncredited",
    "grpo_uncredited_third": "average_uncredited_again",
}
"""Folder of what a round starts from."""
