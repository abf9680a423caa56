"""Where the embedded checkpoint's pipeline may begin."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.settings import EMBEDDED_CHECKPOINT
from training import embedded
from training.checkpoint import CheckpointError
from training.embedded import EmbeddedConfig, take_settled, train_for_comparison
from training.proof import not_trained
from training.rounds import PAPER_ROUNDS, UNCREDITED_ROUNDS
from training.stages.config import GroupRelativeStage


def test_a_result_of_stage_3_is_no_start_for_it(tmp_path: Path) -> None:
    config = EmbeddedConfig(work=tmp_path, output=tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"not of stage 2.*docs/training\.md"):
        take_settled(config, EMBEDDED_CHECKPOINT)
    assert not any(tmp_path.iterdir())


def test_every_stage_that_the_ablation_wants_is_named_while_none_is_trained(tmp_path: Path) -> None:
    missing = not_trained(EmbeddedConfig(work=tmp_path, output=tmp_path / "out"))
    assert missing[0] == "stage 1, sft"
    assert len(missing) == 10


def test_the_rewards_are_compared_over_rounds_that_differ_in_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[GroupRelativeStage] = []
    monkeypatch.setattr(embedded, "generate", lambda *given, **more: None)
    monkeypatch.setattr(embedded, "average_with_start", lambda *given, **more: None)
    monkeypatch.setattr(embedded, "run_grpo", lambda stage, **more: ran.append(stage))
    train_for_comparison(EmbeddedConfig(work=tmp_path, output=tmp_path / "out"))
    paper, grounded = ran[:3], ran[3:]
    for rounds, names in ((paper, PAPER_ROUNDS), (grounded, UNCREDITED_ROUNDS)):
        assert [one.output.name for one in rounds] == [n for n in names if n.startswith("grpo")]
        assert all(one.objective.step_credit == 0 for one in rounds)
    assert {one.rewards[0].name for one in paper} == {"paper"}
    assert {one.rewards[0].name for one in grounded} == {"grounded"}

    def but_for_rewards(one: GroupRelativeStage) -> Any:
        model = replace(one.model, start=one.model.start.replace("uncredited", "paper"))
        return replace(one, output=tmp_path, rewards=paper[0].rewards, model=model)

    assert [but_for_rewards(one) for one in grounded] == [but_for_rewards(one) for one in paper]
