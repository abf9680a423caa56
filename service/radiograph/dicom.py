"""DICOM films: bytes → ``Radiograph``, in the order of PS3.3 and PS3.4 Annex N."""

from __future__ import annotations

import logging
import warnings
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from service.notice import Notice
from service.radiograph import problems
from service.radiograph.dicom_header import check_chest, header_notices, read_header
from service.radiograph.elements import items, numbers, text, values
from service.radiograph.film import DICOM_RENDERING, Radiograph
from service.radiograph.frame import (
    DecodedFrame,
    ImageFormat,
    decode_frame,
    plain_frame,
    read_format,
)
from service.radiograph.grey import StoredFormat, render_grey
from service.radiograph.limits import Limits
from service.radiograph.orientation import Turn, principal_directions, upright_turn
from service.radiograph.part10 import FileMeta, bounded_extent, read_file_meta
from service.radiograph.raster import COLOUR, grey_if_equal
from service.radiograph.transfer_syntaxes import Coding, TransferSyntax

# It logs values of the file, which may name the patient.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

# Only these are read; whatever else the file holds is stepped over.
_ATTRIBUTES = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "BodyPartExamined", "AnatomicRegionSequence", "ViewPosition", "ViewCodeSequence",
    "PresentationIntentType", "PatientOrientation", "BurnedInAnnotation", "ConcatenationUID",
    "InConcatenationNumber", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction",
    "WindowCenter", "WindowWidth", "PresentationLUTSequence", "PresentationLUTShape",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "PixelData",
)  # fmt: skip

_SQUARE_WITHIN = 0.001
_ASPECT_RANGE = (0.1, 10.0)


def load_dicom(
    data: bytes, *, frame: int | None, limits: Limits, allow_other_anatomy: bool
) -> Radiograph:
    """Decode and render a DICOM film.

    Parameters
    ----------
    data
        A DICOM Part 10 file. The preamble is ignored.
    frame
        Frame counted from 1; the first where not given.
    limits
        Caps checked on headers before decoding.
    allow_other_anatomy
        Read what is not a chest film by its header, with a notice.

    Raises
    ------
    Problem
        One of the codes in ``docs/rendering.md``.
    """
    meta = read_file_meta(data)
    # pydicom warns of odd values and quotes them; they may name the patient.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _load(data, meta, frame, limits, allow_other_anatomy)
        except MemoryError:
            raise problems.decode_out_of_memory() from None


def _load(
    data: bytes, meta: FileMeta, frame: int | None, limits: Limits, allow_other_anatomy: bool
) -> Radiograph:
    syntax = meta.transfer_syntax
    extent = bounded_extent(data, meta, limits)
    # Pixels that lie there as they are need no library and no copy.
    native = (
        None if extent.pixel_value is None else memoryview(data)[extent.pixel_value : extent.end]
    )
    dataset = _read(meta.file_of(data, extent.pixel_element if native else extent.end))
    if "ConcatenationUID" in dataset or "InConcatenationNumber" in dataset:
        raise problems.concatenation()
    if not native and not values(dataset, "PixelData"):
        raise problems.no_pixel_data()
    header = read_header(dataset)
    notices: list[Notice] = []
    check_chest(header, notices, allow_other_anatomy=allow_other_anatomy)
    notices += header_notices(dataset, header)
    form = read_format(dataset, limits)
    number = _frame_number(frame, form, notices)
    decoded = plain_frame(native, dataset, form, syntax, number - 1) if native else None
    if decoded is None:
        whole = _read(meta.file_of(data, extent.end)) if native else dataset
        decoded = decode_frame(whole, form, syntax, number - 1)
    pixels = _render(dataset, decoded, form, syntax, number - 1, notices)
    turn = _turn(dataset, notices)
    aspect = _pixel_aspect(dataset, notices)
    upright = turn.apply(pixels)
    upright.setflags(write=False)
    return Radiograph(
        pixels=upright,
        width=form.columns,
        height=form.rows,
        media_type="application/dicom",
        view_position=header.view_position,
        rendering=DICOM_RENDERING,
        notices=tuple(dict.fromkeys(notices)),
        to_original=turn.to_original(form.columns, form.rows),
        pixel_aspect=1.0 / aspect if turn.transpose else aspect,
        modality=header.modality,
        frame=number,
        frames=form.frames,
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
    )


def _read(file: BinaryIO) -> Dataset:
    try:
        return pydicom.dcmread(file, specific_tags=list(_ATTRIBUTES))
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds on damaged files, with texts that quote them
        raise problems.malformed_dicom() from None


def _frame_number(frame: int | None, form: ImageFormat, notices: list[Notice]) -> int:
    if frame is None:
        if form.frames > 1:
            notices.append(
                Notice("first-frame", "The image has several frames; the first was read.")
            )
        return 1
    if not 1 <= frame <= form.frames:
        raise problems.frame_out_of_range()
    return frame


def _render(
    dataset: Dataset,
    decoded: DecodedFrame,
    form: ImageFormat,
    syntax: TransferSyntax,
    index: int,
    notices: list[Notice],
) -> npt.NDArray[np.uint8]:
    samples = decoded.samples
    if form.photometric == "PALETTE COLOR":
        notices.append(COLOUR)
        return grey_if_equal(_palette(dataset, samples, syntax))
    if form.is_colour:
        notices.append(COLOUR)
        return grey_if_equal(_eight_bits(samples, form.stored))
    stored, high_bit = form.stored, form.high_bit
    if _exceeds_header(decoded, form, syntax):
        # PS3.5 section 8.2: the codestream's own depth decides.
        stored = decoded.codestream.precision if decoded.codestream else stored
        high_bit = stored - 1
        notices.append(
            Notice(
                "bit-depth-mismatch", "The compressed pixels use more bits than the header states."
            )
        )
    stored_format = StoredFormat(
        allocated=8 * samples.dtype.itemsize,
        stored=min(stored, 8 * samples.dtype.itemsize),
        high_bit=min(high_bit, 8 * samples.dtype.itemsize - 1),
        signed=form.signed,
        little_endian=syntax.little_endian,
    )
    groups = _transformation_groups(dataset, index)
    return render_grey(samples, dataset, groups, stored_format, notices)


def _exceeds_header(decoded: DecodedFrame, form: ImageFormat, syntax: TransferSyntax) -> bool:
    """Whether compressed samples really use more bits than Bits Stored."""
    if decoded.codestream is None or decoded.codestream.precision <= form.stored:
        return False
    if form.signed and syntax.coding is not Coding.JPEG_2000:
        return False  # the other codestreams know no sign: the upper bits are not values
    half = 1 << form.stored - 1
    low, high = (-half, half - 1) if form.signed else (0, 2 * half - 1)
    samples = decoded.samples
    return bool(samples.max() > high or (form.signed and samples.min() < low))


def _transformation_groups(dataset: Dataset, index: int) -> list[Dataset]:
    """Return the data sets that may hold rescale and window, the frame's own first.

    Enhanced multi-frame images keep them in functional groups (PS3.3 C.7.6.16.2.9 and .10).
    """
    holders: list[Dataset] = []
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    if index < len(per_frame):
        holders.append(per_frame[index])
    holders += items(dataset, "SharedFunctionalGroupsSequence")[:1]
    groups: list[Dataset] = []
    for holder in holders:
        groups += items(holder, "PixelValueTransformationSequence")[:1]
        groups += items(holder, "FrameVOILUTSequence")[:1]
    return [*groups, dataset]


def _palette(
    dataset: Dataset, samples: npt.NDArray[np.generic], syntax: TransferSyntax
) -> npt.NDArray[np.uint8]:
    if not syntax.little_endian:
        _swap_palette_words(dataset)
    try:
        colours = apply_color_lut(samples, dataset)
    except MemoryError:
        raise
    except Exception:  # a palette that cannot be read; pydicom raises many kinds
        raise problems.unsupported_pixel_format() from None
    return _eight_bits(colours, 8 * colours.dtype.itemsize)[..., :3]


def _swap_palette_words(dataset: Dataset) -> None:
    """Bring OW palettes of a big-endian file to this machine's order, which pydicom does not."""
    for colour in ("Red", "Green", "Blue"):
        element = dataset.get(f"{colour}PaletteColorLookupTableData")
        if isinstance(element, bytes) and len(element) % 2 == 0:
            swapped = np.frombuffer(element, ">u2").astype("<u2").tobytes()
            setattr(dataset, f"{colour}PaletteColorLookupTableData", swapped)


def _eight_bits(samples: npt.NDArray[np.generic], stored: int) -> npt.NDArray[np.uint8]:
    if samples.dtype == np.uint8 and stored == 8:
        return samples.astype(np.uint8, copy=False)
    top = float((1 << stored) - 1)
    scaled = np.floor(np.clip(samples.astype(np.float64) / top, 0.0, 1.0) * 255.0 + 0.5)
    return scaled.astype(np.uint8)


def _turn(dataset: Dataset, notices: list[Notice]) -> Turn:
    orientation = [str(value) for value in values(dataset, "PatientOrientation")]
    if not any(value.strip() for value in orientation):
        return Turn()
    directions = principal_directions(orientation)
    if directions is None:
        notices.append(
            Notice(
                "patient-orientation-unreadable",
                "Patient Orientation cannot be read; the film is shown as stored.",
            )
        )
        return Turn()
    turn = upright_turn(*directions)
    if not turn.is_identity:
        notices.append(
            Notice(
                "orientation-corrected",
                "The film was turned upright as its Patient Orientation asks; boxes are given in "
                "stored pixels.",
            )
        )
    return turn


def _pixel_aspect(dataset: Dataset, notices: list[Notice]) -> float:
    """Return the height of a stored pixel divided by its width (PS3.3 C.7.6.3.1.7)."""
    for keyword in (
        "PixelAspectRatio",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
    ):
        pair = numbers(dataset, keyword)
        if len(pair) != 2 or not all(value and value > 0 for value in pair):
            continue
        vertical, horizontal = pair
        assert vertical is not None  # narrowed above; for the type checker
        assert horizontal is not None
        aspect = vertical / horizontal
        if abs(aspect - 1.0) <= _SQUARE_WITHIN:
            return 1.0
        if not _ASPECT_RANGE[0] <= aspect <= _ASPECT_RANGE[1]:
            notices.append(
                Notice("pixel-aspect-ignored", "The stated pixel aspect is not credible; ignored.")
            )
            return 1.0
        notices.append(
            Notice("pixel-aspect-corrected", "The film's pixels are oblong; shown in proportion.")
        )
        return aspect
    return 1.0


def _uid(dataset: Dataset, keyword: str) -> str | None:
    found = text(dataset, keyword)
    valid = 0 < len(found) <= 64 and all(part.isdigit() for part in found.split("."))
    return found if valid else None
