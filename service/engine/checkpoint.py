"""Find a checkpoint's manifest and hold it against the checkpoint's own files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.engine.manifest import (
    MANIFEST_FILE,
    Manifest,
    ManifestError,
    manifest_json,
    parse_manifest,
)

SHIPPED_MANIFESTS = Path(__file__).parent.parent / "checkpoints"
"""Folder of the manifests that ship with the program, one file each."""

_LOADED = frozenset(
    {".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken", ".bin", ".pt", ".pth"}
)
_WEIGHTS = ".safetensors"
_OF_WEIGHTS = re.compile(r"[0-9a-f]{12}")
"""A revision of this form begins the SHA-256 of the weights."""

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def load_manifest(model: str, sha256: str | None = None) -> tuple[Manifest, str]:
    """Return the manifest of a checkpoint and its SHA-256, after verifying the checkpoint.

    For a folder, the files it holds are those the manifest lists, with equal digests, and the
    model, processor and tokenizer configs agree with it. For a hub id whose manifest ships with
    the program, the engine verifies the configs when it loads them.

    Parameters
    ----------
    model
        Folder of a checkpoint, or a hub id.
    sha256
        That the manifest's file must have, where one is known from elsewhere.

    Raises
    ------
    ManifestError
        When the manifest is missing, malformed, not the one of that digest, or contradicts the
        checkpoint.
    """
    folder = checkpoint_folder(model)
    path = folder / MANIFEST_FILE if folder else shipped_manifest(model)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"{path} is missing or cannot be read. A checkpoint needs a manifest that states its "
            "prompts, pixels and box space: have training write it, or write it by hand as "
            "docs/manifest.md describes."
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise ManifestError(
            f"{path} has the SHA-256 {digest}, and not the one that was asked for. Restore the "
            "checkpoint, or correct DEEPMEDIX_MANIFEST_SHA256."
        )
    manifest = parse_manifest(data, str(path))
    if folder:
        verify_files(folder, manifest)
        verify_configs(folder, manifest)
    return manifest, digest


def checkpoint_folder(model: str) -> Path | None:
    """Return the folder that a model's name stands for; ``None`` for a hub id.

    Raises
    ------
    ManifestError
        When it is neither a folder nor shaped like a hub id.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if _HUB_ID.match(model) and not folder.exists():
        return None
    raise ManifestError(
        f"There is no checkpoint folder {model}. Set DEEPMEDIX_MODEL to a folder that holds one, "
        "or to a hub id such as Qika/DeepMedix-R1; `make checkpoint` makes the embedded one."
    )


def shipped_manifest(model: str) -> Path:
    """Return the file of the manifest that ships with the program for a hub id.

    Raises
    ------
    ManifestError
        When there is none.
    """
    names = []
    for path in sorted(SHIPPED_MANIFESTS.glob("*.json")):
        name = parse_manifest(path.read_bytes(), str(path)).name
        if name == model:
            return path
        names.append(name)
    raise ManifestError(
        f"No manifest ships with the program for {model} (there is one for {', '.join(names)}), "
        "and there is no folder of that name. Download the checkpoint to a folder, add a "
        f"{MANIFEST_FILE} as docs/manifest.md describes, and set DEEPMEDIX_MODEL to the folder."
    )


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that loading a folder may read, by its path in there.

    Files in sub-folders are among them: a tokenizer takes its chat template from one, for instance.
    What begins with a dot is not, nor is the manifest.

    Raises
    ------
    ManifestError
        When a sub-folder is a link, or something cannot be read.
    """
    return _hash_all(folder)[0]


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a folder's weights, shards in order; empty where it holds none."""
    shards = sorted(folder.glob(f"[!.]*{_WEIGHTS}"))
    digest = hashlib.sha256()
    for shard in shards:
        _feed(shard, digest)
    return digest.hexdigest() if shards else ""


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest into a finished checkpoint folder, with the digests of its files.

    Raises
    ------
    ManifestError
        When the manifest contradicts the folder's configs or weights.
    """
    files, weights = _hash_all(folder, manifest.revision)
    complete = manifest.model_copy(update={"files": files})
    verify_configs(folder, complete)
    if weights and (faults := _revision_faults(weights, manifest)):
        raise ManifestError(f"The manifest contradicts {folder}: {'; '.join(faults)}. Correct it.")
    path = folder / MANIFEST_FILE
    path.write_text(manifest_json(complete), encoding="utf-8")
    return path


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare the folder's files with those that the manifest lists, and with its revision.

    Raises
    ------
    ManifestError
        When a file is missing, is not listed or has another digest, or the revision is of other
        weights; every fault is named. When a sub-folder is a link.
    """
    present, weights = _hash_all(folder, manifest.revision)
    listed = manifest.files
    faults = [f"{name} is missing" for name in sorted(set(listed) - set(present))]
    faults += [f"{name} is not listed" for name in sorted(set(present) - set(listed))]
    faults += [
        f"{name} is not the file that the manifest was written for"
        for name in sorted(set(present) & set(listed))
        if present[name] != listed[name]
    ]
    if not any(name.endswith(_WEIGHTS) for name in present):
        faults.append(f"there are no weights (*{_WEIGHTS})")
    # Where a file has changed, that says it better.
    faults = faults or (_revision_faults(weights, manifest) if weights else [])
    if faults:
        raise ManifestError(
            f"{folder} and its {MANIFEST_FILE} disagree: {'; '.join(faults)}. "
            "Restore the checkpoint as it was published; if the change is meant, write the "
            "manifest again (service.engine.write_manifest)."
        )


def verify_configs(folder: Path, manifest: Manifest) -> None:
    """Compare the folder's model, processor and tokenizer configs with the manifest.

    Raises
    ------
    ManifestError
        When they disagree; every disagreement is named.
    """
    faults: list[str] = []
    config = _read(folder / "config.json")
    faults += _config_faults(config, manifest)
    faults += _processor_faults(_processor_config(folder), manifest)
    if not _has_chat_template(folder):
        faults.append("there is no chat template (chat_template.jinja)")
    if faults:
        raise ManifestError(
            f"{folder / MANIFEST_FILE} contradicts the checkpoint: {'; '.join(faults)}. "
            "Correct the manifest, or restore the checkpoint's config files."
        )


def verify_loaded_config(config: Mapping[str, Any], manifest: Manifest) -> None:
    """Compare the model config that the engine has loaded with the manifest.

    Raises
    ------
    ManifestError
        When they disagree; every disagreement is named.
    """
    faults = _config_faults(config, manifest)
    if faults:
        raise ManifestError(
            f"The manifest of {manifest.name} contradicts the checkpoint: {'; '.join(faults)}. "
            "Serve the checkpoint that the manifest was written for, or correct the manifest."
        )


def context_length(folder: Path) -> int | None:
    """Return the positions that a checkpoint folder's model can address, where its config says."""
    return _context(_read(folder / "config.json"))


def _context(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config") or config
    positions = text.get("max_position_embeddings") if isinstance(text, Mapping) else None
    return positions if isinstance(positions, int) else None


def _config_faults(config: Mapping[str, Any], manifest: Manifest) -> list[str]:
    faults = []
    architectures = config.get("architectures")
    if not isinstance(architectures, list | tuple) or manifest.architecture not in architectures:
        faults.append(f"config.json does not name the architecture {manifest.architecture}")
    for part in ("vision_config", "text_config"):
        if not isinstance(config.get(part) or {}, Mapping):
            faults.append(f"config.json's {part} is not a JSON object")
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        vision = {}
    # Qwen2.5-VL's own defaults where the config leaves them out.
    for field, key, default in (
        ("patch_size", "patch_size", 14),
        ("merge_size", "spatial_merge_size", 2),
    ):
        stated, expected = vision.get(key, default), getattr(manifest.pixels, field)
        if stated != expected:
            faults.append(
                f"pixels.{field} is {expected}, but config.json's vision_config.{key} is {stated}"
            )
    context = _context(config)
    if context is not None and manifest.sampling.max_tokens >= context:
        faults.append(
            f"sampling.max_tokens is {manifest.sampling.max_tokens}, which leaves no room for a "
            f"prompt in the {context} positions of config.json"
        )
    return faults


def _processor_faults(processor: Mapping[str, Any], manifest: Manifest) -> list[str]:
    size = processor.get("size") or {}
    if not isinstance(size, Mapping):
        return ["the processor config's size is not a JSON object"]
    pixels = manifest.pixels
    stated: dict[str, Any] = {
        # Where both spellings are there, the explicit one leads, as in transformers.
        "min_pixels": processor.get("min_pixels") or size.get("shortest_edge") or 56 * 56,
        "max_pixels": processor.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280,
        "patch_size": processor.get("patch_size", 14),
        "merge_size": processor.get("merge_size", 2),
    }
    if pixels.override_processor:
        del stated["min_pixels"], stated["max_pixels"]
    return [
        f"pixels.{field} is {getattr(pixels, field)}, but the processor config says {value}"
        for field, value in stated.items()
        if value != getattr(pixels, field)
    ]


def _processor_config(folder: Path) -> Mapping[str, Any]:
    """The image processor's settings, from either of the two files that transformers reads."""
    whole = folder / "processor_config.json"
    if whole.is_file():
        nested = _read(whole).get("image_processor")
        if isinstance(nested, dict):
            return nested
    return _read(folder / "preprocessor_config.json")


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    if (folder / "chat_template.json").is_file():
        return True
    tokenizer = folder / "tokenizer_config.json"
    return tokenizer.is_file() and bool(_read(tokenizer).get("chat_template"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ManifestError(
            f"{path} is missing or cannot be read: the checkpoint is not whole. Restore it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not valid JSON. Restore the checkpoint.") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} is not a JSON object. Restore the checkpoint.")
    return content


def _revision_faults(weights: str, manifest: Manifest) -> list[str]:
    """What is wrong with a revision that is one of weights, against their digest."""
    if weights.startswith(manifest.revision):
        return []
    return [
        f"revision is {manifest.revision}, but the SHA-256 of the weights begins with "
        f"{weights[:12]}"
    ]


def _hash_all(folder: Path, revision: str = "") -> tuple[dict[str, str], str]:
    """:func:`hash_files`, and :func:`weights_hash` where a revision is one of weights.

    Every file is read once; shards are put through both digests only where both are needed.

    Raises
    ------
    ManifestError
        When something cannot be read.
    """
    files: dict[str, str] = {}
    try:
        names = sorted(_loaded_files(folder))
        shards = {name for name in names if name.endswith(_WEIGHTS) and "/" not in name}
        wanted = _OF_WEIGHTS.fullmatch(revision) is not None
        whole = hashlib.sha256() if wanted and len(shards) > 1 else None
        for name in names:
            own = hashlib.sha256()
            both = (own, whole) if whole is not None and name in shards else (own,)
            _feed(folder / name, *both)
            files[name] = own.hexdigest()
    except OSError as error:
        raise ManifestError(
            f"{error.filename} cannot be read by uid {os.geteuid()}, whom the program runs as. Let "
            f"that user read all of {folder} (`chmod -R a+rX`, or `chown`)."
        ) from error
    if whole is not None:
        return files, whole.hexdigest()
    return files, files[shards.pop()] if wanted and shards else ""


def _loaded_files(folder: Path, within: str = "") -> Iterator[str]:
    for path in folder.iterdir():
        name = f"{within}{path.name}"
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink():  # it may lead anywhere, and back here
                raise ManifestError(
                    f"{path} is a link to a folder, and a checkpoint holds its files itself. Put "
                    "the folder in its place, or remove the link."
                )
            if os.access(path, os.X_OK):  # else nothing in it can be opened: a volume's lost+found
                yield from _loaded_files(path, f"{name}/")
        elif path.suffix in _LOADED and path.is_file() and name != MANIFEST_FILE:
            yield name


def _feed(path: Path, *digests: hashlib._Hash) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for digest in digests:
                digest.update(block)
