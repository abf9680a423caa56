"""Which sub-groups an example is in: its view, and what is known of patient and equipment."""

from __future__ import annotations

from collections.abc import Mapping

from training.data.example import Example
from training.data.groups import age_band, sex_of, years_of

KINDS = ("view", "sex", "age", "device", "site")
"""That examples tell themselves."""


def subgroups_of(example: Example, given: Mapping[str, str]) -> dict[str, str]:
    """Value of each kind of sub-group; kinds that nothing is known of are left out.

    Parameters
    ----------
    given
        What the caller says of the example or its patient: it counts before what the example
        tells of itself, and may name further kinds.
    """
    own = {kind: getattr(example, kind) for kind in KINDS}
    known = {kind: str(value) for kind, value in own.items() if value is not None}
    for name, value in given.items():
        known[name.lower() if name.lower() in KINDS else name] = value
    shown = {"age": age_group, "sex": lambda text: sex_of(text) or text}
    return {kind: shown.get(kind, str)(value) for kind, value in known.items() if value}


def age_group(text: str) -> str:
    """An age as its band; what is no age stays as it is."""
    years = years_of(text)
    return text if years is None else age_band(years)
