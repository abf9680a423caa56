"""What every adapter offers: the way from a data set on disk to examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from training.data.example import Example

Remark = Callable[[str], None]
"""Counts a reason for which something was left out or mended; the reason names no patient."""


@dataclass(frozen=True)
class DataSetCard:
    """What people need to know of a data set before they prepare it.

    Attributes
    ----------
    name
        As the command line and :attr:`Example.source` name it.
    title
        Its own name, with the version that the adapter was written for.
    access
        How one gets it.
    licence
        Terms of use, as every example carries them.
    files
        What the folder must hold, as published.
    options
        Name of each further setting and what it does.
    """

    name: str
    title: str
    access: str
    licence: str
    files: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """A data set on disk.

    Constructed as ``Adapter(root, images=None, **options)``: ``root`` is the folder as published,
    ``images`` the folder of its films where that is another, options are texts.
    """

    card: ClassVar[DataSetCard]
    images: Path
    """Folder that the images' paths are relative to."""

    def studies(self) -> Sequence[str]:
        """Keys of all studies (or films) in a fixed order; opens tables, and no film.

        Raises
        ------
        DataError
            When a published file is missing or has other columns.
        """

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Examples of one study, boxes in original pixels; what is left out is remarked."""
