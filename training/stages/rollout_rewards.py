"""From what TRL calls a reward function to the project's own rewards, with every part logged."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.radiograph import PixelGrid
from service.reading import Conventions, parse_text
from training.data.example import Example
from training.stages.config import OverlongSettings, RewardSettings
from training.stages.errors import ConfigError
from training.system_error import described

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
            When the reward does not return one mapping of finite numbers with ``overall`` for each,
            or fails.
        """
        from training.rewards.protocol import Rollout

        rollouts = [
            Rollout(text_of(completion), self._examples[index], self._conventions, self._grid)
            for completion, index in zip(completions, row, strict=True)
        ]
        try:
            parts = checked_parts(self._reward(rollouts), len(rollouts), self.__name__)
        except OSError as error:  # which would be taken for one of the run's own files
            raise ConfigError(
                f"rewards: {self.__name__} failed ({_place_of(error)}): {described(error)}"
            ) from error
        except ConfigError:
            raise
        except Exception as error:  # whatever a reward of somebody's own raises
            # What it says may be of the completion: it is not repeated.
            raise ConfigError(
                f"rewards: {self.__name__} raised {type(error).__name__} ({_place_of(error)}). "
                "Correct it there, or let it pay what such a completion deserves."
            ) from error
        self._keep(rollouts, parts)
        if log_metric is not None:
            # One by one: TRL then averages over the rollouts of all processes that have the part.
            for part in parts:
                for name, value in part.items():
                    log_metric(f"rewards/{self.__name__}/{name}", value)
            if self._first:
                whole = [is_whole(rollout) for rollout in rollouts]
                log_metric("parse_rate", sum(whole) / len(whole))
        return [part["overall"] for part in parts]

    def _keep(self, rollouts: list[Rollout], parts: Sequence[Mapping[str, float]]) -> None:
        if self._first:
            self._latest.rollouts = rollouts
            self._latest.scores = [{} for _ in rollouts]
        for kept, part in zip(self._latest.scores, parts, strict=True):
            kept.update({f"{self.__name__}/{name}": value for name, value in part.items()})


def _place_of(error: Exception) -> str:
    """Where the reward's own code was."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((one for one in frames if one.filename != __file__), frames[-1])
    return f"{frame.filename}, line {frame.lineno}"


def checked_parts(returned: Any, count: int, name: str) -> list[dict[str, float]]:
    """What a reward returned, as plain numbers.

    Raises
    ------
    ConfigError
        When it is not one mapping of finite numbers with ``overall`` for each completion.
    """
    owed = f"rewards: {name} must return one mapping with `overall` for each completion; "
    if isinstance(returned, str | Mapping) or not isinstance(returned, Iterable):
        raise ConfigError(f"{owed}it returned {type(returned).__name__}.")
    parts = list(returned)
    if len(parts) != count:
        raise ConfigError(f"{owed}it returned {len(parts)} for {count}.")
    checked = []
    for part in parts:
        if not isinstance(part, Mapping) or "overall" not in part:
            said = "a mapping without it" if isinstance(part, Mapping) else type(part).__name__
            raise ConfigError(f"{owed}one of them is {said}.")
        numbers = {key: _number(value) for key, value in part.items()}
        wrong = next((key for key, value in numbers.items() if not math.isfinite(value)), None)
        if wrong is not None:
            value = part[wrong]  # a text may be of the completion: it is not repeated
            said = str(value) if isinstance(value, float) else f"of type {type(value).__name__}"
            raise ConfigError(
                f"rewards: {name} must return finite numbers, and {wrong} of a completion is "
                f"{said}. Leave a part out where it has no value."
            )
        checked.append(numbers)
    return checked


def _number(value: Any) -> float:
    """NaN of what is none; scalars of numpy and torch are."""
    if isinstance(value, str | bytes):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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
