"""What a reward of one's own may return: anything else is told with the reward's name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from training.architecture import GRID
from training.conventions import EMBEDDED_CONVENTIONS
from training.rewards.gallery import FILM
from training.stages.config import RewardSettings
from training.stages.errors import ConfigError
from training.stages.rollout_rewards import LoggedReward, ScoredRollouts

RETURNED: list[Any] = []


def returns(rollouts: Any) -> Any:
    """What the test wants it to."""
    return RETURNED[0]


def scored(returned: Any, latest: ScoredRollouts) -> list[float]:
    RETURNED[:] = [returned]
    reward = LoggedReward(
        RewardSettings(name=f"{__name__}:returns"),
        [FILM],
        EMBEDDED_CONVENTIONS,
        GRID,
        latest,
        first=True,
    )
    return reward([""], ["Clear."], [0])


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "it returned NoneType"),
        (0.5, "it returned float"),
        ({"overall": 1.0}, "it returned dict"),
        ([], "it returned 0 for 1"),
        ([1.0], "one of them is float"),
        ([None], "one of them is NoneType"),
        ([{"words": 1.0}], "one of them is a mapping without it"),
        ([{"overall": None}], "overall of a completion is of type NoneType"),
        ([{"overall": math.nan}], "overall of a completion is nan"),
        ([{"overall": 1.0, "words": -math.inf}], "words of a completion is -inf"),
        ([{"overall": 1.0, "note": "Clear."}], "note of a completion is of type str"),
    ],
)
def test_what_is_no_finite_mapping_is_told_with_the_name(returned: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"rewards: .*:returns must return .*{said}") as refused:
        scored(returned, ScoredRollouts())
    assert "Clear" not in str(refused.value)


@pytest.mark.parametrize("one", [1, True, 1.0, np.float32(1), torch.tensor(1.0)])
def test_any_number_is_taken(one: Any) -> None:
    latest = ScoredRollouts()
    assert scored(iter([{"overall": one, "part": one}]), latest) == [1.0]
    assert list(latest.scores[0].values()) == [1.0, 1.0]
