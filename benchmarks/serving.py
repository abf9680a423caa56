"""The service beside the bare engine and vLLM's OpenAI server: ``python -m benchmarks.serving``.

The same requests go to three sides in turn: findings of the real chest film, of which every
request of a round gets another version, so that no cache knows it. The bare engine is vLLM's
``AsyncLLM`` with the service's arguments, given the prompt and the decoded image; the OpenAI
server gets the same arguments, prompt and image through the OpenAI client; the service gets the
film itself. Within a round the order of the sides changes, and ratios are taken round by round.
A side's turn begins with a request that is not counted.

Forms: ``dicom``: the service gets the file as an archive has it, the others its image as decoded,
1841 x 1955, which the engine brings to the model's size as for any caller; ``dicom-fitted``: the
others get it in the model's size already, work that the service alone does then; ``png``: all get
the model's size.

Goals: at least 0.95 of the bare engine's throughput (tokens a second) and at most 1.10 of its time
to first token; the second question about a film at most 0.5 of the first's time to first token.
Met or missed is what the whole interval says; else the goal is *rather* met or missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from benchmarks.intervals import paired_ratio
from benchmarks.servers import openai_server, service
from benchmarks.sides import (
    Answered,
    Asked,
    BareEngine,
    OpenAISide,
    ServiceSide,
    Side,
    grid_of,
    prepared,
)
from service.engine import Manifest
from service.radiograph import fit_to_grid, load_radiograph, render_png

_LEAST_THROUGHPUT, _MOST_FIRST_TOKEN, _MOST_SECOND = 0.95, 1.10, 0.5
_FORMS = ("dicom", "dicom-fitted", "png")
_QUESTIONS = ("Is there a pleural effusion?", "Is the heart enlarged?")


class Films:
    """Versions of the real film, no two alike: a square of each has other grey levels.

    Parameters
    ----------
    seed
        Equal seeds give equal versions.
    manifest
        Of the checkpoint.
    form
        ``dicom``, ``dicom-fitted``: the file as a detector's archive has it, 7.2 MB; ``png``: what
        ``/render`` gives of it, already in the model's size, so that opening it costs next to
        nothing. With ``dicom`` alone the engine gets the image in the film's own size.
    """

    def __init__(self, seed: int, manifest: Manifest, form: str) -> None:
        self._manifest = manifest
        self._whole = form == "dicom"
        self._grid = grid_of(manifest) if form == "png" else None
        self._film = pydicom.dcmread(str(get_testdata_file("RG1_UNCR.dcm")))
        self._pixels = self._film.pixel_array
        self._random = np.random.default_rng(seed)

    def next(self, *questions: str | None) -> list[Asked]:
        """Return what is asked about another version; without a question, its findings."""
        film = self._version()
        return [
            prepared(film, self._manifest, question=question, whole=self._whole)
            for question in questions or (None,)
        ]

    def several(self, number: int) -> list[Asked]:
        """Return requests for the findings of so many versions."""
        return [asked for _ in range(number) for asked in self.next()]

    def _version(self) -> bytes:
        pixels = self._pixels.copy()
        row, column = self._random.integers(200, 1200, 2)
        square = pixels[row : row + 400, column : column + 400]
        square[...] = np.clip(square + self._random.integers(100, 600), 0, 1023)
        self._film.PixelData = pixels.tobytes()
        buffer = io.BytesIO()
        self._film.save_as(buffer)
        data = buffer.getvalue()
        if self._grid is None:
            return data
        return render_png(fit_to_grid(load_radiograph(data), self._grid))


@dataclass(frozen=True)
class Turn:
    """What one side did in one round."""

    throughput: float
    first_token: float
    latency: float


async def take_turn(side: Side, asked: Sequence[Asked], concurrency: int) -> Turn:
    """Put requests to a side, so many at a time; the first one, alone, is not counted.

    While the others had their turns a side's memory went cold, which its next request pays for.
    """
    waiting = iter(asked)
    await side.ask(next(waiting))
    answers: list[Answered] = []

    async def worker() -> None:
        for one in waiting:
            answers.append(await side.ask(one))

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    return Turn(
        sum(answer.tokens for answer in answers) / seconds,
        fmean(answer.first_token for answer in answers),
        fmean(answer.latency for answer in answers),
    )


async def compare(
    sides: dict[str, Side],
    films: Films,
    *,
    concurrency: int,
    rounds: int,
    requests: int,
) -> None:
    """Print the sides' figures at one concurrency, and the service's as ratios."""
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        asked = films.several(1 + requests)
        random.shuffle(order)
        for name in order:
            turns[name].append(await take_turn(sides[name], asked, concurrency))
    print(f"concurrency {concurrency} ({rounds} rounds of {requests} requests)")
    print(f"  {'':16s}{'tokens/s':>10s}{'first token s':>15s}{'latency s':>11s}")
    for name, own in turns.items():
        print(
            f"  {name:16s}{median(turn.throughput for turn in own):10.1f}"
            f"{median(turn.first_token for turn in own):15.3f}"
            f"{median(turn.latency for turn in own):11.3f}"
        )
    for ours, theirs in (
        ("service", "bare engine"),
        ("service", "OpenAI server"),
        ("OpenAI server", "bare engine"),
    ):
        _print_ratios(turns, ours, theirs)


def _print_ratios(turns: dict[str, list[Turn]], ours: str, theirs: str) -> None:
    told = []
    for label, figure, goal in (
        ("throughput", "throughput", {"least": _LEAST_THROUGHPUT}),
        ("first token", "first_token", {"most": _MOST_FIRST_TOKEN}),
        ("latency", "latency", None),
    ):
        ratio = paired_ratio(
            [getattr(turn, figure) for turn in turns[ours]],
            [getattr(turn, figure) for turn in turns[theirs]],
        )
        judged = goal is not None and (ours, theirs) == ("service", "bare engine")
        told.append(f"{label} {ratio}" + (f" ({ratio.beside(**goal)})" if judged else ""))
    print(f"  {ours} / {theirs}: {', '.join(told)}")


async def second_question(sides: dict[str, Side], films: Films, *, pairs: int) -> None:
    """Print what the second question about a film costs beside the first."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(pairs):
        asked = films.next(*_QUESTIONS)
        for name, side in sides.items():
            first, second = [(await side.ask(one)).first_token for one in asked]
            times[name].append((first, second))
    print(f"second question about a film ({pairs} films)")
    for name, own in times.items():
        first, second = zip(*own, strict=True)
        ratio = paired_ratio(second, first)
        print(
            f"  {name}: first token {median(first):.3f} s, then {median(second):.3f} s: "
            f"ratio {ratio} ({ratio.beside(most=_MOST_SECOND)})"
        )


async def _run(options: argparse.Namespace, bare: BareEngine) -> None:
    manifest = bare.manifest
    with service() as service_url, openai_server(bare.model, bare.arguments) as openai_url:
        served = ServiceSide(service_url)
        peer = OpenAISide(openai_url, manifest.name, bare.suppressed)
        sides: dict[str, Side] = {"bare engine": bare, "service": served, "OpenAI server": peer}
        for number, form in enumerate(options.forms):
            films = Films(options.seed + number, manifest, form)
            print(f"== the film as {form}")
            for side in sides.values():  # each has allocated all it needs before it is measured
                await take_turn(side, films.several(4), 4)
            for concurrency in options.concurrency:
                await compare(
                    sides,
                    films,
                    concurrency=concurrency,
                    rounds=options.rounds,
                    requests=max(options.requests, 2 * concurrency),
                )
            await second_question(sides, films, pairs=options.pairs)
        await served.close()
        await peer.close()


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=8, help="of every side (8)")
    parser.add_argument(
        "--requests", type=int, default=8, help="of a round; two a caller at least (8)"
    )
    parser.add_argument("--pairs", type=int, default=8, help="films asked about twice (8)")
    parser.add_argument(
        "--forms", nargs="+", choices=_FORMS, default=_FORMS,
        help="what each side gets of the film, see above (all)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a run takes minutes
    bare = BareEngine()
    try:
        asyncio.run(_run(options, bare))
    finally:
        bare.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
