"""``deepmedix train``: the three stages at any scale, and the embedded checkpoint's whole run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.rounds import ROUNDS, Last
from training.system_error import described

if TYPE_CHECKING:
    from service.engine import MeasuredResult

train = typer.Typer(
    help="Train a checkpoint in three stages; make and measure the embedded one.",
    no_args_is_help=True,
)

Config = Annotated[
    str, typer.Option(help="YAML file, or a recipe such as `embedded-cpu/sft` (docs/stages.md).")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key=value, such as optimizer.learning_rate=2e-6 data.samples=100."),
]

Work = Annotated[Path, typer.Option(help="Folder for films and intermediate checkpoints.")]
Model = Annotated[Path, typer.Option(help="Folder of the checkpoint.")]
Films = Annotated[int, typer.Option(help="Films to measure on.", min=1)]

_FOR_INTERVALS = 500
"""Test films below which a warning says that intervals are wide."""
_FILMS_AT_ONCE = 40
"""Films are made in shards of so many: a part of one would stay one when more are asked for."""


def _embedded() -> Path:
    from service.settings import EMBEDDED_CHECKPOINT

    return EMBEDDED_CHECKPOINT


@train.command()
def sft(config: Config, overrides: Overrides = None, resume: Resume = False) -> None:
    """Stage 1, instruction fine-tuning: film and query to answer."""
    _supervised("sft", config, overrides, resume)


@train.command("cold-start")
def cold_start(config: Config, overrides: Overrides = None, resume: Resume = False) -> None:
    """Stage 2, cold start for reasoning: film and query to steps with boxes, then the answer."""
    _supervised("cold-start", config, overrides, resume)


@train.command()
def grpo(config: Config, overrides: Overrides = None, resume: Resume = False) -> None:
    """Stage 3, GRPO: sampled completions, rewarded against the rest of their group."""
    with _in_words():
        from training.stages.config import GroupRelativeStage, read_config

        stage = read_config(GroupRelativeStage, config, overrides or [])
        from training.stages.preflight import check_engine

        check_engine(stage.rollouts.engine)
        from training.stages.grpo import run_grpo

        _wrote(run_grpo(stage, resume=resume))


def _supervised(
    name: Literal["sft", "cold-start"], config: str, overrides: list[str] | None, resume: bool
) -> None:
    with _in_words():
        from training.stages.config import SupervisedStage, read_config

        stage = read_config(SupervisedStage, config, overrides or [])
        from training.stages.supervised import run_supervised

        _wrote(run_supervised(name, stage, resume=resume))


def _wrote(output: Path) -> None:
    from training.stages.processes import is_first_process

    if is_first_process():
        typer.echo(f"wrote {output}")


@contextmanager
def _in_words() -> Iterator[None]:
    """What the caller can mend, in words: 2 for what is given, 3 for a run that teaches nothing."""
    from service.engine import EngineArgumentError, EngineNotInstalledError, ManifestError
    from training.checkpoint.errors import CheckpointError
    from training.data.store.errors import DataError
    from training.stages.errors import ConfigError, SilentFailureError
    from training.systems.protocol import NoSystemError

    of_checkpoints = (CheckpointError, ManifestError, EngineArgumentError, EngineNotInstalledError)
    try:
        yield
    except (ConfigError, DataError, NoSystemError, *of_checkpoints) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(described(error), err=True)
        raise typer.Exit(2) from error
    except SilentFailureError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error


@train.command()
def embedded(
    work: Work = Path("runs"),
    output: Annotated[Path | None, typer.Option(help="Folder of the checkpoint.")] = None,
    films: Annotated[int, typer.Option(help="Training films.", min=40)] = 6000,
    warm_up_epochs: Annotated[int, typer.Option(min=1)] = 3,
    sharpen_epochs: Annotated[int, typer.Option(min=1)] = 5,
    polish_epochs: Annotated[int, typer.Option(min=1)] = 3,
    refine_epochs: Annotated[int, typer.Option(min=1)] = 4,
    all_films: Annotated[int, typer.Option(help="Films of the last rounds.", min=40)] = 12000,
    widen_epochs: Annotated[int, typer.Option(min=1)] = 1,
    stage: Annotated[
        Last,
        typer.Option(
            help="Stage to export: the last of 2, a round of 3, between its start and its end, or "
            "the last of all."
        ),
    ] = ROUNDS[-1],
    grpo_steps: Annotated[int | None, typer.Option(min=1)] = None,
    workers: Annotated[int, typer.Option(help="Processes that simulate films.", min=1)] = 2,
    test_films: Films = 300,
) -> None:
    """Films, warm-up, the stages, export, held-out results. Resumes."""
    from training.embedded import EmbeddedConfig, export, make_films
    from training.embedded import train as run_stages
    from training.proof import measure, write_results

    config = EmbeddedConfig(
        work=work,
        output=output or _embedded(),
        train_films=films,
        warm_up_epochs=warm_up_epochs,
        sharpen_epochs=sharpen_epochs,
        polish_epochs=polish_epochs,
        refine_epochs=refine_epochs,
        all_films=all_films,
        widen_epochs=widen_epochs,
        grpo_steps=grpo_steps,
        workers=workers,
    )
    with _in_words():
        make_films(config)
        run_stages(config, stage)
        export(config, stage)
        results = measure(config.output, config.films, work / "held_out.jsonl", test_films)
        write_results(config.output, results)
        _print(results)


@train.command()
def evaluate(
    work: Work = Path("runs"),
    model: Annotated[Path | None, typer.Option(help="Folder of the checkpoint.")] = None,
    films: Films = 300,
    write: Annotated[
        bool, typer.Option(help="Write the results into the checkpoint's manifest and card.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of other test films than the published ones: they go to WORK/SEED.", min=0
        ),
    ] = None,
) -> None:
    """Held-out results of a checkpoint, with 95% intervals; makes the test films if need be."""
    from service.engine import load_manifest
    from training.data.ct_radiographs.generate import generate
    from training.embedded import EmbeddedConfig
    from training.proof import measure, write_results

    if seed is not None:
        work /= str(seed)  # films lie by their number: those of two seeds must not mix
    config = EmbeddedConfig(
        work=work,
        output=model or _embedded(),
        test_films=max(films, EmbeddedConfig.test_films),
        seed=EmbeddedConfig.seed if seed is None else seed,
    )
    with _in_words():
        load_manifest(str(config.output))  # before films are made
        generate(config.films, "test", config.test_films, seed=config.seed, workers=config.workers)
        results = measure(config.output, config.films, work / "held_out.jsonl", films)
        if write:
            write_results(config.output, results)
        _print(results)


@train.command()
def ablation(
    work: Work = Path("runs"),
    output: Annotated[Path, typer.Option(help="Folder for the tables and every text.")] = Path(
        "runs/ablation"
    ),
    grpo_steps: Annotated[int | None, typer.Option(min=1)] = None,
    films: Films = 520,
    control_films: Annotated[
        int | None, typer.Option(help="Films of the controls, if fewer.", min=1)
    ] = None,
    settled: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint of stage 2 to go on from (docs/training.md): fifteen hours "
            "instead of nineteen."
        ),
    ] = None,
    train_films: Annotated[int, typer.Option(help="Training films.", min=40)] = 6000,
    new_films: Annotated[int, typer.Option(help="Films of stage 3.", min=40)] = 2400,
    validate_films: Annotated[int, typer.Option(help="Validation films.", min=4)] = 160,
    scattered_films: Annotated[
        int, typer.Option(help="Films with several nodules or masses.", min=40)
    ] = 6360,
    more_scattered_films: Annotated[
        int, typer.Option(help="Films of the kind for the last round.", min=40)
    ] = 9000,
) -> None:
    """What each stage adds, stage 3 by reward and step credit; also on blank and shuffled films.

    Runs whatever stage has not finished. What was measured before is not measured again.

    On two cores it takes about nineteen hours. A toy run to see it work (half an hour; it shows
    nothing of what stages add): --settled of stage 2, --films 8 --control-films 4 --train-films 40
    --new-films 40 --validate-films 4 --scattered-films 40 --more-scattered-films 40 --grpo-steps 1,
    in a --work and an --output of its own.
    """
    from training.embedded import (
        EmbeddedConfig,
        check_settled,
        make_films,
        train_for_comparison,
    )
    from training.embedded import train as run_stages
    from training.evaluation.ablation import run_ablation, write_ablation
    from training.proof import STAGE_2, contestants

    config = EmbeddedConfig(
        work=work,
        output=_embedded(),
        train_films=train_films,
        validate_films=validate_films,
        test_films=-(-films // _FILMS_AT_ONCE) * _FILMS_AT_ONCE,
        new_films=new_films,
        scattered_films=scattered_films,
        more_scattered_films=more_scattered_films,
        grpo_steps=grpo_steps,
        settled=settled,
    )
    with _in_words():
        if films < _FOR_INTERVALS:
            typer.echo(
                f"Of {films} films intervals are wide: --films {_FOR_INTERVALS} or more for "
                "figures that are to be told.",
                err=True,
            )
        if settled is not None:
            check_settled(settled)  # before films are made
        make_films(config)
        run_stages(config, ROUNDS[-1])
        train_for_comparison(config)
        measured = run_ablation(
            contestants(config),
            config.films,
            output / "texts",
            count=films,
            control_count=min(control_films or films, films),
        )
        write_ablation(measured, output, beside=STAGE_2)
        typer.echo((output / "ablation.md").read_text())


@train.command()
def evaluation(
    work: Work = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder for predictions and report; resumes.")] = Path(
        "runs/evaluation"
    ),
    films: Films = 520,
    controls: Annotated[bool, typer.Option(help="Blank and shuffled films, too.")] = True,
) -> None:
    """The shipped checkpoint and its finished stages, served, asked over HTTP, reported on."""
    from training.data.ct_radiographs.generate import generate
    from training.embedded import EmbeddedConfig
    from training.proof import evaluate_stages, not_trained

    config = EmbeddedConfig(
        work=work, output=_embedded(), test_films=max(films, EmbeddedConfig.test_films)
    )
    with _in_words():
        generate(config.films, "test", config.test_films, seed=config.seed, workers=config.workers)
        evaluate_stages(config, out, films=films, controls=controls)
        typer.echo((out / "report.md").read_text())
    if missing := not_trained(config):
        typer.echo(
            f"Not trained in {work}, so not in the report: {', '.join(missing)}. `deepmedix train "
            f"ablation --work {work}` trains them (docs/training.md)."
        )
    typer.echo(f"wrote {out / 'report.html'}")


@train.command("contact-sheet")
def contact_sheet(
    work: Work = Path("runs"),
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("contact-sheet.jpg"),
    films: Annotated[int, typer.Option(help="Films to show.", min=1)] = 20,
) -> None:
    """A picture of simulated films with their boxes drawn; makes the test films if need be."""
    from training.data.ct_radiographs.contact_sheet import draw_contact_sheet
    from training.data.ct_radiographs.generate import generate, read_records
    from training.embedded import EmbeddedConfig

    config = EmbeddedConfig(work=work, output=_embedded())
    with _in_words():
        generate(config.films, "test", config.test_films, seed=config.seed, workers=config.workers)
        records = read_records(config.films, "test")[:: config.test_films // films or 1][:films]
        draw_contact_sheet(records, config.films).save(output, quality=82)
    typer.echo(f"wrote {output}")


def _print(results: list[MeasuredResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "95% interval", title="Held-out CT-derived radiographs")
    for result in results:
        low, high = result.interval or (float("nan"), float("nan"))
        table.add_row(result.name, f"{result.value:.3f}", f"{low:.3f} to {high:.3f}")
    Console().print(table)
