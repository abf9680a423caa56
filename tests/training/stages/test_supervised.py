"""Stages 1 and 2 from end to end on a tiny checkpoint, through the command line's own functions."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from training.checkpoint.lineage import weights_hash
from training.stages.begin import begin
from training.stages.config import SupervisedStage
from training.stages.config.reading import build
from training.stages.errors import ConfigError
from training.stages.supervised import run_supervised


def stage(tiny: Path, output: Path, **more: Any) -> SupervisedStage:
    base = {
        "output": str(output),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant"},
        "logging": {"every": 1, "save_every": 1, "report_to": []},
        "batch_size": 4,
        "max_steps": 2,
    }
    return build(SupervisedStage, {**base, **more}, "test")


def moved(tiny: Path, output: Path) -> set[str]:
    before, after = (load_file(f / "model.safetensors") for f in (tiny / "model", output))
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_embedded_way_softens_coordinates_and_leaves_the_tower(
    tiny: Path, tmp_path: Path
) -> None:
    run_supervised("cold-start", stage(tiny, tmp_path, soft_coordinates=2.0))
    names = moved(tiny, tmp_path)
    assert names
    assert not any("visual" in name for name in names)
    assert (tmp_path / "preprocessor_config.json").exists()
    assert not (tmp_path / "training_args.bin").exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_weights_are_for_whom_the_other_files_are(
    tiny: Path, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        output = run_supervised("sft", stage(tiny, tmp_path / "out", max_steps=1))
    finally:
        os.umask(before)
    assert (output / "config.json").stat().st_mode & 0o777 == mode
    assert (output / "model.safetensors").stat().st_mode & 0o777 == mode


def test_plain_fine_tuning_trains_the_tower_where_asked(tiny: Path, tmp_path: Path) -> None:
    model = {"start": str(tiny / "model"), "manifest": "embedded", "train_vision": True}
    data = {"folder": str(tiny / "films"), "group_lengths": False}
    output = run_supervised(
        "sft", stage(tiny, tmp_path, model={**model, "gradient_checkpointing": True}, data=data)
    )
    assert any("visual" in name for name in moved(tiny, output))
    record = json.loads((output / "stage.json").read_text())
    assert record["stage"] == "sft"
    assert record["data_hash"]
    assert record["metrics"]["loss"] > 0


def test_adapters_resume_with_their_weights(tiny: Path, tmp_path: Path, one_thread: None) -> None:
    model = {"start": str(tiny / "model"), "manifest": "embedded", "lora": {"rank": 2}}

    def adapters(name: str, **more: Any) -> dict[str, torch.Tensor]:
        output = tmp_path / name
        resume = (output / "run").exists()
        run_supervised("cold-start", stage(tiny, output, model=model, **more), resume=resume)
        (output / "stage.json").unlink()
        return load_file(output / "adapter_model.safetensors")

    whole = adapters("whole")
    adapters("parts", max_steps=1)
    resumed = adapters("parts")
    assert whole
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    assert any(bool(value.any()) for key, value in whole.items() if "lora_B" in key)


@pytest.mark.parametrize("name", ["{}/nowhere", "here/nowhere", "nowhere", "a/b/c"])
def test_a_missing_checkpoint_is_named(
    tiny: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    model = {"start": name.format(tmp_path), "manifest": "embedded"}
    with pytest.raises(ConfigError, match=r"model\.start: there is no checkpoint folder"):
        run_supervised("sft", stage(tiny, tmp_path / "out", model=model))


def test_a_stage_writes_over_no_checkpoint(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is what the stage starts from"):
        run_supervised("sft", stage(tiny, tiny / "model"))
    (tmp_path / "deepmedix.json").write_text("{}")
    with pytest.raises(ConfigError, match="is an exported checkpoint"):
        run_supervised("sft", stage(tiny, tmp_path))


def test_adapters_are_no_start(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "adapter_config.json").write_text("{}")
    model = {"start": str(tmp_path / "adapters"), "manifest": "embedded"}
    with pytest.raises(ConfigError, match="checkpoint merge"):
        run_supervised("sft", stage(tiny, tmp_path / "out", model=model))


def test_a_start_without_all_of_its_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(tiny / "model", tmp_path / "model"))
    weights = load_file(start / "model.safetensors")
    del weights[next(name for name in sorted(weights) if name.endswith("down_proj.weight"))]
    save_file(weights, start / "model.safetensors", metadata={"format": "pt"})
    model = {"start": str(start), "manifest": "embedded"}
    with pytest.raises(ConfigError, match=r"model\.start: .*missing weights: .*down_proj"):
        run_supervised("sft", stage(tiny, tmp_path / "out", model=model))
    (start / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"model\.start: .*damaged"):
        run_supervised("sft", stage(tiny, tmp_path / "out", model=model))


def test_a_start_that_is_not_what_its_stage_left_is_refused(tiny: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(tiny / "model", tmp_path / "model"))
    record = {"stage": "sft", "weights_hash": weights_hash(start)}
    (start / "stage.json").write_text(json.dumps(record))
    model = {"start": str(start), "manifest": "embedded"}
    config = stage(tiny, tmp_path / "out", model=model)
    assert begin(config.model, config.output).start_hash == record["weights_hash"]
    weights = load_file(start / "model.safetensors")
    save_file({name: 2 * w for name, w in weights.items()}, start / "model.safetensors")
    with pytest.raises(ConfigError, match=r"model\.start: .* other weights than the stage"):
        run_supervised("sft", config)
    (start / "stage.json").write_text("{")
    with pytest.raises(ConfigError, match=r"model\.start: .*not the record of a stage"):
        run_supervised("sft", config)


def test_a_start_that_shows_films_otherwise_than_its_stage_did_is_refused(
    tiny: Path, tmp_path: Path
) -> None:
    run_supervised("sft", stage(tiny, tmp_path / "sft", max_steps=1))
    model = {"start": str(tmp_path / "sft"), "manifest": "embedded"}
    config = stage(tiny, tmp_path / "out", model=model)
    begin(config.model, config.output)
    path = tmp_path / "sft" / "preprocessor_config.json"
    told = json.loads(path.read_text())
    for changed in (
        {"image_mean": [0.5, 0.5, 0.5]},
        {"size": {"longest_edge": 9, "shortest_edge": 9}},
    ):
        path.write_text(json.dumps(told | changed))
        with pytest.raises(ConfigError, match=rf"preprocessor_config.*{next(iter(changed))}"):
            begin(config.model, config.output)


def test_a_stage_that_has_not_finished_is_no_start(tiny: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(tiny / "model", tmp_path / "model"))
    (start / "run").mkdir()
    (start / "run" / "config.json").write_text("{}")
    model = {"start": str(start), "manifest": "embedded"}
    with pytest.raises(ConfigError, match=r"model\.start: .* has not finished .*--resume"):
        run_supervised("cold-start", stage(tiny, tmp_path / "out", model=model))


def test_more_steps_than_the_examples_last_for_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_steps \(5\): .* last for 4 steps.*data\.passes"):
        run_supervised("sft", stage(tiny, tmp_path, max_steps=5))


def test_a_run_that_stops_early_has_its_whole_schedule(tiny: Path, tmp_path: Path) -> None:
    muon = {"name": "muon", "matrix_rate": 1e-3}
    run_supervised("sft", stage(tiny, tmp_path, optimizer=muon, max_steps=3))  # of four
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in log]
    assert rates == pytest.approx([1e-3, 1e-3, 0.5e-3])  # one step of warm-up, and down to 0


@pytest.mark.parametrize(
    ("setting", "trl"),
    [
        ({}, {"completion_only_loss": False}),
        ({"soft_coordinates": 2.0}, {"loss_type": "dft"}),
        ({"soft_coordinates": 2.0}, {"label_smoothing_factor": 0.1}),
        ({"optimizer": {"name": "muon"}}, {"optim": "sgd"}),
    ],
)
def test_what_would_do_nothing_is_refused(
    tiny: Path, tmp_path: Path, setting: dict[str, Any], trl: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"trl\.{next(iter(trl))} does nothing"):
        run_supervised("sft", stage(tiny, tmp_path, trl=trl, **setting))


def test_a_start_without_a_manifest_says_which_to_name(tiny: Path, tmp_path: Path) -> None:
    model = {"start": str(tiny / "model")}
    with pytest.raises(ConfigError, match=r"model\.manifest"):
        run_supervised("sft", stage(tiny, tmp_path / "out", model=model))


def test_a_film_that_cannot_be_shown_is_named(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "films", tmp_path / "films")
    for path in (tmp_path / "films" / "films").glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"films/\d\.png cannot be shown"):
        run_supervised("sft", stage(tiny, tmp_path / "out", data={"folder": tmp_path / "films"}))


def test_a_film_of_another_size_than_its_boxes_is_refused(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "films", tmp_path / "films")
    for path in (tmp_path / "films" / "films").glob("*.png"):
        with Image.open(path) as film:
            half = film.resize((film.width // 2, film.height // 2))
        half.save(path)
    with pytest.raises(ConfigError, match=r"films/\d\.png .*when the data were prepared"):
        run_supervised("sft", stage(tiny, tmp_path / "out", data={"folder": tmp_path / "films"}))


def test_what_does_not_go_together_is_refused(tiny: Path, tmp_path: Path) -> None:
    lora = {"start": str(tiny / "model"), "manifest": "embedded", "lora": {"rank": 2}}
    with pytest.raises(ConfigError, match="muon"):
        run_supervised("sft", stage(tiny, tmp_path, model=lora, optimizer={"name": "muon"}))
    misspelt = {**lora, "lora": {"rank": 2, "targets": ["q_proj", "vproj"]}}
    with pytest.raises(ConfigError, match="no layer 'vproj'"):
        run_supervised("sft", stage(tiny, tmp_path, model=misspelt))
    misspelt = {**lora, "lora": {"rank": 2, "targets": ["["]}}
    with pytest.raises(ConfigError, match=r"no layer '\['"):
        run_supervised("sft", stage(tiny, tmp_path, model=misspelt))
    with pytest.raises(ConfigError, match=r"trl\.save_only_model"):
        run_supervised("sft", stage(tiny, tmp_path, trl={"save_only_model": True}))
    with pytest.raises(ConfigError, match="drop one"):
        stage(tiny, tmp_path, model=lora, soft_coordinates=2.0)
