"""A checkpoint of a few thousand parameters and eight small films to train it on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from service.settings import EMBEDDED_CHECKPOINT
from training.architecture import GRID, build_image_processor


def write_tiny_model(folder: Path) -> None:
    """Architecture and tokenizer are the embedded checkpoint's, sizes as small as they go."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [2, 3, 3],
            },
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": GRID.patch_size,
            "spatial_merge_size": GRID.merge_size,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    build_image_processor().save_pretrained(folder)


def write_tiny_films(folder: Path, count: int = 8) -> None:
    """Films of noise in the layout of the simulated ones, a heart on each."""
    rng = np.random.default_rng(0)
    (folder / "films").mkdir(parents=True)
    lines = []
    for number in range(count):
        path = f"films/{number}.png"
        pixels = rng.integers(0, 256, (36, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / path)
        large = number % 2
        record = {
            "id": f"film-{number}",
            "split": "train",
            "subject": f"patient-{number}",
            "path": path,
            "width": 32,
            "height": 36,
            "view": "PA",
            "structures": [
                {"name": name, "box": [2 + at, 4, 20 + at, 30]}
                for at, name in enumerate(("heart", "right lung", "left lung"))
            ],
            "findings": [
                {
                    "kind": "cardiomegaly",
                    "side": None,
                    "box": [4, 8, 24, 30],
                    "severity": "mild",
                    "lobe": None,
                    "zone": None,
                }
            ]
            * large,
            "devices": [],
            "prior": None,
            "change": None,
        }
        lines.append(json.dumps(record) + "\n")
    (folder / "train-0000.jsonl").write_text("".join(lines))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``model`` and ``films``."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder / "model")
    write_tiny_films(folder / "films")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are taken in one order, as they are in a process with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
