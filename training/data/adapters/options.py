"""Options of adapters, as texts from the command line."""

from __future__ import annotations

from collections.abc import Mapping

from training.data.store.errors import DataError


def choice(option: str, value: str, *choices: str) -> str:
    """The value, if it is one of the choices.

    Raises
    ------
    DataError
        When it is not.
    """
    if value not in choices:
        raise DataError(f"{option} is {' or '.join(choices)}, not {value!r}.")
    return value


def column_mapping(text: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """Column names, as ``answer=Answer,question=Q`` changes the defaults.

    Raises
    ------
    DataError
        When it names something else than the defaults do.
    """
    mapping = dict(defaults)
    for pair in filter(None, text.split(",")):
        name, equals, column = pair.partition("=")
        if not equals or name.strip() not in defaults:
            raise DataError(
                f"columns: {pair!r} is not NAME=COLUMN with a name of {', '.join(defaults)}."
            )
        mapping[name.strip()] = column.strip()
    return mapping
