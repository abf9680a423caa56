"""The named boxes that the teacher may cite."""

from __future__ import annotations

from dataclasses import dataclass

from training.data.example import Box, Example


@dataclass(frozen=True)
class Region:
    """A box of a film and what it shows.

    Attributes
    ----------
    image
        Index from 0 of the film.
    box
        In original pixels of it.
    is_sentence
        Whether the label is a sentence of a report, which a step may word otherwise.
    """

    image: int
    label: str
    box: Box
    is_sentence: bool = False


def regions_of(example: Example) -> tuple[Region, ...]:
    """Everything that the example says is somewhere: findings, structures, grounded sentences."""
    found: list[Region] = []
    for image in range(len(example.images)):
        found += [Region(image, label, box) for label, box in example.regions_of(image)]
    found += [Region(0, label, box) for label, box in example.structures]
    for sentence in example.grounded_sentences:
        found += [Region(image, sentence.text, box, True) for image, box in sentence.boxes]
    return tuple(dict.fromkeys(found))
