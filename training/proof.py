"""What the embedded checkpoint's stages are worth: exported, measured, held side by side."""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.engine import EngineSettings, MeasuredResult, VllmEngine, load_manifest
from service.engine.manifest import MANIFEST_FILE
from service.reading import Mode
from service.settings import EMBEDDED_CHECKPOINT
from training.checkpoint import (
    describe_checkpoint,
    embedded_identity,
    identity_of,
    is_finished,
)
from training.embedded import EmbeddedConfig, export
from training.evaluation.ablation import Contestant

STAGE_2 = "stage 2, cold start"
"""From which the others' differences are told."""

_CONTESTANTS = {
    "stage 1, sft": "sft",
    STAGE_2: "settle",
    "stage 3, GRPO, `paper`": "grpo_paper_third",
    "stage 3, GRPO, `grounded`": "grpo_uncredited_third",
    "stage 3, GRPO, `grounded` with step credit": "grpo_third",
    "stage 3, GRPO, `grounded` with step credit, half-way": "average_third",
    "then stage 2's recipe on several nodules and masses": "scattered",
    "half-way there": "average_scattered",
    "the same once more": "scattered_again",
    "the release: half-way there once more": "average_scattered_again",
}
"""Names of the stages that are measured beside each other, and their folders.

The rewards have no step credit where none is named; all three are the ends of their third round.
"""


def not_trained(config: EmbeddedConfig) -> list[str]:
    """Stages of which there is no finished run in the folder."""
    return [name for name, stage in _CONTESTANTS.items() if not _is_there(config.work / stage)]


def _is_there(trained: Path) -> bool:
    """Whether a stage has finished, or a checkpoint was put in its place."""
    return is_finished(trained) or (trained / MANIFEST_FILE).is_file()


def contestants(config: EmbeddedConfig, *, finished: bool = False) -> list[Contestant]:
    """Every text stage, and stage 3 as it is compared with, exported for the ablation.

    Parameters
    ----------
    finished
        Leave out what was not trained, rather than fail.
    """
    some = {
        name: stage
        for name, stage in _CONTESTANTS.items()
        if not finished or _is_there(config.work / stage)
    }
    for stage in some.values():
        export(config, stage, config.work / "exported" / stage)
    return [
        Contestant(
            name,
            config.work / "exported" / stage,
            Mode.ANSWER if stage == "sft" else Mode.THINK,
        )
        for name, stage in some.items()
    ]


def evaluate_stages(
    config: EmbeddedConfig, out: Path, *, films: int, controls: bool, timeout: float = 600.0
) -> None:
    """Serve the shipped checkpoint and every stage that is finished, one after the other, ask
    each over HTTP about the test films, and write the report.

    Raises
    ------
    training.data.store.DataError
        When there are no test films.
    training.systems.protocol.NoSystemError
        When a checkpoint cannot be served; the report of the others is written.
    """
    from training.data.preparation import Preparation, prepare
    from training.evaluation.controls import Films
    from training.evaluation.folder import Selection, run, write_report
    from training.systems.protocol import NoSystemError
    from training.systems.specification import Asking, open_system

    store = out / "store"
    options = {"split": "test", "mode": "think", "questions": "1"}
    prepare(Preparation("ct-radiographs", config.films, options=options, limit=films), store)
    shipped = "embedded" if config.output == EMBEDDED_CHECKPOINT else config.output
    lines = [f"shipped=serve:{shipped}"]
    lines += [
        f"{one.name.replace('`', '').replace(',', '')}=serve:{one.checkpoint},mode={one.mode}"
        for one in contestants(config, finished=True)
    ]
    opened = [(*open_system(line, Asking(timeout)), line) for line in lines]
    left_out = run(
        Selection(store),
        [(name, line, system) for name, system, line in opened],
        out,
        conditions=tuple(Films) if controls else (Films.SHOWN,),
        concurrency=16,
    )
    write_report(out)
    if left_out:
        raise NoSystemError("\n".join(f"{name}: {why}" for name, why in left_out.items()))


def measure(model: Path, films: Path, scores: Path, count: int) -> list[MeasuredResult]:
    """Held-out results of a checkpoint; its texts go to ``scores`` as JSON lines."""
    # Stages run in their own processes without the service's walk.
    from training.evaluation.figures import summarise
    from training.evaluation.film_score import write_scores
    from training.evaluation.held_out import evaluate

    async def run() -> list[MeasuredResult]:
        engine = VllmEngine(EngineSettings(str(model)))
        await engine.start()
        try:
            scored = await evaluate(engine, films, films=count)
        finally:
            await engine.stop()
        write_scores(scored, scores)
        return summarise(scored)

    return asyncio.run(run())


def write_results(model: Path, results: list[MeasuredResult]) -> None:
    """Put results into the manifest and the model card of a checkpoint, and a real film's reading.

    Without ``pydicom-data`` the card shows no film.
    """
    # Stages run in their own processes without the service's walk.
    from training.checkpoint.showcase import read_real_film, real_film, showcase

    manifest, _ = load_manifest(str(model))
    film = real_film()
    shown = "" if film is None else showcase(read_real_film(model, film), model)
    identity = None if manifest.name == embedded_identity().name else identity_of(manifest)
    describe_checkpoint(
        model, lineage=manifest.lineage, results=results, identity=identity, showcase=shown
    )
