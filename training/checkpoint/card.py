"""The model card: what a checkpoint is, how it came about, what it reaches and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from service.engine import LineageRecord, MeasuredResult
from training.checkpoint.identity import Identity, embedded_identity

_PLUMBING = (
    *("output", "logging.", "trl.", "data.split", "data.group_lengths", "model.manifest"),
    "merged.adapters_hash",
    *("model.attention", "model.keep_seen", "model.gradient_checkpointing", "model.lora.targets"),
    *("optimizer.schedule", "optimizer.warm_up", "optimizer.max_grad_norm"),
)
"""Settings that a reader of the card can do without."""
_POSITION = ("step", "epoch", "learning_rate", "num_tokens")


def model_card(
    lineage: Sequence[LineageRecord],
    results: Sequence[MeasuredResult],
    identity: Identity | None = None,
    *,
    showcase: str = "",
) -> str:
    """The checkpoint's README.

    Parameters
    ----------
    identity
        What it is called and how it is asked; the embedded checkpoint's where not given.
    showcase
        A section in Markdown, heading included, that goes before the limits.
    """
    identity = identity or embedded_identity()
    space = identity.conventions.box_space
    pixels = identity.pixels
    parts = [
        _front_matter(identity),
        f"# {identity.name}\n",
        *(f"{paragraph}\n" for paragraph in identity.summary),
        "## How it is asked and read\n",
        f"* Images of {pixels.min_pixels} to {pixels.max_pixels} pixels, each side a multiple of "
        f"{pixels.patch_size * pixels.merge_size}; at most {identity.max_images} per request.\n"
        f"* Boxes `[x_min, y_min, x_max, y_max]` in the space `{space}`.\n"
        "* Prompts, sampling and the digests of all files stand in `deepmedix.json`, which the\n"
        "  service verifies at start: `deepmedix checkpoint verify` does the same.\n",
        "## Training\n",
        *(f"{paragraph}\n" for paragraph in identity.training),
        "\n".join(_stages(lineage)) + "\n",
    ]
    if results:
        parts += ["## Results on held-out films\n", *(f"{text}\n" for text in identity.measured)]
        parts += ["\n".join(_results(results)) + "\n"]
    if showcase:
        parts += [showcase.rstrip() + "\n"]
    parts += ["## Limits\n", "\n".join(f"* {limit}" for limit in identity.limits) + "\n"]
    return "\n".join(parts)


def settings_in_words(config: Mapping[str, object]) -> str:
    """What matters of a stage's settings on one line; nested ones with a dot.

    The manifest holds all of them.
    """
    return ", ".join(
        f"{name} {value}"
        for name, value in flat_settings(config)
        if value is not False and not name.startswith(_PLUMBING)
    )


def metrics_in_words(metrics: Mapping[str, float]) -> str:
    """What a stage ended at on one line, without what only says how far it had come."""
    return ", ".join(f"{n} {value:.4g}" for n, value in metrics.items() if n not in _POSITION)


def flat_settings(config: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Names and values of all settings that say something."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            for inner, deeper in flat_settings(value):
                yield f"{name}.{inner}", deeper
        elif value is not None and value not in ("", [], ()):
            yield name, value


def _front_matter(identity: Identity) -> str:
    lines = ["---", f"license: {identity.license.lower()}", "pipeline_tag: image-text-to-text"]
    if identity.base:
        lines.append(f"base_model: {identity.base}")
    return "\n".join([*lines, "---"])


def _stages(lineage: Sequence[LineageRecord]) -> Iterator[str]:
    for record in lineage:
        origin = ", ".join(
            f"{name} {digest[:7]}"
            for name, digest in (("code", record.code_revision), ("data", record.data_hash))
            if digest
        )
        settings = settings_in_words(record.config)
        yield f"* **{record.stage}**: {settings}" + (f" ({origin})" if origin else "")
        if record.metrics:
            yield f"  Ended at {metrics_in_words(record.metrics)}."


def _results(results: Sequence[MeasuredResult]) -> Iterator[str]:
    yield "| metric | value | 95% interval | n |"
    yield "|---|---|---|---|"
    for result in results:
        interval = "" if result.interval is None else "{:.3f} to {:.3f}".format(*result.interval)
        yield f"| {result.name} | {result.value:.3f} | {interval} | {result.n} |"
    sources = dict.fromkeys((r.data, r.command) for r in results)
    yield ""
    for data, command in sources:
        yield f"Measured on: {data}" + (f"; again by `{command}`." if command else ".")
