"""What the header says: chest or not, which view, and what to warn of."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from film_files import RAMP, path_of
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from service.problem import Problem
from service.radiograph import Radiograph, load_radiograph

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def codes(film: Radiograph) -> set[str]:
    return {notice.code for notice in film.notices}


def code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning, item.CodingSchemeDesignator = value, meaning, "SCT"
    return item


@pytest.mark.parametrize("modality", ["CR", "DX", "RG"])
@pytest.mark.parametrize(
    "body_part",
    ["CHEST", "chest ", "THORAX", "LUNG", "LUNGS", "CHESTABDOMEN", "CHEST_PA", "TORAX", "", None],
)
def test_chest_films_are_read(build_dicom, modality: str, body_part: str | None) -> None:
    film = load_radiograph(build_dicom(Modality=modality, BodyPartExamined=body_part, **WINDOW))
    assert film.modality == modality
    assert not film.notices


@pytest.mark.parametrize(
    "attributes",
    [
        {"Modality": "CT"},
        {"Modality": "MR"},
        {"Modality": "MG"},
        {"Modality": "US"},
        {"Modality": "XA"},
        {"Modality": "PX"},
        {"BodyPartExamined": "EXTREMITY"},
        {"BodyPartExamined": "ABDOMEN"},
        {"BodyPartExamined": "HAND"},
        {"BodyPartExamined": "SKULL"},
        {"BodyPartExamined": "TSPINE"},
        {"BodyPartExamined": "THORACIC SPINE"},
        {"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
        {
            "BodyPartExamined": None,
            "AnatomicRegionSequence": [code_item("72696002", "Knee")],
        },
    ],
)
def test_other_modalities_and_body_parts_are_refused_unless_allowed(
    build_dicom, attributes
) -> None:
    data = build_dicom(**attributes, **WINDOW)
    with pytest.raises(Problem) as refusal:
        load_radiograph(data)
    assert (refusal.value.code, refusal.value.status) == ("not-a-chest-radiograph", 422)
    film = load_radiograph(data, allow_other_anatomy=True)
    assert "anatomy-overridden" in codes(film)


def test_the_anatomic_region_stands_in_for_a_missing_body_part(build_dicom) -> None:
    for item in (code_item("816094009", "Chest"), code_item("999", "Lung structure")):
        film = load_radiograph(
            build_dicom(BodyPartExamined=None, AnatomicRegionSequence=[item], **WINDOW)
        )
        assert not film.notices


@pytest.mark.parametrize("modality", ["OT", "SC"])
def test_secondary_captures_of_films_are_read_and_told(build_dicom, modality: str) -> None:
    film = load_radiograph(
        build_dicom(Modality=modality, SOPClassUID=SecondaryCaptureImageStorage, **WINDOW)
    )
    assert codes(film) == {"secondary-capture"}


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "AP"}, "AP"),
        ({"ViewPosition": "LL"}, "LL"),
        ({"ViewPosition": "LATERAL"}, "LATERAL"),
        ({"ViewPosition": "<|image_pad|>"}, None),
        ({"ViewCodeSequence": [code_item("399198007", "Right lateral")]}, "RL"),
        ({"ViewCodeSequence": [code_item("272479007", "postero-anterior")]}, "PA"),
        ({"PatientOrientation": ["A", "F"]}, "LATERAL"),
        ({"PatientOrientation": ["L", "F"]}, None),
        ({}, None),
    ],
)
def test_the_view_is_one_of_a_fixed_list(build_dicom, attributes, view: str | None) -> None:
    film = load_radiograph(build_dicom(**attributes, **WINDOW))
    assert film.view_position == view
    assert ("lateral-view" in codes(film)) == (view in ("LL", "RL", "LATERAL"))


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in-annotation"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for-processing"),
    ],
)
def test_doubtful_films_are_read_and_told(build_dicom, attributes, code: str) -> None:
    assert codes(load_radiograph(build_dicom(**attributes, **WINDOW))) == {code}


def test_colour_films_are_told(build_dicom) -> None:
    rgb = np.stack([RAMP // 16] * 3, axis=-1).astype(np.uint8)
    film = load_radiograph(
        build_dicom(
            rgb, bits=8, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB"
        )
    )
    assert codes(film) == {"colour-image"}
    assert np.array_equal(film.pixels, RAMP // 16)


def test_each_frame_can_be_asked_for(build_dicom) -> None:
    frames = np.concatenate([RAMP, RAMP[::-1], RAMP // 2])
    data = build_dicom(frames, Rows=64, NumberOfFrames=3, **WINDOW)
    films = [load_radiograph(data, frame=number) for number in (1, 2, 3)]
    assert np.array_equal(films[1].pixels, films[0].pixels[::-1])
    assert [film.frame for film in films] == [1, 2, 3]
    assert films[0].frames == 3
    first = load_radiograph(data)
    assert np.array_equal(first.pixels, films[0].pixels)
    assert codes(first) == {"first-frame"}
    for number in (0, -1, 4):
        with pytest.raises(Problem) as refusal:
            load_radiograph(data, frame=number)
        assert refusal.value.code == "frame-out-of-range"


def test_frames_of_compressed_images_can_be_asked_for() -> None:
    data = path_of("emri_small_RLE.dcm").read_bytes()
    plain = path_of("emri_small.dcm").read_bytes()
    for number in (1, 10):
        one, other = (
            load_radiograph(some, frame=number, allow_other_anatomy=True) for some in (data, plain)
        )
        assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(
    "name", ["test-SR.dcm", "reportsi.dcm", "waveform_ecg.dcm", "rtplan.dcm", "priv_SQ.dcm"]
)
def test_objects_without_pixels_are_refused(name: str) -> None:
    with pytest.raises(Problem) as refusal:
        load_radiograph(path_of(name).read_bytes())
    assert (refusal.value.code, refusal.value.status) == ("no-pixel-data", 422)


def test_an_encapsulated_pdf_is_refused(build_dicom) -> None:
    data = build_dicom(
        b"",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=b"%PDF-1.7",
        Rows=None,
        Columns=None,
    )
    with pytest.raises(Problem) as refusal:
        load_radiograph(data)
    assert refusal.value.code == "no-pixel-data"


def test_parts_of_a_concatenation_are_refused(build_dicom) -> None:
    with pytest.raises(Problem) as refusal:
        load_radiograph(build_dicom(ConcatenationUID="1.2.3", InConcatenationNumber=1, **WINDOW))
    assert (refusal.value.code, refusal.value.status) == ("concatenation", 422)


def test_identifiers_are_kept_out_of_the_representation(real_film: bytes) -> None:
    film = load_radiograph(real_film)
    dataset = pydicom.dcmread(path_of("RG1_UNCR.dcm"), stop_before_pixels=True)
    assert film.sop_instance_uid == dataset.SOPInstanceUID
    assert str(dataset.SOPInstanceUID) not in repr(film)
    assert film.view_position == "PA"
    assert (film.width, film.height) == (1841, 1955)
    assert film.media_type == "application/dicom"
    assert film.rendering == "dicom-voi/1"
