"""The config of stage 3, group-relative policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from training.stages.config.sections import (
    Count,
    DataSettings,
    Finite,
    Folder,
    LoggingSettings,
    ModelSettings,
    NotNegative,
    Number,
    OptimizerSettings,
    Positive,
    Seed,
    Share,
    Whole,
)


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """Where vLLM generates the rollouts (``rollouts.engine`` vllm-server or vllm-colocate).

    Attributes
    ----------
    host, port, timeout
        Of the server, and seconds to wait for it. Its development endpoints have no
        authentication: a private network only.
    memory
        Share of a GPU's memory that a colocated engine takes.
    tensor_parallel
        GPUs that hold one colocated engine.
    max_length
        Tokens of prompt and completion together that a colocated engine has room for.
    sleep
        Whether a colocated engine gives its memory back between rollouts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[Whole, Field(ge=1, le=65535)] = 8000
    timeout: Positive = 600.0
    memory: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    tensor_parallel: Count = 1
    max_length: Count = 4096
    sleep: bool = True


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """How completions are sampled.

    Attributes
    ----------
    engine
        ``shared-prefix``: transformers on this machine, where each film is seen once and each
        prompt read once for its whole group; for one process, without adapters.
        ``transformers``: TRL's own, slower. ``vllm-server``, ``vllm-colocate``: on GPUs.
    prompts
        Prompts of one step, over all devices.
    group
        Completions of each prompt.
    max_tokens
        Longest completion, in tokens.
    temperature, top_p, top_k
        Sampling; ``top_k`` 0 keeps every token.
    batch_size
        Completions that one device learns from at once.
    updates
        Steps taken on the same rollouts (the paper's mu).
    minibatches
        Parts that the rollouts of one generation are split into, one step each.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    engine: Literal["shared-prefix", "transformers", "vllm-server", "vllm-colocate"] = (
        "shared-prefix"
    )
    prompts: Count = 4
    group: Annotated[Whole, Field(ge=2)] = 8
    max_tokens: Count = 256
    temperature: Positive = 1.0
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[Whole, Field(ge=0)] = 0
    batch_size: Count = 32
    updates: Count = 1
    minibatches: Count = 1
    vllm: VllmSettings = field(default_factory=VllmSettings)


@dataclass(frozen=True, kw_only=True)
class OverlongSettings:
    """What becomes of completions that reach ``rollouts.max_tokens``.

    Attributes
    ----------
    mask
        Whether a cut-off completion teaches nothing (DAPO, arXiv 2503.14476, section 3.4).
    penalty_tokens
        Tokens before the limit over which the reward falls linearly by up to ``penalty``; no more
        than ``rollouts.max_tokens``. 0 switches it off.
    penalty
        What the longest loses.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    mask: bool = False
    penalty_tokens: Annotated[Whole, Field(ge=0)] = 0
    penalty: NotNegative = 1.0


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """The loss.

    Attributes
    ----------
    kl
        Weight (beta) of the divergence from the frozen start, in the low-variance estimate
        ``exp(d) - d - 1`` (k3). 0 has no reference.
    clip_low, clip_high
        The ratio of new to old probability counts within ``1 - clip_low .. 1 + clip_high``;
        ``clip_high`` is ``clip_low`` where not given (DAPO: higher).
    loss
        ``dapo``: every token of a step weighs the same. ``grpo``: every completion does.
        ``bnpo``, ``dr_grpo``: as TRL defines them.
    scale
        What advantages are divided by: the spread of the ``group``, of the ``batch``, or ``none``.
    without_spread
        Groups whose rewards are all alike: ``drop`` takes them out of the loss, ``keep`` leaves
        them in (they teach the divergence alone).
    overlong
        Over-long completions.
    step_credit
        Weight of what each step is worth by itself, beside the advantage of the whole completion:
        its words and its boxes are held against the truth and against the same step of the group's
        other completions (process supervision, DeepSeekMath, arXiv 2402.03300, section 4.1.3). 0
        leaves it out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kl: NotNegative = 0.01
    clip_low: Share = 0.2
    clip_high: Share | None = None
    loss: Literal["dapo", "grpo", "bnpo", "dr_grpo"] = "dapo"
    scale: Literal["group", "batch", "none"] = "group"
    without_spread: Literal["drop", "keep"] = "drop"
    overlong: OverlongSettings = field(default_factory=OverlongSettings)
    step_credit: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """One reward and its weight in the sum.

    Attributes
    ----------
    name
        ``paper``, ``grounded``, or ``module:function`` for your own.
    weight
        Its weight among several rewards, above 0.
    weights
        Weights of its components, as the reward names them; of the project's own rewards, none is
        negative.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    weight: Positive = 1.0
    weights: dict[str, Finite] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if ":" in self.name:
            return  # a function of one's own knows what its weights mean
        negative = [part for part, weight in self.weights.items() if weight < 0]
        if negative:
            raise ValueError(f"the weight of {negative[0]} must not be negative")


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """When a run that has silently gone wrong is stopped (docs/stages.md names each).

    Attributes
    ----------
    patience
        Logged lines in a row that must show the fault.
    drift
        Largest mean difference of log-probabilities between rollout engine and learner, in nats.
    ratio
        Least mean importance ratio between the two.
    kl
        Largest mean divergence from the frozen start, in nats a token; not looked at where
        ``objective.kl`` is 0. A run that learns stays far below 1.
    gradient
        Least gradient norm while there is something to learn.
    cut_off
        Largest share of completions that reach the length limit.
    without_spread
        Largest share of groups whose rewards are all alike.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    patience: Count = 3
    drift: Positive = 0.5
    ratio: Share = 0.1
    kl: Positive = 5.0
    gradient: NotNegative = 1e-8
    cut_off: Share = 0.9
    without_spread: Share = 0.9


@dataclass(frozen=True, kw_only=True)
class GroupRelativeStage:
    """Stage 3: sampled completions, rewarded, against the rest of their group.

    Attributes
    ----------
    output
        Folder that receives the next checkpoint, the logs, and the state to resume from.
    rewards
        Summed with their weights, none of them twice; every component is logged.
    seed
        Draws the examples and the completions.
    max_steps
        Number of steps, which the schedule spans; once through the examples where not given. More
        go through them again in the same order, with completions of their own.
    trl
        Further fields of TRL's ``GRPOConfig``. Those that publish completions or films
        (``log_completions_hub_repo``, ``log_multimodal``, ``push_to_hub``) are refused, and so are
        tokens and keys.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    output: Folder
    data: DataSettings
    model: ModelSettings
    rollouts: RolloutSettings = field(default_factory=RolloutSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    rewards: tuple[RewardSettings, ...] = (RewardSettings(name="grounded"),)
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(
            learning_rate=1e-6, weight_decay=1e-2, schedule="constant"
        )
    )
    logging: LoggingSettings = field(
        default_factory=lambda: LoggingSettings(every=1, save_every=25, samples_every=25)
    )
    guards: GuardSettings = field(default_factory=GuardSettings)
    seed: Seed = 0
    max_steps: Count | None = None
    trl: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data.refuse_test()
        if not self.rewards:
            raise ValueError("rewards must name at least one")
        names = [reward.name for reward in self.rewards]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"rewards name {twice[0]} twice: give it once, with its whole weight")
        penalized = self.objective.overlong.penalty_tokens
        if penalized > self.rollouts.max_tokens:
            raise ValueError(
                f"objective.overlong.penalty_tokens ({penalized}) must not be more than "
                f"rollouts.max_tokens ({self.rollouts.max_tokens})"
            )
        if self.optimizer.name != "adamw":
            raise ValueError(
                f"optimizer.name {self.optimizer.name} is for the supervised stages: choose adamw"
            )
        cycle = self.rollouts.updates * self.rollouts.minibatches
        if self.logging.save_every % cycle:
            raise ValueError(
                f"logging.save_every ({self.logging.save_every}) must be a multiple of "
                f"rollouts.updates * rollouts.minibatches ({cycle}): rollouts are not saved, so a "
                "checkpoint must lie between two generations"
            )
        if self.rollouts.engine == "shared-prefix":
            for named, wanted in (
                ("model.lora", self.model.lora is not None),
                ("model.gradient_checkpointing", self.model.gradient_checkpointing),
            ):
                if wanted:
                    raise ValueError(
                        f"rollouts.engine shared-prefix does not go with {named}: choose engine "
                        "transformers, vllm-server or vllm-colocate"
                    )
