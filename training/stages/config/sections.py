"""Sections that every stage's config has: data, model, optimizer, logging."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def _at_home(path: Path) -> Path:
    return Path(os.path.expanduser(path))  # Path's own fails over an unknown user


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Count = Annotated[Whole, Field(ge=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[Number, Field(allow_inf_nan=False)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
"""What numpy's, Python's and torch's generators all take."""
Folder = Annotated[Path, AfterValidator(_at_home)]
"""A leading ``~`` is the caller's home."""
Checkpoint = Annotated[str, AfterValidator(os.path.expanduser)]
"""A folder, likewise, or a name that is none."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is learnt from.

    Attributes
    ----------
    folder
        A store of examples that ``deepmedix data prepare`` wrote (it holds ``dataset.json``), or a
        folder of films simulated from the CT.
    split
        Of the data: train or validate; test is refused.
    samples
        Examples of each pass, drawn without replacement; all where not given. There must be as
        many, with a mixture in its shares.
    films
        Of simulated films, how many to write examples for; all where not given.
    mixture
        Shares by task (``findings``, ``impression``, ``vqa``), question type (``location``), role
        of a further film (``lateral``, ``prior``), view (``view:LATERAL``), or source
        (``source:open-i``); an example counts under the first name that fits it, in the order
        given. What no name fits is left out. Without ``samples``, the draw ends as soon as one of
        the kinds runs out. Empty: the examples as they come.
    passes
        How often to go through the examples. Simulated films are worded anew each time.
    group_lengths
        Whether a batch holds texts of about one length, which saves padding. Every text is
        tokenized before training starts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    folder: Folder
    split: Literal["train", "validate", "test"] = "train"
    samples: Count | None = None
    films: Count | None = None
    mixture: dict[str, NotNegative] = field(default_factory=dict)
    passes: Count = 1
    group_lengths: bool = True

    def __post_init__(self) -> None:
        if self.mixture and not any(self.mixture.values()):
            raise ValueError("mixture has no share above 0: give one, or leave mixture out")

    def refuse_test(self) -> None:
        """For a stage that learns from the data.

        Raises
        ------
        ValueError
            When it is the split that checkpoints are tested on.
        """
        if self.split == "test":
            raise ValueError(
                "data.split test: what is tested on must not be taught. Choose train, or make a "
                "store whose training split holds these examples"
            )


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters instead of all weights (peft).

    Attributes
    ----------
    rank, alpha, dropout
        As in LoRA's paper (arXiv 2106.09685): the update is ``alpha / rank * B A``.
    targets
        Names of the linear layers of the language model that get an adapter. The vision tower
        gets none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    rank: Count = 64
    alpha: Positive = 128.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What is trained, and which part of it.

    Attributes
    ----------
    start
        Checkpoint to start from: a folder (a stage's output or an exported checkpoint), or a hub
        id where a hub can be reached.
    manifest
        Whose prompts, box space and pixels to train with: ``embedded``, the name of a manifest that
        ships with the service (``Qika/DeepMedix-R1``), or a folder with one. Where not given,
        ``start`` holds one itself.
    precision
        ``float32``; ``bf16-mixed``: weights in float32, computed with in bfloat16; ``bf16``:
        weights in bfloat16, under LoRA alone, where they are frozen; ``auto``: bf16-mixed where
        there is a GPU.
    attention
        transformers' name of the attention kernel.
    train_vision
        Whether the vision tower learns too. Frozen, it sees every film once where ``keep_seen``.
    keep_seen
        Whether what a frozen tower saw of a film is kept in memory: for thousands of films, not
        for hundreds of thousands.
    gradient_checkpointing
        Computes activations twice to hold fewer.
    lora
        Adapters; all weights learn where not given.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    start: Checkpoint
    manifest: Checkpoint | None = None
    precision: Literal["auto", "float32", "bf16-mixed", "bf16"] = "auto"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    train_vision: bool = False
    keep_seen: bool = False
    gradient_checkpointing: bool = False
    lora: LoraSettings | None = None

    def __post_init__(self) -> None:
        if self.lora and self.train_vision:
            raise ValueError(
                "train_vision does not go with lora: adapters are of the language model alone, and "
                "the tower's weights would stay as they are. Drop one"
            )
        if self.precision == "bf16" and not self.lora:
            raise ValueError(
                "precision bf16 is for lora: weights that learn in bfloat16 do not move by the "
                "small steps of fine-tuning, whose rounding is larger. Choose bf16-mixed"
            )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights move.

    Attributes
    ----------
    name
        ``adamw``; or ``muon``: Muon for the language model's matrices, AdamW for the rest.
    learning_rate
        Peak rate of AdamW.
    matrix_rate
        Peak rate of ``muon``.
    weight_decay
        Of ``adamw``. ``muon`` has its own: 0.02 for the matrices, 0.01 for the rest.
    schedule
        Of ``adamw``: name of transformers' schedule, ``constant`` without a warm-up. ``muon`` has
        its own, linear to a fiftieth.
    warm_up
        Of ``adamw``: share of the steps in which the rate rises. With ``muon`` it does for a tenth
        of them, 60 at most.
    max_grad_norm
        Gradients are scaled down to this norm.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-5
    matrix_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.0
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warm_up: Annotated[Number, Field(ge=0, lt=1)] = 0.03
    max_grad_norm: Positive = 1.0

    def __post_init__(self) -> None:
        inert = ("weight_decay", "schedule", "warm_up") if self.name == "muon" else ("matrix_rate",)
        for name in inert:
            if getattr(self, name) != getattr(OptimizerSettings, name):
                raise ValueError(f"{name} does nothing with name {self.name}: leave it out")


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """What is written down, and how often.

    Attributes
    ----------
    every
        Steps between two lines of ``log.jsonl`` and the console.
    save_every
        Steps between two checkpoints to resume from; a multiple of ``every``, so that a resumed
        run logs the same lines.
    keep
        Checkpoints kept.
    samples_every
        Steps between pictures of sample completions (GRPO); 0 draws none.
    samples
        Completions drawn each time.
    report_to
        Further places: ``tensorboard``, ``trackio``, ``wandb``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    every: Count = 10
    save_every: Count = 100
    keep: Count = 2
    samples_every: Annotated[Whole, Field(ge=0)] = 0
    samples: Count = 4
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        if self.save_every % self.every:
            raise ValueError(
                f"save_every ({self.save_every}) must be a multiple of every ({self.every}): a "
                "resumed run could not log the same figures otherwise"
            )
