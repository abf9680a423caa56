"""Of several supplied regions, which one the words before a box name."""

import pytest

from service.reading.brackets import find_brackets
from training.data.teacher.naming import named_in, phrases_of
from training.data.teacher.regions import Region

NAMES = (
    *("cardiac silhouette", "mediastinum", "upper mediastinum", "trachea", "lung opacity"),
    *("left pleural effusion", "right mass", "bilateral pleural effusions"),
    *(
        f"{side} {part}"
        for side in ("left", "right")
        for part in (
            *("lung", "upper lung zone", "mid lung zone", "lower lung zone", "apical zone"),
            *("clavicle", "costophrenic angle", "hemidiaphragm", "hilar structures"),
        )
    ),
)
"""As Chest ImaGenome names its regions, and some findings."""
REGIONS = [Region(0, name, (number, 0, number + 1, 1)) for number, name in enumerate(NAMES)]


def box(name: str) -> str:
    return str(list(REGIONS[NAMES.index(name)].box))


def fits(raw: str) -> list[bool]:
    """For each box of a step, whether the words before it name its region."""
    cited = [NAMES[int(bracket.values[0])] for bracket in find_brackets(raw) if bracket.values]
    named = [{r.label for r in named_in(text, REGIONS, count)} for text, count in phrases_of(raw)]
    return [name in there for name, there in zip(cited, named, strict=True)]


@pytest.mark.parametrize(
    ("said", "cited"),
    [
        ("the lower zone of the right lung is hazy", "right lower lung zone"),
        ("the right lung's lower zone is hazy", "right lower lung zone"),
        ("there is a right-sided mass", "right mass"),
        ("A mass is seen in the right lung", "right mass"),
        ("In the right lung, a dense rounded mass is seen", "right mass"),
        ("the lungs are clear", "left lung"),
        ("the right and left lungs are clear", "right lung"),
        ("Both costophrenic angles are sharp", "right costophrenic angle"),
        ("the hemidiaphragms are smooth", "left hemidiaphragm"),
        ("Left-sided effusion obscures the left hemidiaphragm", "left pleural effusion"),
        ("the left hemidiaphragm is obscured by an effusion", "left pleural effusion"),
        ("an effusion is seen on the left side", "left pleural effusion"),
        ("pleural effusions lie on both sides", "bilateral pleural effusions"),
        ("the heart is enlarged, its width over half of the chest", "cardiac silhouette"),
        ("the heart is enlarged and globular", "cardiac silhouette"),
        ("The mediastinum, trachea and heart are central", "mediastinum"),
        ("no haze in the right upper or mid lung zone", "right mid lung zone"),
        ("hazy lung opacity in the left lower lung zone", "left lower lung zone"),
        ("hazy lung opacity in the left lower lung zone", "lung opacity"),
        ("The upper part of the mediastinum is narrow", "upper mediastinum"),
        ("the left lung is clear of consolidation or mass", "left lung"),
        ("the left hilum is normal", "left hilar structures"),
        ("The left lung is opaque at its base, obscuring the cardiac silhouette", "left lung"),
        ("A left effusion is present, blunting the left angle", "left pleural effusion"),
        ("The mediastinum is shifted to the right, away from the left lung", "mediastinum"),
        (
            "the right lower lung zone is hazier than the left lower lung zone",
            "left lower lung zone",
        ),
    ],
)
def test_a_region_may_be_named_in_many_ways(said: str, cited: str) -> None:
    assert fits(f"{said} {box(cited)}") == [True]


@pytest.mark.parametrize(
    ("said", "cited"),
    [
        ("the left hilum is normal and the right lung is clear", "left lung"),
        ("right lung clear, left pleural effusion", "right lung"),
        ("right lung clear and left pleural effusion seen", "right lung"),
        ("the left lung is clear while the right lung has fluid", "left lung"),
        ("the left lung is clear below the right clavicle", "right lung"),
        ("hazy opacity in the right lower lung zone", "right lung"),
        ("the upper mediastinum is narrow", "mediastinum"),
        ("the mediastinum is midline", "upper mediastinum"),
        ("lower right lung zone hazy, upper clear", "right upper lung zone"),
        ("the right upper lung zone lies above the left lower lung zone", "right lower lung zone"),
        ("the left costophrenic angle is blunted below a clear right lung", "right hemidiaphragm"),
        ("the left costophrenic angle is sharp, the right is blunted", "left lung"),
        ("an opacity lies in the left lung, none in the right", "right lung"),
        ("the trachea is left of the right lung", "left lung"),
    ],
)
def test_a_box_of_a_region_that_the_words_before_it_do_not_name_is_told(said, cited) -> None:
    assert fits(f"{said} {box(cited)}") == [False]


@pytest.mark.parametrize(
    "step",
    [
        "the right lung {right lung} and the left lung {left lung} are clear",
        "the lungs are clear {right lung} and {left lung}",
        "{trachea} the trachea is midline",
        "right lung clear, left pleural effusion {right lung} {left pleural effusion}",
        "The right lung {right lung} is clear, while the left lung {left lung} is hazy",
    ],
)
def test_each_of_several_boxes_is_named_by_the_words_before_it(step: str) -> None:
    assert all(fits(step.format(**{name: box(name) for name in NAMES})))


def test_boxes_in_the_other_order_are_told() -> None:
    step = f"The right lung {box('left lung')} is clear, the left lung {box('right lung')} hazy"
    assert fits(step) == [False, False]
