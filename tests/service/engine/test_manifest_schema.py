import json
from pathlib import Path

import jsonschema
import pytest

from service.engine import LineageRecord, Manifest, ManifestError, manifest_schema_json
from service.engine.manifest import manifest_json, parse_manifest

RESULT = {"name": "f1", "value": 1, "n": 3, "data": "", "command": ""}
SCHEMA = Path(__file__).parents[3] / "service" / "engine" / "manifest.schema.json"


def test_published_schema_is_the_one_in_force():
    assert SCHEMA.read_text(encoding="utf-8") == manifest_schema_json()


def test_manifest_follows_its_published_schema(manifest):
    jsonschema.validate(json.loads(manifest_json(manifest)), json.loads(SCHEMA.read_text()))


def test_every_field_is_described():
    schema = json.loads(manifest_schema_json())
    own = ("Manifest", "Pixels", "SamplingDefaults", "LineageRecord", "MeasuredResult")
    parts = [schema] + [schema["$defs"][name] for name in own if name in schema["$defs"]]
    for part in parts:
        assert [n for n, field in part["properties"].items() if "description" not in field] == []


def test_reading_what_was_written_gives_the_same_manifest(manifest):
    assert parse_manifest(manifest_json(manifest).encode(), "m") == manifest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pixels", {"min_pixels": 10_000, "max_pixels": 5_000}),
        ("pixels", {"min_pixels": 1, "max_pixels": 10}),
        ("sampling", {"temperature": -1, "max_tokens": 10}),
        ("sampling", {"temperature": 0, "max_tokens": 0}),
        ("sampling", {"temperature": 0}),
        ("decoding", "sometimes"),
        ("max_images", 0),
        ("schema_version", 2),
        ("name", ""),
        ("files", {"../model.safetensors": "0" * 64}),
        ("files", {"a/../../model.safetensors": "0" * 64}),
        ("files", {"/model.safetensors": "0" * 64}),
        ("files", {"a\\model.safetensors": "0" * 64}),
        ("files", {"model.safetensors": "abc"}),
        ("results", [{"name": "f1", "value": 1, "interval": [2, 1], "n": 3, "data": "", "x": 0}]),
        ("results", [{**RESULT, "interval": [2, 1]}]),
        ("results", [{**RESULT, "interval": [0.5, 0.9]}]),
        ("conventions", {}),
        ("colour", "blue"),
    ],
)
def test_field_at_fault_is_named(manifest, field, value):
    content = json.loads(manifest_json(manifest)) | {field: value}
    with pytest.raises(ManifestError, match=field):
        parse_manifest(json.dumps(content).encode(), "deepmedix.json")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"name": "a", "name": "b"}', b"[" * 100_000, b"null"],
)
def test_unusable_json_is_refused_with_advice(data):
    with pytest.raises(ManifestError, match="write"):
        parse_manifest(data, "deepmedix.json")


def test_values_that_are_no_numbers_are_refused(manifest):
    text = manifest_json(manifest).replace('"temperature": 0.0', '"temperature": NaN')
    assert "NaN" in text
    with pytest.raises(ManifestError, match="NaN is no number"):
        parse_manifest(text.encode(), "deepmedix.json")


def test_stage_is_the_last_of_the_lineage(manifest):
    content = manifest.model_dump(mode="json")
    content["lineage"] = [LineageRecord(stage="grpo").model_dump(mode="json")]
    with pytest.raises(ManifestError, match="lineage"):
        parse_manifest(json.dumps(content).encode(), "deepmedix.json")


def test_manifest_cannot_be_changed(manifest: Manifest):
    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "other"
