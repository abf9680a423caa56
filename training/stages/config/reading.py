"""From YAML and ``key=value`` to a config; every fault is named with its mend."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from training.stages.errors import ConfigError

RECIPES = Path(__file__).parents[2] / "recipes"
"""Configs that ship with the program: ``SCALE/STAGE.yaml``."""

_PUBLISHING = {
    "log_completions_hub_repo": "it makes a public repository of the completions",
    "log_multimodal": "it uploads the films",
    "push_to_hub": "it uploads the checkpoint",
}
"""Fields of TRL that are refused wherever they stand, and why."""

_SECRET = re.compile(r"(token|key|secret|password)$", re.IGNORECASE)
_TEXT_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")

_IN_YAML = dict.fromkeys(("tuple_type", "list_type"), "Input should be a list") | dict.fromkeys(
    ("dict_type", "mapping_type", "dataclass_type"), "Input should be a mapping of names to values"
)
"""What YAML has in place of Python's types."""

Stage = TypeVar("Stage")


def read_config(kind: type[Stage], file: str | Path, overrides: Sequence[str] = ()) -> Stage:
    """Read a stage's config.

    Parameters
    ----------
    kind
        The dataclass to read.
    file
        Path of a YAML file, or the name of a recipe such as ``embedded-cpu/sft``.
    overrides
        ``key=value`` with dots between sections (``optimizer.learning_rate=2e-6``); values are
        YAML.

    Raises
    ------
    ConfigError
        When the file cannot be read, a key is unknown, or a value does not fit.
    """
    path = _find(file)
    try:
        content = _load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 (byte {error.start + 1}). Save it in that encoding."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of fields, as the recipes do.")
    for override in overrides:
        _put(content, override)
    return build(kind, content, str(path))


def build(kind: type[Stage], content: Mapping[str, Any], place: str) -> Stage:
    """Check a mapping against a dataclass and return it as one.

    Raises
    ------
    ConfigError
        As :func:`read_config`.
    """
    _refuse_publishing(content)
    _refuse_secrets(content.get("trl"), "trl.")
    try:
        return TypeAdapter(kind).validate_python(_numbers(content))
    except ValidationError as error:
        raise ConfigError(_explain(error, kind, place)) from error


def describe(stage: Any) -> dict[str, Any]:
    """The config as plain JSON values, for ``stage.json``."""
    return TypeAdapter(type(stage)).dump_python(stage, mode="json")


class _UniqueKeys(yaml.SafeLoader):
    """As YAML 1.1 (section 3.2.1.1) wants it: no key stands in a mapping twice.

    Nor does an alias stand in what it names, which YAML allows.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is given twice", key.start_mark
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_document(self, node: yaml.Node) -> Any:
        self.deep_construct = True  # then PyYAML refuses such an alias
        return super().construct_document(node)


def _load(text: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeys)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


def _find(file: str | Path) -> Path:
    path = Path(file)
    recipe = RECIPES / f"{file}.yaml"
    if path.is_file() or not recipe.is_file():
        if not path.exists():
            names = sorted(
                str(p.relative_to(RECIPES).with_suffix(""))
                for p in RECIPES.glob("*/*.yaml")
                if p.parent.name != "accelerate"
            )
            raise ConfigError(
                f"There is no config {file}. Name a YAML file, or one of the recipes: "
                f"{', '.join(names)}."
            )
        return path
    return recipe


def _put(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is no override: write key=value, such as seed=3.")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        inner = place.setdefault(section, {})
        if inner is None:
            inner = place[section] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{override!r}: {section} is not a section of the config.")
        place = inner
    try:
        place[last] = _load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override!r}: the value is not valid YAML ({error}).") from error


def _numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e-6 as text; a number was meant."""
    if isinstance(value, Mapping):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    if isinstance(value, str) and value[:1] in "+-.0123456789" and value:
        try:
            return float(value) if not value.isdigit() else value
        except ValueError:
            return value
    return value


def _refuse_publishing(content: Any, path: str = "") -> None:
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        name = f"{path}{key}"
        if key in _PUBLISHING and value not in (None, False):
            raise ConfigError(
                f"{name} is forbidden: {_PUBLISHING[key]}. Remove it; completions and pictures are "
                "written beside the run (logging.samples_every)."
            )
        _refuse_publishing(value, f"{name}.")


def _refuse_secrets(content: Any, path: str) -> None:
    """A config is written into ``stage.json`` and the manifest, and goes where they go."""
    if isinstance(content, list | tuple):
        for item in content:
            _refuse_secrets(item, path)
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        name = f"{path}{key}"
        if _SECRET.search(str(key)) and key not in _TEXT_TOKENS and value not in (None, False):
            raise ConfigError(
                f"{name} is forbidden: the config is written into stage.json and the checkpoint's "
                "manifest. Remove it, and set the environment variable of the library that reads "
                "it: HF_TOKEN for the hub, WANDB_API_KEY for W&B."
            )
        _refuse_secrets(value, f"{name}.")


def _explain(error: ValidationError, kind: type, place: str) -> str:
    lines = [f"{place} cannot be used:"]
    for item in error.errors(include_url=False, include_input=True, include_context=False):
        where = [str(part) for part in item["loc"]]
        name = ".".join(where) or "(the whole)"
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = _fields_at(kind, where[:-1])
            near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
            lines.append(f"  {name}: there is no such field; {hint}")
        elif item["type"] in ("missing", "missing_argument"):
            lines.append(f"  {name}: must be given.")
        else:
            said = _IN_YAML.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
            if item["type"] == "value_error" and isinstance(item["input"], Mapping):
                # A rule of a section's, which says itself what of it is wrong.
                lines.append(f"  {said}." if not where else f"  {name}: {said}.")
                continue
            lines.append(f"  {name}: {said} (it is {item['input']!r})."[:400])
    return "\n".join(lines)


def _fields_at(kind: type, path: Sequence[str]) -> list[str]:
    """Names of the fields of a nested section."""
    for name in path:
        hints = typing.get_type_hints(kind)
        if name in hints:
            found = _dataclass_in(hints[name])
            if found is None:
                return []
            kind = found
    return [field.name for field in dataclasses.fields(kind)]


def _dataclass_in(hint: Any) -> type | None:
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple, typing.Annotated):
        for part in typing.get_args(hint):
            found = _dataclass_in(part)
            if found is not None:
                return found
    return None
