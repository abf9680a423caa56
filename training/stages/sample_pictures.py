"""Sample completions as pictures: the film with the boxes drawn, the text, and what it earned."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from service.problem import Problem
from service.radiograph import Radiograph, fit_to_grid, load_radiograph
from service.reading import Reading, ground, parse_text
from service.results.overlay.legend import Entry, Group, draw_legend
from service.results.overlay.palette import BACKGROUND, step_colour
from service.results.overlay.panel import Mark, draw_panel
from training.stages.rollout_rewards import ScoredRollouts

if TYPE_CHECKING:
    from training.rewards.protocol import Rollout

_HEIGHT = 640


class SamplePictures(TrainerCallback):
    """Draws some of the latest rollouts every so many steps, the first of different groups.

    Parameters
    ----------
    latest
        What was scored last.
    films
        Folder that the examples' images are relative to.
    folder
        Receives ``step-000010-0.png`` and so on, each with its text beside it.
    every, count
        Steps between pictures, and how many.
    group
        Completions of each prompt.
    """

    def __init__(
        self,
        latest: ScoredRollouts,
        films: Path,
        folder: Path,
        *,
        every: int,
        count: int,
        group: int,
    ) -> None:
        self._latest = latest
        self._films = films
        self._folder = folder
        self._every = every
        self._count = count
        self._group = group

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw."""
        due = self._every and state.global_step % self._every == 0
        if not due or not state.is_world_process_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        pairs = list(zip(self._latest.rollouts, self._latest.scores, strict=True))
        for number, (rollout, score) in enumerate(pairs[:: self._group][: self._count]):
            path = self._folder / f"step-{state.global_step:06d}-{number}.png"
            draw_sample(rollout, score, self._films, f"step {state.global_step}").save(path)
            path.with_suffix(".txt").write_text(
                f"{rollout.example.id}\n\n{rollout.completion}\n\n{score}\n"
            )


def draw_sample(
    rollout: Rollout, score: Mapping[str, float], films: Path, title: str
) -> Image.Image:
    """A completion on its films: boxes as the service would place them, steps and scores below."""
    try:
        radiographs = [
            load_radiograph((films / path).read_bytes(), allow_other_anatomy=True)
            for path in rollout.example.images
        ]
    except (OSError, Problem):
        return Image.new("RGB", (_HEIGHT, _HEIGHT), BACKGROUND)
    reading = _reading(rollout, radiographs)
    panels = []
    for index, film in enumerate(radiographs):
        width, height = film.display_size
        marks = [
            Mark(str(step.index), step_colour(place), box)
            for place, step in enumerate(reading.steps)
            for box in step.boxes
            if box.image == index
        ]
        panels.append(draw_panel(film, (round(width * _HEIGHT / height), _HEIGHT), marks, _HEIGHT))
    across = max(_HEIGHT, sum(panel.width for panel in panels))
    entries = [
        Entry(str(step.index), step.text, step_colour(place) if step.boxes else None)
        for place, step in enumerate(reading.steps)
    ]
    asked = rollout.example.question or str(rollout.example.task)
    earned = "   ".join(f"{name} {value:.2f}" for name, value in score.items())
    entries += [
        Entry("?", f"Asked: {asked}", None),
        Entry("=", f"Said: {reading.answer or '(nothing)'}", None),
        Entry("!", f"True: {textwrap.shorten(rollout.example.answer, 600)}", None),
        Entry("+", f"Earned: {earned}", None),
    ]
    legend = draw_legend([Group(None, tuple(entries))], across, 16, title)
    picture = Image.new("RGB", (across, _HEIGHT + legend.height), BACKGROUND)
    left = 0
    for panel in panels:
        picture.paste(panel, (left, 0))
        left += panel.width
    picture.paste(legend, (0, _HEIGHT))
    return picture


def _reading(rollout: Rollout, radiographs: list[Radiograph]) -> Reading:
    example = rollout.example
    return ground(
        parse_text(rollout.completion, mode=example.mode, images=len(radiographs)),
        task=example.task,
        mode=example.mode,
        raw_text=rollout.completion,
        images=[fit_to_grid(film, rollout.grid) for film in radiographs],
        radiographs=radiographs,
        box_space=rollout.conventions.box_space,
    )
