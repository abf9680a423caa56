"""What a completion costs to score: the published reward and ours, side by side in one run.

Rollouts are drawn in groups of eight for each example as GRPO draws them, no two alike: reports of
the length of real FINDINGS sections (about sixty words), the same with a line for each step, the
short reports of CT-derived films (about twenty-five words), and answers to questions. There the
published reward compares two strings or two lists, and ours reads the steps all the same.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.intervals import paired_ratio
from service.reading import Mode, Task
from training.data.ct_radiographs.examples import report_example
from training.data.ct_radiographs.film import FilmFinding, Region
from training.data.ct_radiographs.generate import FilmRecord
from training.rewards.gallery import CONVENTIONS, FILM, GRID, KINDS, PRESENCE, SIDE
from training.rewards.grounded import grounded
from training.rewards.paper import paper
from training.rewards.protocol import Rollout
from training.stages.text_targets import completion_text

GROUPS, GROUP, ROUNDS = 40, 8, 15
_NEUTRAL = (
    "The mediastinal contour is within normal limits",
    "The pulmonary vasculature is unremarkable",
    "No acute osseous abnormality is identified",
    "The trachea is midline",
    "Degenerative changes of the thoracic spine are noted",
    "The costophrenic angles are sharp on the right",
    "There is no free air beneath the diaphragm",
    "The aorta is tortuous with calcification of the arch",
)
_BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")


def long_reports(rng: random.Random) -> list[Rollout]:
    """Readings that differ in wording, order and boxes."""
    drawn = []
    for number in range(GROUPS):
        example = replace(FILM, id=str(number), answer=_answer(rng))
        for _ in range(GROUP):
            steps = [
                f"{name} {_moved(rng, box)}"
                for name, box in (
                    ("The heart is enlarged", (130, 180, 330, 330)),
                    ("There is a mass in the right upper zone", (90, 90, 150, 150)),
                    ("There is a moderate left pleural effusion", (270, 260, 400, 380)),
                )
            ]
            rng.shuffle(steps)
            said = f"<think> {'; '.join(steps)} </think>. The answer is: \\boxed{{{_answer(rng)}}}"
            drawn.append(Rollout(said, example, CONVENTIONS, GRID))
    return drawn


def free_reports(rng: random.Random) -> list[Rollout]:
    """The same, one step a line, which is not the form of training's targets."""
    return [
        replace(rollout, completion=rollout.completion.replace("; ", ".\n- ").replace("> ", ">\n"))
        for rollout in long_reports(rng)
    ]


def short_reports(rng: random.Random) -> list[Rollout]:
    """Readings of CT-derived films, each sampled text in other words and with other boxes."""
    drawn = []
    for number in range(GROUPS):
        record = _film(rng, number)
        examples = [
            report_example(record, Task.FINDINGS, Mode.THINK, seed=rng.randrange(10**6))
            for _ in range(GROUP + 1)
        ]
        for said in examples[1:]:
            text = completion_text(said, CONVENTIONS, GRID)
            text = _BOX.sub(lambda box: str(_moved(rng, [int(v) for v in box.groups()])), text)
            drawn.append(Rollout(text, examples[0], CONVENTIONS, GRID))
    return drawn


def answers(rng: random.Random) -> list[Rollout]:
    """Questions about the films of the long reports, reasoned and answered in few words."""
    asked = (PRESENCE, SIDE, KINDS)
    said = ("Yes", "No", "left", "Right.", "Mass | Cardiomegaly", "effusion, mass and cardiomegaly")
    drawn = []
    for number, rollout in enumerate(long_reports(rng)):
        example = asked[number // GROUP % len(asked)]
        think = rollout.completion.partition("\\boxed")[0]
        answered = f"{think}\\boxed{{{rng.choice(said)}}}"
        drawn.append(replace(rollout, completion=answered, example=example))
    return drawn


def _answer(rng: random.Random) -> str:
    findings = [
        rng.choice(("The heart is enlarged.", "There is cardiomegaly.")),
        rng.choice(("A moderate left pleural effusion is seen.", "Left effusion, moderate.")),
        f"There is a mass in the right upper zone measuring {rng.randint(20, 60)} mm.",
        *(f"{sentence}." for sentence in rng.sample(_NEUTRAL, 6)),
    ]
    rng.shuffle(findings)
    return " ".join(findings)


def _film(rng: random.Random, number: int) -> FilmRecord:
    kinds = rng.sample(("pleural effusion", "mass", "nodule", "pneumothorax"), rng.randint(0, 3))
    return FilmRecord(
        id=str(number),
        split="train",
        subject=str(number),
        path="film.png",
        width=448,
        height=448,
        view="PA",
        structures=tuple(
            Region(name, (left, 60, left + 180, 400))
            for name, left in (("heart", 150), ("right lung", 30), ("left lung", 230))
        ),
        findings=tuple(
            FilmFinding(kind, side, (60, 90, 160, 190), "moderate", zone="upper")
            for kind in kinds
            for side in [rng.choice(("left", "right"))]
        ),
        devices=(),
    )


def _moved(rng: random.Random, box: Sequence[int]) -> list[int]:
    return [min(max(value + rng.randint(-15, 15), 0), 448) for value in box]


def milliseconds(reward: Callable[[Sequence[Rollout]], object], drawn: Sequence[Rollout]) -> float:
    """Time for one completion; the collector rests meanwhile, as in ``timeit``."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        reward(drawn)
        return (time.perf_counter() - started) * 1000 / len(drawn)
    finally:
        gc.enable()


def main() -> None:
    """Print both times, medians of the rounds, and their ratio for each kind of text."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{'ms a completion':34s}{'paper':>9s}{'grounded':>10s}  paper / grounded [95%]")
    for kind, draw in enumerate((long_reports, free_reports, short_reports, answers)):
        rounds = []
        for seed in range(ROUNDS + 1):
            drawn = draw(random.Random(100 * kind + seed))  # no text that another kind had
            rounds.append((milliseconds(paper, drawn), milliseconds(grounded, drawn)))
        del rounds[0]  # it loads and warms up
        words = median(len(rollout.example.answer.split()) for rollout in drawn)
        name = f"{draw.__name__.replace('_', ' ')} ({words:.0f} words)"
        published, ours = zip(*rounds, strict=True)
        ratio = paired_ratio(published, ours)
        print(f"{name:34s}{median(published):9.3f}{median(ours):10.3f}  {ratio}")


if __name__ == "__main__":
    main()
