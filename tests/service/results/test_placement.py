"""Where number plates go."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from service.results.overlay.placement import Area, overlap, place_plates

WITHIN = (0, 0, 900, 900)


@st.composite
def boxes(draw: st.DrawFn) -> Area:
    left, top = draw(st.integers(0, 890)), draw(st.integers(0, 890))
    return left, top, draw(st.integers(left + 2, 900)), draw(st.integers(top + 2, 900))


@given(st.lists(boxes(), max_size=25), st.integers(12, 60), st.integers(12, 60))
def test_plates_never_overlap_and_never_leave_the_picture(
    areas: list[Area], width: int, height: int
) -> None:
    places = place_plates(areas, [(width, height)] * len(areas), WITHIN)
    assert places is not None
    assert len(places) == len(areas)
    assert not any(overlap(one, other) for one, other in combinations(places, 2))
    for left, top, right, bottom in places:
        assert (right - left, bottom - top) == (width, height)
        assert left >= 0
        assert top >= 0
        assert right <= 900
        assert bottom <= 900


def test_a_plate_stands_on_its_boxs_upper_left_corner() -> None:
    assert place_plates([(100, 100, 300, 300)], [(20, 30)], WITHIN) == [(100, 70, 120, 100)]


def test_a_box_at_the_upper_edge_has_its_plate_below() -> None:
    assert place_plates([(100, 0, 300, 300)], [(20, 30)], WITHIN) == [(100, 300, 120, 330)]


def test_a_box_over_the_whole_film_has_its_plate_inside() -> None:
    assert place_plates([WITHIN], [(20, 30)], WITHIN) == [(0, 0, 20, 30)]


def test_a_plate_prefers_a_place_that_hides_no_other_boxs_edge() -> None:
    lower, upper = (100, 100, 300, 300), (90, 60, 110, 95)
    place = (place_plates([lower, upper], [(20, 30), (20, 30)], WITHIN) or [])[0]
    assert not overlap(place, upper)


def test_too_many_plates_for_the_picture_are_reported_as_such() -> None:
    assert place_plates([WITHIN] * 5, [(450, 450)] * 5, WITHIN) is None
