"""Configs: what is unknown or does not fit is named, with its mend."""

from __future__ import annotations

import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from training.stages.config import GroupRelativeStage, SupervisedStage, describe, read_config
from training.stages.config.reading import RECIPES, build
from training.stages.errors import ConfigError

LEAST = {"output": "out", "data": {"folder": "films"}, "model": {"start": "start"}}
RECIPE_FILES = sorted(path for path in RECIPES.glob("*/*.yaml") if path.parent.name != "accelerate")

LAUNCH_FILES = sorted((RECIPES / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_recipe_is_a_config(path: Path) -> None:
    kind = GroupRelativeStage if path.stem == "grpo" else SupervisedStage
    stage = read_config(kind, f"{path.parent.name}/{path.stem}")
    assert build(kind, describe(stage), "again") == stage


def test_the_large_recipes_state_the_published_scale() -> None:
    sizes = [
        read_config(kind, f"7b-8gpu/{name}").data.samples
        for kind, name in (
            (SupervisedStage, "sft"),
            (SupervisedStage, "cold-start"),
            (GroupRelativeStage, "grpo"),
        )
    ]
    assert sizes == [351_500, 3_900, 6_600]
    grpo = read_config(GroupRelativeStage, "7b-8gpu/grpo")
    assert (grpo.objective.kl, grpo.optimizer.learning_rate) == (1e-2, 1e-6)
    assert (grpo.rollouts.group, grpo.rollouts.max_tokens) == (5, 2048)


@pytest.mark.parametrize(
    "path", sorted((RECIPES / "accelerate").glob("*.yaml")), ids=lambda p: p.stem
)
def test_accelerate_takes_its_configs(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    loaded = load_config_from_file(str(path))
    assert loaded.mixed_precision == "bf16"
    assert loaded.num_processes == 8 * loaded.num_machines


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"optimiser": {}}, "did you mean optimizer?"),
        ({"optimizer": {"learning_rat": 1}}, "did you mean learning_rate?"),
        ({"model": {"start": "x", "lora": {"rang": 8}}}, "did you mean rank?"),
        ({"rollouts": {"vllm": {"prot": 1}}}, "did you mean port?"),
        ({"rewards": [{"name": "paper", "wieght": 1}]}, "did you mean weight?"),
        ({"rollouts": {"group": 1}}, "rollouts.group"),
        ({"rewards": []}, "at least one"),
        ({"optimizer": {"name": "muon"}}, "choose adamw"),
        ({"logging": {"every": 3, "save_every": 10}}, "multiple of every"),
        ({"rollouts": {"updates": 2}, "logging": {"every": 1, "save_every": 5}}, "two generations"),
        ({"model": {"start": "x", "lora": {}}}, "shared-prefix does not go with"),
        ({"trl": {"log_multimodal": True}}, "uploads the films"),
        ({"trl": {"log_completions_hub_repo": "a/b"}}, "public repository"),
        ({"log_completions_hub_repo": "a/b"}, "public repository"),
        ({"trl": {"hub_token": "hf_x"}}, r"trl\.hub_token is forbidden.*HF_TOKEN"),
        ({"trl": {"model_init_kwargs": {"token": "hf_x"}}}, "HF_TOKEN"),
        ({"trl": {"wandb_api_key": "x"}}, "WANDB_API_KEY"),
    ],
)
def test_what_does_not_fit_is_named(fault: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(GroupRelativeStage, {**LEAST, **fault}, "config.yaml")


def test_overrides_reach_into_sections(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(LEAST))
    overrides = ["optimizer.learning_rate=2e-6", "model.lora.rank=8", "data.mixture={vqa: 1}"]
    stage = read_config(SupervisedStage, file, overrides)
    assert stage.optimizer.learning_rate == 2e-6
    assert stage.model.lora is not None
    assert stage.model.lora.rank == 8
    assert stage.data.mixture == {"vqa": 1}


@pytest.mark.parametrize("override", ["seed", "output.inner=3", "seed=[1"])
def test_an_override_that_is_none_is_refused(tmp_path: Path, override: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(LEAST))
    with pytest.raises(ConfigError):
        read_config(SupervisedStage, file, [override])


def test_a_missing_file_names_the_recipes() -> None:
    with pytest.raises(ConfigError, match="embedded-cpu/grpo"):
        read_config(SupervisedStage, "nowhere")


def test_further_fields_of_trl_are_checked() -> None:
    from trl import SFTConfig

    from training.stages.model import trl_fields

    assert trl_fields(SFTConfig, {"seed": 1}, {"dataloader_num_workers": 2}) == {
        "seed": 1,
        "dataloader_num_workers": 2,
    }
    with pytest.raises(ConfigError, match="did you mean dataloader_num_workers"):
        trl_fields(SFTConfig, {}, {"dataloader_num_worker": 2})
    with pytest.raises(ConfigError, match="set by the config itself"):
        trl_fields(SFTConfig, {"seed": 1}, {"seed": 2})


def test_what_is_refused_of_a_secret_does_not_repeat_it() -> None:
    with pytest.raises(ConfigError) as refused:
        build(SupervisedStage, {**LEAST, "trl": {"hub_token": "hf_secret"}}, "config.yaml")
    assert "hf_secret" not in str(refused.value)


def test_the_tokens_of_a_text_are_no_secrets() -> None:
    further = {"eos_token": "<|im_end|>", "include_num_input_tokens_seen": True}
    assert build(SupervisedStage, {**LEAST, "trl": further}, "config.yaml").trl == further


def test_the_rollouts_environment_fits_the_programs_own_ranges() -> None:
    """Every pin has versions that pyproject allows, too; vLLM's are those that TRL knows."""
    lines = (RECIPES / "requirements-rollouts.txt").read_text().splitlines()
    pins = {r.name: r for line in lines if (r := requirement(line))}
    assert set(pins) == {"vllm", "trl", "transformers"}
    project = tomllib.loads((RECIPES.parents[1] / "pyproject.toml").read_text())["project"]
    ranges = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    shared = {r.name: r.specifier for line in ranges if (r := requirement(line)).name in pins}
    assert set(shared) == {"trl", "transformers"}
    for name, specifier in shared.items():
        both = specifier & pins[name].specifier
        assert any(both.contains(f"{a}.{b}.1") for a in range(8) for b in range(40)), name
    known = next(
        r
        for line in requires("trl") or ()
        if (r := requirement(line)).name == "vllm"
        and r.marker
        and r.marker.evaluate({"extra": "vllm"})
    )
    assert known.specifier.contains("0.31.0")
    assert pins["vllm"].specifier.contains("0.31.0")
    assert not pins["vllm"].specifier.contains("0.32.0")


def requirement(line: str) -> Requirement | None:
    stated = line.partition("#")[0].strip()
    return Requirement(stated) if stated else None
