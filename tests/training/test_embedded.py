"""Where the embedded checkpoint's pipeline may begin."""

from pathlib import Path

import pytest

from service.settings import EMBEDDED_CHECKPOINT
from training.checkpoint import CheckpointError
from training.embedded import EmbeddedConfig, take_settled
from training.proof import not_trained


def test_a_result_of_stage_3_is_no_start_for_it(tmp_path: Path) -> None:
    config = EmbeddedConfig(work=tmp_path, output=tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"not of stage 2.*docs/training\.md"):
        take_settled(config, EMBEDDED_CHECKPOINT)
    assert not any(tmp_path.iterdir())


def test_every_stage_that_the_ablation_wants_is_named_while_none_is_trained(tmp_path: Path) -> None:
    missing = not_trained(EmbeddedConfig(work=tmp_path, output=tmp_path / "out"))
    assert missing[0] == "stage 1, sft"
    assert len(missing) == 9
