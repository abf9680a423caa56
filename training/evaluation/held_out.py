"""How well a checkpoint reads simulated films that it has never seen, through the service's walk.

Every film goes through decoder, prompt, engine and parser as a caller's would; what is measured is
what a caller would get. Results are of CT-derived radiographs and say nothing of clinical accuracy.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from service.engine import Engine
from service.interpretation import StudyRequest, interpret
from service.radiograph import RadiographDecoder
from service.reading import Mode, Reading, Task
from training.data.ct_radiographs.examples import (
    comparison_example,
    question_examples,
    report_example,
)
from training.data.ct_radiographs.generate import FilmRecord, read_records
from training.evaluation.controls import Films, FilmViewer
from training.evaluation.film_score import FilmScore, same_answer, score_report, unparsed

_SEED = 9_000
QUESTIONS_PER_FILM = 3


async def evaluate(
    engine: Engine,
    folder: Path,
    *,
    films: int,
    skip: int = 0,
    shown: Films = Films.SHOWN,
    mode: Mode = Mode.THINK,
    concurrency: int = 16,
) -> list[FilmScore]:
    """Score the engine on the first films of the test split.

    Parameters
    ----------
    engine
        A running engine.
    folder
        Folder of the generated films.
    films, skip
        How many of them, and how many at the beginning to leave out.
    shown
        The films themselves, or a control.
    mode
        How the checkpoint is asked; one that never learnt to reason is asked for answers.
    concurrency
        Requests at once.

    Raises
    ------
    FileNotFoundError
        When the test split was not generated.
    """
    every = read_records(folder, "test")
    records = [record for record in every if record.frontal is None]
    by_id = {record.id: record for record in records}
    laterals = {record.frontal: record for record in every if record.frontal}
    look = FilmViewer(folder, [record.path for record in every], shown)
    decoder = RadiographDecoder()
    await decoder.start()
    gate = asyncio.Semaphore(concurrency)

    async def ask(request: StudyRequest) -> Reading:
        async with gate:
            done = await interpret(request, decoder=decoder, engine=engine)
            return done.sections[0].reading

    async def score(record: FilmRecord) -> FilmScore:
        example = report_example(record, Task.FINDINGS, Mode.THINK, seed=_SEED)
        asked = question_examples(record, Mode.THINK, seed=_SEED, count=QUESTIONS_PER_FILM)
        if record.prior and (
            pair := comparison_example(record, by_id[record.prior], Mode.THINK, seed=_SEED)
        ):
            asked.append(pair)
        report = ask(
            StudyRequest((look(record.path),), (Task.FINDINGS,), mode=mode, temperature=0.0)
        )
        replies = [
            ask(
                StudyRequest(
                    tuple(look(path) for path in item.images),
                    (Task.VQA,),
                    question=item.question,
                    mode=mode,
                    temperature=0.0,
                )
            )
            for item in asked
        ]
        reading, *answers = await asyncio.gather(report, *replies)
        result = score_report(record, example, reading)
        if record.id in laterals:
            study = (look(record.path), look(laterals[record.id].path))
            both = await ask(StudyRequest(study, (Task.FINDINGS,), mode=mode, temperature=0.0))
            result = replace(
                result,
                with_lateral=score_report(record, example, both),
                unparsed=result.unparsed + unparsed(both),
            )
        right = tuple(
            (str(item.question_type), same_answer(reply.answer, item.answer), reply.answer)
            for item, reply in zip(asked, answers, strict=True)
        )
        return replace(result, answers=right, unparsed=result.unparsed + unparsed(*answers))

    try:
        with Progress() as progress:
            task = progress.add_task("held-out films", total=films - skip)
            pending = [asyncio.create_task(score(record)) for record in records[skip:films]]
            for finished in asyncio.as_completed(pending):
                await finished
                progress.advance(task)
        return [task.result() for task in pending]
    finally:
        await decoder.close()
