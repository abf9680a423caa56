"""How reasoning is split, whose a box is, and what is left to read."""

import pytest

from service.reading import Mode, ParsedText, parse_text


def read(reasoning: str, **options: int) -> ParsedText:
    return parse_text(f"<think>{reasoning}</think>\\boxed{{x}}", mode=Mode.THINK, **options)


def texts(reasoning: str) -> list[str]:
    return [step.text for step in read(reasoning).steps]


@pytest.mark.parametrize(
    ("reasoning", "steps"),
    [
        ("1. Heart big. 2. Lungs clear.", ["Heart big.", "Lungs clear."]),
        ("(1) Heart\n(2) Lungs\n- Bones\n\u2022 Tubes", ["Heart", "Lungs", "Bones", "Tubes"]),
        ("Step 1: heart. Step 2: lungs.", ["heart.", "lungs."]),
        ("the heart is big. the lungs are clear.", ["the heart is big.", "the lungs are clear."]),
        ("approx. 3 cm, i.e. small vs. before", ["approx. 3 cm, i.e. small vs. before"]),
        ("Seen at 3 p.m. by Dr. Smith.", ["Seen at 3 p.m. by Dr. Smith."]),
        ("Rib no. 5 is broken. No. 6 is not.", ["Rib no. 5 is broken.", "No. 6 is not."]),
        ("Any effusion? No. The heart is big.", ["Any effusion?", "No.", "The heart is big."]),
        ("1.5 cm... and 2.5 cm", ["1.5 cm... and 2.5 cm"]),
        (
            "small (left; cf. B. Right) effusion; next",
            ["small (left; cf. B. Right) effusion", "next"],
        ),
        ("open (bracket; next", ["open (bracket", "next"]),
        ("open [bracket; next", ["open [bracket", "next"]),
        (";; \n 1. \n ... ; a", ["a"]),
        ("a\r\nb", ["a", "b"]),
        ('It is "big." It is.', ['It is "big."', "It is."]),
    ],
)
def test_reasoning_is_split_where_it_splits(reasoning: str, steps: list[str]) -> None:
    assert texts(reasoning) == steps


@pytest.mark.parametrize(
    ("reasoning", "counts"),
    [
        ("Heart [1, 2, 3, 4]. Lungs [1, 2, 3, 4] [1, 2, 3, 4].", [1, 2]),
        ("Heart. [1, 2, 3, 4] Lungs. [1, 2, 3, 4]", [1, 1]),
        ("Heart\n[1, 2, 3, 4]\nLungs\n[1, 2, 3, 4]", [1, 1]),
        ("Masses [1, 2, 3, 4]; [1, 2, 3, 4]; [1, 2, 3, 4]. Lungs", [3, 0]),
        ("[1, 2, 3, 4] heart; [1, 2, 3, 4] lungs", [1, 1]),
        ("[1, 2, 3, 4]: heart. [1, 2, 3, 4]: lungs.", [1, 1]),
        ("Masses [[1, 2, 3, 4], [5, 6, 7, 8]]; lungs", [2, 0]),
        ("Mass [1,\n2, 3,\n4]; lungs", [1, 0]),
        ("Mass [1 2 3 4] [ 1 ,2;3 ,4 ] [1., .5, +3, 4e0]", [3]),
    ],
)
def test_a_box_belongs_to_the_step_that_it_stands_with(reasoning: str, counts: list[int]) -> None:
    parsed = read(reasoning)
    assert [len(step.boxes) for step in parsed.steps] == counts
    assert parsed.notices == ()


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("The heart [1, 2, 3, 4] is enlarged", "The heart is enlarged"),
        ("A mass at [1, 2, 3, 4], left", "A mass, left"),
        ("A mass [1, 2, 3, 4].", "A mass."),
        (
            "Masses at [1, 2, 3, 4], [1, 2, 3, 4] and [1, 2, 3, 4] on both sides",
            "Masses on both sides",
        ),
        ("A mass ([1, 2, 3, 4]), left", "A mass, left"),
        ("A mass (left, [1, 2, 3, 4])", "A mass (left,)"),
        ("Heart: [1, 2, 3, 4]", "Heart"),
        ("[1, 2, 3, 4]: heart", "heart"),
        ("heart[1, 2, 3, 4]and lung", "heart and lung"),
        ("two  spaces\tand [1, 2, 3, 4]  tabs", "two spaces and tabs"),
        ("A mass with bounding box [1, 2, 3, 4]", "A mass"),
        ("a citation [1] and [unclear] stay", "a citation [1] and [unclear] stay"),
        ("gone [1, 2, 3] too", "gone too"),
    ],
)
def test_what_is_left_reads_as_if_the_box_had_not_been_there(step: str, text: str) -> None:
    assert texts(step) == [text]


@pytest.mark.parametrize(
    "bracket",
    [
        "[]",
        "[, , ,]",
        "[1, 2]",
        "[1, 2, x, 4]",
        "[a, b, c, d]",
        "[x_min, y_min, x_max, y_max]",
        "[10px, 20px, 30px, 40px]",
        "[x=1, y=2, x=3, y=4]",
        "[(1, 2), (3, 4)]",
        "[10-20-30-40]",
        "(1, 2, 3, 4)",
        "(1, 2), (3, 4)",
        "(1,2)(3,4)",
        "[1, 2, 3, 4",
        "[1, 2, 3, 4)",
        "[" + "9" * 70 + ", 2, 3, 4]",
    ],
)
def test_what_was_meant_for_a_box_is_flagged(bracket: str) -> None:
    (step,) = read(f"A mass {bracket}").steps
    assert step.flags == ("box-malformed",)
    assert step.boxes == ()
    assert step.text.startswith("A mass")


@pytest.mark.parametrize(
    "bracket", ["[1]", "[unclear]", "[sic]", "[...]", "[see above]", "[T4, T5]"]
)
def test_other_brackets_are_text(bracket: str) -> None:
    parsed = read(f"A mass {bracket} here")
    assert parsed.steps[0].text == f"A mass {bracket} here"
    assert parsed.notices == ()


@pytest.mark.parametrize(
    ("step", "image"),
    [
        ("Image 2 shows it [1, 2, 3, 4]", 1),
        ("it [1, 2, 3, 4] in image 3", 2),
        ("on the second film [1, 2, 3, 4]", 1),
        ("image no. 4: [1, 2, 3, 4]", 3),
        ("Image #2 [1, 2, 3, 4]", 1),
        ("image two [1, 2, 3, 4]", 1),
        ("first image [1, 2, 3, 4]", 0),
        ("Compared with image 1, there is a new effusion [1, 2, 3, 4] in image 2", 1),
        ("Image 1 was clear; relative to it the opacity [1, 2, 3, 4] on the second film", 1),
        ("Relative to the first film, the opacity [1, 2, 3, 4] on the second film is larger", 1),
        ("Image 2 shows an effusion [1, 2, 3, 4], absent in image 1", 1),
        ("Larger than in image 1 [1, 2, 3, 4]", 0),
        ("Image 1 is normal and two nodules [1, 2, 3, 4] [5, 6, 7, 8] in the third image", 2),
        ("The frontal image 2: a mass [1, 2, 3, 4]", 1),
    ],
)
def test_a_step_names_its_image(step: str, image: int) -> None:
    parsed = read(step, images=4)
    assert parsed.steps[-1].boxes[0].image == image
    assert parsed.notices == ()


@pytest.mark.parametrize(
    "step",
    [
        "it [1, 2, 3, 4]",
        "image 5 [1, 2, 3, 4]",
        "film 2 days ago [1, 2, 3, 4]",
        "Compared with the film 2 min earlier [1, 2, 3, 4]",
        "On the frontal film two nodules are seen [1, 2, 3, 4]",
        "On this film 2 nodules are seen [1, 2, 3, 4]",
        "In the image two ribs are fractured [1, 2, 3, 4]",
        "On the lateral image one can see an effusion [1, 2, 3, 4]",
        "Compared with image 2 the heart is larger [1, 2, 3, 4]",
    ],
)
def test_otherwise_the_first_image_is_assumed_and_flagged(step: str) -> None:
    (box,) = read(step, images=2).steps[0].boxes
    assert (box.image, box.flags) == (0, ("box-image-assumed",))


@pytest.mark.parametrize(
    "text",
    [
        "Image 1:\n- heart [1, 2, 3, 4]\nImage 2:\n- effusion [1, 2, 3, 4]",
        "The heart is enlarged [1, 2, 3, 4]. Image 2: clear. There is an effusion [1, 2, 3, 4].",
    ],
)
def test_a_step_that_names_none_is_at_the_image_that_was_named_last_and_flagged(text: str) -> None:
    first, second = (box for step in read(text, images=2).steps for box in step.boxes)
    assert (first.image, second.image) == (0, 1)
    assert second.flags == ("box-image-assumed",)


def test_a_box_of_a_single_image_is_on_that_one_whatever_is_named() -> None:
    (box,) = read("Compared with image 2 the heart is larger [1, 2, 3, 4]").steps[0].boxes
    assert (box.image, box.flags) == (0, ())


def test_a_step_that_names_two_images_has_a_box_on_each() -> None:
    before = read("image 1 [1, 2, 3, 4] and image 2 [1, 2, 3, 4]", images=2).steps[0]
    after = read("[1, 2, 3, 4] in image 1 and [1, 2, 3, 4] in image 2", images=2).steps[0]
    assert [box.image for box in before.boxes] == [0, 1]
    assert [box.image for box in after.boxes] == [0, 1]


def test_an_inverted_box_is_put_in_order_and_kept_as_written() -> None:
    (box,) = read("A mass [30, 2, 10, 4]").steps[0].boxes
    assert (box.values, box.written) == ((10, 2, 30, 4), (30, 2, 10, 4))
    assert box.flags == ("box-inverted",)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("[1, 2, 3, 4] .5 cm nodule in the left lung", ".5 cm nodule in the left lung"),
        ("Nodule of [1, 2, 3, 4] .5 cm", "Nodule of .5 cm"),
        ("Nodule [1, 2, 3, 4] .", "Nodule."),
    ],
)
def test_the_point_of_a_number_is_kept(step: str, text: str) -> None:
    assert read(step).steps[0].text == text


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2, 3, 4]\nHeart large\n[5, 6, 7, 8]\nLungs clear",
        "1. [1, 2, 3, 4]\nHeart large\n2. [5, 6, 7, 8]\nLungs clear\n",
        "[1, 2, 3, 4]\n\nHeart large\n\n[5, 6, 7, 8]\n\nLungs clear",
    ],
)
def test_where_boxes_come_first_each_belongs_to_the_line_after_it(text: str) -> None:
    steps = read(text).steps
    assert [step.text for step in steps] == ["Heart large", "Lungs clear"]
    assert [box.values for step in steps for box in step.boxes] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert [len(step.boxes) for step in steps] == [1, 1]


def test_boxes_below_a_line_still_belong_to_it() -> None:
    steps = read("Heart large\n[1, 2, 3, 4]\nLungs clear\n[5, 6, 7, 8]").steps
    assert [(step.text, len(step.boxes)) for step in steps] == [
        ("Heart large", 1),
        ("Lungs clear", 1),
    ]
