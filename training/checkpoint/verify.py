"""Whether a checkpoint is one that the service would serve, by the service's own code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.engine import Manifest, ManifestError, load_manifest
from service.engine.checkpoint import checkpoint_folder
from training.checkpoint.errors import CheckpointError
from training.checkpoint.loading import load_complete, not_finite, some


@dataclass(frozen=True)
class Verified:
    """A checkpoint that verifies.

    Attributes
    ----------
    manifest, digest
        Its manifest, and the SHA-256 of that.
    parameters
        Numbers in its weights; None where the weights were not loaded.
    """

    manifest: Manifest
    digest: str
    parameters: int | None = None


def verify_checkpoint(model: str, *, load: bool = False) -> Verified:
    """Do what the service does before it starts its engine, and load the model if asked to.

    Manifest, digests of all files and configs first (``service.engine.load_manifest``); then, for
    a folder, the tokenizer and the chat template as the engine's prompts use them.

    Parameters
    ----------
    model
        Folder or hub id, as ``DEEPMEDIX_MODEL`` takes it.
    load
        Whether to load the model with transformers too: every weight has its place, and every
        number is finite.

    Raises
    ------
    CheckpointError
        With the service's own words where it would refuse the checkpoint.
    """
    try:
        manifest, digest = load_manifest(model)
        folder = checkpoint_folder(model)
        if folder is not None:
            _check_prompts(folder, manifest)
    except ManifestError as error:
        raise CheckpointError(str(error)) from error
    if not load:
        return Verified(manifest, digest)
    if folder is None:
        raise CheckpointError(f"{model} is no folder: its weights cannot be loaded from here.")
    return Verified(manifest, digest, _load(folder))


def _check_prompts(folder: Path, manifest: Manifest) -> None:
    from service.engine.prompt import PromptBuilder
    from training.checkpoint.export import load_tokenizer

    tokenizer = load_tokenizer(folder)
    PromptBuilder(
        tokenizer,
        tokenizer.chat_template or "",
        manifest,
        max_images=manifest.max_images,
        max_model_len=tokenizer.model_max_length,
    )


def _load(folder: Path) -> int:
    """Numbers in the weights, after loading them as transformers does."""
    from transformers import AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model = load_complete(AutoModelForImageTextToText, folder, dtype="auto")
        if faults := not_finite(model):
            raise CheckpointError(f"not finite: {some(faults)}")
    except CheckpointError as error:
        raise CheckpointError(
            f"transformers cannot load {folder} ({error}). Export it again from the stage's output."
        ) from error
    return sum(weight.numel() for weight in model.parameters())
