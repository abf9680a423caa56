"""Advantages token by token: a step's own worth against the same step of the group's others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from training.rewards.step_worth import step_worths
from training.stages.rollout_rewards import ScoredRollouts

_LARGEST = 3.0
"""Bound of a credit before the weight: one part unlike all others is an outlier."""
_LEVEL = 1e-3
"""Spread of worths that is none: what is left of rounding."""


@dataclass(frozen=True)
class Credits:
    """Credits of the tokens of some completions.

    Attributes
    ----------
    words, numbers
        (completions, tokens) what is added to the advantages of a box's numbers, and of all else.
    stakes
        (completions, tokens, 2) of a box's numbers :attr:`StepWorth.stake`; 0 elsewhere.
    """

    words: torch.Tensor
    numbers: torch.Tensor
    stakes: torch.Tensor


class StepCredit:
    """What is added to the advantages of the tokens of each step.

    A part's credit is its worth less the mean of the parts about the same in its group; over all
    rollouts of a generation the credits of one sort (words, numbers, ...) have unit spread, are
    bounded by three, then times ``weight``.

    Parameters
    ----------
    latest
        Rollouts of the generation, as the reward was given them.
    weight
        Of a credit beside the advantage of the whole completion, which has unit spread, too.
    """

    def __init__(self, latest: ScoredRollouts, weight: float) -> None:
        self._latest = latest
        self.weight = weight

    def __call__(self, completion_ids: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> Credits:
        """Credits of the latest rollouts' tokens."""
        rollouts = self._latest.rollouts
        worths = step_worths(rollouts)
        alike: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for rollout, parts in zip(rollouts, worths, strict=True):
            for part in parts:
                alike[id(rollout.example), *part.subject].append(part.value)
        means = {key: sum(values) / len(values) for key, values in alike.items()}
        squares: dict[str, list[float]] = defaultdict(list)
        for key, values in alike.items():
            squares[str(key[1])] += [(value - means[key]) ** 2 for value in values]
        spreads = {sort: (sum(some) / len(some)) ** 0.5 for sort, some in squares.items()}
        words, numbers = torch.zeros((2, *completion_ids.shape))
        stakes = torch.zeros((*completion_ids.shape, 2))
        for row, (rollout, parts) in enumerate(zip(rollouts, worths, strict=True)):
            ends = token_ends(completion_ids[row].tolist(), rollout.completion, tokenizer)
            if ends is None:
                continue
            begins = torch.tensor([0, *ends[:-1]])
            for part in parts:
                own = (begins >= part.begin) & (begins < part.end)
                if part.stake:
                    stakes[row, : len(ends)][own] = torch.tensor(part.stake)
                spread = spreads[part.subject[0]]
                if spread > _LEVEL:
                    surplus = part.value - means[id(rollout.example), *part.subject]
                    bounded = max(-_LARGEST, min(_LARGEST, surplus / spread))
                    credit = numbers if part.stake else words
                    credit[row, : len(ends)][own] = self.weight * bounded
        device = completion_ids.device
        return Credits(words.to(device), numbers.to(device), stakes.to(device))


def expected_worths(chances: torch.Tensor, stakes: torch.Tensor) -> torch.Tensor:
    """What the numbers of boxes are to be expected to be worth (``worth_of_number``).

    Parameters
    ----------
    chances
        (places, numbers) probability of the numbers 0, 1, ... at each place.
    stakes
        (places, 2) :attr:`training.rewards.step_worth.StepWorth.stake` of each place.
    """
    opposite, length = stakes.unbind(1)
    numbers = torch.arange(chances.shape[1], device=chances.device)
    ratio = (numbers - opposite[:, None]) / length[:, None]
    worth = torch.minimum(ratio, 1 / ratio.clamp(min=1e-6)).clamp(min=0)
    return (chances * worth).sum(1)


def token_ends(
    ids: Sequence[int], text: str, tokenizer: PreTrainedTokenizerBase
) -> list[int] | None:
    """Where each token ends in the text decoded without special tokens.

    None where that cannot be told: outside ASCII a token of a byte-level tokenizer need not be
    whole characters.
    """
    if not text.isascii():
        return None
    special = set(tokenizer.all_special_ids)
    ends, position = [], 0
    for token, piece in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True):
        position += 0 if token in special else len(piece)
        ends.append(position)
    return ends if position == len(text) else None
