"""Examples on disk: sharded Parquet by split, images by reference, verified when read."""

from training.data.store.description import (
    DESCRIPTION,
    Description,
    images_folder,
    read_description,
)
from training.data.store.errors import DataError
from training.data.store.reading import StoredExamples, read_examples
from training.data.store.validation import faults_of
from training.data.store.writing import write_examples

__all__ = [
    "DESCRIPTION",
    "DataError",
    "Description",
    "StoredExamples",
    "faults_of",
    "images_folder",
    "read_description",
    "read_examples",
    "write_examples",
]
