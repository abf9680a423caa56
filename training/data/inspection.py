"""Look at examples: drawn by chance, told in words, images checked. Patients stay unnamed."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from training.data.adapters.films import opens, size_of
from training.data.example import Example
from training.data.groups import age_band
from training.data.store import DataError, StoredExamples, images_folder, read_examples
from training.data.store.description import file_hash


def draw_examples(examples: StoredExamples, count: int, *, seed: int = 0) -> list[Example]:
    """Some examples drawn evenly, in the order of the store; equal seeds draw equal examples."""
    there = len(examples)
    return examples.at(random.Random(seed).sample(range(there), min(count, there)))


def pseudonym(subject: str) -> str:
    """A short name for a patient that does not tell the data set's number."""
    return hashlib.sha256(subject.encode()).hexdigest()[:8]


def console_text(example: Example) -> str:
    """An example in words: what is asked, the steps, the answer, what is marked on the films."""
    roles = example.roles or ("film",) * len(example.images)
    films = ", ".join(
        f"{role} {width}x{height}"
        for role, (width, height) in zip(roles, example.sizes, strict=True)
    )
    age = None if example.age is None else age_band(example.age)
    known = [text for text in (example.sex, age, example.device, example.site) if text]
    lines = [
        f"{example.content_hash()[:12]}  {example.source}, {example.split}, "
        f"patient {pseudonym(example.subject)}",
        f"  films: {films}; view {example.view}{''.join(f'; {text}' for text in known)}",
        f"  asked: {example.question or example.task}"
        + (f" ({example.question_type})" if example.question_type else ""),
    ]
    for step in example.steps:
        places = "".join(f" {list(box)}" for _, box in step.boxes)
        lines.append(f"  step: {step.text}{places}")
    lines.append(f"  answer: {example.answer}")
    for image in range(len(example.images)):
        for label, box in example.regions_of(image):
            lines.append(f"  marked on film {image + 1}: {label} {list(box)}")
    return "\n".join(lines)


class Verified(NamedTuple):
    """How many images there are, and of how many the hash was kept and is theirs."""

    images: int
    hashed: int


def verify_images(store: Path, split: str | None = None) -> Verified:
    """Open every image of a store as training does; compare sizes, and the hashes that were kept.

    Raises
    ------
    DataError
        Says how many are missing, changed, of another size, or cannot be opened.
    """
    root = images_folder(store)
    kept: dict[str, str | None] = {}
    sizes: dict[str, set[tuple[int, int]]] = {}
    for example in read_examples(store, split):
        hashes = example.image_hashes or (None,) * len(example.images)
        for path, size, kept_hash in zip(example.images, example.sizes, hashes, strict=True):
            kept[path] = kept_hash or kept.get(path)
            sizes.setdefault(path, set()).add(size)
    missing = changed = resized = closed = 0
    for path, expected in track(kept.items(), "images"):
        if not (root / path).is_file():
            missing += 1
        elif expected and file_hash(root / path) != expected:
            changed += 1
        elif (size := size_of(root / path)) and sizes[path] != {size}:
            resized += 1
        elif not opens(root / path):
            closed += 1
    if missing or changed or resized or closed:
        raise DataError(
            f"Of {len(kept)} images in {root}, {missing} are missing and {changed} were changed; "
            f"{resized} are of another size than their boxes; {closed} cannot be opened. Restore "
            "them, or prepare the data again with --open-images, which leaves out what cannot be "
            "opened."
        )
    return Verified(len(kept), sum(map(bool, kept.values())))
