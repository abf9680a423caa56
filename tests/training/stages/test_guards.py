"""Each silent failure, provoked: the run stops and says what is wrong and how to mend it."""

from __future__ import annotations

import math
import re
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLForConditionalGeneration,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl.trainer.utils import create_model_from_path

from training.architecture import GRID, build_image_processor
from training.stages import preflight, shared_prefix_trainer, supervised
from training.stages.begin import begin
from training.stages.config import GroupRelativeStage, GuardSettings, SupervisedStage
from training.stages.config.reading import build
from training.stages.errors import ConfigError, SilentFailureError
from training.stages.film_grpo_trainer import (
    FilmGRPOTrainer,
    SamePrompts,
    check_finite,
    collapse_images,
    merge_aside,
)
from training.stages.grpo import run_grpo
from training.stages.grpo_arguments import grpo_arguments
from training.stages.guards import Guards
from training.stages.model import keep_outputs_whole
from training.stages.preflight import (
    check_completions,
    check_engine,
    check_labels,
    check_processor,
    check_prompts,
    check_reference,
    check_same_pixels,
    check_seen_films,
    check_sharding,
    vision_ids,
)
from training.stages.shared_prefix import completion_log_probs, sample_completions
from training.stages.text_targets import training_row

IMAGE = 7
KL = "kl"
DRIFT = "sampling/sampling_logp_difference/mean"
RATIO = "sampling/importance_sampling_ratio/mean"


class Generation:
    """A rollout engine that, like colocated vLLM, expands every image token of the prompt."""

    def __init__(self, mode: str, tokens_per_image: int) -> None:
        self.mode = mode
        self._tokens = tokens_per_image

    def _place_features(self, features: dict[str, Any] | None, prompt: list[int]) -> str:
        return "placed"

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int) -> Any:
        used = prompts
        if self.mode == "colocate":
            used = [
                [t for token in p for t in ([IMAGE] * self._tokens if token == IMAGE else [token])]
                for p in prompts
            ]
        return used, [[1]] * len(prompts), [[[-0.5]]] * len(prompts), None


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny / "model")


def test_colocated_vllm_is_given_one_token_an_image() -> None:
    prompt = [1, IMAGE, IMAGE, IMAGE, 2, IMAGE, IMAGE, IMAGE, 3]
    assert collapse_images(prompt, IMAGE) == [1, IMAGE, 2, IMAGE, 3]
    repaired = SamePrompts(Generation("colocate", 3), IMAGE)
    used, completions, _, _ = repaired.generate([prompt], [["film", "film"]], 1)
    assert (used, completions) == ([prompt], [[1]])
    assert repaired.mode == "colocate"


@pytest.mark.parametrize("tokens", [2, 4, 9])
def test_rollouts_of_doubled_or_missing_image_tokens_stop_the_run(tokens: int) -> None:
    repaired = SamePrompts(Generation("colocate", tokens), IMAGE)
    with pytest.raises(SilentFailureError, match=rf"saw {tokens} image tokens .* has 3"):
        repaired.generate([[1, IMAGE, IMAGE, IMAGE, 2]], [["film"]], 1)


def test_rollouts_of_another_prompt_stop_the_run() -> None:
    class Other(Generation):
        def generate(self, prompts: list[list[int]], images: Any, num_generations: int) -> Any:
            return [[9, *prompt] for prompt in prompts], [[1]], [[[0.0]]], None

    with pytest.raises(SilentFailureError, match="chat template"):
        SamePrompts(Other("server", 1), IMAGE).generate([[1, 2]], None, 1)


@pytest.mark.parametrize(("lengths", "well"), [([3, 2], True), ([3, 3], False), ([5], False)])
def test_a_server_that_resizes_the_films_stops_the_run(lengths: list[int], well: bool) -> None:
    class Server(Generation):
        def generate(self, prompts: list[list[int]], images: Any, num_generations: int) -> Any:
            places = [{"offset": 9, "length": length} for length in lengths]
            features = {"mm_placeholders": {"image": places}}
            assert self._place_features(features, prompts[0]) == "placed"
            return super().generate(prompts, images, num_generations)

    prompt = [1, IMAGE, IMAGE, IMAGE, 2, IMAGE, IMAGE]
    checked = SamePrompts(Server("server", 1), IMAGE)
    if well:
        assert checked.generate([prompt], [["film", "film"]], 1)[0] == [prompt]
    else:
        with pytest.raises(SilentFailureError, match="resizes them again"):
            checked.generate([prompt], [["film", "film"]], 1)


def test_a_processor_that_resizes_again_is_refused() -> None:
    sizes = [(1000, 800), (300, 900)]
    check_processor(build_image_processor(), GRID, sizes)
    for bounds in ({"max_pixels": 112 * 112}, {"min_pixels": 400 * 400, "max_pixels": 10**6}):
        other = Qwen2VLImageProcessorPil(**{"min_pixels": 784, **bounds})
        with pytest.raises(SilentFailureError, match=r"preprocessor_config\.json"):
            check_processor(other, GRID, sizes)


@pytest.mark.parametrize(
    "otherwise",
    [{"image_mean": [0.5, 0.5, 0.5]}, {"rescale_factor": 1 / 256}, {"do_normalize": False}],
)
def test_a_processor_that_makes_other_pixels_is_refused(otherwise: dict[str, Any]) -> None:
    ours = build_image_processor()
    check_same_pixels(ours, build_image_processor(), [(112, 84)])
    other = Qwen2VLImageProcessorPil(**{**ours.to_dict(), **otherwise})
    with pytest.raises(SilentFailureError, match="other pixels of the same film"):
        check_same_pixels(ours, other, [(112, 84)])


def test_a_prompt_without_its_visual_tokens_is_refused(tokenizer: Any) -> None:
    (image,) = tokenizer.convert_tokens_to_ids(["<|image_pad|>"])
    check_prompts([[1] + [image] * 64], [[(500, 500)]], tokenizer, GRID)
    with pytest.raises(SilentFailureError, match=r"63 image tokens .* 64 visual"):
        check_prompts([[1] + [image] * 63], [[(500, 500)]], tokenizer, GRID)


def test_sampled_vision_tokens_are_refused(tokenizer: Any) -> None:
    vision = vision_ids(tokenizer)
    assert len(vision) == 5
    check_completions([[1, 2, 3]], vision)
    for token in vision:
        with pytest.raises(SilentFailureError, match="logit_bias -100"):
            check_completions([[1, 2], [token]], vision)


def batch(
    tokenizer: Any, learnt_from: int | None, answer: str = "Normal."
) -> dict[str, torch.Tensor]:
    asked = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Heart?<|im_end|>\n"
    ids = tokenizer.encode(asked + "<|im_start|>assistant\n", add_special_tokens=False)
    prompt = len(ids)
    ids += tokenizer.encode(f"{answer}<|im_end|>", add_special_tokens=False)
    begin = prompt if learnt_from is None else learnt_from
    labels = [-100] * begin + ids[begin:]
    return {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels])}


def test_loss_on_the_prompt_is_refused(tokenizer: Any) -> None:
    check_labels(batch(tokenizer, None), tokenizer)
    whole = batch(tokenizer, 0)
    with pytest.raises(SilentFailureError, match="image tokens"):
        check_labels(whole, tokenizer)
    end_of_film = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    late = batch(tokenizer, whole["input_ids"][0].tolist().index(end_of_film) + 1)
    with pytest.raises(SilentFailureError, match="on the prompt"):
        check_labels(late, tokenizer)
    empty = {**whole, "labels": torch.full_like(whole["labels"], -100)}
    with pytest.raises(SilentFailureError, match="nothing to learn"):
        check_labels(empty, tokenizer)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "<|box_start|>"])
def test_a_special_token_within_the_completion_is_refused(tokenizer: Any, token: str) -> None:
    with pytest.raises(SilentFailureError, match="special token before its end"):
        check_labels(batch(tokenizer, None, f"Nor{token}mal."), tokenizer)


def test_every_batch_is_looked_at(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def one_learns_its_prompt(*given: Any) -> dict[str, Any]:
        row = training_row(*given)
        asked.append(row)
        return {**row, "labels": row["input_ids"]} if len(asked) == 7 else row

    monkeypatch.setattr(supervised, "training_row", one_learns_its_prompt)
    config = build(
        SupervisedStage,
        {
            "output": str(tmp_path),
            "data": {"folder": str(tiny / "films"), "group_lengths": False},
            "model": {"start": str(tiny / "model"), "manifest": "embedded"},
            "logging": {"every": 1, "save_every": 8, "report_to": []},
            "batch_size": 2,
        },
        "test",
    )
    with pytest.raises(SilentFailureError, match="image tokens"):
        supervised.run_supervised("sft", config)


def watch(settings: GuardSettings, *logs: dict[str, float]) -> None:
    guards = Guards(settings)
    for step, line in enumerate(logs):
        state = TrainerState(global_step=step)
        guards.on_log(TrainingArguments("unused"), state, TrainerControl(), logs=line)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ({KL: 11.2}, r"11\.2 nats a token away .*optimizer\.learning_rate"),
        ({DRIFT: 1.9}, "processed_logprobs"),
        ({RATIO: 0.01}, "importance ratio"),
        ({"completions/clipped_ratio": 0.95}, r"rollouts\.max_tokens"),
        ({"groups_without_preference": 1.0}, r"rollouts\.temperature"),
        ({"grad_norm": 5e-13}, "dead"),
        *(
            ({figure: value}, advice)
            for figure, advice in (
                (DRIFT, "processed_logprobs"),
                (RATIO, "importance ratio"),
                ("grad_norm", "not finite"),
            )
            for value in (math.inf, math.nan)
        ),
    ],
)
def test_a_fault_that_lasts_stops_the_run(fault: dict[str, float], advice: str) -> None:
    settings = GuardSettings(patience=3)
    well = {
        KL: 0.9,
        DRIFT: 0.01,
        RATIO: 1.0,
        "completions/clipped_ratio": 0.1,
        "groups_without_preference": 0.2,
        "grad_norm": 0.3,
    }
    watch(settings, *[well] * 9)
    if math.isfinite(fault.get("grad_norm", 0.0)):
        watch(settings, fault, fault, well, fault, fault)
    with pytest.raises(SilentFailureError, match=advice):
        watch(settings, well, *[{**well, **fault}] * 3)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run_at_once(norm: float) -> None:
    with pytest.raises(SilentFailureError, match="not finite"):
        watch(GuardSettings(patience=3), {"grad_norm": norm})


def test_a_supervised_stage_is_advised_of_no_setting_that_it_lacks() -> None:
    for norm, advice in ((math.nan, r"optimizer\.learning_rate"), (0.0, "frozen")):
        guards = Guards(GuardSettings(patience=1), rewarded=False)
        line = {"grad_norm": norm, "loss": 0.0}
        with pytest.raises(SilentFailureError, match=advice) as caught:
            guards.on_log(TrainingArguments("unused"), TrainerState(), TrainerControl(), logs=line)
        assert not {"objective", "guards", "masked"} & set(re.findall(r"\w+", str(caught.value)))


@pytest.mark.parametrize("later", [{}, {KL: math.nan}, {KL: 6.3}])
def test_a_model_far_from_its_start_is_named_beside_what_follows_from_it(
    later: dict[str, float],
) -> None:
    cut = {"completions/clipped_ratio": 1.0, "grad_norm": 0.0}
    far = r"(?s)(6\.3|11\.2) nats a token away.*optimizer\.learning_rate"
    with pytest.raises(SilentFailureError, match=far):
        watch(GuardSettings(patience=2), {KL: 11.2}, {**cut, **later}, {**cut, **later})


def test_no_gradient_where_nothing_is_to_prefer_is_no_dead_one() -> None:
    alike, dead = {"groups_without_preference": 1.0, "grad_norm": 0.0}, {"grad_norm": 0.0}
    well = {"groups_without_preference": 0.5, "grad_norm": 0.3}
    watch(GuardSettings(patience=3), well, alike, dead, dead, dead, well, alike, dead, dead, dead)
    with pytest.raises(SilentFailureError, match="dead"):
        watch(GuardSettings(patience=3), well, dead, dead, dead)


def test_log_probabilities_that_are_none_stop_the_run() -> None:
    mask = torch.tensor([[1, 1, 0]])
    check_finite(None, mask)
    check_finite(torch.tensor([[-1.0, -2.0, math.nan]]), mask)
    for value in (math.nan, -math.inf):
        with pytest.raises(SilentFailureError, match="not finite"):
            check_finite(torch.tensor([[-1.0, value, 0.0]]), mask)


def test_fsdp2_keeps_outputs_and_sums_whole() -> None:
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16, torch.bfloat16)
    plugin = SimpleNamespace(fsdp_version=2, mixed_precision_policy=policy)
    keep_outputs_whole(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
    kept = plugin.mixed_precision_policy
    assert (kept.param_dtype, kept.output_dtype) == (torch.bfloat16, None)
    assert kept.reduce_dtype == torch.float32
    keep_outputs_whole(SimpleNamespace(state=SimpleNamespace()))


def test_an_accelerate_that_leaves_the_heads_gradient_alone_is_refused_under_fsdp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "version", lambda name: "1.14.0")
    check_sharding()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(SilentFailureError, match=r"accelerate<1\.14"):
        check_sharding()
    monkeypatch.setattr(preflight, "version", lambda name: "1.13.0")
    check_sharding()


def test_a_transformers_that_would_not_show_the_films_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_seen_films()
    monkeypatch.setattr(preflight.Qwen2_5_VLModel, "forward", lambda self, **kwargs: None)
    with pytest.raises(SilentFailureError, match="would not show the films"):
        check_seen_films()


def test_adapters_are_merged_for_vllm_beside_the_model(tiny: Path) -> None:
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny / "model", dtype=torch.bfloat16)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    before = {name: weight.clone() for name, weight in adapted.state_dict().items()}
    backend = SimpleNamespace(is_fsdp=False, is_zero3=False)
    generation = SimpleNamespace(
        mode="colocate",
        model=adapted,
        _dist=backend,
        _fix_param_name_to_vllm=lambda name, extra_prefixes=(): name,
    )
    wrapped = SamePrompts(generation, IMAGE)
    merge_aside(wrapped)
    told = {name: weight.clone() for name, weight in generation._iter_named_params()}
    assert all(torch.equal(weight, before[name]) for name, weight in adapted.state_dict().items())
    merged = adapted.merge_and_unload()
    expected = dict(merged.named_parameters())
    assert told.keys() == expected.keys()
    assert all(torch.equal(told[name], expected[name]) for name in expected)
    assert any(name.endswith("q_proj.weight") for name in told)


def test_a_fault_told_in_one_line_of_four_lasts_too() -> None:
    between = {"grad_norm": 0.3}
    with pytest.raises(SilentFailureError, match="importance ratio"):
        watch(GuardSettings(patience=3), *[{RATIO: 0.01}, between, between, between] * 3)


def test_the_cause_is_named_before_the_dead_gradient() -> None:
    fault = {"groups_without_preference": 1.0, "grad_norm": 0.0}
    with pytest.raises(SilentFailureError, match="equal rewards"):
        watch(GuardSettings(patience=2), fault, fault)


@pytest.mark.parametrize("ratio", [0.0, math.nan])
def test_completions_all_cut_off_are_not_taken_for_drift(ratio: float) -> None:
    # Under overlong.mask TRL has no token left to take the ratio of, and logs 0.
    fault = {"completions/clipped_ratio": 1.0, RATIO: ratio, DRIFT: ratio, "grad_norm": 0.0}
    with pytest.raises(SilentFailureError, match="cut off"):
        watch(GuardSettings(patience=2), fault, fault)


def spoilt(tiny: Path, folder: Path) -> Path:
    """A start of which one number is none."""
    start = Path(shutil.copytree(tiny / "model", folder))
    weights = load_file(start / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, start / "model.safetensors", {"format": "pt"})
    return start


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_weights_that_are_not_finite_are_no_start(tiny: Path, tmp_path: Path, name: str) -> None:
    model = {"start": str(spoilt(tiny, tmp_path / "start")), "manifest": "embedded"}
    config: dict[str, Any] = {
        "output": str(tmp_path / "out"),
        "data": {"folder": str(tiny / "films")},
        "model": model,
    }
    if name == "sft":
        run = partial(supervised.run_supervised, "sft", build(SupervisedStage, config, "test"))
    else:
        run = partial(run_grpo, stage(tiny, tmp_path / "out", "variety", model=model))
    with pytest.raises(ConfigError, match=r"start has weights that are not finite \(.*norm"):
        run()
    assert not (tmp_path / "out" / "run" / "config.json").exists()


@pytest.mark.parametrize("engine", ["shared-prefix", "transformers"])
def test_weights_that_are_lost_stop_the_rollouts_in_words(
    tiny: Path, tmp_path: Path, engine: str
) -> None:
    class Spoils(TrainerCallback):
        def on_step_begin(self, *given: Any, model: Any = None, **more: Any) -> None:
            with torch.no_grad():
                model.model.language_model.norm.weight[0] = math.nan

    rollouts = {"engine": engine, "prompts": 2, "group": 2, "batch_size": 4, "max_tokens": 6}
    with pytest.raises(SilentFailureError, match="own rollouts are not finite"):
        run_grpo(stage(tiny, tmp_path, "variety", rollouts=rollouts), callbacks=[Spoils()])


def test_vllm_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="shared-prefix"):
        check_engine("vllm-server")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("training.stages.preflight.version", lambda name: "0.32.0")
    with pytest.raises(ConfigError, match=r"0\.22 to 0\.31"):
        check_engine("vllm-colocate")
    monkeypatch.setattr("training.stages.preflight.version", lambda name: "0.31.0")
    check_engine("vllm-colocate")


def stage(tiny: Path, output: Path, reward: str, **more: Any) -> GroupRelativeStage:
    base = {
        "output": str(output),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
        "rollouts": {"prompts": 2, "group": 2, "batch_size": 4, "max_tokens": 6},
        "rewards": [{"name": f"tests.training.stages.spelling_reward:{reward}"}],
        "logging": {"every": 1, "save_every": 8, "report_to": []},
        "guards": {"patience": 2, "cut_off": 1.0},
    }
    return build(GroupRelativeStage, {**base, **more}, "test")


def test_a_run_of_equal_rewards_is_stopped(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(SilentFailureError, match="equal rewards"):
        run_grpo(stage(tiny, tmp_path, "constant"))


def test_a_run_that_never_ends_its_answers_is_stopped(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(SilentFailureError, match="cut off"):
        run_grpo(stage(tiny, tmp_path, "variety", guards={"patience": 2}))


def test_rollouts_of_other_weights_stop_the_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drifted(*given: Any, **options: Any) -> Any:
        said, likely = sample_completions(*given, **options)
        return said, [[chance - 1.9 for chance in chances] for chances in likely]

    monkeypatch.setattr(shared_prefix_trainer, "sample_completions", drifted)
    with pytest.raises(SilentFailureError, match=r"differ by 1\.9 nats"):
        run_grpo(stage(tiny, tmp_path, "variety"))


def test_a_vision_token_in_a_rollout_stops_the_run(
    tiny: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = tokenizer.convert_tokens_to_ids(["<|image_pad|>"])

    def with_an_image(*given: Any, **options: Any) -> Any:
        assert image in options["forbidden"]
        said, likely = sample_completions(*given, **options)
        said[1][0] = image
        return said, likely

    monkeypatch.setattr(shared_prefix_trainer, "sample_completions", with_an_image)
    with pytest.raises(SilentFailureError, match="vision tokens"):
        run_grpo(stage(tiny, tmp_path, "variety"))


def test_a_run_without_gradient_is_stopped(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen(*given: Any, **options: Any) -> Any:
        log_probs, entropy = completion_log_probs(*given, **options)
        return log_probs * 0 + log_probs.detach(), entropy

    monkeypatch.setattr(shared_prefix_trainer, "completion_log_probs", frozen)
    with pytest.raises(SilentFailureError, match="gradient is dead"):
        run_grpo(stage(tiny, tmp_path, "variety"))


def under_fsdp(monkeypatch: pytest.MonkeyPatch, *, frugal: bool) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", str(frugal).lower())


def test_a_reference_that_one_process_alone_would_load_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_reference()
    under_fsdp(monkeypatch, frugal=False)
    check_reference()
    under_fsdp(monkeypatch, frugal=True)
    with pytest.raises(SilentFailureError, match=r"all zeros .*fsdp2-grpo\.yaml"):
        run_grpo(stage(tiny, tmp_path, "variety"))
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_reference_under_fsdp_is_not_spread_over_all_gpus(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stage(tiny, tmp_path, "variety")
    beginning = begin(config.model, config.output)
    assert "model_init_kwargs" not in grpo_arguments(config, beginning, [1.0])
    under_fsdp(monkeypatch, frugal=False)
    more = {"model_init_kwargs": {"revision": "main"}}
    config = stage(tiny, tmp_path, "variety", trl=more)
    arguments = grpo_arguments(config, begin(config.model, config.output), [1.0])
    assert arguments["model_init_kwargs"] == {"device_map": None, "revision": "main"}


@pytest.mark.parametrize("engine", ["shared-prefix", "transformers"])
def test_a_reference_that_is_not_the_start_stops_the_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    def another(*given: Any, **options: Any) -> Any:
        model = create_model_from_path(*given, **options)
        torch.nn.init.normal_(model.lm_head.weight)
        return model

    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", another)
    rollouts = {"engine": engine, "prompts": 2, "group": 2, "batch_size": 4, "max_tokens": 6}
    with pytest.raises(SilentFailureError, match="reference is not the start"):
        run_grpo(stage(tiny, tmp_path, "variety", rollouts=rollouts))
    assert not (tmp_path / "log.jsonl").exists()


def at_step(step: int) -> Any:
    """What the check of the reference reads of a trainer."""
    state = SimpleNamespace(global_step=step)
    return SimpleNamespace(state=state, _start_checked=False, _any_batch=False)


def test_a_batch_that_teaches_nothing_says_nothing_of_the_reference() -> None:
    trainer = at_step(0)
    FilmGRPOTrainer._check_start(trainer, 0.0, tokens=0)
    trainer.state.global_step = 1
    with pytest.raises(SilentFailureError, match="reference is not the start"):
        FilmGRPOTrainer._check_start(trainer, 23.0, tokens=9)


def test_a_resumed_run_has_moved_from_its_reference() -> None:
    trainer = at_step(7)
    FilmGRPOTrainer._check_start(trainer, 23.0, tokens=9)
    assert trainer._start_checked


def test_a_reward_that_answers_for_too_few_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one mapping with `overall`"):
        run_grpo(stage(tiny, tmp_path, "nothing"))


def test_a_reward_that_the_system_refuses_a_file_is_named_with_its_line(
    tiny: Path, tmp_path: Path
) -> None:
    said = (
        r"spelling_reward:lost failed \(.*spelling_reward\.py, line \d+\): /no/words\.txt: No such"
    )
    with pytest.raises(ConfigError, match=said):
        run_grpo(stage(tiny, tmp_path, "lost"))


@pytest.mark.parametrize("reward", ["broken", "broken_later"])
def test_a_reward_that_fails_is_named_with_its_line_and_without_the_completion(
    tiny: Path, tmp_path: Path, reward: str
) -> None:
    said = rf"{reward} raised ValueError \(.*spelling_reward\.py, line \d+\)"
    with pytest.raises(ConfigError, match=said) as caught:
        run_grpo(stage(tiny, tmp_path, reward))
    assert "secret" not in str(caught.value)


def test_a_run_that_took_no_step_may_be_begun_with_another_config(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="raised ValueError"):
        run_grpo(stage(tiny, tmp_path, "broken"))
    assert (tmp_path / "run" / "config.json").exists()
    run_grpo(stage(tiny, tmp_path, "variety", max_steps=1))
    assert (tmp_path / "stage.json").exists()


def test_too_few_examples_for_a_step_are_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fewer than the 99 prompts"):
        run_grpo(stage(tiny, tmp_path, "variety", rollouts={"prompts": 99, "batch_size": 792}))


def test_completions_that_do_not_divide_are_named(tiny: Path, tmp_path: Path) -> None:
    rollouts = {"prompts": 2, "group": 3, "batch_size": 4}
    with pytest.raises(ConfigError, match="do not divide"):
        run_grpo(stage(tiny, tmp_path, "variety", rollouts=rollouts))
