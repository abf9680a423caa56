"""What every adapter offers: the way from a data set on disk to examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from training.data.example import Example

Remark = Callable[[str], None]
"""Counts a reason for which something was left out or mended; the reason names no patient."""

MALFORMED = "record not of the published form: left out"
TRIPPED_OVER = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What an adapter raises at a record of another form than it was written for."""
_Record = TypeVar("_Record")


def record_by_record(
    records: Iterable[_Record], read: Callable[[_Record], Iterable[Example]], remark: Remark
) -> Iterator[Example]:
    """Examples of the records of one study: what is wrong with one is lost with it alone.

    Raises
    ------
    Exception
        One of :data:`TRIPPED_OVER`, of the first record, where no record could be read.
    """
    sound, faults = 0, []
    for record in records:
        try:
            examples = list(read(record))
        except TRIPPED_OVER as error:
            faults.append(error)
            continue
        sound += 1
        yield from examples
    for _ in faults if sound else faults[1:]:  # the first of all is remarked where it is caught
        remark(MALFORMED)
    if faults and not sound:
        raise faults[0]


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
    studies_are_lines
        Whether a study is a line of one's own file: notes may name it, which of published data
        sets would be naming a patient.
    """

    name: str
    title: str
    access: str
    licence: str
    files: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    studies_are_lines: bool = False


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
