"""Films of a size that makes coordinates easy, and what opens them."""

from __future__ import annotations

import pytest

from tests.service.interpretation.films import InProcessDecoder, png


@pytest.fixture
def decoder() -> InProcessDecoder:
    return InProcessDecoder()


@pytest.fixture(scope="session")
def film() -> bytes:
    """A film of 448 x 448 pixels, twice the scripted checkpoint's grid."""
    return png(448, 448)


@pytest.fixture(scope="session")
def wide_film() -> bytes:
    """A film of 896 x 448 pixels."""
    return png(896, 448)
