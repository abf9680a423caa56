"""The manifest: what a checkpoint says of itself, and how it wants to be asked and read.

A checkpoint folder holds it as ``deepmedix.json``; for checkpoints on the hub that know nothing of
it, one ships with the program. ``docs/manifest.md`` explains every field; the JSON Schema is
``service/engine/manifest.schema.json``. Neither torch nor vLLM is needed here.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.reading import Conventions, Decoding, Mode

MANIFEST_FILE = "deepmedix.json"
"""Name of the manifest in a checkpoint folder."""

Word = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _path_inside(name: str) -> str:
    if "\\" in name or any(not part or part.startswith(".") for part in name.split("/")):
        raise ValueError("must be the path of a file inside the checkpoint folder")
    return name


FileName = Annotated[str, AfterValidator(_path_inside)]


class ManifestError(Exception):
    """A manifest that is missing, unreadable or contradicts its checkpoint; says how to mend it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Pixels(_Part):
    """What an image must be for the vision tower."""

    min_pixels: int = Field(ge=1, description="Least area of an image, in pixels.")
    max_pixels: int = Field(ge=1, description="Largest area of an image, in pixels.")
    patch_size: int = Field(14, ge=1, description="Side of a patch, in pixels.")
    merge_size: int = Field(2, ge=1, description="Patches along a side of one visual token.")
    override_processor: bool = Field(
        False,
        description="Whether min_pixels and max_pixels replace those of the checkpoint's own "
        "processor config. Where false, the two must agree.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Pixels:
        token = (self.patch_size * self.merge_size) ** 2
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels must not exceed max_pixels")
        if self.max_pixels < token:
            raise ValueError("max_pixels must leave room for one visual token")
        return self


class SamplingDefaults(_Part):
    """How tokens are chosen where the caller says nothing."""

    temperature: Number = Field(ge=0, le=2, description="0 takes the likeliest token.")
    top_p: Number = Field(1.0, gt=0, le=1, description="Share of the probability that is kept.")
    max_tokens: int = Field(ge=1, description="Most tokens of one generated text.")
    seed: int | None = Field(None, description="Seed; null draws one for every request.")


class LineageRecord(_Part):
    """One stage of training that the checkpoint went through."""

    stage: Word = Field(description="Name of the stage, such as sft, cold_start or grpo.")
    config: dict[str, object] = Field(default_factory=dict, description="The stage's settings.")
    data_hash: str = Field("", description="Digest of what it was trained on; empty if unknown.")
    code_revision: str = Field("", description="Revision of the training code; empty if unknown.")
    start_hash: str = Field(
        "", description="SHA-256 of the weights it started from; empty if none or unknown."
    )
    weights_hash: str = Field("", description="SHA-256 of the weights it left; empty if unknown.")
    metrics: dict[str, Number] = Field(
        default_factory=dict, description="What the stage measured at its end."
    )


class MeasuredResult(_Part):
    """One held-out result, with how to measure it again."""

    name: Word = Field(description="Name of the metric.")
    value: Number = Field(description="The measured value.")
    interval: tuple[Number, Number] | None = Field(None, description="95% confidence interval.")
    n: int = Field(ge=0, description="Examples it was measured on.")
    data: str = Field(description="What it was measured on.")
    command: str = Field(description="Command that measures it again; empty if published.")

    @model_validator(mode="after")
    def _interval_holds_value(self) -> MeasuredResult:
        if self.interval is not None and not self.interval[0] <= self.value <= self.interval[1]:
            raise ValueError("interval must be [low, high], and hold the value")
        return self


class Manifest(_Part):
    """Facts and conventions of one checkpoint."""

    schema_version: Literal[1] = Field(1, description="Version of this schema.")
    name: Word = Field(description="Name of the checkpoint; its hub id where it has one.")
    revision: Word = Field(description="Revision of the checkpoint.")
    stage: Word = Field(description="Last stage of training, such as sft, cold_start or grpo.")
    base: Word | None = Field(
        None, description="Checkpoint it was trained from; null: none, or unknown."
    )
    architecture: Word = Field(
        "Qwen2_5_VLForConditionalGeneration",
        description="Model class, as config.json names it under architectures.",
    )
    license: Word = Field(description="SPDX identifier of the weights' licence.")
    conventions: Conventions = Field(description="Prompts, and the space that boxes are in.")
    pixels: Pixels = Field(description="Sizes that the vision tower takes.")
    sampling: SamplingDefaults = Field(description="Sampling where the caller says nothing.")
    decoding: Decoding = Field(
        Decoding.FREE, description="Whether the text is constrained to the grammar by default."
    )
    max_images: int = Field(1, ge=1, le=16, description="Most images of one request.")
    report_modes: tuple[Mode, ...] = Field(
        (Mode.THINK, Mode.ANSWER),
        min_length=1,
        description="Modes in which it has learnt to write reports; others are refused.",
    )
    lineage: tuple[LineageRecord, ...] = Field(
        (), description="Stages of training that are known, first to last."
    )
    results: tuple[MeasuredResult, ...] = Field((), description="Held-out results.")
    files: dict[FileName, Digest] = Field(
        default_factory=dict,
        description="SHA-256 of every file that is loaded from the checkpoint folder.",
    )
    notes: tuple[str, ...] = Field((), description="What else a reader must know.")

    @model_validator(mode="after")
    def _lineage_ends_in_stage(self) -> Manifest:
        if self.lineage and self.lineage[-1].stage != self.stage:
            raise ValueError("stage must be the last stage of lineage")
        return self


def manifest_schema_json() -> str:
    """Return the JSON Schema of the manifest, as the file in the repository holds it."""
    schema = Manifest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def manifest_json(manifest: Manifest) -> str:
    """Return the manifest as its file holds it."""
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Return the manifest that some bytes hold.

    Parameters
    ----------
    data
        UTF-8 JSON.
    place
        Name of the file, for error texts.

    Raises
    ------
    ManifestError
        When it is not JSON, repeats a key or does not follow the schema; every field at fault is
        named.
    """
    try:
        content = json.loads(data, object_pairs_hook=_without_repeats, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"{place} is not a usable JSON file ({error}). Restore it, or have training write it "
            "again."
        ) from error
    try:
        return Manifest.model_validate(content)
    except ValueError as error:
        raise ManifestError(_explain(error, place)) from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _explain(error: ValueError, place: str) -> str:
    from pydantic import ValidationError

    lines = [f"{place} does not follow the manifest's schema (docs/manifest.md):"]
    if isinstance(error, ValidationError):
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            field = ".".join(str(part) for part in item["loc"]) or "(the whole)"
            lines.append(f"  {field}: {item['msg']}")
    lines.append("Correct these fields, or have training write the manifest again.")
    return "\n".join(lines)
