"""Boxes of every form end as whole pixels on their film."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from training.data.adapters.boxes import (
    CLIPPED,
    DEGENERATE,
    extent_box,
    fraction_box,
    overlap,
    pixel_box,
)

sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
numbers = st.floats(-5000, 9000) | st.just(float("nan")) | st.just(float("inf"))


@given(st.tuples(numbers, numbers, numbers, numbers), sizes)
def test_a_box_lies_on_its_film_or_is_remarked(
    corners: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    remarks: list[str] = []
    box = pixel_box(corners, size, remarks.append)
    if box is None:
        assert remarks == [DEGENERATE]
    else:
        assert 0 <= box[0] < box[2] <= size[0]
        assert 0 <= box[1] < box[3] <= size[1]
        moved = max(abs(a - b) for a, b in zip(box, corners, strict=True))
        assert remarks == [CLIPPED] or moved <= 1.5


@st.composite
def placed(draw: st.DrawFn) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    width, height = draw(sizes)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (
        (x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))),
        (width, height),
    )


@given(placed())
def test_the_three_forms_of_one_box_agree(
    given: tuple[tuple[int, int, int, int], tuple[int, int]],
) -> None:
    box, size = given
    x, y, right, bottom = box
    remarks: list[str] = []
    extent = extent_box((x, y, right - x, bottom - y), size, remarks.append)
    fractions = [c / s for c, s in zip(box, (*size, *size), strict=True)]
    assert pixel_box(box, size, remarks.append) == box
    assert extent == box
    assert fraction_box(fractions, size, remarks.append) == box
    assert remarks == []


@given(placed(), placed())
def test_overlap_is_symmetric_and_full_with_itself(
    one: tuple[tuple[int, int, int, int], tuple[int, int]],
    other: tuple[tuple[int, int, int, int], tuple[int, int]],
) -> None:
    assert overlap(one[0], other[0]) == overlap(other[0], one[0])
    assert 0 <= overlap(one[0], other[0]) <= 1
    assert overlap(one[0], one[0]) == 1
