"""A checkpoint says what it went through."""

from pathlib import Path

import pytest

from training.checkpoint import is_finished, model_card, read_lineage, record_stage


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"one")
    (folder / "train-0000.jsonl").write_text('{"id": "1", "path": "1.png"}\n')
    return folder


def test_finished_stages_are_told_in_order_with_settings_and_data(
    tmp_path: Path, films: Path
) -> None:
    folders = [tmp_path / name for name in ("warm_up", "sft")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        assert not is_finished(folder)
        record_stage(folder, folder.name, films, "r1", films=10, seed=number)
        assert is_finished(folder)
    lineage = read_lineage(folders)
    assert [record.stage for record in lineage] == ["warm_up", "sft"]
    assert lineage[1].config == {"films": 10, "seed": 1}
    assert len(lineage[0].data_hash) == 64
    assert "* **sft**: films 10, seed 1" in model_card(lineage, [])


def test_other_films_have_another_hash(tmp_path: Path, films: Path) -> None:
    folders = [tmp_path / name for name in ("first", "other pixels", "one more")]
    for folder in folders:
        folder.mkdir()
        record_stage(folder, "sft", films, "r1")
        if folder == folders[0]:
            (films / "1.png").write_bytes(b"another")
        else:
            (films / "train-0001.jsonl").write_text('{"id": "2", "path": "1.png"}\n')
    assert len({record.data_hash for record in read_lineage(folders)}) == 3


def test_a_stage_that_has_not_finished_has_no_lineage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_lineage([tmp_path])


def test_half_a_record_does_not_say_that_a_stage_has_finished(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"stage": "sf')
    assert not is_finished(tmp_path)
