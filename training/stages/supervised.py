"""What the two supervised stages share: rows in, TRL trainer, next checkpoint out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import SFTConfig

from training.architecture import number_ids
from training.data.example import Example
from training.stages.begin import Beginning, begin
from training.stages.config import GuardSettings, SupervisedStage
from training.stages.errors import ConfigError
from training.stages.film_collator import FilmCollator
from training.stages.grounded_trainer import FilmSFTTrainer, GroundedSFTTrainer, optimizers_for
from training.stages.guards import Guards
from training.stages.model import (
    adapters,
    load_model,
    precision_of,
    refuse_inert,
    save_output,
    trl_config,
    trl_fields,
    trl_trainer,
)
from training.stages.preflight import check_labels, check_sharding
from training.stages.processes import is_first_process, processes
from training.stages.record import code_revision, write_stage_record
from training.stages.resume import (
    MarkWhole,
    Origin,
    begin_run,
    check_same_run,
    finished,
    only_run,
    state_to_resume,
    step_of,
    tokens_learnt,
    train_or_restore,
)
from training.stages.run_log import RunLog, elsewhere, tensorboard
from training.stages.stage_data import StageData, StageName, stage_data
from training.stages.text_targets import check_texts, training_row

_NOT_OF_FILMS = (
    *("completion_only_loss", "dataset_num_proc", "dataset_text_field", "eval_packing"),
    *("packing_strategy", "pad_to_multiple_of", "shuffle_dataset", "truncation_mode"),
)
"""TRL's fields for texts that it prepares itself, and for labels of its own."""
_GOVERNED = {
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation",
    "num_train_epochs": "data.passes",
    "train_sampling_strategy": "data.group_lengths",
}
"""What sets these fields of TRL's. Of `max_length` nothing does: no text is cut."""
_NOT_OF_SOFT_COORDINATES = ("label_smoothing_factor", "loss_type")
_NOT_OF_MUON = (
    *("adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_kwargs"),
    *("optim", "optim_args", "optim_target_modules"),
)


def in_similar_lengths(lengths: Sequence[int], batch_size: int, seed: int) -> list[int]:
    """An order in which each batch holds texts of about one length and batches are shuffled."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    stretch = batch_size * 32
    batches = []
    for start in range(0, len(order), stretch):
        part = sorted(order[start : start + stretch], key=lambda i: lengths[i])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [int(i) for b in rng.permutation(len(batches)) for i in batches[b]]


def run_supervised(
    name: StageName,
    stage: SupervisedStage,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Run stage 1 or 2 as its config says; returns the folder of the next checkpoint.

    Raises
    ------
    ConfigError
        When data, checkpoint or settings do not fit.
    SilentFailureError
        When the run would teach the wrong thing.
    """
    check_same_run(stage)
    if finished(stage.output, resume=resume, max_steps=stage.max_steps):
        return stage.output
    check_sharding()
    revision = code_revision()
    beginning = begin(stage.model, stage.output)
    origin = Origin(beginning.start_hash, revision)
    data = stage_data(name, stage.data, seed=stage.seed)
    check_same_run(stage, data.digest, origin.start_hash)
    with only_run(stage.output):
        _fit(name, stage, data, beginning, origin, resume=resume, callbacks=callbacks)
    return stage.output


def _fit(
    name: StageName,
    stage: SupervisedStage,
    data: StageData,
    beginning: Beginning,
    origin: Origin,
    *,
    resume: bool,
    callbacks: Sequence[TrainerCallback],
) -> None:
    """Train on examples; save the next checkpoint and its record."""
    tokenizer, grid = beginning.tokenizer, beginning.grid
    run = stage.output / "run"
    state = state_to_resume(run, resume=resume)
    if stage.soft_coordinates and processes() > 1:
        raise ConfigError("soft_coordinates is for one process: leave it out under accelerate.")
    if not stage.data.group_lengths:  # else all are tokenized before training
        check_texts(data.examples, beginning.conventions, grid, learnt=True)
    steps = _steps(stage, len(data.examples))
    # Before the model: ZeRO-3 and FSDP shard it as it loads.
    arguments = trl_config(SFTConfig, _arguments(stage, run))
    model = load_model(stage.model, beginning)
    rows = _rows(data.examples, stage, beginning)
    log = RunLog(stage.output / "log.jsonl", name)
    collator = FilmCollator(
        model,
        data.films,
        grid,
        sizes=data.sizes,
        keep_seen=stage.model.keep_seen,
        check=partial(check_labels, tokenizer=tokenizer),
    )
    collator([rows[i] for i in range(min(2, len(rows)))])  # before anything is written
    kind: type[FilmSFTTrainer] = GroundedSFTTrainer if stage.soft_coordinates else FilmSFTTrainer
    trainer = trl_trainer(
        kind,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=collator,
        processing_class=tokenizer,
        peft_config=adapters(stage.model, model),
        callbacks=[
            log,
            Guards(GuardSettings(), rewarded=False),
            MarkWhole(stage.logging.keep),
            *tensorboard(stage.logging, stage.output, step_of(state)),
            *callbacks,
        ],
        optimizers=_optimizers(stage, model, steps),
        **_softening(stage, tokenizer),
    )
    trainer.remove_callback(PrinterCallback)  # the log tells the same
    if state is not None:
        trainer.count_from(tokens_learnt(state))
    if is_first_process():
        origin = begin_run(stage, data.digest, origin, state)
    try:
        train_or_restore(trainer, state)
    finally:
        log.close()
    save_output(trainer, tokenizer, beginning, stage.output)
    if is_first_process():
        write_stage_record(stage.output, name, stage, data.digest, log.last, origin)


def _steps(stage: SupervisedStage, examples: int) -> int:
    """Number of steps that the run takes."""
    most = -(-examples // (stage.batch_size * stage.accumulation * processes()))
    if stage.max_steps is None:
        return most
    if stage.max_steps > most:
        raise ConfigError(
            f"max_steps ({stage.max_steps}): the {examples} examples last for {most} steps. Lower "
            "it or leave it out, or go through the examples several times (data.passes)."
        )
    return stage.max_steps


def _rows(
    examples: Sequence[Example], stage: SupervisedStage, beginning: Beginning
) -> datasets.Dataset:
    """The examples in training order, tokenized; one by one where lengths do not matter."""
    tokenizer, conventions, grid = beginning.tokenizer, beginning.conventions, beginning.grid
    if stage.data.group_lengths:
        rows = [training_row(example, tokenizer, conventions, grid) for example in examples]
        lengths = [len(row["input_ids"]) for row in rows]
        order = in_similar_lengths(lengths, stage.batch_size, stage.seed)
        return datasets.Dataset.from_list([rows[i] for i in order])

    def rows_of(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        made = [training_row(examples[i], tokenizer, conventions, grid) for i in batch["example"]]
        return {name: [row[name] for row in made] for name in made[0]}

    order = np.random.default_rng(stage.seed).permutation(len(examples)).tolist()
    return datasets.Dataset.from_dict({"example": order}).with_transform(rows_of)


def _arguments(stage: SupervisedStage, run: Path) -> dict[str, Any]:
    refuse_inert(stage.trl, _NOT_OF_FILMS, "beside films: leave it out")
    if stage.soft_coordinates:
        where = "with soft_coordinates, whose loss is its own: leave one out"
        refuse_inert(stage.trl, _NOT_OF_SOFT_COORDINATES, where)
    if stage.optimizer.name == "muon":
        refuse_inert(stage.trl, _NOT_OF_MUON, "with optimizer.name muon: leave it out")
    fields = {
        "output_dir": str(run),
        "per_device_train_batch_size": stage.batch_size,
        "gradient_accumulation_steps": stage.accumulation,
        "num_train_epochs": 1,
        "max_steps": stage.max_steps or -1,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "learning_rate": stage.optimizer.learning_rate,
        "weight_decay": stage.optimizer.weight_decay,
        "lr_scheduler_type": stage.optimizer.schedule,
        "warmup_steps": stage.optimizer.warm_up,
        "max_grad_norm": stage.optimizer.max_grad_norm,
        "logging_steps": stage.logging.every,
        "save_steps": stage.logging.save_every,
        "save_total_limit": None,  # MarkWhole removes old ones
        "report_to": elsewhere(stage.logging),
        "disable_tqdm": True,
        "gradient_checkpointing": stage.model.gradient_checkpointing,
        # What a frozen tower saw lies on the device already.
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "seed": stage.seed,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        **precision_of(stage.model),
    }
    return trl_fields(SFTConfig, fields, stage.trl, _GOVERNED)


def _optimizers(stage: SupervisedStage, model: torch.nn.Module, steps: int) -> tuple[Any, Any]:
    if stage.optimizer.name == "adamw":
        return None, None
    if stage.model.lora:
        raise ConfigError("optimizer.name muon does not go with model.lora: choose adamw.")
    return optimizers_for(
        model,
        matrix_rate=stage.optimizer.matrix_rate,
        other_rate=stage.optimizer.learning_rate,
        steps=steps,
        warmup=min(60, steps // 10 + 1),
    )


def _softening(stage: SupervisedStage, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    if stage.soft_coordinates is None:
        return {}
    try:
        coordinates = number_ids(tokenizer)
    except ValueError as error:
        raise ConfigError(f"soft_coordinates: {error} Or leave soft_coordinates out.") from error
    opening = [
        tokenizer.encode(" [", add_special_tokens=False)[-1],
        tokenizer.encode(", 1", add_special_tokens=False)[0],
    ]
    return {
        "coordinate_ids": coordinates,
        "opening_ids": torch.tensor(opening),
        "sigma": stage.soft_coordinates,
    }
