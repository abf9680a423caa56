"""The embedded checkpoint from nothing: films, warm-up, three stages, export.

Every step is skipped when its output is there and resumes when it was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from service.engine import load_manifest
from service.engine.manifest import MANIFEST_FILE
from service.reading import Mode, Task
from training.architecture import GRID, build_image_processor, build_model, train_tokenizer
from training.checkpoint import (
    CheckpointError,
    export_checkpoint,
    follow_lineage,
    is_finished,
    read_lineage,
    record_stage,
)
from training.checkpoint.average import average_with_start
from training.checkpoint.loading import load_complete
from training.checkpoint.merge import load_whole
from training.checkpoint.permissions import share_weights
from training.conventions import EMBEDDED_CONVENTIONS
from training.data.ct_radiographs.examples import question_examples, report_example
from training.data.ct_radiographs.generate import FilmRecord, generate, read_records
from training.data.example import Example
from training.rounds import PAPER_ROUNDS, ROUNDS, STARTS, SUPERVISED, UNCREDITED_ROUNDS, Last
from training.stages.config import GroupRelativeStage, SupervisedStage, read_config
from training.stages.grpo import run_grpo
from training.stages.record import code_revision
from training.stages.supervised import run_supervised
from training.stages.text_targets import completion_text, prompt_text
from training.stages.warm_up import WarmUpConfig, load_tower, warm_up

_SHARE = 0.5
"""Of a round's end: what that teaches of two films costs some of what was known of one."""

_LATER_ROUNDS = {
    "again": (
        "data.mixture={lateral: 0.15, comparison: 0.05, vqa: 0.2, impression: 0.05,"
        " view:LATERAL: 0.15, findings: 0.4}",
        "seed=21",
    ),
    "third": (
        "data.mixture={lateral: 0.15, comparison: 0.05, vqa: 0.2, impression: 0.05,"
        " view:LATERAL: 0.3, findings: 0.25}",
        "seed=22",
    ),
}
"""Of stage 3, what differs from the first: laterals that are read alone had fallen behind."""

_UNCREDITED = "objective.step_credit=0"

_SCATTERED = 0.3
"""Share of the last films with several nodules or masses. Among a hundred others eight were too few
to learn from: the model put the same box down three times, in the middle of where they lay."""
_ALONG = (
    "data.mixture={lateral: 0.08, comparison: 0.04, vqa: 0.2, impression: 0.06,"
    " view:LATERAL: 0.1, findings: 0.52}"
)


@dataclass(frozen=True)
class EmbeddedConfig:
    """Scale of the run that makes the embedded checkpoint; the defaults made the shipped one.

    Attributes
    ----------
    work
        Folder for everything that is not the checkpoint.
    output
        Folder of the checkpoint.
    train_films, validate_films, test_films
        Films of each split.
    warm_up_epochs, sharpen_epochs, polish_epochs, refine_epochs
        Passes of the tower's warm-up over the training films: in large steps, then three times in
        small ones that weigh faint findings more.
    all_films
        Films to which the training split grows for the last rounds of tower and text.
    widen_epochs
        Passes of the tower over them, every look at another crop.
    new_films
        Films of stage 3, none of which an earlier stage has seen: on those it knows by heart, a
        model hardly ever errs, and rewards have nothing to tell apart.
    scattered_films, more_scattered_films
        Films of which many show several nodules or masses; and as many others of the kind for the
        last round.
    grpo_steps
        Steps of stage 3; the recipe's where not given.
    settled
        A checkpoint of stage 2: hours less, and everyone's start is the same. Stage 1 then learns
        on its tower.
    """

    work: Path
    output: Path
    train_films: int = 6000
    all_films: int = 12000
    validate_films: int = 160
    test_films: int = 520
    warm_up_epochs: int = 3
    sharpen_epochs: int = 5
    polish_epochs: int = 3
    refine_epochs: int = 4
    widen_epochs: int = 1
    new_films: int = 2400
    scattered_films: int = 6360
    more_scattered_films: int = 9000
    grpo_steps: int | None = None
    settled: Path | None = None
    workers: int = 2
    seed: int = 20261123

    @property
    def films(self) -> Path:
        """Folder of the generated films."""
        return self.work / "ct"

    @property
    def films_of_stage_3(self) -> Path:
        """Folder of the films that only stage 3 sees."""
        return self.work / "ct_new"


def make_films(config: EmbeddedConfig) -> None:
    """Generate all splits."""
    for split, count in (
        ("test", config.test_films),
        ("validate", config.validate_films),
        ("train", config.train_films),
    ):
        generate(config.films, split, count, seed=config.seed, workers=config.workers)


def make_new_films(config: EmbeddedConfig) -> None:
    """Generate the films of stage 3."""
    folder, count, seed = config.films_of_stage_3, config.new_films, config.seed + 1
    generate(folder, "train", count, seed=seed, workers=config.workers)


def tokenizer_corpus(records: list[FilmRecord]) -> Iterator[str]:
    """Texts that the tokenizer is trained on: prompts and completions of both modes."""
    for record in records:
        examples: list[Example] = [
            report_example(record, task, Mode.THINK, seed=0)
            for task in (Task.FINDINGS, Task.IMPRESSION)
        ]
        examples += question_examples(record, Mode.THINK, seed=0, count=6)
        for example in examples:
            yield prompt_text(example, EMBEDDED_CONVENTIONS)
            yield completion_text(example, EMBEDDED_CONVENTIONS, GRID)


def start_model(config: EmbeddedConfig) -> Path:
    """Write the untrained language model with the warmed-up tower; returns its folder."""
    folder = config.work / "start"
    if not (folder / "model.safetensors").exists():
        tokenizer = train_tokenizer(tokenizer_corpus(read_records(config.films, "train")[:1500]))
        model = build_model(tokenizer, seed=config.seed)
        load_tower(model, config.work / "refine")
        _save_start(folder, model, tokenizer)
    return folder


def _save_start(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write what a stage starts from; the folder has its name once all is in it."""
    partial = folder.with_name(f".{folder.name}.partial")
    for unfinished in (partial, folder):
        shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer.save_pretrained(partial)
    build_image_processor().save_pretrained(partial)
    model.save_pretrained(partial)
    share_weights(partial)
    partial.rename(folder)


def warm_up_tower(config: EmbeddedConfig) -> None:
    """The rounds of the tower's warm-up before there is any text."""
    warm, sharp, polished, refined = (config.work / name for name in SUPERVISED[:4])
    sharpen = WarmUpConfig(
        config.films,
        sharp,
        epochs=config.sharpen_epochs,
        batch_size=8,
        matrix_rate=5e-4,
        other_rate=5e-4,
        faint_weight=8.0,
        seed=1,
        start=warm,
    )
    rounds = (
        WarmUpConfig(config.films, warm, epochs=config.warm_up_epochs),
        sharpen,
        replace(sharpen, output=polished, epochs=config.polish_epochs, seed=2, start=sharp),
        replace(
            sharpen,
            output=refined,
            epochs=config.refine_epochs,
            batch_size=16,
            seed=3,
            start=polished,
        ),
    )
    for stage in rounds:
        _warm_up(stage, config.train_films)


def widen_tower(config: EmbeddedConfig) -> None:
    """More films for the tower, each look at another crop; then the text so far gets that tower."""
    widen = WarmUpConfig(
        config.films,
        config.work / "widen",
        epochs=config.widen_epochs,
        matrix_rate=5e-4,
        other_rate=5e-4,
        faint_weight=8.0,
        seed=4,
        start=config.work / "refine",
        vary=True,
    )
    folder = config.work / STARTS["settle"]
    if is_finished(widen.output) and (folder / "model.safetensors").exists():
        return
    generate(config.films, "train", config.all_films, seed=config.seed, workers=config.workers)
    _warm_up(widen, config.all_films)
    before = config.work / "cold_start_again"
    model = load_complete(Qwen2_5_VLForConditionalGeneration, before, dtype=torch.float32)
    load_tower(model, widen.output)
    _save_start(folder, model, AutoTokenizer.from_pretrained(before))


def check_settled(settled: Path) -> None:
    """Refuse a checkpoint to go on from that is none of stage 2.

    Raises
    ------
    CheckpointError
        When it is not a result of stage 2.
    ManifestError
        When it has no manifest, or is not what that says.
    """
    manifest, _ = load_manifest(str(settled))
    if manifest.stage != "cold_start" or any(one.stage == "grpo" for one in manifest.lineage):
        raise CheckpointError(
            f"{settled} is a result of stage 3, not of stage 2: name a checkpoint that is "
            "(the release before; docs/training.md says where it is), or train from nothing."
        )


def take_settled(config: EmbeddedConfig, settled: Path) -> None:
    """Put a checkpoint where ``settle`` would write, and untrained text on its tower for stage 1.

    Raises
    ------
    CheckpointError, ManifestError
        As :func:`check_settled`.
    """
    check_settled(settled)
    copy = config.work / STARTS["grpo"]
    if not copy.exists():
        partial = copy.with_name(f".{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(settled, partial)
        partial.rename(copy)
    elif not _is_copy(copy, settled):
        raise CheckpointError(
            f"{copy} holds another result of stage 2 than {settled}, and what follows began with "
            "it. Name another folder to work in (--work), or leave --settled out."
        )
    folder = config.work / STARTS["sft"]
    if (folder / "model.safetensors").exists():
        return
    tokenizer = AutoTokenizer.from_pretrained(copy)
    model = build_model(tokenizer, seed=config.seed)
    trained: Any = load_whole(copy, dtype="float32")
    model.model.visual.load_state_dict(trained.model.visual.state_dict())
    _save_start(folder, model, tokenizer)


def _is_copy(copy: Path, settled: Path) -> bool:
    try:
        return (copy / MANIFEST_FILE).read_bytes() == (settled / MANIFEST_FILE).read_bytes()
    except OSError:
        return False


def _warm_up(stage: WarmUpConfig, films: int) -> None:
    if is_finished(stage.output):
        return
    revision = code_revision()
    warm_up(stage)
    record_stage(
        stage.output,
        stage.output.name,
        stage.films,
        revision,
        films=films,
        epochs=stage.epochs,
        batch_size=stage.batch_size,
        seed=stage.seed,
        vary=stage.vary,
    )


def stage_config(config: EmbeddedConfig, recipe: str, folder: str, *more: str) -> Any:
    """A recipe of ``embedded-cpu`` with its folders in ``config.work``.

    Parameters
    ----------
    folder
        Name of the stage and of its output.
    more
        Further overrides.
    """
    kind = GroupRelativeStage if recipe == "grpo" else SupervisedStage
    return read_config(
        kind,
        f"embedded-cpu/{recipe}",
        [
            f"output={config.work / folder}",
            f"data.folder={config.films}",
            f"model.start={config.work / STARTS[folder]}",
            *more,
        ],
    )


def train(config: EmbeddedConfig, last: Last) -> None:
    """Run every stage up to the last that has not finished."""
    if config.settled is None:
        warm_up_tower(config)
        start_model(config)
    else:
        take_settled(config, config.settled)
    run_supervised("sft", stage_config(config, "sft", "sft"), resume=True)
    if config.settled is None:
        first = f"data.films={config.train_films}"
        _cold_start(config, "cold_start", first)
        _cold_start(config, "cold_start_again", first, *_rate(1e-3), "seed=11")
        widen_tower(config)
        _cold_start(config, "settle", *_rate(1.5e-3), "seed=12")
    if last != "settle":
        _reinforce(config, ROUNDS[: ROUNDS.index(last) + 1])


def train_for_comparison(config: EmbeddedConfig) -> None:
    """Stage 3 twice more, from the same start and for as long, with no step's credit of its own.

    Once under the published reward, which knows completions as a whole only, and once under the
    grounded one: between these two nothing but the reward differs.
    """
    _reinforce(config, PAPER_ROUNDS, "rewards=[{name: paper}]", _UNCREDITED)
    _reinforce(config, UNCREDITED_ROUNDS, _UNCREDITED)


def _reinforce(config: EmbeddedConfig, rounds: Sequence[str], *more: str) -> None:
    make_new_films(config)
    overrides = [f"data.folder={config.films_of_stage_3}", *more]
    if config.grpo_steps is not None:
        overrides.append(f"max_steps={config.grpo_steps}")
    for before, name in pairwise(("", *rounds)):
        if name.startswith("grpo"):
            own = _LATER_ROUNDS.get(name.rpartition("_")[2], ())
            run_grpo(stage_config(config, "grpo", name, *overrides, *own), resume=True)
        elif name == "scattered":
            films, recipe = config.scattered_films, ("data.passes=3", *_rate(1e-3), "seed=14")
            _teach_scattered(config, name, films, 2, *recipe)
        elif name == "scattered_again":
            films, recipe = config.more_scattered_films, ("data.passes=2", *_rate(1e-3), "seed=15")
            _teach_scattered(config, name, films, 3, *recipe)
        elif not is_finished(config.work / name):
            trained = config.work / before
            average_with_start(trained, config.work / name, code_revision(), share=_SHARE)


def _teach_scattered(
    config: EmbeddedConfig, name: str, films: int, seed: int, *recipe: str
) -> None:
    """Stage 2's recipe on films of its own, many with several nodules or masses."""
    folder = config.work / f"ct_{name}"
    generate(
        folder,
        "train",
        films,
        seed=config.seed + seed,
        workers=config.workers,
        scattered=_SCATTERED,
    )
    _cold_start(config, name, f"data.folder={folder}", _ALONG, *recipe)


def _cold_start(config: EmbeddedConfig, folder: str, *more: str) -> None:
    run_supervised("cold-start", stage_config(config, "cold-start", folder, *more), resume=True)


def _rate(rate: float) -> tuple[str, str]:
    return f"optimizer.learning_rate={rate}", f"optimizer.matrix_rate={rate}"


def export(config: EmbeddedConfig, stage: str, output: Path | None = None) -> None:
    """Write a stage's output as a checkpoint, without results yet."""
    trained = config.work / stage
    compared = (some for some in (PAPER_ROUNDS, UNCREDITED_ROUNDS) if stage in some)
    stages = (*SUPERVISED, *next(compared, ROUNDS))
    before = stages[: stages.index(stage)]
    if all(is_finished(config.work / name) for name in before):
        lineage = read_lineage([*(config.work / name for name in before), trained])
    else:  # it went on from a settled checkpoint, whose manifest knows what was before
        lineage = list(follow_lineage(trained).records)
    export_checkpoint(trained, output or config.output, lineage=lineage)
