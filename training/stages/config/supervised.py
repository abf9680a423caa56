"""The config of the two supervised stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict

from training.stages.config.sections import (
    Count,
    DataSettings,
    Folder,
    LoggingSettings,
    ModelSettings,
    OptimizerSettings,
    Positive,
    Seed,
)


@dataclass(frozen=True, kw_only=True)
class SupervisedStage:
    """Instruction fine-tuning (``sft``) or cold start (``cold-start``).

    Attributes
    ----------
    output
        Folder that receives the next checkpoint, the logs, and the state to resume from.
    batch_size
        Examples that one device takes at once.
    accumulation
        Batches whose gradients make one step.
    soft_coordinates
        Width in pixels by which the loss of a coordinate spreads over its neighbours; needs a
        tokenizer with one token for each coordinate. Plain cross-entropy where not given.
    seed
        Orders and draws the examples.
    max_steps
        Stops early, and the schedule with it; all examples where not given. No more than they last
        for: ``data.passes`` goes through them again.
    trl
        Further fields of TRL's ``SFTConfig``; tokens and keys are refused.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    output: Folder
    data: DataSettings
    model: ModelSettings
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    batch_size: Count = 16
    accumulation: Count = 1
    soft_coordinates: Positive | None = None
    seed: Seed = 0
    max_steps: Count | None = None
    trl: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data.refuse_test()
        if self.soft_coordinates and self.model.lora:
            raise ValueError("soft_coordinates and model.lora do not go together: drop one")
