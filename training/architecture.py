"""The embedded checkpoint before training: a small Qwen2.5-VL and its own tokenizer.

Same architecture class as the 7B model, so that nothing in the service knows the difference; only
the sizes and the vocabulary are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLVisionConfig,
)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from service.radiograph import PixelGrid
from service.reading import SPECIAL_TOKENS

GRID = PixelGrid(min_pixels=28 * 28 * 16, max_pixels=224 * 224)
"""What the embedded checkpoint sees: 16 to 64 visual tokens of 28 x 28 pixels."""

COORDINATES = 512
"""Whole numbers below this are one token each, so that a coordinate is one decision."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# As Qwen's, but digits stay together and ", " before a digit is one piece: a box costs nine tokens.
_PIECES = (
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|, (?=\p{N})"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-pair tokenizer with Qwen2.5-VL's special tokens and every coordinate as one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    numbers = [" ".join(str(n) for n in range(COORDINATES))] * 20_000

    def corpus() -> Iterable[str]:
        yield from texts
        yield from numbers

    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def build_image_processor() -> Qwen2VLImageProcessorPil:
    """Image processor whose pixel bounds are those of :data:`GRID`."""
    return Qwen2VLImageProcessorPil(
        min_pixels=GRID.min_pixels,
        max_pixels=GRID.max_pixels,
        patch_size=GRID.patch_size,
        merge_size=GRID.merge_size,
    )


def _vision_config() -> Qwen2_5_VLVisionConfig:
    depth = 6
    return Qwen2_5_VLVisionConfig(
        depth=depth,
        hidden_size=192,
        intermediate_size=512,
        num_heads=6,
        out_hidden_size=256,
        patch_size=GRID.patch_size,
        spatial_merge_size=GRID.merge_size,
        temporal_patch_size=2,
        window_size=112,
        # A film is at most 64 visual tokens: windows would save nothing.
        fullatt_block_indexes=list(range(depth)),
    )


def build_vision_tower(*, seed: int = 0) -> Qwen2_5_VisionTransformerPretrainedModel:
    """The vision tower alone, freshly initialised, in float32."""
    torch.manual_seed(seed)
    tower = Qwen2_5_VisionTransformerPretrainedModel._from_config(
        _vision_config(), attn_implementation="sdpa"
    )
    _start_patches_as_cosines(tower.patch_embed.proj)
    return tower


def build_model(
    tokenizer: PreTrainedTokenizerFast, *, seed: int = 0
) -> Qwen2_5_VLForConditionalGeneration:
    """A freshly initialised model of about nine million parameters, in float32."""
    torch.manual_seed(seed)
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 12, 12],
            },
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config=_vision_config().to_dict(),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    _start_patches_as_cosines(model.model.visual.patch_embed.proj)
    _start_numbers_in_order(model.get_input_embeddings(), tokenizer)
    return model


def number_ids(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Token ids of the coordinates 0, 1, ... in order.

    Raises
    ------
    ValueError
        When a coordinate is not one token of its own.
    """
    pieces = [tokenizer.encode(str(n), add_special_tokens=False) for n in range(COORDINATES)]
    if any(len(piece) != 1 for piece in pieces):
        raise ValueError("The tokenizer splits coordinates; train it with more of them.")
    return torch.tensor([piece[0] for piece in pieces])


def count_parameters(model: torch.nn.Module) -> int:
    """Number of distinct parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def _start_patches_as_cosines(projection: torch.nn.Conv3d) -> None:
    """Start from the lowest two-dimensional cosines: a better-conditioned view of a patch."""
    channels, colours, frames, size, _ = projection.weight.shape
    n = torch.arange(size)
    basis = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / size)
    basis = basis / basis.norm(dim=1, keepdim=True)
    order = sorted(
        ((u, v) for u in range(size) for v in range(size)), key=lambda pair: (sum(pair), pair)
    )
    for channel in range(channels):
        u, v = order[channel % len(order)]
        wave = torch.outer(basis[u], basis[v]) / (colours * frames) ** 0.5
        projection.weight[channel] = wave.expand(colours, frames, size, size)


@torch.no_grad()
def _start_numbers_in_order(
    embedding: torch.nn.Embedding, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Neighbouring coordinates start with similar embeddings (input and output are tied)."""
    value = torch.arange(COORDINATES)[:, None] / COORDINATES
    width = embedding.weight.shape[1] // 2
    frequency = torch.logspace(0, math.log10(64), width // 2)[None]
    waves = torch.cat(
        [torch.sin(2 * math.pi * value * frequency), torch.cos(2 * math.pi * value * frequency)], 1
    )
    ids = number_ids(tokenizer)
    embedding.weight[ids, :width] = waves * embedding.weight.std()
