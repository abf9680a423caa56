"""Stage 3, group-relative policy optimisation: completions rewarded against their group's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig

from training.stages.begin import Beginning, begin
from training.stages.config import GroupRelativeStage
from training.stages.errors import ConfigError
from training.stages.film_collator import SeenFilms
from training.stages.film_grpo_trainer import FilmGRPOTrainer
from training.stages.grpo_arguments import grpo_arguments
from training.stages.guards import Guards
from training.stages.model import (
    adapters,
    image_processor,
    load_model,
    save_output,
    trl_config,
    trl_trainer,
)
from training.stages.preflight import (
    check_engine,
    check_processor,
    check_prompts,
    check_reference,
    check_same_pixels,
    check_same_prompts,
    check_seen_films,
    check_sharding,
)
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
    train_or_restore,
)
from training.stages.rollout_rewards import LoggedReward, ScoredRollouts, overlong_penalty
from training.stages.run_log import RunLog, tensorboard
from training.stages.sample_pictures import SamplePictures
from training.stages.shared_prefix_trainer import SharedPrefixGRPOTrainer
from training.stages.stage_data import StageData, stage_data
from training.stages.step_credit import StepCredit
from training.stages.text_targets import asked_text, check_texts, prompt_text, shown_film


def run_grpo(
    stage: GroupRelativeStage,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Run stage 3 as its config says; returns the folder of the next checkpoint.

    Raises
    ------
    ConfigError
        When data, checkpoint, reward or settings do not fit.
    SilentFailureError
        When the run would teach nothing.
    """
    check_same_run(stage)
    if finished(stage.output, resume=resume, max_steps=stage.max_steps):
        return stage.output
    check_engine(stage.rollouts.engine)
    check_sharding()
    revision = code_revision()
    beginning = begin(stage.model, stage.output)
    origin = Origin(beginning.start_hash, revision)
    data = _shuffled(stage_data("grpo", stage.data, seed=stage.seed), stage)
    if len(data.examples) < stage.rollouts.prompts:
        raise ConfigError(
            f"data: {len(data.examples)} examples are fewer than the {stage.rollouts.prompts} "
            "prompts of one step. Take more (data.samples, data.films), or lower rollouts.prompts."
        )
    check_same_run(stage, data.digest, origin.start_hash)
    check_texts(data.examples, beginning.conventions, beginning.grid, learnt=False)
    with only_run(stage.output):
        _learn(stage, data, beginning, origin, resume=resume, callbacks=callbacks)
    return stage.output


def _learn(
    stage: GroupRelativeStage,
    data: StageData,
    beginning: Beginning,
    origin: Origin,
    *,
    resume: bool,
    callbacks: Sequence[TrainerCallback],
) -> None:
    """Train on rewarded rollouts; save the next checkpoint and its record."""
    state = state_to_resume(stage.output / "run", resume=resume)
    latest = ScoredRollouts()
    log = RunLog(stage.output / "log.jsonl", "grpo")
    pictures = SamplePictures(
        latest,
        data.films,
        stage.output / "samples",
        every=stage.logging.samples_every,
        count=stage.logging.samples,
        group=stage.rollouts.group,
    )
    trainer = _trainer(stage, data, beginning, latest)
    board = tensorboard(stage.logging, stage.output, step_of(state))
    mark = MarkWhole(stage.logging.keep)
    for callback in (log, Guards(stage.guards), mark, pictures, *board, *callbacks):
        trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)  # the log tells the same
    if is_first_process():
        origin = begin_run(stage, data.digest, origin, state)
    try:
        train_or_restore(trainer, state)
    finally:
        log.close()
    save_output(trainer, beginning.tokenizer, beginning, stage.output)
    if is_first_process():
        write_stage_record(stage.output, "grpo", stage, data.digest, log.last, origin)


def _shuffled(data: StageData, stage: GroupRelativeStage) -> StageData:
    if stage.data.mixture:
        return data  # drawn at random, and every stretch holds the shares
    order = np.random.default_rng([stage.seed, 3]).permutation(len(data.examples))
    return StageData(tuple(data.examples[i] for i in order), data.films, data.digest)


def _trainer(
    stage: GroupRelativeStage, data: StageData, beginning: Beginning, latest: ScoredRollouts
) -> FilmGRPOTrainer:
    tokenizer, grid = beginning.tokenizer, beginning.grid
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rewards, weights = _rewards(stage, data, beginning, latest)
    # Before the model: ZeRO-3 and FSDP shard it as it loads.
    arguments = trl_config(GRPOConfig, grpo_arguments(stage, beginning, weights))
    if stage.objective.kl and stage.model.lora is None:
        check_reference()
    model = load_model(stage.model, beginning)
    common: dict[str, Any] = {
        "model": model,
        "reward_funcs": rewards,
        "args": arguments,
        "peft_config": adapters(stage.model, model),
        "drop_alike": stage.objective.without_spread == "drop",
        "step_credit": StepCredit(latest, stage.objective.step_credit)
        if stage.objective.step_credit
        else None,
    }
    first = data.examples[: stage.rollouts.prompts]
    asked = [asked_text(e, tokenizer, beginning.conventions, grid) for e in first]
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in asked]
    check_prompts(prompts, [e.sizes for e in first], tokenizer, grid)
    if stage.rollouts.engine == "shared-prefix":
        check_seen_films()
        if processes() > 1:
            raise ConfigError(
                "rollouts.engine shared-prefix is for one process: choose transformers, "
                "vllm-server or vllm-colocate under accelerate."
            )
        return trl_trainer(
            SharedPrefixGRPOTrainer,
            **common,
            train_dataset=_texts(data, beginning),
            processing_class=tokenizer,
            seen=SeenFilms(model.model.visual, data.films, grid, data.sizes),
            shown=[example.images for example in data.examples],
        )
    processor = _processor(beginning)
    sizes = [size for example in first for size in example.sizes]
    check_processor(processor.image_processor, grid, sizes)
    of_engine = _checkpoint_processor(beginning)
    check_processor(of_engine, grid, sizes)
    check_same_pixels(processor.image_processor, of_engine, [grid.size_for(*s) for s in sizes[:1]])
    rows = _conversations(data, beginning)
    trainer = trl_trainer(FilmGRPOTrainer, **common, train_dataset=rows, processing_class=processor)
    taken = rows[: len(first)]
    check_same_prompts(
        prompts,
        trainer.prompt_ids(taken["prompt"], taken["images"]),
        tokenizer.convert_tokens_to_ids("<|image_pad|>"),
    )
    return trainer


def _rewards(
    stage: GroupRelativeStage, data: StageData, beginning: Beginning, latest: ScoredRollouts
) -> tuple[list[Callable[..., list[float]]], list[float]]:
    rewards: list[Callable[..., list[float]]] = [
        LoggedReward(
            settings,
            data.examples,
            beginning.conventions,
            beginning.grid,
            latest,
            first=index == 0,
        )
        for index, settings in enumerate(stage.rewards)
    ]
    weights = [settings.weight for settings in stage.rewards]
    if stage.objective.overlong.penalty_tokens:
        rewards.append(overlong_penalty(stage.objective.overlong, stage.rollouts.max_tokens))
        weights.append(1.0)
    return rewards, weights


def _texts(data: StageData, beginning: Beginning) -> datasets.Dataset:
    prompts = [
        asked_text(example, beginning.tokenizer, beginning.conventions, beginning.grid)
        for example in data.examples
    ]
    return datasets.Dataset.from_dict({"prompt": prompts, "row": list(range(len(prompts)))})


def _conversations(data: StageData, beginning: Beginning) -> datasets.Dataset:
    """Prompts and films as TRL takes them; a film is opened when its row is.

    TRL takes all rows of a generation for each part of a step, and a row for each completion: the
    films of the rows taken last are kept, so that each is opened once for a generation.
    """
    latest: dict[str, Image.Image] = {}
    sizes = data.sizes

    def shown(path: str) -> Image.Image:
        return Image.fromarray(shown_film(data.films, path, beginning.grid, sizes[path]))

    def rows_of(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        nonlocal latest
        examples = [data.examples[row] for row in batch["row"]]
        paths = dict.fromkeys(path for example in examples for path in example.images)
        latest = {path: latest[path] if path in latest else shown(path) for path in paths}
        return {
            "prompt": [
                [{"role": "user", "content": prompt_text(example, beginning.conventions)}]
                for example in examples
            ],
            "images": [[latest[path] for path in example.images] for example in examples],
            "row": batch["row"],
        }

    rows = datasets.Dataset.from_dict({"row": list(range(len(data.examples)))})
    return rows.with_transform(rows_of)


def _processor(beginning: Beginning) -> Any:
    from transformers import Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    return Qwen2_5_VLProcessor(
        image_processor=image_processor(beginning.grid),
        tokenizer=beginning.tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=beginning.tokenizer.chat_template,
    )


def _checkpoint_processor(beginning: Beginning) -> Any:
    """The image processor that a rollout engine loads from the checkpoint itself."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil.from_pretrained(beginning.start)
