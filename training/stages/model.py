"""The model of a stage: loaded as the settings say, saved as the next stage wants it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from service.radiograph import PixelGrid
from training.checkpoint.errors import CheckpointError
from training.checkpoint.loading import load_complete, not_finite, some
from training.checkpoint.permissions import share_weights
from training.stages.begin import Beginning
from training.stages.config import ModelSettings
from training.stages.errors import ConfigError
from training.stages.processes import is_first_process

if TYPE_CHECKING:
    from peft import LoraConfig

Config = TypeVar("Config")
Trainer = TypeVar("Trainer")

_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def load_model(settings: ModelSettings, beginning: Beginning) -> Qwen2_5_VLForConditionalGeneration:
    """The checkpoint in the settings' precision, its vision tower frozen or not.

    Raises
    ------
    ConfigError
        When there is no such checkpoint, or its weights are not all of the model's, or not finite.
    """
    disable_progress_bar()  # the run's own bar is enough
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    try:
        model: Qwen2_5_VLForConditionalGeneration = load_complete(
            Qwen2_5_VLForConditionalGeneration,
            beginning.start,
            dtype=dtype,
            attn_implementation=settings.attention,
        )
    except CheckpointError as error:
        raise ConfigError(
            f"model.start: {beginning.start} could not be loaded ({error})."
        ) from error
    if lost := not_finite(model):
        raise ConfigError(
            f"model.start: {beginning.start} has weights that are not finite ({some(lost)}): "
            "nothing would be learnt from them. Name a checkpoint from before training went wrong."
        )
    model.model.visual.requires_grad_(settings.train_vision)
    return model


def precision_of(settings: ModelSettings) -> dict[str, Any]:
    """Fields of TRL's config for the precision and the device.

    Raises
    ------
    ConfigError
        When float32 is asked for, and the launcher's environment says otherwise, which counts.
    """
    cuda = torch.cuda.is_available()
    mixed = settings.precision == "bf16-mixed" or (settings.precision == "auto" and cuda)
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if settings.precision == "float32" and launched != "no":
        raise ConfigError(
            f"model.precision float32: accelerate was launched for {launched}, which would count. "
            "Launch with --mixed_precision no, or choose bf16-mixed."
        )
    return {"use_cpu": not cuda, "bf16": mixed or (settings.precision == "bf16" and cuda)}


def keep_outputs_whole(accelerator: Any) -> None:
    """Under FSDP2, let the model's outputs and the sums of gradients keep their precision.

    accelerate would cast both to bfloat16: log-probabilities to steps of up to 0.06 nats, beside
    which a divergence of 1e-3 from the reference is noise.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if plugin is None or policy is None or plugin.fsdp_version != 2:
        return
    plugin.mixed_precision_policy = dataclasses.replace(
        policy, output_dtype=None, reduce_dtype=torch.float32
    )


def adapters(settings: ModelSettings, model: torch.nn.Module) -> LoraConfig | None:
    """peft's config of the adapters, on the language model alone.

    Raises
    ------
    ConfigError
        When peft is not installed, or the model has no layer of a name among the targets.
    """
    if settings.lora is None:
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ConfigError("model.lora needs peft: pip install 'deepmedix[train]'.") from error
    layers = {name for name, _ in model.named_modules() if "language_model" in name}
    for target in settings.lora.targets:  # peft itself asks for one match among all of them
        if not any(name.endswith(f".{target}") for name in layers):
            raise ConfigError(
                f"model.lora.targets: the language model has no layer {target!r}. Correct the name."
            )
    return LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=rf".*language_model.*\.({'|'.join(map(re.escape, settings.lora.targets))})",
        task_type="CAUSAL_LM",
    )


def trl_config(kind: type[Config], fields: Mapping[str, Any]) -> Config:
    """A TRL config of the fields that :func:`trl_fields` gave.

    Raises
    ------
    ConfigError
        When a value does not fit, or not beside another, or one process sees several GPUs.
    """
    try:
        made = kind(**fields)
    except Exception as error:  # whatever TRL and transformers raise over a value
        raise _refused(kind, error) from error
    if getattr(made, "n_gpu", 1) > 1:
        raise ConfigError(
            "Several GPUs are visible to one process. Train on one of them (CUDA_VISIBLE_DEVICES=0 "
            "before the command), or on all by accelerate launch (docs/stages.md)."
        )
    return made


def trl_trainer(kind: type[Trainer], **given: Any) -> Trainer:
    """A TRL trainer, which refuses values that its config takes.

    Raises
    ------
    ConfigError
        When it does.
    """
    try:
        return kind(**given)
    except (ImportError, NotImplementedError, TypeError, ValueError) as error:
        raise _refused(kind, error) from error


def _refused(kind: type, error: Exception) -> ConfigError:
    return ConfigError(
        f"trl: {kind.__name__} refuses what it is given: {str(error).rstrip('.')}. Correct what "
        "stands under trl, or what does not go with it."
    )


def _of_their_types(kind: type, more: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's configs take a text for a number, and trip over it once training begins."""
    hints = typing.get_type_hints(kind)
    checked = {}
    for name, value in more.items():
        try:
            # true is no number, though Python takes it for one.
            strict = True if isinstance(value, bool) else None
            of_type = TypeAdapter(hints[name], config=_ANY_TYPE)
            checked[name] = of_type.validate_python(value, strict=strict)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            raise ConfigError(f"trl: {name}: {said} (it is {value!r}).") from error
    return checked


_UNGUARDED = {
    "save_only_model": "without the optimizer's state no run could be resumed",
    "save_strategy": "runs are saved as often as logging.save_every says",
    "ignore_data_skip": "a resumed run would see the first examples again",
    "logging_strategy": "the guards look at the log, as often as logging.every says",
    "sync_ref_model": "the reference is the start, and a resumed run knows no other",
    "vllm_importance_sampling_correction": "the guards look at what it measures",
}
"""Fields that would switch off what the stages promise."""


_GOVERNED = {
    "output_dir": "output",
    "logging_steps": "logging.every",
    "save_steps": "logging.save_every",
    "save_total_limit": "logging.keep",
    "report_to": "logging.report_to",
    "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "lr_scheduler_type": "optimizer.schedule",
    "warmup_steps": "optimizer.warm_up",
    "max_grad_norm": "optimizer.max_grad_norm",
    "gradient_checkpointing": "model.gradient_checkpointing",
    "bf16": "model.precision",
    "max_steps": "max_steps",
    "seed": "seed",
}
"""What sets a field of TRL's in every stage."""


def trl_fields(
    kind: type, fields: dict[str, Any], more: Mapping[str, Any], governed: Mapping[str, str]
) -> dict[str, Any]:
    """Our fields of a TRL config with the caller's further ones.

    Parameters
    ----------
    governed
        Settings of the stage's own by the fields of ours that they set.

    Raises
    ------
    ConfigError
        When TRL has no such field, it is one that the config sets itself or that does nothing
        here, or a value is of another type than the field.
    """
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    for name in more:
        if name in fields:
            own = governed.get(name) or _GOVERNED.get(name)
            mend = f"change {own}" if own else "no setting changes it, leave it out"
            raise ConfigError(f"trl.{name} is set by the stage itself: {mend}.")
        if name in _UNGUARDED:
            raise ConfigError(f"trl.{name}: {_UNGUARDED[name]}. Leave it out.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it is no field of {kind.__name__}."
            raise ConfigError(f"trl.{name}: there is no such field; {hint}")
    checked = _of_their_types(kind, more)
    if checked.get("fp16") and fields.get("use_cpu"):
        raise ConfigError("trl.fp16 does nothing on a CPU: leave it out (model.precision).")
    return {**fields, **checked}


def refuse_inert(more: Mapping[str, Any], names: Collection[str], where: str) -> None:
    """Refuse further fields of TRL that are not looked at.

    Parameters
    ----------
    names
        Those fields.
    where
        Under which setting, and what would do instead.

    Raises
    ------
    ConfigError
        When one is given.
    """
    if inert := sorted(more.keys() & set(names)):
        raise ConfigError(f"trl.{inert[0]} does nothing {where}.")


def image_processor(grid: PixelGrid) -> Qwen2VLImageProcessorPil:
    """The processor that the checkpoint is saved with: pixel bounds are the manifest's."""
    return Qwen2VLImageProcessorPil(
        min_pixels=grid.min_pixels,
        max_pixels=grid.max_pixels,
        patch_size=grid.patch_size,
        merge_size=grid.merge_size,
    )


def save_output(
    trainer: Any, tokenizer: PreTrainedTokenizerBase, beginning: Beginning, folder: Path
) -> None:
    """Save weights (or adapters), tokenizer and processor; every process takes part."""
    trainer.save_model(str(folder))
    if is_first_process():
        share_weights(folder)
        # Holds the paths of this machine.
        (folder / "training_args.bin").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder)
        image_processor(beginning.grid).save_pretrained(folder)
