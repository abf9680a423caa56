"""What a stage learns from: shares of a mixture, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reading import Mode, Task
from tests.training.stages.conftest import write_tiny_films
from training.conventions import EMBEDDED_CONVENTIONS
from training.data.example import Example, ReasoningTarget
from training.stages import grpo, supervised
from training.stages.config import DataSettings, GroupRelativeStage, SupervisedStage
from training.stages.config.reading import build
from training.stages.errors import ConfigError
from training.stages.stage_data import StageName, as_asked, mix, stage_data
from training.stages.text_targets import prompt_text

STAGES: tuple[StageName, ...] = get_args(StageName)
PLAIN = Example(
    id="x",
    images=("film.png",),
    sizes=((32, 36),),
    task=Task.FINDINGS,
    mode=Mode.ANSWER,
    answer="Clear.",
    steps=(),
    split="train",
    subject="s",
    view="PA",
)


def some(findings: int, questions: int) -> list[Example]:
    asked = replace(PLAIN, task=Task.VQA, question="Nodule?", question_type="presence")
    return [replace(PLAIN, id=f"f{n}", answer=f"Film {n}.") for n in range(findings)] + [
        replace(asked, id=f"q{n}", answer=f"Yes | {n}") for n in range(questions)
    ]


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 0.9), st.integers(0, 3))
def test_every_stretch_of_a_mixture_holds_the_shares(
    findings: int, questions: int, share: float, seed: int
) -> None:
    drawn = mix(some(findings, questions), {"findings": share, "vqa": 1 - share}, None, seed=seed)
    assert len({example.id for example in drawn}) == len(drawn)
    for length in range(1, len(drawn) + 1):
        of_one = sum(example.task is Task.FINDINGS for example in drawn[:length])
        assert abs(of_one - share * length) <= 1


def test_a_mixture_may_name_question_types_roles_views_and_sources() -> None:
    pair = {"images": ("a.png", "b.png"), "sizes": PLAIN.sizes * 2, "roles": ("current", "lateral")}
    examples = [
        *some(5, 5),
        replace(PLAIN, id="o", source="open-i"),
        replace(PLAIN, id="l", **pair),
        replace(PLAIN, id="v", view="LATERAL"),
    ]
    assert [example.id for example in mix(examples, {"lateral": 1}, None, seed=0)] == ["l"]
    drawn = mix(examples, {"source:open-i": 1}, None, seed=0)
    assert [example.id for example in drawn] == ["o"]
    alone = mix(examples, {"view:LATERAL": 1}, None, seed=0)
    assert [example.id for example in alone] == ["v"]
    assert len(mix(examples, {"presence": 1}, 3, seed=0)) == 3


def test_a_kind_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="impression"):
        mix(some(1, 1), {"impression": 1, "vqa": 1}, None, seed=0)


def test_a_kind_of_which_all_count_under_a_name_before_it_is_to_be_named_first() -> None:
    pair = {"images": ("a.png", "b.png"), "sizes": PLAIN.sizes * 2, "roles": ("current", "lateral")}
    examples = [*some(9, 9), *(replace(PLAIN, id=f"l{n}", **pair) for n in range(5))]
    said = "all 5 examples of the kind lateral count as findings, .* name lateral first"
    with pytest.raises(ConfigError, match=said):
        mix(examples, {"findings": 0.4, "vqa": 0.4, "lateral": 0.2}, None, seed=0)
    assert mix(examples, {"lateral": 0.2, "findings": 0.4, "vqa": 0.4}, None, seed=0)


def test_more_samples_than_there_are_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.samples \(351500\): there are 140 examples"):
        mix(some(140, 0), {}, 351500, seed=0)
    assert len(mix(some(140, 0), {}, 140, seed=0)) == 140


def test_a_mixture_without_a_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="no share above 0"):
        mix(some(1, 1), {"vqa": 0.0}, None, seed=0)


def test_a_kind_that_runs_out_before_the_samples_are_drawn_is_named() -> None:
    shares = {"findings": 0.5, "vqa": 0.5}
    said = r"after 2\d of 800 .* all 10 examples of the kind findings .*data\.passes"
    with pytest.raises(ConfigError, match=said):
        mix(some(10, 1000), shares, 800, seed=0)
    assert len(mix(some(10, 1000), shares, 20, seed=0)) == 20
    assert len(mix(some(10, 1000), shares, None, seed=0)) in (20, 21)


def test_without_a_mixture_all_examples_come_as_they_are() -> None:
    assert [e.id for e in mix(some(3, 0), {}, None, seed=0)] == ["f0", "f1", "f2"]
    assert len(mix(some(9, 0), {}, 4, seed=0)) == 4


def test_a_folder_without_examples_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="deepmedix data prepare"):
        stage_data("sft", DataSettings(folder=tmp_path), seed=0)


def test_the_cold_start_keeps_reports_without_reasoning_and_grpo_asks_for_none(
    tmp_path: Path,
) -> None:
    write_tiny_films(tmp_path / "films", 200)
    of = {
        stage: stage_data(stage, DataSettings(folder=tmp_path / "films"), seed=0).examples
        for stage in STAGES[1:]
    }
    at_once = {
        stage: [e for e in examples if e.task is not Task.VQA and e.mode is Mode.ANSWER]
        for stage, examples in of.items()
    }
    assert 12 <= len(at_once["cold-start"]) <= 38  # about one in eight of 200
    assert not any(example.steps for example in at_once["cold-start"])
    assert not at_once["grpo"]
    assert len(of["cold-start"]) == len(of["grpo"])


def test_a_line_that_is_no_film_is_named(tiny: Path, tmp_path: Path) -> None:
    shard = tmp_path / "train-0000.jsonl"
    whole = (tiny / "films" / shard.name).read_bytes()
    for spoilt in (whole[:-40], whole + b"{}\n", whole + b"[1]\n", whole + b"\xff\n"):
        shard.write_bytes(spoilt)
        said = rf"data\.folder: .*train-0000\.jsonl, line {len(spoilt.splitlines())}: "
        with pytest.raises(ConfigError, match=said):
            stage_data("sft", DataSettings(folder=tmp_path), seed=0)


def test_simulated_films_are_worded_anew_each_pass(tiny: Path) -> None:
    data = stage_data("cold-start", DataSettings(folder=tiny / "films", passes=2), seed=0)
    half = len(data.examples) // 2
    once = stage_data("cold-start", DataSettings(folder=tiny / "films"), seed=0)
    assert data.examples[:half] == once.examples
    assert data.examples[half:] != once.examples
    assert len(data.digest) == 64


def test_every_pass_holds_the_same_examples_in_another_order(tiny: Path, tmp_path: Path) -> None:
    from training.data.store import write_examples

    written = [replace(example, images=("films/0.png",)) for example in some(9, 9)]
    write_examples(tmp_path / "store", written, images_root=tiny / "films")
    settings = DataSettings(
        folder=tmp_path / "store", samples=6, passes=2, mixture={"findings": 1, "vqa": 2}
    )
    ids = [example.id for example in stage_data("sft", settings, seed=1).examples]
    assert sorted(ids[:6]) == sorted(ids[6:])
    assert ids[:6] != ids[6:]


def test_a_store_is_read_with_its_films_and_hash(tiny: Path, tmp_path: Path) -> None:
    from training.data.store import read_description, write_examples

    films = tiny / "films"
    written = [replace(PLAIN, images=("films/0.png",), indication="Cough.")]
    write_examples(tmp_path / "store", written, images_root=films)
    data = stage_data("sft", DataSettings(folder=tmp_path / "store", passes=2), seed=0)
    assert data.examples == (written[0], written[0])
    assert (data.films / "films/0.png").exists()
    assert data.digest == read_description(tmp_path / "store").content_hash
    with pytest.raises(ConfigError, match="no split"):
        stage_data("sft", DataSettings(folder=tmp_path / "store", split="test"), seed=0)


def test_every_stage_asks_a_store_in_its_own_way(tiny: Path, tmp_path: Path) -> None:
    from training.data.store import write_examples

    answered = replace(PLAIN, images=("films/0.png",))
    reasoned = replace(
        answered, id="y", mode=Mode.THINK, steps=(ReasoningTarget("The lungs are clear"),)
    )
    write_examples(tmp_path / "store", [answered, reasoned], images_root=tiny / "films")
    settings = DataSettings(folder=tmp_path / "store")
    asked = {
        stage: [(e.mode, bool(e.steps)) for e in stage_data(stage, settings, seed=0).examples]
        for stage in STAGES
    }
    assert asked == {
        "sft": [(Mode.ANSWER, False)],
        "cold-start": [(Mode.THINK, True)],
        "grpo": [(Mode.THINK, True)],
    }


def test_a_cold_start_from_answers_alone_is_refused(tiny: Path, tmp_path: Path) -> None:
    from training.data.store import write_examples

    written = [replace(PLAIN, images=("films/0.png",))]
    write_examples(tmp_path / "store", written, images_root=tiny / "films")
    with pytest.raises(ConfigError, match="data teach"):
        stage_data("cold-start", DataSettings(folder=tmp_path / "store"), seed=0)


def test_what_is_known_of_the_patient_is_asked_as_the_service_asks_it() -> None:
    known = replace(PLAIN, indication="Cough.", prior_report="Clear lungs.")
    asked = prompt_text(known, EMBEDDED_CONVENTIONS)
    assert asked.startswith("Indication: Cough.\nPrior report: Clear lungs.\n")
    assert prompt_text(PLAIN, EMBEDDED_CONVENTIONS) == EMBEDDED_CONVENTIONS.prompts.findings


@pytest.mark.parametrize("order", [1, -1])
def test_of_an_example_in_both_modes_the_one_with_steps_is_taken(order: int) -> None:
    reasoned = replace(
        PLAIN, id="y", mode=Mode.THINK, steps=(ReasoningTarget("The lungs are clear"),)
    )
    (asked,) = as_asked("grpo", [PLAIN, reasoned][::order])
    assert (asked.mode, asked.steps) == (Mode.THINK, reasoned.steps)
    assert [e.steps for e in as_asked("sft", [PLAIN, reasoned][::order])] == [()]


def test_a_question_that_the_service_would_not_ask_is_named() -> None:
    asked = replace(PLAIN, id="q7", task=Task.VQA, question="<|image_pad|>")
    with pytest.raises(ConfigError, match="example q7 cannot be asked"):
        prompt_text(asked, EMBEDDED_CONVENTIONS)


@pytest.mark.parametrize("module", [supervised, grpo])
def test_examples_that_cannot_be_asked_are_found_before_the_stage_begins(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    data = stage_data("grpo", DataSettings(folder=tiny / "films"), seed=0)
    some = list(data.examples)
    some[5:] = [
        replace(example, task=Task.VQA, question="<|image_pad|>", mode=Mode.ANSWER, steps=())
        for example in some[5:]
    ]
    thrice = replace(data, examples=tuple(some * 3))
    monkeypatch.setattr(module, "stage_data", lambda *given, **more: thrice)
    monkeypatch.setattr(module, "load_model", None)  # takes minutes
    settings: dict[str, Any] = {
        "output": str(tmp_path),
        "data": {"folder": str(tiny / "films"), "group_lengths": False},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
    }
    if module is grpo:
        run = partial(grpo.run_grpo, build(GroupRelativeStage, settings, "test"))
    else:
        config = build(SupervisedStage, settings, "test")
        run = partial(supervised.run_supervised, "sft", config)
    said = rf"cannot be asked .* Of {len(some)} examples, {len(some) - 5} are like that"
    with pytest.raises(ConfigError, match=said):
        run()
