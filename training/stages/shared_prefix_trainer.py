"""GRPO on one machine without vLLM: films seen once, prompts read once for each group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import pad

from training.architecture import number_ids
from training.stages.film_collator import SeenFilms
from training.stages.film_grpo_trainer import FilmGRPOTrainer
from training.stages.shared_prefix import (
    ReadPrompts,
    completion_log_probs,
    read_prompts,
    sample_completions,
)
from training.stages.step_credit import expected_worths

_SPREAD = 0.1
"""About what worths of numbers differ by in a group: makes their credit like that of words."""
_AT_ONCE = 8
"""Completions whose padding is that of the longest among them."""


class SharedPrefixGRPOTrainer(FilmGRPOTrainer):
    """Samples and scores completions over prompts that are read once.

    The column ``prompt`` holds the whole text of the prompt with its image tokens, ``row`` the
    number of the example.

    Parameters
    ----------
    seen
        What the vision tower makes of the films.
    shown
        Of each example, its films.

    Where step credit is asked for and every coordinate is one token, the numbers of boxes are not
    credited by the few that were sampled: the loss holds what is to be expected of all of them
    (expected policy gradients, arXiv 1706.05374), which has no noise.
    """

    def __init__(
        self, *args: Any, seen: SeenFilms, shown: Sequence[Sequence[str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._seen = seen
        self._shown = shown
        self._rows: list[int] = []
        self._sampled: torch.Tensor | None = None
        self._stakes: torch.Tensor | None = None
        self._expected: list[torch.Tensor] = []
        try:
            self._numbers = number_ids(self._tokenizer)
        except ValueError:
            return
        self._weighs_every_number = self._step_credit is not None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = [item["row"] for item in inputs]
        self._sampled = None
        output = super()._generate_and_score_completions(inputs)
        output["rows"] = torch.tensor(self._rows)
        return output

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        device = self.accelerator.device
        longest = max(len(ids) for ids in prompt_ids)
        padding = self._tokenizer.pad_token_id
        padded = torch.tensor([[padding] * (longest - len(ids)) + ids for ids in prompt_ids])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompt_ids])
        model = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), self.accelerator.autocast():
            read, which = self._read(model, padded.to(device), mask.to(device), longest)
            return sample_completions(
                model,
                read.pick(which),
                max_tokens=self.max_completion_length,
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                ends=self.eos_token_ids,
                forbidden=sorted(self._vision),
            )

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        self._rows = inputs["rows"].tolist()
        # Only in the first pass over them do rollouts and learner have the same weights.
        fresh = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        self._sampled = inputs.get("sampling_per_token_logps") if fresh else None
        self._stakes, self._expected = inputs.get("stakes"), []
        loss = super()._compute_loss(model, inputs)
        if self._expected and self._step_credit is not None:
            expected = torch.cat(self._expected)
            self._log("step_credit/expected", expected.detach())
            counted = inputs["num_items_in_batch"] / self.accelerator.num_processes
            # As TRL's own term: what is counted is of the whole generation.
            window = self.current_gradient_accumulation_steps / self.args.steps_per_generation
            counted = counted * window
            loss = loss - self._step_credit.weight * expected.sum() / _SPREAD / counted
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        model = self.accelerator.unwrap_model(model)
        begin = input_ids.shape[1] - logits_to_keep
        lengths = attention_mask[:, begin:].sum(1)
        # Completions of about one length go together; those that are masked are not read.
        order = lengths.argsort(stable=True)[int((lengths == 0).sum()) :]
        shape = (len(input_ids), logits_to_keep)
        log_probs = torch.zeros(shape, device=input_ids.device)
        entropies = torch.zeros(shape, device=input_ids.device)
        if len(order):
            with self.accelerator.autocast():
                read, which = self._read(model, input_ids, attention_mask, begin)
                for rows in order.split(_AT_ONCE):
                    watch = None
                    if self._stakes is not None and torch.is_grad_enabled():
                        watch = partial(self._expect, self._stakes[rows])
                    end = int(begin + lengths[rows].max())
                    some, entropy = completion_log_probs(
                        model,
                        read.pick(which[rows]),
                        input_ids[rows, begin:end],
                        attention_mask[rows, begin:end],
                        temperature=self.temperature,
                        watch=watch,
                    )
                    padding = (0, begin + logits_to_keep - end)
                    log_probs = log_probs.index_copy(0, rows, pad(some, padding))
                    entropies = entropies.index_copy(0, rows, pad(entropy, padding))
        if self._sampled is not None and torch.is_grad_enabled():
            self._log_drift(log_probs, attention_mask[:, begin:].bool())
        if not log_probs.requires_grad and torch.is_grad_enabled():
            # Every group was dropped: a loss of nothing still has to have a gradient.
            log_probs = log_probs + 0 * sum(p.sum() for p in model.lm_head.parameters())
        return log_probs, entropies, None

    def _expect(self, stakes: torch.Tensor, every: torch.Tensor, counted: torch.Tensor) -> None:
        """Note what the numbers of boxes are to be expected to be worth."""
        stakes = stakes[:, : counted.shape[1]][counted]
        at_stake = stakes[:, 1] != 0
        chances = every[at_stake][:, self._numbers.to(every.device)].exp()
        self._expected.append(expected_worths(chances, stakes[at_stake]))

    def _read(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, prompt: int
    ) -> tuple[ReadPrompts, torch.Tensor]:
        """Read the prompts of all rows, those of one example once; and which row has which.

        ``prompt`` is the number of tokens of the padded prompts.
        """
        different = list(dict.fromkeys(self._rows))
        firsts = [self._rows.index(row) for row in different]
        which = torch.tensor([different.index(row) for row in self._rows], device=ids.device)
        shown = [self._shown[row] for row in different]
        read = read_prompts(model, self._seen, ids[firsts, :prompt], mask[firsts, :prompt], shown)
        return read, which

    def _log_drift(self, log_probs: torch.Tensor, mask: torch.Tensor) -> None:
        """Log how far the learner's log-probabilities are from those that were sampled with."""
        if self._sampled is None or not mask.any():
            return
        difference = (log_probs.detach() - self._sampled)[mask]
        metrics = self._metrics["train"]
        metrics["sampling/sampling_logp_difference/mean"].append(difference.abs().mean().item())
        metrics["sampling/importance_sampling_ratio/mean"].append(difference.exp().mean().item())
