"""The README's table of what a node needs, against the model's own arithmetic."""

import pytest

from benchmarks.node_memory import (
    BATCHED_TOKENS,
    CARDS,
    CONCURRENCY,
    GIB,
    SEQUENCES,
    Sizes,
    card_bytes,
    table,
)
from service.engine import EngineSettings, load_manifest
from service.engine.arguments import Machine, engine_arguments
from service.settings import Settings
from tests.docker.dockerfile import ROOT


def test_the_readme_has_the_table_that_the_command_prints() -> None:
    assert table(Sizes()) in (ROOT / "README.md").read_text()


def test_the_default_length_is_what_is_told_and_does_not_fit_the_smallest_card() -> None:
    manifest, _ = load_manifest("Qika/DeepMedix-R1")
    lengths = [
        engine_arguments(
            EngineSettings("Qika/DeepMedix-R1"), manifest, Machine(cpu=False, weights=weights)
        )["max_model_len"]
        for weights in (Sizes().parameters * 2, GIB - 1)
    ]
    assert lengths == [16384, 4096]
    smallest = CARDS[0][0] * 1e9
    # A report is two texts.
    assert card_bytes(Sizes(), 8192, 2) <= smallest < card_bytes(Sizes(), lengths[0], 2)
    described = Settings.model_fields["max_model_len"].description
    assert described in (ROOT / "docs/settings.md").read_text()
    assert "Default: 16384, or 4096" in described
    assert "24 GB card: set 8192 or less" in described
    assert "default is 16384 (4096" in (ROOT / "README.md").read_text()


def test_a_step_of_the_engine_is_as_large_as_vllm_makes_it_for_the_service() -> None:
    from vllm.config.scheduler import SchedulerConfig

    # The service sets neither, and `_load_by_itself` names no usage context: vLLM takes these.
    manifest, _ = load_manifest("Qika/DeepMedix-R1")
    given = engine_arguments(
        EngineSettings("Qika/DeepMedix-R1"), manifest, Machine(cpu=False, weights=16 * GIB)
    )
    assert not {"max_num_batched_tokens", "max_num_seqs"} & set(given)
    assert ".create_engine_config()" in (ROOT / "service/engine/vllm_engine.py").read_text()
    assert SchedulerConfig.DEFAULT_MAX_NUM_BATCHED_TOKENS == BATCHED_TOKENS
    assert SchedulerConfig.DEFAULT_MAX_NUM_SEQS == SEQUENCES


def test_a_row_of_the_table_is_for_whole_reports() -> None:
    assert "a report is two" in table(Sizes()).splitlines()[0]
    assert all(texts % 2 == 0 for texts in CONCURRENCY)


def test_the_published_checkpoint_has_as_many_weights() -> None:
    # `total_size` of Qwen/Qwen2.5-VL-7B-Instruct's model.safetensors.index.json, bfloat16.
    assert Sizes().parameters * 2 == 16_584_333_312


def test_transformers_counts_the_same_weights() -> None:
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    small = Sizes(
        hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16, intermediate=96, vocabulary=500,
        vision_hidden=32, vision_layers=2, vision_intermediate=48,
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 500,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "hidden_size": 32, "depth": 2, "num_heads": 2, "intermediate_size": 48,
            "out_hidden_size": 64,
        },
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    assert sum(weight.numel() for weight in model.parameters()) == small.parameters


def test_an_image_takes_as_many_tokens_as_the_service_says() -> None:
    assert Sizes().image_tokens(28 * 28 * 4) == 4


@pytest.mark.parametrize("length", [4096, 16384])
def test_more_texts_never_need_less(length: int) -> None:
    needed = [card_bytes(Sizes(), length, sequences) for sequences in (1, 2, 8, 64)]
    assert needed == sorted(needed)
    assert needed[0] > 16 * GIB
