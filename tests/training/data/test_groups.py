"""Sex, age, device and site as sources write them, counted and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import write_dicom, write_film

from training.data.adapters.films import find_film
from training.data.groups import AGE_BANDS, Groups, age_band, device_of, sex_of, years_of
from training.data.inspection import console_text
from training.data.statistics import count_examples, print_statistics


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *(("63", 63), ("63.0", 63), ("063Y", 63), (" 63y ", 63), ("0", 0), ("130", 130)),
        *(("006M", 0.5), ("026W", 26 * 7 / 365.25), ("003D", 3 / 365.25)),
        *(("", None), ("000Y", None), ("131", None), ("200", None), ("-1", None), ("nan", None)),
        *(("inf", None), ("sixty", None), ("63 M 2", None), ("\u0663", None)),
    ],
)
def test_ages_are_read_in_years(text: str, years: float | None) -> None:
    assert years_of(text) == (None if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("text", "code"),
    [("F", "F"), ("female", "F"), (" Male ", "M"), ("o", "O"), ("Unknown", None), ("", None)],
)
def test_sexes_are_read_as_dicom_codes_them(text: str, code: str | None) -> None:
    assert sex_of(text) == code


def test_bands_are_in_order_and_hold_every_age() -> None:
    found = [age_band(years) for years in range(131)]
    assert tuple(dict.fromkeys(found)) == AGE_BANDS
    assert [found.index(band) for band in AGE_BANDS] == [0, 18, 40, 60, 80]


def test_a_maker_is_named_once() -> None:
    assert device_of("Maker", "One") == "Maker One"
    assert device_of("Maker", "MAKER One") == "MAKER One"
    assert device_of("", "One") == "One"
    assert device_of("Maker", "") == "Maker"
    assert device_of(" ", "") is None


def test_a_dicom_header_tells_what_it_knows(tmp_path: Path) -> None:
    pixels = np.zeros((20, 10), np.uint8)
    write_dicom(
        tmp_path / "a.dcm",
        pixels,
        PatientSex="M",
        PatientAge="041Y",
        Manufacturer="Maker",
        ManufacturerModelName="One",
        InstitutionName="North",
    )
    write_dicom(tmp_path / "b.dcm", pixels, PatientSex="", PatientAge="", InstitutionName="")
    write_film(tmp_path / "c.png", 10, 20)
    told, silent, picture = (
        find_film(tmp_path, name, "PA", lambda reason: None) for name in ("a.dcm", "b.dcm", "c.png")
    )
    assert told is not None
    assert told.groups == Groups("M", 41, "Maker One", "North")
    assert told.size == (10, 20)
    assert silent is not None
    assert picture is not None
    assert silent.groups == picture.groups == Groups()


def test_tables_count_before_headers() -> None:
    header = Groups("M", 41, "Maker One")
    assert Groups("F", site="North").over(header) == Groups("F", 41, "Maker One", "North")


def test_what_is_known_is_counted_and_told(
    make_example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [
        make_example(id="a", sex="F", age=81, device="[Maker] One", study="made:1"),
        make_example(id="b", sex="F", age=7, site="North", study="made:1"),
        make_example(id="c", sex="M"),
        make_example(id="d", split="test"),
    ]
    counted = count_examples(some)
    train = counted["train"]
    assert train["sexes"] == {"F": 2, "M": 1}
    assert list(train["ages"].items()) == [("under 18", 1), ("80 and over", 1)]
    assert train["devices"] == {"[Maker] One": 1}
    assert train["sites"] == {"North": 1}
    assert train["studies"] == 1
    assert not {"sexes", "ages", "devices", "sites", "studies"} & set(counted["test"])
    print_statistics(counted)
    printed = capsys.readouterr().out
    for word in ("sexes", "80 and over", "[Maker] One", "North", "studies"):
        assert word in printed
    assert "view PA; F; 80 and over; [Maker] One" in console_text(some[0])
    assert "81" not in console_text(some[0]).splitlines()[1]
    assert console_text(some[3]).splitlines()[1].endswith("view PA")
