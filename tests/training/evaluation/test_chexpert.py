"""The rule-based CheXpert labeler, on sentences and on real coded reports."""

from __future__ import annotations

import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from training.evaluation.chexpert import NO_FINDING, OBSERVATIONS, Presence, observations, present
from training.evaluation.cli import evaluate
from training.evaluation.mesh_agreement import mesh_agreement, read_reports

HERE, MAYBE, NOT = Presence.PRESENT, Presence.UNCERTAIN, Presence.ABSENT


@pytest.fixture(scope="module")
def open_i(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the real reports, as the installed package carries them."""
    package = find_spec("torchxrayvision")
    if package is None or not package.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed")
    root = tmp_path_factory.mktemp("open-i")
    packed = Path(package.submodule_search_locations[0]) / "data" / "NLMCXR_reports.tgz"
    with tarfile.open(packed) as archive:
        archive.extractall(root, filter="data")
    return root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Small left pleural effusion.", {"Pleural Effusion": HERE}),
        ("No pleural effusion or pneumothorax.", {"Pleural Effusion": NOT, "Pneumothorax": NOT}),
        (
            "No focal consolidation, large pleural effusion, or pneumothorax.",
            {"Consolidation": NOT, "Pleural Effusion": NOT, "Pneumothorax": NOT},
        ),
        ("Opacity which may represent pneumonia.", {"Lung Opacity": HERE, "Pneumonia": MAYBE}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": MAYBE}),
        ("The heart is top normal in size.", {"Cardiomegaly": NOT}),
        ("The cardiac silhouette is enlarged.", {"Cardiomegaly": HERE}),
        ("Heart size within normal limits.", {"Cardiomegaly": NOT}),
        ("Heart size and pulmonary vascular engorgement appear normal.", {"Edema": NOT}),
        ("Left pacemaker with leads in place.", {"Support Devices": HERE}),
        ("The PICC line has been removed.", {"Support Devices": NOT}),
        ("The chest tube was removed.", {"Support Devices": NOT}),
        ("Interval removal of the right chest tube.", {"Support Devices": NOT}),
        (
            "Removal of the chest tube, new pneumothorax.",
            {"Support Devices": NOT, "Pneumothorax": HERE},
        ),
        ("Unlikely pneumonia.", {"Pneumonia": NOT}),
        ("Effusion unlikely, consolidation.", {"Pleural Effusion": NOT, "Consolidation": HERE}),
        ("Evaluation for pneumothorax.", {}),
        ("Evaluate for pneumonia. Small effusion.", {"Pleural Effusion": HERE}),
        ("No PTX.", {"Pneumothorax": NOT}),
        ("Healing left rib fx.", {"Fracture": HERE}),
        ("Blunting of the left costophrenic angle.", {"Pleural Effusion": HERE}),
        ("Pericardial effusion.", {}),
        ("Healed rib fractures.", {"Fracture": HERE}),
        ("No pneumothorax. Small apical pneumothorax on the left.", {"Pneumothorax": HERE}),
        ("There isn't a pneumothorax.", {"Pneumothorax": NOT}),
        ("The effusion has not changed.", {"Pleural Effusion": HERE}),
        ("No relevant change in the effusion.", {"Pleural Effusion": HERE}),
        ("The effusion has not been excluded.", {"Pleural Effusion": MAYBE}),
        ("No pneumothorax, effusion is present.", {"Pneumothorax": NOT, "Pleural Effusion": HERE}),
        ("Is there an effusion?", {}),
        ("If there is concern for fracture, consider rib films.", {}),
        ("No pneumo-thorax.", {"Pneumothorax": NOT}),
        ("The heart is normal to mildly enlarged.", {"Cardiomegaly": HERE}),
        ("The heart, previously normal, is now enlarged.", {"Cardiomegaly": HERE}),
    ],
)
def test_what_a_report_says(text: str, found: dict[str, Presence]) -> None:
    said = observations(text)
    assert {name: said.get(name) for name in found} == found
    extra = set(said) - set(found) - {NO_FINDING, "Cardiomegaly"}
    assert not {name for name in extra if said[name] is not NOT}


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("The lungs are clear.", True),
        ("Lungs clear. Pacemaker in place.", True),
        ("Possible pneumonia.", False),
        ("The heart is not normal.", False),
        ("The lungs aren't clear.", False),
        ("The heart is not enlarged.", True),
        ("", True),
    ],
)
def test_no_finding_is_the_absence_of_all_but_devices(text: str, nothing: bool) -> None:
    assert (NO_FINDING in present(text)) == nothing


def test_a_heart_that_is_not_normal_is_not_denied_to_be_large() -> None:
    assert "Cardiomegaly" not in observations("The heart is not normal.")
    assert observations("The heart is not enlarged.")["Cardiomegaly"] is NOT


def test_what_is_hedged_counts_as_present_unless_told_otherwise() -> None:
    assert "Pneumonia" in present("Possible pneumonia.")
    assert "Pneumonia" not in present("Possible pneumonia.", uncertain=False)


@given(st.text(max_size=300))
def test_any_text_can_be_labelled(text: str) -> None:
    assert set(observations(text)) <= set(OBSERVATIONS)


def test_the_labeler_agrees_with_those_who_coded_the_real_reports(open_i: Path) -> None:
    reports = read_reports(open_i)
    assert len(reports) > 3_700
    found = {one.observation: one for one in mesh_agreement(reports)}
    assert set(found) == set(OBSERVATIONS) - {NO_FINDING}
    frequent = {name: one for name, one in found.items() if one.both + one.codes_only >= 20}
    assert len(frequent) == 12
    assert min(one.f1 for one in frequent.values()) >= 0.85
    for one in found.values():
        assert one.interval[0] <= one.f1 <= one.interval[1]


def test_the_table_is_printed_and_written(open_i: Path, tmp_path: Path) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(open_i.rglob("*.xml"))[:60]:
        (some / path.name).write_bytes(path.read_bytes())
    output = tmp_path / "table.md"
    done = CliRunner().invoke(evaluate, ["labeler", str(some), "--output", str(output)])
    assert done.exit_code == 0
    assert output.read_text() == done.output
    assert "| Cardiomegaly |" in done.output


def test_a_folder_without_reports_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(evaluate, ["labeler", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no coded reports" in done.output
