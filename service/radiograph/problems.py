"""The refusals of this room, each with its stable code (listed in ``docs/rendering.md``)."""

from __future__ import annotations

from service.problem import Problem


def empty_body() -> Problem:
    """No bytes were sent."""
    return Problem("empty-body", 400, "The image is empty.", "Send the bytes of a film.")


def unsupported_media_type() -> Problem:
    """The content is none of DICOM, PNG and JPEG."""
    return Problem(
        "unsupported-media-type",
        415,
        "The content is not a DICOM file, a PNG or a JPEG.",
        "Send DICOM Part 10 (with preamble and DICM prefix), PNG or JPEG.",
    )


def unsupported_transfer_syntax() -> Problem:
    """The DICOM transfer syntax is not on the allow-list."""
    return Problem(
        "unsupported-transfer-syntax",
        415,
        "The DICOM transfer syntax is not accepted.",
        "Convert the file to one of the transfer syntaxes listed in docs/rendering.md, "
        "for example Explicit VR Little Endian.",
    )


def file_too_large() -> Problem:
    """More bytes than the limit."""
    return Problem(
        "file-too-large",
        413,
        "The file holds more bytes than the limit.",
        "Send one film a file, compressed without loss if need be.",
    )


def image_too_large() -> Problem:
    """More pixels than the limit, by the image's own header."""
    return Problem(
        "image-too-large",
        413,
        "The image would decode to more pixels than the limit.",
        "Send one film a file, at its native matrix or smaller.",
    )


def malformed_dicom() -> Problem:
    """The DICOM structure cannot be read, or contradicts itself."""
    return Problem(
        "malformed-dicom",
        422,
        "The DICOM file's structure cannot be read.",
        "Check the file with a DICOM validator and export it again.",
    )


def dicom_too_complex() -> Problem:
    """Sequences nested too deep, or too many elements."""
    return Problem(
        "dicom-too-complex",
        422,
        "The DICOM file nests sequences too deep or holds too many elements.",
        "Remove private sequences and export the film again.",
    )


def no_pixel_data() -> Problem:
    """A DICOM object that is not an image (SR, PDF, waveform, …), or lacks its pixels."""
    return Problem(
        "no-pixel-data",
        422,
        "The DICOM object holds no pixel data.",
        "Send the image object; reports, documents and presentation states cannot be read.",
    )


def concatenation() -> Problem:
    """One part of a DICOM concatenation (PS3.3 C.7.6.16.2.2.4)."""
    return Problem(
        "concatenation",
        422,
        "The DICOM object is one part of a concatenation.",
        "Merge the concatenation into one object first.",
    )


def unsupported_pixel_format() -> Problem:
    """Bits, samples or photometric interpretation outside what films use."""
    return Problem(
        "unsupported-pixel-format",
        422,
        "The image's bits, samples or photometric interpretation are not supported.",
        "Export the film as MONOCHROME1, MONOCHROME2, RGB, YBR or palette colour.",
    )


def not_a_chest_radiograph() -> Problem:
    """The header names another modality or body part."""
    return Problem(
        "not-a-chest-radiograph",
        422,
        "By its own header, the image is not a chest radiograph.",
        "Send a chest radiograph, or set allow_other_anatomy if the header is wrong.",
    )


def frame_out_of_range() -> Problem:
    """The caller asked for a frame that the image does not have."""
    return Problem(
        "frame-out-of-range",
        422,
        "The image has no frame of that number.",
        "Frames are counted from 1 up to the image's number of frames.",
    )


def decode_failed() -> Problem:
    """The pixels could not be decoded."""
    return Problem(
        "decode-failed",
        422,
        "The pixels could not be decoded.",
        "The image is truncated, damaged or encoded in an unusual way; export it again.",
    )


def decode_out_of_memory() -> Problem:
    """Decoding needed more memory than the worker may have."""
    return Problem(
        "decode-out-of-memory",
        413,
        "Decoding the image needed more memory than is allowed.",
        "Send the film at a smaller matrix or without compression.",
    )


def decode_timeout() -> Problem:
    """Decoding took longer than the worker may take."""
    return Problem(
        "decode-timeout",
        422,
        "Decoding the image took longer than is allowed.",
        "Send the film at a smaller matrix or without compression.",
    )


def decode_worker_died() -> Problem:
    """The worker process was ended from outside while it held this image."""
    return Problem(
        "decode-worker-died",
        503,
        "The decoder was stopped while it read this image; it has been started again.",
        "Try again. If it happens for the same image each time, export the film again.",
        retry_after=1,
    )


def aspect_ratio_too_extreme() -> Problem:
    """A strip: one side more than 200 times the other."""
    return Problem(
        "aspect-ratio-too-extreme",
        422,
        "One side of the image is more than 200 times the other.",
        "Send the whole film.",
    )


_KINDS = (
    empty_body,
    unsupported_media_type,
    unsupported_transfer_syntax,
    file_too_large,
    image_too_large,
    malformed_dicom,
    dicom_too_complex,
    no_pixel_data,
    concatenation,
    unsupported_pixel_format,
    not_a_chest_radiograph,
    frame_out_of_range,
    decode_failed,
    decode_out_of_memory,
    decode_timeout,
    decode_worker_died,
    aspect_ratio_too_extreme,
)
_BY_CODE = {problem().code: problem for problem in _KINDS}


def problem_of(code: str) -> Problem:
    """The refusal of that code.

    Raises
    ------
    ValueError
        When this room has none.
    """
    try:
        return _BY_CODE[code]()
    except KeyError:
        raise ValueError("There is no refusal of that code.") from None
