"""Configs: what is unknown or does not fit is named, with its mend."""

from __future__ import annotations

import math
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


def test_grpo_is_launched_so_that_every_process_reads_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    shared, grpo = (
        yaml.safe_load((RECIPES / "accelerate" / name).read_text())
        for name in ("fsdp2.yaml", "fsdp2-grpo.yaml")
    )
    assert shared["fsdp_config"].pop("fsdp_cpu_ram_efficient_loading") is True
    assert grpo["fsdp_config"].pop("fsdp_cpu_ram_efficient_loading") is False
    assert grpo == shared

    # On two nodes it is the flag that docs/stages.md names.
    file = RECIPES / "accelerate" / "fsdp2-2nodes.yaml"
    given = ["--config_file", str(file), "--fsdp_cpu_ram_efficient_loading", "false", "script.py"]
    monkeypatch.setattr("sys.argv", ["accelerate", *given])
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(given))
    assert (arguments.fsdp_cpu_ram_efficient_loading, arguments.fsdp_version) == ("false", 2)


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
        (
            {"optimizer": {"name": "muon", "weight_decay": 0.1}},
            "weight_decay does nothing",
        ),
        ({"optimizer": {"name": "muon", "schedule": "linear"}}, "schedule does nothing"),
        ({"optimizer": {"name": "muon", "warm_up": 0.1}}, "warm_up does nothing"),
        ({"optimizer": {"matrix_rate": 1e-4}}, "matrix_rate does nothing with name adamw"),
        ({"rollouts": {"batch_size": True}}, r"rollouts\.batch_size: a number is wanted"),
        ({"rollouts": {"top_p": True}}, r"rollouts\.top_p: a number is wanted"),
        ({"objective": {"kl": True}}, r"objective\.kl: a number is wanted"),
        ({"max_steps": True}, "max_steps: a number is wanted"),
        ({"seed": False}, "seed: a number is wanted"),
        ({"model": {"start": "x", "lora": {}, "train_vision": True}}, "does not go with lora"),
        ({"model": {"start": "x", "precision": "bf16"}}, "bf16 is for lora"),
        ({"logging": {"every": 3, "save_every": 10}}, "multiple of every"),
        ({"rollouts": {"updates": 2}, "logging": {"every": 1, "save_every": 5}}, "two generations"),
        ({"model": {"start": "x", "lora": {}}}, "shared-prefix does not go with"),
        ({"data": {"folder": "films", "split": "test"}}, "what is tested on must not be taught"),
        ({"data": {"folder": "films", "split": "dev"}}, r"data\.split"),
        ({"data": {"folder": "films", "mixture": {"vqa": 0}}}, "no share above 0"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"seed": 2**32}, "seed: "),
        ({"rewards": [{"name": "paper", "weight": 0}]}, r"rewards\.0\.weight"),
        ({"rewards": [{"name": "paper", "weight": -1}]}, r"rewards\.0\.weight"),
        ({"rewards": [{"name": "paper", "weight": math.nan}]}, r"rewards\.0\.weight"),
        ({"rewards": [{"name": "grounded", "weights": {"places": -1}}]}, "weight of places"),
        ({"rewards": [{"name": "grounded", "weights": {"places": math.inf}}]}, "finite"),
        ({"rewards": [{"name": "paper"}, {"name": "paper"}]}, "rewards name paper twice"),
        (
            {
                "objective": {"overlong": {"penalty_tokens": 101}},
                "rollouts": {"max_tokens": 100},
            },
            r"penalty_tokens \(101\) must not be more than rollouts\.max_tokens \(100\)",
        ),
        ({"rewards": "paper"}, r"rewards: Input should be a list \(it is 'paper'\)"),
        ({"logging": {"report_to": "wandb"}}, r"logging\.report_to: Input should be a list"),
        ({"data": "films"}, "data: Input should be a mapping"),
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


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"data": {"folder": "films", "split": "test"}}, "what is tested on must not be taught"),
        ({"seed": -1}, "seed: "),
    ],
)
def test_the_supervised_stages_refuse_it_too(fault: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(SupervisedStage, {**LEAST, **fault}, "config.yaml")


def test_a_reward_of_ones_own_may_take_a_negative_weight() -> None:
    rewards = [{"name": "mine:reward", "weights": {"length": -1}}]
    stage = build(GroupRelativeStage, {**LEAST, "rewards": rewards}, "config.yaml")
    assert stage.rewards[0].weights == {"length": -1}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(yaml.safe_dump(LEAST).encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"config\.yaml is not UTF-8"):
        read_config(SupervisedStage, file)


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "optimizer: {warm_up: 0, warm_up: 0.1}\n"])
def test_a_key_that_is_given_twice_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(LEAST) + text)
    with pytest.raises(ConfigError, match=r"(seed|warm_up) is given twice"):
        read_config(SupervisedStage, file)


@pytest.mark.parametrize("text", ["trl: &all {inner: [*all]}\n", f"trl: {'[' * 5000}\n"])
def test_what_has_no_end_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(LEAST) + text)
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_config(SupervisedStage, file)


def test_every_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    model = {"start": "~/start", "manifest": "~/exported"}
    given = {"output": "~/out", "data": {"folder": "~/films"}, "model": model}
    stage = build(SupervisedStage, given, "config.yaml")
    assert (stage.output, stage.data.folder) == (tmp_path / "out", tmp_path / "films")
    assert stage.model.start == str(tmp_path / "start")
    assert stage.model.manifest == str(tmp_path / "exported")
    hub = build(SupervisedStage, {**LEAST, "model": {"start": "owner/~name"}}, "config.yaml")
    assert hub.model.start == "owner/~name"


def test_overrides_reach_into_sections(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(LEAST))
    overrides = ["optimizer.learning_rate=2e-6", "model.lora.rank=8", "data.mixture={vqa: 1}"]
    stage = read_config(SupervisedStage, file, overrides)
    assert stage.optimizer.learning_rate == 2e-6
    assert stage.model.lora is not None
    assert stage.model.lora.rank == 8
    assert stage.data.mixture == {"vqa": 1}


@pytest.mark.parametrize(
    "override", ["seed", "output.inner=3", "seed=[1", "data.mixture={vqa: 1, vqa: 2}"]
)
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

    assert trl_fields(SFTConfig, {"seed": 1}, {"dataloader_num_workers": 2}, {}) == {
        "seed": 1,
        "dataloader_num_workers": 2,
    }
    with pytest.raises(ConfigError, match="did you mean dataloader_num_workers"):
        trl_fields(SFTConfig, {}, {"dataloader_num_worker": 2}, {})
    ours = {"warmup_steps": 1, "max_length": None, "num_iterations": 2}
    for name, said in (
        (
            "warmup_steps",
            r"trl\.warmup_steps is set by the stage itself: change optimizer\.warm_up",
        ),
        ("num_iterations", r"change rollouts\.updates"),
        ("max_length", "no setting changes it, leave it out"),
    ):
        with pytest.raises(ConfigError, match=said):
            trl_fields(SFTConfig, ours, {name: 2}, {"num_iterations": "rollouts.updates"})


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ({"optim": "nope"}, "trl: .*nope"),
        ({"adam_beta1": "abc"}, "trl: adam_beta1"),
        ({"dataloader_num_workers": 1.5}, "trl: dataloader_num_workers"),
        ({"eval_strategy": "now"}, "trl: .*now"),
        ({"dataloader_num_workers": True}, "trl: dataloader_num_workers"),
        ({"fp16": True}, r"trl\.fp16 does nothing on a CPU"),
    ],
)
def test_values_that_trl_cannot_take_are_named(
    tmp_path: Path, further: dict[str, object], said: str
) -> None:
    from trl import GRPOConfig, SFTConfig

    from training.stages.model import trl_config, trl_fields

    fields = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    for kind in (SFTConfig, GRPOConfig):
        trl_config(kind, trl_fields(kind, fields, {"adam_beta1": 0.8}, {}))
        with pytest.raises(ConfigError, match=said):
            trl_config(kind, trl_fields(kind, fields, further, {}))


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
    assert set(pins) == {"vllm", "trl", "transformers", "accelerate"}
    project = tomllib.loads((RECIPES.parents[1] / "pyproject.toml").read_text())["project"]
    ranges = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    shared = {r.name: r.specifier for line in ranges if (r := requirement(line)).name in pins}
    assert set(shared) == {"trl", "transformers", "accelerate"}
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
