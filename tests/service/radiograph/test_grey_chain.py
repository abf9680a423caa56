"""The greyscale chain, one rule at a time (PS3.3 C.7.6.3, C.11)."""

from __future__ import annotations

import numpy as np
import pytest
from film_files import RAMP
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from service.radiograph import Radiograph, load_radiograph
from service.radiograph.lookup_table import read_lookup_table

FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


def codes(film: Radiograph) -> set[str]:
    return {notice.code for notice in film.notices}


def lut_item(entries: np.ndarray, first: int, bits: int, *, packed: bool = False) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.astype(np.uint8 if packed else "<u2").tobytes()
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item["LUTData"].VR = "OW"
    return item


def level(film: Radiograph, stored: int) -> int:
    """Grey of a stored value of the 12-bit ramp."""
    return int(film.pixels.reshape(-1)[stored])


def test_a_linear_window_follows_the_standard(build_dicom) -> None:
    film = load_radiograph(build_dicom(WindowCenter=2048, WindowWidth=2000))
    expected = np.clip((RAMP - 2047.5) / 1999 + 0.5, 0, 1) * 255
    assert np.abs(film.pixels - expected).max() <= 0.5


def test_linear_exact_uses_the_full_width(build_dicom) -> None:
    film = load_radiograph(
        build_dicom(WindowCenter=2048, WindowWidth=2000, VOILUTFunction="LINEAR_EXACT")
    )
    expected = np.clip((RAMP - 2048.0) / 2000 + 0.5, 0, 1) * 255
    assert np.abs(film.pixels - expected).max() <= 0.5


def test_a_sigmoid_window_follows_the_standard(build_dicom) -> None:
    film = load_radiograph(
        build_dicom(WindowCenter=2048, WindowWidth=2000, VOILUTFunction="SIGMOID")
    )
    expected = 255 / (1 + np.exp(-4 * (RAMP - 2048.0) / 2000))
    assert np.abs(film.pixels - expected).max() <= 0.5


@pytest.mark.parametrize("function", ["", "NONSENSE"])
def test_an_empty_or_unknown_function_is_linear(build_dicom, function: str) -> None:
    film = load_radiograph(build_dicom(**FULL, VOILUTFunction=function))
    assert np.array_equal(film.pixels, load_radiograph(build_dicom(**FULL)).pixels)
    assert ("voi-function-unknown" in codes(film)) == (function != "")


def test_the_first_of_several_windows_is_the_default(build_dicom) -> None:
    several = build_dicom(WindowCenter=[2048, 100], WindowWidth=[4096, 50])
    assert np.array_equal(
        load_radiograph(several).pixels, load_radiograph(build_dicom(**FULL)).pixels
    )


def test_an_unusable_first_window_is_passed_over_and_told(build_dicom) -> None:
    film = load_radiograph(build_dicom(WindowCenter=[100, 2048], WindowWidth=[0, 4096]))
    assert np.array_equal(film.pixels, load_radiograph(build_dicom(**FULL)).pixels)
    assert codes(film) == {"window-skipped"}


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"WindowCenter": 2048},
        {"WindowWidth": 4096},
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": -100},
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 1e7, "WindowWidth": 10},
        {"WindowCenter": -5000, "WindowWidth": 100},
        {"WindowCenter": 2048, "WindowWidth": 1e9},
        {"WindowCenter": 2048, "WindowWidth": 1},
    ],
)
def test_missing_and_nonsensical_windows_fall_back_to_percentiles(build_dicom, window) -> None:
    film = load_radiograph(build_dicom(**window))
    assert codes(film) == {"fallback-window"}
    low, high = np.percentile(RAMP, (0.5, 99.5))
    expected = np.clip((RAMP - low) / (high - low), 0, 1) * 255
    assert np.abs(film.pixels - expected).max() <= 1


def test_a_few_extreme_pixels_do_not_set_the_fallback(build_dicom) -> None:
    pixels = (1000 + RAMP // 16).astype(np.uint16)
    pixels[0, :5] = 4095
    film = load_radiograph(build_dicom(pixels))
    assert film.pixels[32, 32] in range(110, 145)


def test_eight_bits_without_a_window_are_display_values(build_dicom) -> None:
    pixels = (RAMP // 16).astype(np.uint8)
    film = load_radiograph(build_dicom(pixels, bits=8))
    assert np.array_equal(film.pixels, pixels)
    assert not film.notices


def test_monochrome1_is_inverted_after_the_window(build_dicom) -> None:
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    plain = load_radiograph(build_dicom(**window)).pixels
    inverted = load_radiograph(
        build_dicom(**window, PhotometricInterpretation="MONOCHROME1")
    ).pixels
    assert np.array_equal(inverted, 255 - plain)


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted", "flagged"),
    [
        ("MONOCHROME1", "INVERSE", True, False),
        ("MONOCHROME2", "IDENTITY", False, False),
        ("MONOCHROME2", "INVERSE", True, True),
        ("MONOCHROME1", "IDENTITY", False, True),
        ("MONOCHROME1", "LIN OD", True, False),
    ],
)
def test_presentation_lut_shape_decides_and_inverts_once(
    build_dicom, photometric: str, shape: str, is_inverted: bool, flagged: bool
) -> None:
    film = load_radiograph(
        build_dicom(**FULL, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    )
    assert (level(film, 0) == 255) == is_inverted
    assert ("presentation-lut-contradiction" in codes(film)) == flagged


def test_inversion_does_not_depend_on_the_data(build_dicom) -> None:
    film = load_radiograph(build_dicom(RAMP // 4, **FULL, PhotometricInterpretation="MONOCHROME1"))
    assert film.pixels.min() == 191
    assert film.pixels.max() == 255


def test_a_presentation_lut_sequence_is_applied_after_the_window(build_dicom) -> None:
    item = lut_item(np.linspace(65535, 0, 256), 0, 16)
    film = load_radiograph(build_dicom(**FULL, PresentationLUTSequence=[item]))
    assert np.abs(film.pixels - 255.0 * (1 - RAMP / 4095)).max() <= 1


def test_bits_above_those_stored_are_masked(build_dicom) -> None:
    dirty = RAMP | 0xA000
    assert np.array_equal(
        load_radiograph(build_dicom(dirty, **FULL)).pixels,
        load_radiograph(build_dicom(RAMP, **FULL)).pixels,
    )


def test_a_high_bit_above_the_lowest_place_is_shifted_down(build_dicom) -> None:
    shifted = load_radiograph(build_dicom(RAMP << 4, HighBit=15, **FULL))
    assert np.array_equal(shifted.pixels, load_radiograph(build_dicom(**FULL)).pixels)


def test_signed_values_are_extended_from_the_bits_stored(build_dicom) -> None:
    signed = RAMP.astype(np.int16) - 2048
    cut = (signed & 0x0FFF).astype(np.int16)
    film = load_radiograph(build_dicom(cut, WindowCenter=0, WindowWidth=4096))
    assert np.array_equal(film.pixels, load_radiograph(build_dicom(**FULL)).pixels)


def test_rescale_comes_before_the_window(build_dicom) -> None:
    film = load_radiograph(
        build_dicom(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=3072, WindowWidth=8191)
    )
    assert level(film, 0) == 0
    assert abs(level(film, 2048) - 128) <= 1


def test_a_negative_slope_turns_the_film_over(build_dicom) -> None:
    film = load_radiograph(build_dicom(RescaleSlope=-1, RescaleIntercept=4095, **FULL))
    assert np.array_equal(film.pixels, 255 - load_radiograph(build_dicom(**FULL)).pixels)


def test_a_zero_slope_is_ignored_and_told(build_dicom) -> None:
    film = load_radiograph(build_dicom(RescaleSlope=0, RescaleIntercept=0, **FULL))
    assert codes(film) == {"rescale-ignored"}
    assert len(np.unique(film.pixels)) == 256


@pytest.mark.parametrize("bits", range(8, 17))
def test_modality_luts_of_every_depth_are_applied(build_dicom, bits: int) -> None:
    top = (1 << bits) - 1
    item = lut_item(np.floor(np.linspace(top, 0, 4096)), 0, bits)
    film = load_radiograph(
        build_dicom(ModalityLUTSequence=[item], WindowCenter=(top + 1) / 2, WindowWidth=top + 1)
    )
    assert np.abs(film.pixels - 255.0 * (1 - RAMP / 4095)).max() <= 1


@pytest.mark.parametrize("bits", range(8, 17))
def test_voi_luts_of_every_depth_use_their_full_scale(build_dicom, bits: int) -> None:
    top = (1 << bits) - 1
    item = lut_item(np.floor(np.linspace(0, 1, 4096) * top + 0.5), 0, bits)
    film = load_radiograph(build_dicom(VOILUTSequence=[item]))
    assert not film.notices
    assert np.abs(film.pixels - 255.0 * RAMP / 4095).max() <= 1


def test_eight_bit_entries_do_not_wrap(build_dicom) -> None:
    entries = np.floor(np.linspace(0, 255, 4096))
    for packed in (False, True):
        film = load_radiograph(build_dicom(VOILUTSequence=[lut_item(entries, 0, 8, packed=packed)]))
        greys = [level(film, stored) for stored in (256, 1000, 2048, 4095)]
        assert np.abs(np.subtract(greys, [15, 62, 127, 255])).max() <= 1


def test_a_voi_lut_comes_before_a_window(build_dicom) -> None:
    item = lut_item(np.arange(4096)[::-1], 0, 12)
    film = load_radiograph(build_dicom(VOILUTSequence=[item], **FULL))
    assert level(film, 0) == 255


def test_the_first_of_several_voi_luts_is_the_default(build_dicom) -> None:
    items = [lut_item(np.arange(4096), 0, 12), lut_item(np.arange(4096)[::-1], 0, 12)]
    assert level(load_radiograph(build_dicom(VOILUTSequence=items)), 0) == 0


@pytest.mark.parametrize("stated", [16, 14, 13, 8, 0])
def test_a_wrong_depth_gives_way_to_the_real_maximum(build_dicom, stated: int) -> None:
    film = load_radiograph(build_dicom(VOILUTSequence=[lut_item(np.arange(4096), 0, stated)]))
    assert codes(film) == {"voi-lut-depth-corrected"}
    assert np.abs(film.pixels - 255.0 * RAMP / 4095).max() <= 1


def test_a_first_mapped_value_shifts_and_the_ends_hold(build_dicom) -> None:
    item = lut_item(np.arange(1024) * 4, 1000, 12)
    film = load_radiograph(build_dicom(VOILUTSequence=[item]))
    assert level(film, 0) == level(film, 1000) == 0
    assert abs(level(film, 1512) - 128) <= 1
    assert level(film, 2023) == level(film, 4095)


def test_a_negative_first_mapped_value_read_as_unsigned_is_put_right(build_dicom) -> None:
    signed = RAMP.astype(np.int16) - 2048
    for first in (-2048, 65536 - 2048):
        item = lut_item(np.arange(4096), first, 12)
        film = load_radiograph(build_dicom(signed, VOILUTSequence=[item]))
        assert np.abs(film.pixels - 255.0 * RAMP / 4095).max() <= 1
    assert "voi-lut-first-mapped-corrected" in codes(film)


def test_a_voi_lut_of_65536_entries_is_read(build_dicom) -> None:
    item = lut_item(np.arange(65536), 0, 16)
    film = load_radiograph(build_dicom(RAMP << 4, bits=16, VOILUTSequence=[item]))
    assert abs(level(film, 2048) - 128) <= 1


def test_an_unreadable_voi_lut_gives_way_to_the_window_and_is_told(build_dicom) -> None:
    film = load_radiograph(build_dicom(VOILUTSequence=[Dataset()], **FULL))
    assert codes(film) == {"voi-lut-unusable"}
    assert np.array_equal(film.pixels, load_radiograph(build_dicom(**FULL)).pixels)


def test_luts_of_a_big_endian_file_are_read(build_dicom) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item.LUTData = np.arange(4096)[::-1].tolist()
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    words = Dataset()
    words.LUTDescriptor = [4096, 0, 12]
    words.LUTData = np.arange(4096)[::-1].astype(">u2").tobytes()
    words["LUTDescriptor"].VR = "US"
    words["LUTData"].VR = "OW"
    for one in (item, words):
        film = load_radiograph(build_dicom(syntax="1.2.840.10008.1.2.2", VOILUTSequence=[one]))
        assert np.abs(film.pixels - 255.0 * (1 - RAMP / 4095)).max() <= 1


def test_padding_is_black_and_does_not_set_the_range(build_dicom) -> None:
    pixels = (1000 + RAMP // 8).astype(np.uint16)
    pixels[:20] = 4095
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        film = load_radiograph(
            build_dicom(pixels, PixelPaddingValue=4095, PhotometricInterpretation=photometric)
        )
        assert (film.pixels[:20] == 0).all()
        assert film.pixels[20:].max() - film.pixels[20:].min() >= 250


def test_a_padding_range_is_padding_from_end_to_end(build_dicom) -> None:
    film = load_radiograph(build_dicom(**FULL, PixelPaddingValue=4000, PixelPaddingRangeLimit=4095))
    assert {level(film, stored) for stored in range(4000, 4096)} == {0}
    assert level(film, 3999) > 240


def test_padding_of_signed_pixels_is_found_whatever_sign_its_vr_gives_it(build_dicom) -> None:
    signed = RAMP.astype(np.int16) - 1024
    signed[0] = -2000
    for value, vr in ((-2000, "SS"), (65536 - 2000, "US")):
        film = load_radiograph(
            build_dicom(
                signed,
                bits=16,
                PixelPaddingValue=value,
                vrs={"PixelPaddingValue": vr},
                PhotometricInterpretation="MONOCHROME1",
            )
        )
        assert (film.pixels[0] == 0).all()


def test_frame_and_shared_windows_of_enhanced_images_are_used(build_dicom) -> None:
    def group(center: int, width: int) -> Dataset:
        window, holder = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, width
        holder.FrameVOILUTSequence = [window]
        return holder

    frames = np.concatenate([RAMP, RAMP])
    data = build_dicom(
        frames, Rows=64, NumberOfFrames=2,
        PerFrameFunctionalGroupsSequence=[group(2048, 4096), group(1024, 2048)],
    )  # fmt: skip
    first, second = (load_radiograph(data, frame=number) for number in (1, 2))
    assert abs(level(first, 2047) - 128) <= 1
    assert level(second, 2047) == 255


def test_32_bit_pixels_are_rendered(build_dicom) -> None:
    film = load_radiograph(build_dicom(RAMP.astype(np.uint32) * 1000, bits=32))
    assert film.pixels.min() == 0
    assert film.pixels.max() == 255


@given(
    first=st.integers(-32768, 65535),
    low=st.integers(-32768, 0),
    span=st.integers(1, 65535),
    bits=st.integers(0, 20),
    entries=st.lists(st.integers(0, 65535), min_size=1, max_size=40),
)
def test_any_lookup_table_maps_any_input_into_its_entries(
    first: int, low: int, span: int, bits: int, entries: list[int]
) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries if len(entries) > 1 else entries[0])
    table = read_lookup_table(item, domain=(low, low + span), little_endian=True)
    if table is None:
        assert max(entries) == 0
        return
    shown = table.apply(np.linspace(low - 10, low + span + 10, 50))
    assert set(shown) <= {float(entry) for entry in entries}
    assert table.top >= max(entries)
