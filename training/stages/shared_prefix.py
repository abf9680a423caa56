"""Completions that share a prompt read it once: log-probabilities and sampling over a common cache.

A group's completions all begin with the same prompt and film, which is most of what the model
reads. Here every different prompt is read once, with gradient where it is wanted, and its keys and
values are handed to each of its completions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from training.stages.errors import NOT_FINITE, SilentFailureError
from training.stages.film_collator import SeenFilms


@dataclass
class ReadPrompts:
    """Prompts that the model has read.

    Attributes
    ----------
    cache
        Keys and values of the prompts, and of what was read after them.
    mask
        (rows, tokens) of the left-padded prompts.
    position
        (rows,) rotary position of the first token after each prompt.
    last
        (rows, width) what the model holds after each prompt.
    """

    cache: DynamicCache
    mask: torch.Tensor
    position: torch.Tensor
    last: torch.Tensor

    def pick(self, rows: torch.Tensor) -> ReadPrompts:
        """Some rows, in the order given, to go on from; a row may be named many times."""
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], index)
        return ReadPrompts(cache, self.mask[rows], self.position[rows], self.last[rows])


def read_prompts(
    model: Qwen2_5_VLForConditionalGeneration,
    films: SeenFilms,
    prompts: torch.Tensor,
    mask: torch.Tensor,
    shown: Sequence[Sequence[str]],
) -> ReadPrompts:
    """Read prompts, each once.

    Parameters
    ----------
    prompts, mask
        (prompts, tokens), left-padded.
    shown
        Of each prompt, its films.
    """
    seen, shapes = films.look([film for some in shown for film in some], model.model.visual)
    features = [tokens.to(prompts.device) for tokens in seen]
    images = {"image": BaseModelOutputWithPooling(pooler_output=features)}
    outputs = model.model(
        input_ids=prompts,
        attention_mask=mask,
        mm_token_type_ids=(prompts == model.config.image_token_id).int(),
        image_grid_thw=torch.tensor(shapes, device=prompts.device),
        mm_encoder_outputs=images,
        use_cache=True,
    )
    position = mask.sum(1) + model.model.rope_deltas[:, 0].to(mask.device)
    return ReadPrompts(outputs.past_key_values, mask, position, outputs.last_hidden_state[:, -1])


def completion_log_probs(
    model: Qwen2_5_VLForConditionalGeneration,
    read: ReadPrompts,
    completions: torch.Tensor,
    mask: torch.Tensor,
    *,
    temperature: float,
    watch: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability and entropy of every token of the completions, both (rows, tokens).

    Parameters
    ----------
    completions, mask
        (rows, tokens), right-padded.
    watch
        Is shown (counted tokens, vocabulary) log-probabilities of all that could have stood there,
        and (rows, tokens) which tokens count.
    """
    hidden = read.last[:, None]
    if completions.shape[1] > 1:
        said, said_mask = completions[:, :-1], mask[:, :-1]
        whole = torch.cat([read.mask, said_mask], 1)
        after = _go_on(model, read.cache, said, whole, read.position)
        hidden = torch.cat([hidden, after], 1)
    # Only tokens that count need logits.
    counted = mask.bool()
    logits = model.lm_head(hidden[counted]).float() / temperature
    every = torch.log_softmax(logits, -1)
    if watch is not None:
        watch(every, counted)
    log_probs = every.gather(1, completions[counted][:, None])[:, 0]
    with torch.no_grad():
        entropy = -(every.exp() * every).sum(-1)
    empty = torch.zeros(completions.shape, device=logits.device)
    return (
        empty.masked_scatter(counted, log_probs),
        empty.masked_scatter(counted, entropy),
    )


@torch.no_grad()
def sample_completions(
    model: Qwen2_5_VLForConditionalGeneration,
    read: ReadPrompts,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    top_k: int,
    ends: Sequence[int],
    forbidden: Sequence[int],
) -> tuple[list[list[int]], list[list[float]]]:
    """Sample a completion for every row.

    Parameters
    ----------
    read
        Used up: its cache grows with what is sampled.
    ends
        Tokens that end a completion; the end is part of it.
    forbidden
        Tokens that are never sampled.

    Returns
    -------
    tuple
        Token ids of each completion, and the log-probability of each of its tokens under the
        model at this temperature.

    Raises
    ------
    SilentFailureError
        When the model knows no chances any more: they are not finite.
    """
    rows = len(read.position)
    device = read.last.device
    said: list[list[int]] = [[] for _ in range(rows)]
    likely: list[list[float]] = [[] for _ in range(rows)]
    alive = torch.arange(rows, device=device)
    ending = torch.tensor(list(ends), device=device)
    barred = torch.tensor(list(forbidden), device=device, dtype=torch.long)
    hidden, mask, position = read.last, read.mask, read.position
    for step in range(max_tokens):
        logits = model.lm_head(hidden).float() / temperature
        every = torch.log_softmax(logits, -1)
        chosen = _choose(logits, barred, top_p, top_k)
        chances = every.gather(1, chosen[:, None])[:, 0]
        for row, token, chance in zip(
            alive.tolist(), chosen.tolist(), chances.tolist(), strict=True
        ):
            said[row].append(token)
            likely[row].append(chance)
        going = (~torch.isin(chosen, ending)).nonzero()[:, 0]
        if len(going) == 0 or step + 1 == max_tokens:
            break
        if len(going) < len(alive):
            alive, chosen, mask = alive[going], chosen[going], mask[going]
            read.cache.batch_select_indices(going)
            position = position[going]
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], 1)
        hidden = _go_on(model, read.cache, chosen[:, None], mask, position + step)[:, -1]
    return said, likely


def _go_on(
    model: Qwen2_5_VLForConditionalGeneration,
    cache: DynamicCache,
    tokens: torch.Tensor,
    mask: torch.Tensor,
    position: torch.Tensor,
) -> torch.Tensor:
    """What the model holds after each of some tokens that follow what is in the cache."""
    place = position[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
    outputs = model.model.language_model(
        inputs_embeds=model.get_input_embeddings()(tokens),
        attention_mask=mask,
        position_ids=place[None].expand(3, -1, -1),
        past_key_values=cache,
        use_cache=True,
    )
    return outputs.last_hidden_state


def _choose(logits: torch.Tensor, barred: torch.Tensor, top_p: float, top_k: int) -> torch.Tensor:
    logits = logits.index_fill(1, barred, float("-inf"))
    if top_k:
        least = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    chances = torch.softmax(logits, -1)
    if not bool(torch.isfinite(chances).all()):
        raise SilentFailureError(NOT_FINITE)
    if top_p < 1:
        ordered, order = chances.sort(descending=True)
        # A token stays while those before it hold less than top_p.
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0)
        chances = torch.zeros_like(chances).scatter(1, order, ordered)
    return torch.multinomial(chances, 1)[:, 0]
