"""TRL's GRPOTrainer over films: same prompts on both sides, no vision tokens, groups that teach."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from accelerate.utils import is_peft_model
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from training.stages.errors import NOT_FINITE, SilentFailureError
from training.stages.model import keep_outputs_whole
from training.stages.preflight import (
    check_completions,
    check_same_films,
    check_same_prompts,
    vision_ids,
)
from training.stages.resume import ResumesWeights
from training.stages.step_credit import StepCredit

_ALIKE = 1e-8
"""Rewards of a group that differ by no more than this teach nothing."""
_OVER_TOKENS = (
    *("kl", "entropy", "cispo_clip_ratio"),
    *("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"),
)
"""Figures that TRL gives as 0 for a batch in which no token counts."""
_SAME_MODEL = 0.1
"""Divergence, in nats a token, that rounding alone does not reach."""


class FilmGRPOTrainer(ResumesWeights, GRPOTrainer):
    """TRL's trainer with the silent failures of films closed.

    Parameters
    ----------
    drop_alike
        Whether groups whose rewards are all alike are taken out of the loss.
    step_credit
        Adds to the advantage of each token what its own step is worth.
    """

    def __init__(
        self,
        *args: Any,
        drop_alike: bool = True,
        step_credit: StepCredit | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._drop_alike = drop_alike
        self._step_credit = step_credit
        self._weighs_every_number = False
        self._start_checked = False
        self._any_batch = False
        self._alike: torch.Tensor | None = None
        self._vision = vision_ids(self._tokenizer)
        if self.use_vllm:
            image = self._tokenizer.convert_tokens_to_ids("<|image_pad|>")
            self.vllm_generation = SamePrompts(self.vllm_generation, image)
            merge_aside(self.vllm_generation)

    def create_accelerator_and_postprocess(self) -> None:
        """Log-probabilities leave the model in float32, however it is sharded."""
        super().create_accelerator_and_postprocess()
        keep_outputs_whole(self.accelerator)

    def prompt_ids(
        self, prompts: Sequence[list[dict[str, Any]]], images: Sequence[list[Any]]
    ) -> list[list[int]]:
        """Token ids that rollouts of some conversations with films begin with."""
        messages = [
            prepare_multimodal_messages(prompt, images=films)
            for prompt, films in zip(prompts, images, strict=True)
        ]
        ids, _, _ = self._tokenize_prompts(messages)
        return [list(one) for one in ids]

    def _generate(self, prompts: list[Any]) -> Any:
        try:
            generated = super()._generate(prompts)
        except RuntimeError as error:  # torch's, under engine transformers
            if "probability tensor contains" in str(error):
                raise SilentFailureError(NOT_FINITE) from error
            raise
        check_completions(generated[1], self._vision)
        return generated

    def _calculate_rewards(self, inputs: Any, prompts: Any, *rest: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, *rest)
        total = (rewards * self.reward_weights.to(rewards.device)).nansum(1)
        group = self.num_generations if self.model.training else self.num_generations_eval
        grouped = total.view(-1, group)
        alike = (grouped.amax(1) - grouped.amin(1) <= _ALIKE).repeat_interleave(group)
        begin = self.accelerator.process_index * len(prompts)
        self._alike = alike[begin : begin + len(prompts)]
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        check_finite(output.get("old_per_token_logps"), output["completion_mask"])
        dead = self._alike
        if self._step_credit is not None:
            credits = self._step_credit(output["completion_ids"], self._tokenizer)
            credit = credits.words + credits.numbers
            if self._weighs_every_number:
                credit, output["stakes"] = credits.words, credits.stakes
            output["advantages"] = output["advantages"][:, None] + credit
            credited = (credits.words != 0).any(1) | (credits.stakes != 0).any((1, 2))
            dead = None if dead is None else dead & ~credited
            self._log("step_credit/completions", credited.float())
            self._log("step_credit/size", credit.abs())
        if dead is not None:
            self._log("groups_without_preference", dead.float())
        if self._drop_alike and dead is not None:
            mask = output["completion_mask"]
            output["completion_mask"] = mask * (~dead).to(mask.dtype)[:, None]
            counted = self.accelerator.gather(output["completion_mask"].sum())
            output["num_items_in_batch"] = counted.sum()
        return output

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        told = self._metrics["train"].get("kl")
        if told and self.model.training and not self._start_checked:
            self._check_start(told[-1], float(inputs["completion_mask"].sum()))
        if self.model.training:
            self._tell_of_tokens_alone(inputs["completion_mask"])
        return loss

    def _tell_of_tokens_alone(self, mask: torch.Tensor) -> None:
        """Of a batch in which no token counts, TRL's log leaves NaN out of its means: null where
        there is no other."""
        if self.accelerator.reduce(mask.sum(), reduction="sum") > 0:
            return
        for name in _OVER_TOKENS:
            if values := self._metrics["train"].get(name):
                values[-1] = math.nan

    def _check_start(self, divergence: float, tokens: float) -> None:
        """Until something was learnt from, the policy is the start, and so is the reference.

        Batches of which nothing counts (all masked as cut off, groups without spread) tell nothing.
        """
        resumed = self.state.global_step > 0 and not self._any_batch
        self._any_batch = True
        if tokens and not resumed:
            _check_start(divergence)
        self._start_checked = resumed or tokens > 0

    def _log(self, name: str, values: torch.Tensor) -> None:
        mean = self.accelerator.gather(values.mean()).mean().item()
        self._metrics["train"][name].append(mean)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the checkpoint's own card is written when it is exported."""


def check_finite(log_probs: torch.Tensor | None, mask: torch.Tensor) -> None:
    """Refuse log-probabilities of the learner's that are none: TRL leaves them out of what it logs.

    Raises
    ------
    SilentFailureError
        When one that counts is not finite.
    """
    if log_probs is None or bool(torch.isfinite(log_probs[mask.bool()]).all()):
        return
    raise SilentFailureError(NOT_FINITE)


def merge_aside(generation: Any) -> None:
    """Hand vLLM the sums of weights and adapters without merging them in the model.

    In bfloat16 what is added and taken off again does not give what was there: in TRL's way the
    frozen weights (and the reference) wander with every hand-over. Sharded models keep that way.
    """
    sharded = generation._dist.is_fsdp or generation._dist.is_zero3
    if is_peft_model(generation.model) and not sharded:
        generation._generation._iter_named_params = partial(_merged_params, generation)


def _merged_params(generation: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights under the names of the model without adapters, as TRL tells them."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # adapters need peft, nothing else does

    model = generation.model
    tuned = {
        f"{name}.base_layer.weight": module
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and hasattr(module, "get_delta_weight")
    }
    for name, parameter in model.named_parameters():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        if model.prefix in plain or "original_module" in plain:
            continue
        plain = generation._fix_param_name_to_vllm(
            plain, extra_prefixes=["modules_to_save.default."]
        )
        weight = parameter.data
        if (module := tuned.get(name)) is not None:
            for adapter in module.active_adapters:
                weight = (weight + module.get_delta_weight(adapter)).to(weight.dtype)
        yield plain, weight


def _check_start(divergence: float) -> None:
    if not abs(divergence) <= _SAME_MODEL:
        raise SilentFailureError(
            f"Before the first step the model and its frozen reference diverge by {divergence:.3g} "
            "nats a token: the reference is not the start. Check that model.start has not changed "
            "since, and how the reference is loaded (docs/stages.md, several GPUs)."
        )


class SamePrompts:
    """vLLM's rollouts, from exactly the prompts that the learner has.

    A colocated engine expands every image token of the prompt into as many as the film has, so it
    is given one for each film; what it generated from is then compared with the learner's prompt
    (docs/stages.md, silent failures).

    Parameters
    ----------
    generation
        TRL's ``VLLMGeneration``.
    image_token
        Id of the image token.
    """

    def __init__(self, generation: Any, image_token: int) -> None:
        self._generation = generation
        self._image_token = image_token
        if generation.mode == "server":
            self._place = generation._place_features
            generation._place_features = self._place_checked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generation, name)

    def generate(self, prompts: list[list[int]], images: Any, *args: Any, **kwargs: Any) -> Any:
        """Generate, and refuse completions of other prompts.

        Raises
        ------
        SilentFailureError
            When the engine generated from another prompt.
        """
        asked: Sequence[list[int]] = prompts
        if self._generation.mode == "colocate" and images is not None:
            asked = [collapse_images(prompt, self._image_token) for prompt in prompts]
        answer = self._generation.generate(asked, images, *args, **kwargs)
        check_same_prompts(prompts, answer[0], self._image_token)
        return answer

    def _place_checked(self, features: dict[str, Any] | None, prompt: list[int]) -> Any:
        """What the server made of the films, held against the learner's prompt."""
        if features is not None:
            theirs = [place["length"] for place in features["mm_placeholders"]["image"]]
            check_same_films(image_runs(prompt, self._image_token), theirs)
        return self._place(features, prompt)


def image_runs(prompt: Sequence[int], image_token: int) -> list[int]:
    """Lengths of the prompt's runs of image tokens, one for each film."""
    return [len(list(run)) for token, run in groupby(prompt) if token == image_token]


def collapse_images(prompt: Sequence[int], image_token: int) -> list[int]:
    """The prompt with every run of image tokens as one."""
    return [
        token
        for place, token in enumerate(prompt)
        if token != image_token or place == 0 or prompt[place - 1] != image_token
    ]
