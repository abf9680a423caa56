"""From what TRL calls a reward function to the project's own rewards, with every part logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.radiograph import PixelGrid
from service.reading import Conventions, parse_text
from training.data.example import Example
from training.stages.config import OverlongSettings, RewardSettings
from training.stages.errors import ConfigError

if TYPE_CHECKING:
    from training.rewards.protocol import Rollout

BROKEN_BOXES = frozenset(("box-malformed", "box-not-finite", "box-inverted", "box-empty"))


@dataclass
class ScoredRollouts:
    """The rollouts of the latest generation, for pictures of samples.

    Attributes
    ----------
    rollouts
        In TRL's order: a group's completions follow one another.
    scores
        Of each rollout, its parts by ``reward/part``.
    """

    rollouts: list[Rollout] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)


class LoggedReward:
    """One reward as TRL calls it: ``overall`` of each completion; the parts go to the log.

    Parameters
    ----------
    settings
        Which reward.
    examples
        That the column ``row`` of the data set counts.
    latest
        Receives what was scored.
    first
        Whether this is the first of several rewards: it begins ``latest`` anew and logs the
        parse rate.

    Raises
    ------
    ConfigError
        When there is no such reward or component.
    """

    def __init__(
        self,
        settings: RewardSettings,
        examples: Sequence[Example],
        conventions: Conventions,
        grid: PixelGrid,
        latest: ScoredRollouts,
        *,
        first: bool,
    ) -> None:
        from training.rewards.protocol import load_reward

        try:
            self._reward = load_reward(settings.name, **settings.weights)
        except (ValueError, TypeError, ImportError, LookupError) as error:
            raise ConfigError(f"rewards: {error}") from error
        self.__name__ = settings.name
        self._examples = examples
        self._conventions = conventions
        self._grid = grid
        self._latest = latest
        self._first = first

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        row: Sequence[int],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Score every completion.

        Raises
        ------
        ConfigError
            When the reward does not return one mapping with ``overall`` for each.
        """
        from training.rewards.protocol import Rollout

        rollouts = [
            Rollout(text_of(completion), self._examples[index], self._conventions, self._grid)
            for completion, index in zip(completions, row, strict=True)
        ]
        parts = list(self._reward(rollouts))
        if len(parts) != len(rollouts) or any("overall" not in part for part in parts):
            raise ConfigError(
                f"rewards: {self.__name__} must return one mapping with `overall` for each "
                f"completion; it returned {len(parts)} for {len(rollouts)}."
            )
        self._keep(rollouts, parts)
        if log_metric is not None:
            # One by one: TRL then averages over the rollouts of all processes that have the part.
            for part in parts:
                for name, value in part.items():
                    log_metric(f"rewards/{self.__name__}/{name}", float(value))
            if self._first:
                whole = [is_whole(rollout) for rollout in rollouts]
                log_metric("parse_rate", sum(whole) / len(whole))
        return [float(part["overall"]) for part in parts]

    def _keep(self, rollouts: list[Rollout], parts: Sequence[Mapping[str, float]]) -> None:
        if self._first:
            self._latest.rollouts = rollouts
            self._latest.scores = [{} for _ in rollouts]
        for kept, part in zip(self._latest.scores, parts, strict=True):
            kept.update({f"{self.__name__}/{name}": float(value) for name, value in part.items()})


def overlong_penalty(settings: OverlongSettings, max_tokens: int) -> Callable[..., list[float]]:
    """DAPO's soft punishment of long completions (arXiv 2503.14476, equation 13).

    Nothing up to ``max_tokens - penalty_tokens``, then a linear fall to ``-penalty``.
    """

    def overlong(completion_ids: Sequence[Sequence[int]], **columns: Any) -> list[float]:
        free = max_tokens - settings.penalty_tokens
        return [
            -settings.penalty * min(1.0, max(0.0, (len(ids) - free) / settings.penalty_tokens))
            for ids in completion_ids
        ]

    return overlong


def is_whole(rollout: Rollout) -> bool:
    """Whether a completion parses to its end with every box whole, as the service reads it."""
    parsed = parse_text(rollout.completion, mode=rollout.example.mode)
    return parsed.complete and not any(notice.code in BROKEN_BOXES for notice in parsed.notices)


def text_of(completion: Any) -> str:
    """The text of a completion, plain or as a conversation's turn."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
