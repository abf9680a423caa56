"""Ask a system about every example: several at once, kept as they come, resumed where it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.problem import Problem
from training.chat.stopwatch import Stopwatch
from training.data.example import Example
from training.systems.prediction import PASSING, Failure, Prediction, Predictions, writable
from training.systems.protocol import FailedError, NoSystemError, System

_ASKED = (
    *("task", "mode", "question", "indication", "technique", "comparison", "prior_report"),
    "roles",
)
"""Fields of an example that its prediction may depend on; its films are the rest."""

Viewer = Callable[[str], bytes]
"""Bytes of a film by its path, or of what a control shows in its place."""


async def predict_all(
    name: str,
    system: System,
    examples: Sequence[Example],
    look: Viewer,
    path: Path,
    *,
    concurrency: int = 8,
    timeout: float = 600.0,
) -> list[Prediction]:
    """Predictions of all examples, in their order.

    Those in the file are not asked for again, except where what went wrong may pass. Whatever a
    system does on one example, the others are asked about.

    Parameters
    ----------
    name
        As the report names the system.
    system
        Entered already.
    look
        Gives the bytes of a film.
    path
        Predictions are appended to it as they come.
    timeout
        Seconds that one prediction may take, whatever the system itself allows; the wait for its
        turn is not counted.

    Raises
    ------
    NoSystemError
        When the system cannot be asked at all.
    """
    kept = Predictions(path)
    try:
        return await _ask_all(name, system, examples, look, kept, concurrency, timeout)
    finally:
        kept.close()


async def _ask_all(
    name: str,
    system: System,
    examples: Sequence[Example],
    look: Viewer,
    kept: Predictions,
    concurrency: int,
    timeout: float,
) -> list[Prediction]:
    identity = system.identity
    found: list[Prediction | None] = [None] * len(examples)
    waiting = iter(enumerate(examples))
    claimed: dict[str, asyncio.Future[Prediction]] = {}

    async def about(example: Example) -> Prediction:
        if system.needs_films and not example.images:
            return Prediction(example.id, name, failure=Failure.FILM, key=f"film {example.id}")
        try:
            films = [look(image) for image in example.images] if system.needs_films else []
        except (OSError, Problem) as error:
            why = error.code if isinstance(error, Problem) else type(error).__name__
            missing = Prediction("", "", failure=Failure.FILM, notices=(why,))
            return replace(missing, example=example.id, system=name, key=f"film {example.id}")
        key = prediction_key(identity, example, films if films else [example.id.encode()])
        earlier = kept.find(key)
        if earlier is not None and earlier.failure not in PASSING:
            return replace(earlier, example=example.id, system=name)
        if key in claimed:  # the same question of the same films
            return replace(await claimed[key], example=example.id)
        claimed[key] = asyncio.get_running_loop().create_future()
        try:
            said = await _ask(system, example, films, timeout)
        except BaseException:
            claimed[key].cancel()
            raise
        said = replace(said, example=example.id, system=name, key=key)
        kept.keep(said)
        claimed[key].set_result(said)
        return said

    with _progress() as progress:
        task = progress.add_task(f"asking {name}", total=len(examples))

        async def work() -> None:
            for number, example in waiting:  # one iterator: each example goes to one worker
                found[number] = await about(example)
                progress.advance(task)

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [prediction for prediction in found if prediction is not None]


async def _ask(
    system: System, example: Example, films: Sequence[bytes], timeout: float
) -> Prediction:
    watch = Stopwatch(timeout)
    try:
        async with watch:
            said = writable(await system.predict(example, films))
    except TimeoutError:
        said = Prediction("", "", failure=Failure.TIMEOUT)
    except FailedError as error:
        words = (str(error),) if str(error) else ()
        said = writable(Prediction("", "", failure=error.failure, notices=words))
    except NoSystemError:
        raise
    except Exception as error:  # a system's own fault must not end the run
        said = Prediction("", "", failure=Failure.BROKEN, notices=(type(error).__name__,))
    return replace(said, seconds=round(watch.seconds, 3))


def prediction_key(identity: dict[str, Any], example: Example, films: Sequence[bytes]) -> str:
    """SHA-256 of all that a prediction depends on."""
    asked = {field: getattr(example, field) for field in _ASKED}
    digests = [_digest(film) for film in films]
    content = json.dumps([identity, asked, digests], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@lru_cache(maxsize=256)
def _digest(film: bytes) -> str:
    return hashlib.sha256(film).hexdigest()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
