"""Stops a run that has silently gone wrong, and says how to mend it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.stages.config import GuardSettings
from training.stages.errors import SilentFailureError

_ALIKE, _GRADIENT, _KL = "groups_without_preference", "grad_norm", "kl"


@dataclass(frozen=True)
class _Guard:
    """A fault as the log shows it: which figure, and when it is one; what to say of it."""

    figure: str
    says: str
    above: float | None = None
    below: float | None = None
    finite: bool = False  # whether infinity and NaN are the fault, too
    at_once: bool = False

    def trips(self, logs: Mapping[str, Any]) -> bool:
        value = logs.get(self.figure)
        if not isinstance(value, int | float):
            return False
        if not math.isfinite(value):
            return self.finite
        too_high = self.above is not None and value > self.above
        return too_high or (self.below is not None and value < self.below)


class Guards(TrainerCallback):
    """Watches the log; a fault that shows ``patience`` times in a row stops the run.

    A gradient that is not finite stops it at once: the weights are gone with it, and a further
    checkpoint would take the place of the last good one.

    Parameters
    ----------
    rewarded
        Whether it is the stage of rewards. The others have a gradient to watch, and no settings.

    Raises
    ------
    SilentFailureError
        From ``on_log``; the run's last checkpoint stays.
    """

    def __init__(self, settings: GuardSettings, *, rewarded: bool = True) -> None:
        self._patience = settings.patience
        self._furthest = settings.kl
        self._where = "; guards.* in the config" if rewarded else ""
        masked = ", and that completions are not all masked (objective.overlong.mask)"
        gradient = (
            _Guard(
                _GRADIENT,
                "The gradient is not finite (norm {value:.3g}), and the weights go with it. Begin "
                "again in another output with a lower optimizer.learning_rate, or choose "
                "model.precision bf16-mixed or float32.",
                finite=True,
                at_once=True,
            ),
            _Guard(
                _GRADIENT,
                "The gradient is dead (norm {value:.3g}). Check that the parameters you mean to "
                "train are not frozen, and that the learning rate's schedule has not ended"
                f"{masked if rewarded else ''}.",
                below=settings.gradient,
            ),
        )
        # In the order of cause and effect: the first that trips is named.
        of_rollouts = (
            _Guard(
                _KL,
                "The model is {value:.3g} nats a token away from its start: what it knew is lost. "
                "Lower optimizer.learning_rate, or give the divergence more weight (objective.kl).",
                above=settings.kl,
            ),
            _Guard(
                "completions/clipped_ratio",
                "{value:.0%} of the completions are cut off at the length limit: their rewards say "
                "little. Raise rollouts.max_tokens, or start from a checkpoint that ends its "
                "answers (more cold start).",
                above=settings.cut_off,
            ),
            _Guard(
                "sampling/sampling_logp_difference/mean",
                "Log-probabilities of rollout engine and learner differ by {value:.3g} nats on "
                "average: they do not run the same weights on the same prompt and pixels. Check "
                "that both load the same checkpoint and preprocessor_config.json, that vLLM runs "
                "with --logprobs-mode processed_logprobs, and that vLLM is 0.22 to 0.31 beside "
                "TRL 1.16 (docs/stages.md).",
                above=settings.drift,
                finite=True,
            ),
            _Guard(
                "sampling/importance_sampling_ratio/mean",
                "The mean importance ratio is {value:.3g}: rollouts are all but impossible for the "
                "learner, so that nothing is learnt from them. Check prompts, pixels and weights "
                "of the rollout engine; colocated vLLM must get one image token a film "
                "(docs/stages.md).",
                below=settings.ratio,
                finite=True,
            ),
            _Guard(
                _ALIKE,
                "{value:.0%} of the completions are of groups with equal rewards throughout, so "
                "that there is nothing to prefer. Raise rollouts.temperature or rollouts.group, "
                "choose examples that are neither always right nor always wrong, or a reward with "
                "finer steps.",
                above=settings.without_spread,
            ),
        )
        self._guards = (*(of_rollouts if rewarded else ()), *gradient)
        self._row = dict.fromkeys(self._guards, 0)
        self._nothing_to_prefer = False  # in the latest generation
        self._kl = 0.0  # the latest that was a number: where all is cut off, there is none

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Look at one line of the log."""
        if not logs or "train_runtime" in logs:
            return
        if (alike := logs.get(_ALIKE)) is not None:
            self._nothing_to_prefer = alike >= 1.0
        kl = logs.get(_KL)
        if isinstance(kl, int | float) and math.isfinite(kl):
            self._kl = kl
        for guard in self._guards:
            value = logs.get(guard.figure)
            if value is None:
                continue  # told only where completions are generated: one step in several
            if guard.figure == _GRADIENT and self._nothing_to_prefer and not guard.at_once:
                continue  # of such a generation there is no gradient, in any of its steps
            self._row[guard] = self._row[guard] + 1 if guard.trips(logs) else 0
            patience = 1 if guard.at_once else self._patience
            if self._row[guard] >= patience:
                said = guard.says.format(value=value) + self._perhaps_why(guard)
                often = "" if guard.at_once else f", {patience} logs in a row"
                raise SilentFailureError(
                    f"Stopped at step {state.global_step}: {said} "
                    f"({guard.figure}{often}{self._where})"
                )

    def _perhaps_why(self, guard: _Guard) -> str:
        """Of a model that is far from its start, what else shows is mostly a consequence."""
        if guard.figure == _KL or self._kl <= self._furthest:
            return ""
        return (
            f" The model was last {self._kl:.3g} nats a token away from its start (kl), though: "
            "lower optimizer.learning_rate first."
        )
