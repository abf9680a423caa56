"""The real film, and DICOM built for one test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from film_files import path_of, write_dicom


@pytest.fixture(scope="session")
def real_film() -> bytes:
    """The real PA chest film, uncompressed."""
    return path_of("RG1_UNCR.dcm").read_bytes()


@pytest.fixture(scope="session")
def build_dicom() -> Callable[..., bytes]:
    """Return a function that writes a CR chest film with the given pixels and attributes."""
    return write_dicom
