"""Checkpoints with their manifest: export, merge, verify, show and compare.

``deepmedix checkpoint`` is the command line to it; ``docs/checkpoints.md`` shows it at work.
"""

from training.checkpoint.card import model_card
from training.checkpoint.errors import CheckpointError
from training.checkpoint.export import describe_checkpoint, export_checkpoint
from training.checkpoint.identity import Identity, embedded_identity, identity_of
from training.checkpoint.lineage import (
    Lineage,
    data_hash,
    follow_lineage,
    is_finished,
    read_lineage,
    record_stage,
)

__all__ = [
    "CheckpointError",
    "Identity",
    "Lineage",
    "data_hash",
    "describe_checkpoint",
    "embedded_identity",
    "export_checkpoint",
    "follow_lineage",
    "identity_of",
    "is_finished",
    "model_card",
    "read_lineage",
    "record_stage",
]
