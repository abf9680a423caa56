"""What a reward is given, what it gives back, and how a config names one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from pathlib import Path

from service.radiograph import PixelGrid
from service.reading import Conventions
from training.data.example import Example


@dataclass(frozen=True)
class Rollout:
    """A completion, and what it answers.

    Attributes
    ----------
    completion
        The model's text.
    example
        What was asked, with the ground truth in original pixels.
    conventions, grid
        How the checkpoint's text and boxes are read.
    """

    completion: str
    example: Example
    conventions: Conventions
    grid: PixelGrid


RewardFunction = Callable[[Sequence[Rollout]], Sequence[Mapping[str, float]]]
"""For every rollout a mapping with ``overall`` and whatever parts are to be logged."""

REWARDS = {
    "paper": "training.rewards.paper:paper",
    "grounded": "training.rewards.grounded:grounded",
    "grounded-chexbert": "training.rewards.chexbert:grounded_by_chexbert",
    "grounded-radgraph": "training.rewards.radgraph_entities:grounded_by_radgraph",
}
"""Rewards that a config can name in a word."""

_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def load_reward(name: str, **weights: float) -> RewardFunction:
    """A reward by its word, or any function by ``module:function``.

    A module may lie in the working folder; an installed one of that name comes first.

    Parameters
    ----------
    name
        A key of :data:`REWARDS`, or a function that takes rollouts as :data:`RewardFunction` says.
    weights
        Handed to the function as keyword arguments, such as the weights of its components.

    Raises
    ------
    ValueError
        When there is no such reward, its module cannot be imported, or it takes no such weight.
    """
    target = REWARDS.get(name, name)
    module_name, _, function_name = target.partition(":")
    if not function_name:
        known = ", ".join(sorted(REWARDS))
        raise ValueError(f"There is no reward {name!r}: name one of {known}, or module:function.")
    if name not in REWARDS and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script's path lacks it
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The reward {name!r} needs a module that is missing: {error.name}. Install it, or put "
            "it into the folder that you run from."
        ) from error
    except Exception as error:  # whatever a module of somebody's own does when it is imported
        raise ValueError(
            f"The module {module_name!r} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ValueError(f"The module {module_name!r} has no function {function_name!r}.")
    if not callable(function):
        raise ValueError(f"{name!r} is not a function.")
    if not weights:
        return function
    taken = list(signature(function).parameters.values())[1:]
    named = {parameter.name for parameter in taken if parameter.kind in _BY_NAME}
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken)
    unknown = [weight for weight in weights if weight not in named]
    if unknown and not takes_any:
        raise ValueError(f"The reward {name!r} has no weight {unknown[0]!r}.")
    return partial(function, **weights)
