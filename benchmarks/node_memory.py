"""GPU memory that a node needs to serve DeepMedix-R1, worked out from the model's sizes.

``python -m benchmarks.node_memory`` prints the README's table. Nothing is measured: weights and
cache follow from the published configuration of Qwen2.5-VL-7B-Instruct, whose architecture and
class of size DeepMedix-R1 has; what the engine needs besides is a reserve, stated below.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Sizes:
    """The sizes of a Qwen2.5-VL model that its memory follows from, as in its ``config.json``."""

    hidden: int = 3584
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    head_dim: int = 128
    intermediate: int = 18944
    vocabulary: int = 152064
    vision_hidden: int = 1280
    vision_layers: int = 32
    vision_intermediate: int = 3420
    patch: int = 14
    temporal_patch: int = 2
    merge: int = 2

    @property
    def parameters(self) -> int:
        """Return the number of weights, language model and vision tower."""
        return self._language() + self._vision()

    def _language(self) -> int:
        inner, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (inner + 2 * kv) + inner + 2 * kv + inner * self.hidden
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return (
            self.layers * layer + self.hidden + 2 * self.vocabulary * self.hidden
        )  # embedding, head

    def _vision(self) -> int:
        width, wide = self.vision_hidden, self.vision_intermediate
        block = 4 * width * width + 4 * width  # attention with biases
        block += 3 * width * wide + 2 * wide + width  # gate, up, down with biases
        block += 2 * width  # norms
        merged = self.merge**2 * width
        merger = width + merged * merged + merged + merged * self.hidden + self.hidden
        patches = 3 * self.temporal_patch * self.patch**2 * width
        return patches + self.vision_layers * block + merger

    def kv_bytes(self, tokens: int) -> int:
        """Return the bytes of keys and values of so many tokens, in bfloat16."""
        return tokens * 2 * self.layers * self.kv_heads * self.head_dim * 2

    def image_tokens(self, pixels: int) -> int:
        """Return the tokens of an image of so many pixels."""
        return pixels // (self.patch * self.merge) ** 2


BATCHED_TOKENS = 2048
SEQUENCES = 128
"""Tokens and texts of one step of the engine at most: vLLM's own defaults, for on a GPU the service
sets neither and names no usage context, whose defaults are larger (``create_engine_config``)."""

FIXED = 3 * GIB
"""Assumed for the CUDA context, captured graphs and work space of the libraries."""

UTILIZATION = 0.9
"""Part of the card that the service lets the engine take (``gpu_memory_utilization``)."""

IMAGE_PIXELS = 262_144
"""``max_pixels`` of the manifest that ships for DeepMedix-R1."""

LENGTHS = (4096, 8192, 16384)
CONCURRENCY = (2, 8, 32)
"""Texts at once: a report is two, its findings and its impression."""
CARDS = ((24, "A10, L4, RTX 4090"), (48, "L40S, RTX 6000 Ada"), (80, "A100, H100"), (141, "H200"))


def reserve(sizes: Sizes) -> int:
    """Return the bytes beside weights and cache: a step's activations and logits, and ``FIXED``."""
    activations = BATCHED_TOKENS * (2 * sizes.intermediate + 4 * sizes.hidden) * 2
    logits = 2 * SEQUENCES * sizes.vocabulary * 4
    return activations + logits + FIXED


def card_bytes(sizes: Sizes, length: int, sequences: int) -> float:
    """Return the memory of the card that holds so many texts of that full length at once."""
    needed = sizes.parameters * 2 + sizes.kv_bytes(length * sequences) + reserve(sizes)
    return needed / UTILIZATION


def table(sizes: Sizes) -> str:
    """Return the README's table."""
    lines = [
        "| `DEEPMEDIX_MAX_MODEL_LEN` | texts at once (a report is two), each that long | cache "
        "| needed in all | smallest card |",
        "|---|---|---|---|---|",
    ]
    for length in LENGTHS:
        for sequences in CONCURRENCY:
            needed = card_bytes(sizes, length, sequences) / GIB
            cache = sizes.kv_bytes(length * sequences) / GIB
            card = _card(needed)
            lines.append(
                f"| {length} | {sequences} | {cache:.1f} GiB | {needed:.1f} GiB | {card} |"
            )
    return "\n".join(lines)


def _card(gib: float) -> str:
    for size, names in CARDS:
        if gib * GIB <= size * 1e9:
            return f"{size} GB ({names})"
    return "more than one"


def main() -> None:
    """Print the sizes and the table."""
    sizes = Sizes()
    print(f"weights: {sizes.parameters:,} in bfloat16, {sizes.parameters * 2 / GIB:.1f} GiB")
    print(f"cache: {sizes.kv_bytes(1):,} bytes a token")
    print(f"image: at most {sizes.image_tokens(IMAGE_PIXELS)} tokens at {IMAGE_PIXELS:,} pixels\n")
    print(table(sizes))


if __name__ == "__main__":
    main()
