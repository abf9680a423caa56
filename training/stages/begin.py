"""What a stage begins with: the checkpoint's tokenizer, and how it is asked and shown films."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from service.engine import Manifest, ManifestError, load_manifest
from service.engine.checkpoint import shipped_manifest
from service.engine.manifest import MANIFEST_FILE, parse_manifest
from service.radiograph import PixelGrid
from service.reading import Conventions
from training.checkpoint.lineage import names_a_path
from training.checkpoint.loading import first_line
from training.stages.config import ModelSettings
from training.stages.errors import ConfigError


@dataclass(frozen=True)
class Beginning:
    """The checkpoint that a stage starts from.

    Attributes
    ----------
    conventions, grid
        Those that the service will read the result with.
    """

    start: str
    tokenizer: PreTrainedTokenizerBase
    conventions: Conventions
    grid: PixelGrid


def begin(settings: ModelSettings) -> Beginning:
    """Load tokenizer and conventions.

    Raises
    ------
    ConfigError
        When the checkpoint or its manifest is missing, or it holds adapters alone.
    """
    _refuse_missing_folder(settings.start)
    if (Path(settings.start) / "adapter_config.json").is_file():
        raise ConfigError(
            f"model.start: {settings.start} holds adapters, not a whole model. Merge them first: "
            f"deepmedix checkpoint merge {settings.start} --out FOLDER."
        )
    conventions, grid = conventions_of(settings)
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.start)
    except Exception as error:  # whatever the libraries raise over a damaged file
        raise ConfigError(
            f"model.start: no tokenizer could be loaded from {settings.start} "
            f"({first_line(error)}). Run the stage before first, or name the folder of a "
            "checkpoint."
        ) from error
    return Beginning(settings.start, tokenizer, conventions, grid)


def _refuse_missing_folder(start: str) -> None:
    """A path that is not there is not looked for on a hub, which takes a minute to say no."""
    if names_a_path(start) and not Path(start).expanduser().is_dir():
        raise ConfigError(
            f"model.start: there is no checkpoint folder {start}. Run the stage before first, or "
            "name another."
        )


def conventions_of(settings: ModelSettings) -> tuple[Conventions, PixelGrid]:
    """Prompts, box space and pixels that the settings name.

    Raises
    ------
    ConfigError
        When there is no such manifest.
    """
    named = settings.manifest or settings.start
    if settings.manifest == "embedded":
        from training.architecture import GRID
        from training.conventions import EMBEDDED_CONVENTIONS

        return EMBEDDED_CONVENTIONS, GRID
    try:
        manifest = _manifest(named)
    except ManifestError as error:
        raise ConfigError(
            f"model.manifest: {error} A stage's output holds no manifest: name the one to train "
            "with (`embedded`, Qika/DeepMedix-R1, or a folder)."
        ) from error
    pixels = manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    return manifest.conventions, grid


def _manifest(named: str) -> Manifest:
    folder = Path(named)
    if not folder.is_dir():
        path = shipped_manifest(named)
        return parse_manifest(path.read_bytes(), str(path))
    if not (folder / MANIFEST_FILE).exists():
        raise ManifestError(f"{folder} holds no {MANIFEST_FILE}.")
    return load_manifest(named)[0]
