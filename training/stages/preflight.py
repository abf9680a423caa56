"""What is looked at before a run begins: faults that training itself would not show."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

from service.radiograph import PixelGrid
from service.reading import SPECIAL_TOKENS
from training.stages.errors import ConfigError, SilentFailureError

_YES = ("1", "true", "yes", "on", "y", "t")


def check_labels(batch: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a supervised batch whose loss falls on anything but the completion.

    Parameters
    ----------
    batch
        ``input_ids`` and ``labels``, (rows, tokens), as the collator makes them.

    Raises
    ------
    SilentFailureError
        When a prompt, image or other special token carries a label, save for the end of the turn,
        or a row has nothing to learn.
    """
    ids, labels = batch["input_ids"], batch["labels"]
    header = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    vision, special = vision_ids(tokenizer), special_ids(tokenizer)
    for row, (tokens, marks) in enumerate(zip(ids.tolist(), labels.tolist(), strict=True)):
        learnt = [place for place, mark in enumerate(marks) if mark != -100]
        if not learnt:
            raise SilentFailureError(
                f"Row {row} of a batch has nothing to learn: every label is -100. Check "
                "that the completion survives data.mixture and any length limit (TRL's max_length "
                "must be none)."
            )
        if any(tokens[place] in vision for place in learnt):
            raise SilentFailureError(
                f"The loss falls on image tokens in row {row} of a batch. Use prompt and "
                "completion columns, labels on the completion alone "
                "(training.stages.text_targets.training_row), not `messages`."
            )
        begins = _last(tokens, header) + len(header)
        if learnt[0] < begins:
            raise SilentFailureError(
                f"The loss falls on the prompt in row {row} of a batch (token {learnt[0]}, "
                f"the completion begins at {begins}). Use prompt and completion columns, labels on "
                "the completion alone (training.stages.text_targets.training_row), not `messages`."
            )
        if any(tokens[place] in special for place in learnt[:-1]):
            raise SilentFailureError(
                f"The completion in row {row} of a batch holds a special token before its end: the "
                "model would learn to break off there. Take special tokens out of the answers "
                "(training.stages.text_targets.completion_text does)."
            )


def check_prompts(
    prompts: Sequence[Sequence[int]],
    films: Sequence[Sequence[tuple[int, int]]],
    tokenizer: PreTrainedTokenizerBase,
    grid: PixelGrid,
) -> None:
    """Refuse prompts that do not hold exactly one image token for each visual token.

    Parameters
    ----------
    prompts
        Token ids of each prompt, as the learner has them.
    films
        Of each prompt, the sizes in original pixels of its films.

    Raises
    ------
    SilentFailureError
        When the counts differ.
    """
    (image,) = tokenizer.convert_tokens_to_ids(["<|image_pad|>"])
    area = (grid.patch_size * grid.merge_size) ** 2
    for prompt, sizes in zip(prompts, films, strict=True):
        wanted = sum(columns * rows // area for columns, rows in (grid.size_for(*s) for s in sizes))
        found = sum(token == image for token in prompt)
        if found != wanted:
            raise SilentFailureError(
                f"A prompt holds {found} image tokens where its films have {wanted} visual tokens: "
                "trainer and grid disagree about the pixels. Bake the manifest's max_pixels into "
                "the checkpoint's processor (preprocessor_config.json) and use the checkpoint's "
                "own chat template."
            )


def check_processor(processor: Any, grid: PixelGrid, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse an image processor that would resize films which lie on the grid already.

    Parameters
    ----------
    processor
        The image processor that trainer or rollout engine loads.
    sizes
        Width and height in original pixels of some films.

    Raises
    ------
    SilentFailureError
        When its patches are not those of the grid.
    """
    import numpy as np

    for size in dict.fromkeys(sizes):
        columns, rows = grid.size_for(*size)
        blank = np.zeros((rows, columns, 3), np.uint8)
        seen = processor(images=[blank], return_tensors="pt")["image_grid_thw"][0].tolist()
        wanted = [1, rows // grid.patch_size, columns // grid.patch_size]
        if seen != wanted:
            raise SilentFailureError(
                f"The checkpoint's processor resizes a film of {columns} x {rows} pixels, which "
                f"lies on the manifest's grid, to {seen[2] * grid.patch_size} x "
                f"{seen[1] * grid.patch_size}: trainer and rollouts would see different pixels, "
                "and boxes would shift. Write the manifest's min_pixels "
                f"({grid.min_pixels}) and max_pixels ({grid.max_pixels}) into the "
                "preprocessor_config.json of the checkpoint that trainer and vLLM load."
            )


def check_same_pixels(learner: Any, engine: Any, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse two image processors that make other numbers of the same film.

    Parameters
    ----------
    learner, engine
        The image processors of the trainer, and of the checkpoint that the rollout engine loads.
    sizes
        Width and height of the film that both are shown, in pixels.

    Raises
    ------
    SilentFailureError
        When one of them orders, scales or normalises its patches otherwise.
    """
    import numpy as np

    for columns, rows in dict.fromkeys(sizes):
        # Every value in every channel, no two patches alike.
        film = np.arange(rows * columns * 3, dtype=np.uint32).reshape(rows, columns, 3)
        film = (film * 2654435761 >> 24).astype(np.uint8)
        ours, theirs = (
            processor(images=[film], return_tensors="pt")["pixel_values"]
            for processor in (learner, engine)
        )
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=1e-4):
            raise SilentFailureError(
                f"The trainer and the checkpoint's own processor make other pixels of the same "
                f"film of {columns} x {rows}: rollouts would be of films that the learner does not "
                "see. Put back the preprocessor_config.json that the checkpoint's stage "
                "wrote (image_mean, image_std, rescale_factor and patch sizes of Qwen2.5-VL)."
            )


def check_same_prompts(
    learner: Sequence[Sequence[int]], engine: Sequence[Sequence[int]], image_token: int
) -> None:
    """Refuse rollouts that were generated from other prompts than the learner's.

    Parameters
    ----------
    learner, engine
        Token ids of each prompt, as the learner has them and as the rollout engine used them.

    Raises
    ------
    SilentFailureError
        When they differ; doubled image tokens are named as such.
    """
    if len(learner) != len(engine):
        raise SilentFailureError(
            f"The rollout engine tells of {len(engine)} prompts where the learner has "
            f"{len(learner)}: no completion has its prompt. Use the vLLM that this project pins."
        )
    for ours, theirs in zip(learner, engine, strict=True):
        ours, theirs = list(ours), list(theirs)
        if ours == theirs:
            continue
        here, there = ours.count(image_token), theirs.count(image_token)
        if here != there:
            raise SilentFailureError(
                f"The rollout engine saw {there} image tokens where the learner has {here}: "
                "rollouts come from another prompt, ratios vanish, and nothing would be learnt "
                "while rewards look normal. Colocated vLLM expands each image token again: use "
                "this project's trainer (it hands over one token an image), or vllm-server; with a "
                "server, check that both load the same preprocessor_config.json."
            )
        raise SilentFailureError(
            f"The prompt that rollouts begin with ({len(theirs)} tokens) is not the one that the "
            f"service asks ({len(ours)}): check that tokenizer and chat template are the "
            "checkpoint's own, everywhere."
        )


def check_same_films(learner: Sequence[int], engine: Sequence[int]) -> None:
    """Refuse rollouts of films that the engine's processor made another size of.

    Parameters
    ----------
    learner, engine
        Visual tokens of each film of a prompt.

    Raises
    ------
    SilentFailureError
        When they differ.
    """
    if list(learner) != list(engine):
        raise SilentFailureError(
            f"The vLLM server sees films of {list(engine)} visual tokens where the learner's have "
            f"{list(learner)}: its processor resizes them again. Serve the folder that the learner "
            "starts from (model.start), whose preprocessor_config.json holds the manifest's "
            "min_pixels and max_pixels, and give no --mm-processor-kwargs."
        )


def check_completions(completions: Sequence[Sequence[int]], forbidden: frozenset[int]) -> None:
    """Refuse completions that hold vision tokens; they would break the learner's forward pass.

    Raises
    ------
    SilentFailureError
        When one does.
    """
    for completion in completions:
        found = forbidden.intersection(completion)
        if found:
            raise SilentFailureError(
                f"A completion holds vision tokens (ids {sorted(found)}): the learner would look "
                "for an image there. Bias them away in the rollout engine: suppress_tokens for "
                "transformers, logit_bias -100 for vLLM (this project's trainer sets both; check "
                "that trl.generation_kwargs does not undo it)."
            )


def vision_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that stand for images and videos or bracket them."""
    names = ("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")
    ids = tokenizer.convert_tokens_to_ids([f"<|{name}|>" for name in names])
    return frozenset(i for i in ids if i is not None and i != tokenizer.unk_token_id)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of all special tokens, which no text holds."""
    ids = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    return frozenset(i for i in ids if i is not None and i != tokenizer.unk_token_id)


def check_engine(engine: str) -> None:
    """Refuse vLLM rollouts where they cannot work.

    Raises
    ------
    ConfigError
        When there is no GPU, or vLLM is not of the versions that TRL knows.
    """
    if not engine.startswith("vllm"):
        # TRL looks for vLLM in any case, and would warn of a version that nobody uses.
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
        return
    if not torch.cuda.is_available():
        raise ConfigError(
            f"rollouts.engine {engine} needs a GPU: TRL hands weights to vLLM over NCCL alone. On "
            "a CPU use shared-prefix."
        )
    try:
        found = version("vllm")
    except PackageNotFoundError:
        found = "none"
    if found == "none" or not (0, 22) <= _minor(found) <= (0, 31):
        raise ConfigError(
            f"rollouts.engine {engine} needs vLLM 0.22 to 0.31 beside TRL 1.16 (found: {found}): "
            "0.32 changed the log-probabilities that TRL reads. Rollouts have an environment of "
            "their own (docs/stages.md)."
        )


def _minor(found: str) -> tuple[int, int]:
    major, minor, *_ = found.split(".")
    return int(major), int(minor)


def _last(tokens: list[int], header: list[int]) -> int:
    for place in range(len(tokens) - len(header), -1, -1):
        if tokens[place : place + len(header)] == header:
            return place
    return 0


def under_fsdp() -> bool:
    """Whether accelerate shards the model by FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in _YES


def check_sharding() -> None:
    """Refuse FSDP2 by an accelerate that puts the head into a unit of its own.

    TRL's fused head never calls it, so that its gradient stays each process's own: every shard of
    the vocabulary would learn from one process's samples alone.

    Raises
    ------
    SilentFailureError
        Under FSDP with accelerate 1.14 or later.
    """
    found = version("accelerate")
    if under_fsdp() and _minor(found) >= (1, 14):
        raise SilentFailureError(
            f"accelerate {found} leaves the gradient of lm_head unreduced under FSDP2: each GPU "
            "would teach its own part of the vocabulary. pip install 'accelerate<1.14', or launch "
            "with training/recipes/accelerate/zero3.yaml."
        )


def check_seen_films() -> None:
    """Refuse a transformers whose model takes no features of films that were looked at before.

    It swallows them without a word: rollouts, learner and reference would all be blind, and no
    figure would show it.

    Raises
    ------
    SilentFailureError
        Below transformers 5.18.
    """
    if "mm_encoder_outputs" not in inspect.signature(Qwen2_5_VLModel.forward).parameters:
        raise SilentFailureError(
            f"transformers {version('transformers')} would not show the films to the model: "
            "rollouts.engine shared-prefix and model.keep_seen need 5.18 or later. Use the "
            "environment of the other stages (pip install -e '.[train]'), or choose "
            "rollouts.engine vllm-server or transformers and keep_seen false."
        )


def check_reference() -> None:
    """Refuse a frozen reference beside FSDP that loads weights in the first process alone.

    The others then wait for them from the first: accelerate sends those of the policy, TRL does
    not send the reference's, which stay zeros.

    Raises
    ------
    SilentFailureError
        When accelerate is told to load so.
    """
    frugal = os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "").lower() in _YES
    if under_fsdp() and frugal:
        raise SilentFailureError(
            "Under fsdp_cpu_ram_efficient_loading the frozen reference would be all zeros in every "
            "process but the first, and objective.kl would pull the model towards noise. Launch "
            "with training/recipes/accelerate/fsdp2-grpo.yaml (or --fsdp_cpu_ram_efficient_loading "
            "false), with zero3.yaml, train adapters (model.lora), or set objective.kl to 0."
        )
