"""What a stage is told: documented dataclasses, read from YAML and checked strictly."""

from training.stages.config.grpo import (
    GroupRelativeStage,
    GuardSettings,
    ObjectiveSettings,
    OverlongSettings,
    RewardSettings,
    RolloutSettings,
    VllmSettings,
)
from training.stages.config.reading import describe, read_config
from training.stages.config.sections import (
    DataSettings,
    LoggingSettings,
    LoraSettings,
    ModelSettings,
    OptimizerSettings,
)
from training.stages.config.supervised import SupervisedStage

__all__ = [
    "DataSettings",
    "GroupRelativeStage",
    "GuardSettings",
    "LoggingSettings",
    "LoraSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "OptimizerSettings",
    "OverlongSettings",
    "RewardSettings",
    "RolloutSettings",
    "SupervisedStage",
    "VllmSettings",
    "describe",
    "read_config",
]
