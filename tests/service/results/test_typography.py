"""Text in pictures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.results.overlay.typography import font, plate, plate_size, printable, wrap


@given(st.text(max_size=80), st.integers(60, 600))
def test_no_line_is_wider_than_allowed_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrap(text, 16, width)
    assert all(font(16).getlength(line) <= width or len(line) == 1 for line in lines)
    assert "".join(lines).replace(" ", "") == printable(text).replace(" ", "")


def test_words_stay_whole_where_they_fit() -> None:
    assert wrap("heart enlarged", 16, int(font(16).getlength("enlarged")) + 1) == [
        "heart",
        "enlarged",
    ]


def test_characters_without_a_shape_are_left_out() -> None:
    assert printable("a\x00b\n\tc\u202ed") == "ab cd"


def test_a_plate_grows_with_its_label_and_its_type() -> None:
    assert plate_size("123", 20)[0] > plate_size("1", 20)[0]
    assert plate_size("1", 40)[1] > plate_size("1", 20)[1]


def test_a_hollow_plate_lets_the_film_through() -> None:
    filled, hollow = (plate("7", 24, (230, 159, 0), hollow=hollow) for hollow in (False, True))
    at = (filled.width // 4, filled.height // 4)
    assert filled.getpixel(at) == (230, 159, 0, 255)
    assert hollow.getpixel(at)[3] == 0  # type: ignore[index]  # an RGBA pixel is a tuple


def test_signs_that_the_typeface_lacks_keep_their_meaning() -> None:
    assert printable(
        "\u2265 5 cm, \u2264 5 cm, 3 \u00d7 2 \u00bd cm\u00b2 \u2013 \u2260 caf\u00e9"
    ) == (">= 5 cm, <= 5 cm, 3 x 2 1/2 cm2 - != cafe")
