"""The examples of a stage: read from a store or written for simulated films, mixed, and hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np

from service.reading import Mode
from training.checkpoint.lineage import data_hash
from training.data.example import Example
from training.stages.config import DataSettings
from training.stages.errors import ConfigError
from training.system_error import described

StageName = Literal["sft", "cold-start", "grpo"]


@dataclass(frozen=True)
class StageData:
    """Examples in the order drawn.

    Attributes
    ----------
    films
        Folder that the examples' images are relative to.
    digest
        Hash of the data, for the lineage.
    """

    examples: tuple[Example, ...]
    films: Path
    digest: str

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height in original pixels that each film's boxes were drawn on, by path."""
        return {
            path: size
            for example in self.examples
            for path, size in zip(example.images, example.sizes, strict=True)
        }


def stage_data(stage: StageName, settings: DataSettings, *, seed: int) -> StageData:
    """Read and mix the examples that the settings name.

    Raises
    ------
    ConfigError
        When there are none, or they cannot be read.
    """
    folder = settings.folder
    if (folder / "dataset.json").exists():
        turns, films, digest = _from_store(stage, folder, settings)
    elif any(folder.glob(f"{settings.split}-*.jsonl")):
        turns, films, digest = _from_films(stage, settings, seed)
    else:
        raise ConfigError(
            f"data.folder: {folder} holds no examples of the split {settings.split}: neither a "
            "store (dataset.json; `deepmedix data prepare` writes one) nor simulated films "
            f"({settings.split}-0000.jsonl; `make films` makes them)."
        )
    drawn: list[Example] = []
    for turn, examples in enumerate(turns):
        chosen = mix(examples, settings.mixture, settings.samples, seed=seed)
        # Later passes hold the same, in another order.
        drawn += mix(chosen, settings.mixture, None, seed=seed + turn) if turn else chosen
    if not drawn:
        raise ConfigError("data: no examples are left. Check data.split and data.mixture.")
    return StageData(tuple(drawn), films, digest)


def mix(
    examples: Sequence[Example],
    mixture: dict[str, float],
    samples: int | None,
    *,
    seed: int,
) -> list[Example]:
    """Draw examples so that the named kinds have their shares.

    Without a mixture, the first ``samples`` of a random order (all in their own order where that
    is not given). With one, every prefix of the result holds about the shares; the draw ends
    after ``samples``, or, where that is not given, when a kind runs out.

    Raises
    ------
    ConfigError
        When no example is of a kind that the mixture names, or each counts under a name before it,
        there are fewer than ``samples``, or a kind runs out before, or no share is above 0.
    """
    rng = np.random.default_rng([seed, 17])
    if not mixture:
        if samples is None or samples == len(examples):
            return list(examples)
        if samples > len(examples):
            raise ConfigError(
                f"data.samples ({samples}): there are {len(examples)} examples. Take as many or "
                "fewer, leave it out for all, or go through them several times (data.passes)."
            )
        return [examples[i] for i in rng.permutation(len(examples))[:samples]]
    shares = {name: share for name, share in mixture.items() if share > 0}
    if not shares:
        raise ConfigError("data.mixture has no share above 0: give one, or leave it out.")
    waiting: dict[str, list[Example]] = {name: [] for name in shares}
    for index in rng.permutation(len(examples)):
        name = next((name for name in shares if is_of(examples[index], name)), None)
        if name is not None:
            waiting[name].append(examples[index])
    missing = [_no_example(name, shares, examples) for name, some in waiting.items() if not some]
    if missing:
        raise ConfigError(f"data.mixture: {'; '.join(missing)}.")
    total = sum(shares.values())
    taken = dict.fromkeys(shares, 0)
    drawn: list[Example] = []
    while samples is None or len(drawn) < samples:
        # The kind that is furthest behind its share.
        name = max(shares, key=lambda n: shares[n] / total * (len(drawn) + 1) - taken[n])
        if taken[name] == len(waiting[name]):
            if samples is not None:
                raise ConfigError(
                    f"data.mixture: after {len(drawn)} of {samples} data.samples, all "
                    f"{taken[name]} examples of the kind {name} are drawn. Take {len(drawn)} "
                    f"samples or fewer, give {name} a smaller share, or go through fewer samples "
                    "several times (data.passes)."
                )
            break
        drawn.append(waiting[name][taken[name]])
        taken[name] += 1
    return drawn


def _no_example(kind: str, shares: Iterable[str], examples: Sequence[Example]) -> str:
    """Why none counts as a kind: there is none, or all count as what is named before it."""
    fitting = [example for example in examples if is_of(example, kind)]
    if not fitting:
        return f"no example is of the kind {kind}"
    earlier = [name for name in shares if any(is_of(example, name) for example in fitting)]
    earlier = earlier[: earlier.index(kind)]
    return (
        f"all {len(fitting)} examples of the kind {kind} count as {', '.join(earlier)}, which is "
        f"named before it: name {kind} first"
    )


def is_of(example: Example, kind: str) -> bool:
    """Whether an example is of a kind that a mixture may name."""
    if kind.startswith("source:"):
        return example.source == kind.removeprefix("source:")
    if kind.startswith("view:"):
        return example.view == kind.removeprefix("view:")
    return kind in (str(example.task), example.question_type, *example.roles[1:])


def as_asked(stage: StageName, examples: Sequence[Example]) -> list[Example]:
    """A store's examples as a stage asks them.

    Instruction fine-tuning asks for answers alone, the cold start for the reasoning that was
    written (what has none is left out), reinforcement learning for reasoning of the model's own.
    What is the same then, because a store holds it in both modes, is taken once, with its steps.
    """
    if stage == "cold-start":
        return [e for e in examples if e.mode is Mode.THINK and e.steps]
    mode = Mode.ANSWER if stage == "sft" else Mode.THINK
    asked: dict[tuple[object, ...], Example] = {}
    for example in examples:
        key = (example.images, example.task, example.question, example.answer)
        taken = replace(example, mode=mode, steps=() if mode is Mode.ANSWER else example.steps)
        if key not in asked or (taken.steps and not asked[key].steps):
            asked[key] = taken
    return list(asked.values())


def _from_store(
    stage: StageName, folder: Path, settings: DataSettings
) -> tuple[Iterator[Sequence[Example]], Path, str]:
    """The examples of each pass, the folder of the films, and the hash of the data."""
    from training.data.store import DataError, images_folder, read_description, read_examples

    try:
        found = list(read_examples(folder, settings.split))
        root, digest = images_folder(folder), read_description(folder).content_hash
    except DataError as error:
        raise ConfigError(f"data.folder: {error}") from error
    examples = as_asked(stage, found)
    if found and not examples:
        raise ConfigError(
            f"data.folder: none of the {len(found)} examples in {folder} has reasoning steps. "
            "`deepmedix data teach` has them written."
        )
    return repeat(examples, settings.passes), root, digest


def _from_films(
    stage: StageName, settings: DataSettings, seed: int
) -> tuple[Iterator[Sequence[Example]], Path, str]:
    from training.data.ct_radiographs.generate import read_records
    from training.data.store import DataError
    from training.stages.cold_start import AT_ONCE, reasoning_examples
    from training.stages.sft import answer_examples

    try:
        records = read_records(settings.folder, settings.split)[: settings.films]
    except DataError as error:
        raise ConfigError(f"data.folder: {error}") from error
    reasoned = partial(reasoning_examples, reports_at_once=AT_ONCE if stage == "cold-start" else 0)
    write = answer_examples if stage == "sft" else reasoned
    try:
        digest = data_hash(settings.folder, settings.split)
    except OSError as error:
        raise ConfigError(f"data.folder: {described(error)}") from error
    turns = (write(records, seed=seed + turn) for turn in range(settings.passes))
    return turns, settings.folder, digest
