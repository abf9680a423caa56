"""Write a stage's output as a checkpoint that the service, vLLM and transformers load."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.engine import (
    LineageRecord,
    Manifest,
    ManifestError,
    MeasuredResult,
    Pixels,
    write_manifest,
)
from service.engine.manifest import MANIFEST_FILE
from training.checkpoint.card import model_card
from training.checkpoint.destination import resolve_destination
from training.checkpoint.errors import CheckpointError
from training.checkpoint.identity import Identity, embedded_identity
from training.checkpoint.lineage import portable, weights_hash
from training.checkpoint.loading import first_line
from training.checkpoint.merge import folders_behind, load_whole
from training.checkpoint.permissions import share_weights
from training.checkpoint.verify import verify_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def export_checkpoint(
    trained: Path,
    folder: Path,
    *,
    lineage: Sequence[LineageRecord],
    results: Sequence[MeasuredResult] = (),
    identity: Identity | None = None,
    base: str | None = None,
    dtype: str = "bfloat16",
) -> None:
    """Write weights, tokenizer, processor, manifest and model card to a folder.

    Nothing is left at ``folder`` unless all of it was written and verifies.

    Parameters
    ----------
    trained
        Folder of the last stage's output: a whole model, or LoRA adapters, which are merged.
    folder
        Receives the checkpoint; one that it held is replaced.
    lineage
        The stages that the weights went through, first to last.
    results
        Held-out results for the manifest and the model card.
    identity
        Name and conventions; the embedded checkpoint's where not given.
    base
        For adapters: the checkpoint that they were trained on, where it lies elsewhere now.
    dtype
        Of the weights: ``bfloat16``, ``float16`` or ``float32``.

    Raises
    ------
    CheckpointError
        When there is no model or tokenizer, a weight is not finite, what was written does not
        verify, or ``folder`` is a file, holds what the model is loaded from, or holds anything
        without being a checkpoint.
    """
    identity = identity or embedded_identity()
    if not lineage:
        raise CheckpointError(f"No stage is known that made {trained}: a manifest must name one.")
    folder = resolve_destination(folder)
    for needed in folders_behind(trained, base):
        if needed.exists() and needed.resolve().is_relative_to(folder):
            what = "the stage's output" if needed == trained else "the base of the adapters,"
            raise CheckpointError(
                f"To write {folder} would remove {what} {needed}. Name another --out."
            )
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).is_file():
        raise CheckpointError(
            f"{folder} holds no checkpoint ({MANIFEST_FILE}), but other things, which would be "
            "lost. Name another --out, or remove them."
        )
    model = load_whole(trained, base=base, dtype=dtype)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_model(model, identity, partial)
        _write_tokenizer(trained, identity, partial)
        write_processor(identity.pixels, partial)
        describe_checkpoint(partial, lineage=lineage, results=results, identity=identity)
        verify_checkpoint(str(partial))
    except (ManifestError, CheckpointError) as error:
        raise CheckpointError(
            f"{trained} makes no checkpoint that can be served. {error}"
        ) from error
    else:
        replaced = folder.with_name(f".{folder.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe_checkpoint(
    folder: Path,
    *,
    lineage: Sequence[LineageRecord],
    results: Sequence[MeasuredResult],
    identity: Identity | None = None,
    showcase: str = "",
) -> None:
    """Write model card and manifest beside weights that are already there.

    Absolute paths in the stages' settings are cut to their last name.

    Parameters
    ----------
    showcase
        A section in Markdown for the card.

    Raises
    ------
    ManifestError
        When the identity contradicts the folder's configs.
    """
    identity = identity or embedded_identity()
    lineage = [portable(record) for record in lineage]
    (folder / "README.md").write_text(model_card(lineage, results, identity, showcase=showcase))
    write_manifest(
        folder,
        Manifest(
            name=identity.name,
            revision=weights_hash(folder)[:12],
            stage=lineage[-1].stage,
            base=identity.base,
            license=identity.license,
            conventions=identity.conventions,
            pixels=identity.pixels,
            sampling=identity.sampling,
            decoding=identity.decoding,
            max_images=identity.max_images,
            lineage=tuple(lineage),
            results=tuple(results),
            notes=identity.notes,
        ),
    )


def write_processor(pixels: Pixels, folder: Path) -> None:
    """Save the image processor, its bounds on the area being those that the manifest names."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    Qwen2VLImageProcessorPil(
        min_pixels=pixels.min_pixels,
        max_pixels=pixels.max_pixels,
        patch_size=pixels.patch_size,
        merge_size=pixels.merge_size,
    ).save_pretrained(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that a folder holds.

    Raises
    ------
    CheckpointError
        When it holds none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # whatever the libraries raise over a damaged file
        raise CheckpointError(
            f"No tokenizer can be loaded from {folder} ({first_line(error)}). A stage "
            "saves it with its output: restore config.json, tokenizer.json and its config."
        ) from error


def _write_model(model: Any, identity: Identity, folder: Path) -> None:
    sampled = identity.sampling.temperature > 0
    settings = model.generation_config
    settings.do_sample = sampled
    settings.temperature = identity.sampling.temperature if sampled else None
    settings.top_p = identity.sampling.top_p if sampled else None
    settings.top_k = None
    model.save_pretrained(folder)
    share_weights(folder)


def _write_tokenizer(trained: Path, identity: Identity, folder: Path) -> None:
    tokenizer = load_tokenizer(trained)
    if identity.chat_template is not None:
        tokenizer.chat_template = identity.chat_template
    # Where and how it was loaded here is nobody else's matter, and would change the file's hash.
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)
