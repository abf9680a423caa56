"""What a DICOM header says a film is: chest or not, which view, and what to warn of."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from service.notice import Notice
from service.radiograph import problems
from service.radiograph.elements import items, text, values
from service.radiograph.orientation import principal_directions

FILM_MODALITIES = frozenset({"CR", "DX", "RG", "DR"})
"""Computed, digital and film-screen radiography; DR is no defined term, and common."""

CAPTURE_MODALITIES = frozenset({"OT", "SC", "HC", "DF", "FD"})
"""Secondary captures and scanned films, whose modality says nothing of what they show."""

_CAPTURE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture and its multi-frame kinds
)
_FILM_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
)

# BodyPartExamined is free text with defined terms (PS3.16 Annex L); these stems cover the
# terms, their combinations (CHESTABDOMEN, NECKCHEST, …) and what other languages' devices write.
_CHEST_STEMS = ("CHEST", "THORAX", "THORAC", "TORAX", "TÓRAX", "TORACE", "LUNG", "PULMO", "POUMON")
_SPINE_STEMS = ("SPINE", "VERTEBRA")
_UNSAID = frozenset({"", "UNKNOWN", "OTHER", "DEFAULT", "NONE", "UNSPECIFIED", "UNDEFINED"})

# SNOMED CT and SNOMED RT codes of CID 4009 (DX Anatomy Imaged) that show the chest.
_CHEST_CODES = frozenset(
    {
        "816094009", "51185008", "T-D3000",  # chest
        "39607008", "T-28000",  # lung
        "416550000", "416775004", "417437006", "416319003", "416152001",  # chest and neighbours
    }
)  # fmt: skip

_VIEWS = {
    "PA": "PA", "AP": "AP", "LL": "LL", "RL": "RL", "LATERAL": "LATERAL", "LAT": "LATERAL",
    "LLD": "LLD", "RLD": "RLD", "LLO": "LLO", "RLO": "RLO", "LAO": "LAO", "RAO": "RAO",
    "LPO": "LPO", "RPO": "RPO", "ANTERO-POSTERIOR": "AP", "POSTERO-ANTERIOR": "PA",
    "LEFT LATERAL": "LL", "RIGHT LATERAL": "RL",
}  # fmt: skip

# View Code Sequence, CID 4010 (DX View): SNOMED CT, then SNOMED RT.
_VIEW_CODES = {
    "272479007": "PA", "399348003": "AP", "399173006": "LL", "399198007": "RL",
    "399067008": "LATERAL", "399135007": "LAO", "399356000": "RAO", "399006002": "LPO",
    "399038007": "RPO",
    "R-10214": "PA", "R-10206": "AP", "R-10236": "LL", "R-10232": "RL", "R-10228": "LATERAL",
}  # fmt: skip

_LATERAL_VIEWS = frozenset({"LL", "RL", "LATERAL"})


@dataclass(frozen=True, slots=True)
class FilmHeader:
    """What the header says.

    Attributes
    ----------
    modality
        One of the film or capture modalities, else ``None``.
    view_position
        One of a fixed list of names, else ``None``.
    is_chest_film
        Whether nothing in the header speaks against a chest radiograph.
    """

    modality: str | None
    view_position: str | None
    is_chest_film: bool


def read_header(dataset: Dataset) -> FilmHeader:
    """Read modality, body part and view; nothing here raises on odd values."""
    modality = text(dataset, "Modality")
    known = modality in FILM_MODALITIES or modality in CAPTURE_MODALITIES
    return FilmHeader(
        modality=modality if known else None,
        view_position=_view_position(dataset),
        is_chest_film=_is_film(dataset, modality) and _is_chest(dataset),
    )


def check_chest(header: FilmHeader, notices: list[Notice], *, allow_other_anatomy: bool) -> None:
    """Refuse what is not a chest film by its own header, or say that it was let through.

    Raises
    ------
    Problem
        ``not-a-chest-radiograph``.
    """
    if header.is_chest_film:
        return
    if not allow_other_anatomy:
        raise problems.not_a_chest_radiograph()
    notices.append(
        Notice(
            "anatomy-overridden",
            "By its header the image is not a chest radiograph; it was read at the caller's wish.",
        )
    )


def header_notices(dataset: Dataset, header: FilmHeader) -> list[Notice]:
    """Return the warnings that follow from the header alone."""
    found: list[Notice] = []
    if header.view_position in _LATERAL_VIEWS:
        found.append(
            Notice("lateral-view", "The film is a lateral view; results are less reliable.")
        )
    if text(dataset, "BurnedInAnnotation") == "YES":
        found.append(
            Notice(
                "burned-in-annotation",
                "The film has annotation burned into its pixels, which may identify the patient.",
            )
        )
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        found.append(
            Notice(
                "for-processing",
                "The film is raw detector data (FOR PROCESSING), not meant for display.",
            )
        )
    if header.modality in CAPTURE_MODALITIES or (
        text(dataset, "SOPClassUID").startswith(_CAPTURE_CLASSES)
    ):
        found.append(
            Notice(
                "secondary-capture",
                "The image is a secondary capture; its header cannot vouch that it is a film.",
            )
        )
    return found


def _is_film(dataset: Dataset, modality: str) -> bool:
    if modality:
        return modality in FILM_MODALITIES or modality in CAPTURE_MODALITIES
    sop_class = text(dataset, "SOPClassUID")
    return sop_class in _FILM_CLASSES or sop_class.startswith(_CAPTURE_CLASSES)


def _is_chest(dataset: Dataset) -> bool:
    body_part = text(dataset, "BodyPartExamined")
    if body_part not in _UNSAID:
        return _names_chest(body_part)
    regions = items(dataset, "AnatomicRegionSequence")
    if regions:
        code, meaning = text(regions[0], "CodeValue"), text(regions[0], "CodeMeaning")
        if code or meaning not in _UNSAID:
            return code in _CHEST_CODES or _names_chest(meaning)
    return True


def _names_chest(words: str) -> bool:
    return any(stem in words for stem in _CHEST_STEMS) and not any(
        stem in words for stem in _SPINE_STEMS
    )


def _view_position(dataset: Dataset) -> str | None:
    view = _VIEWS.get(text(dataset, "ViewPosition"))
    if view is not None:
        return view
    codes = items(dataset, "ViewCodeSequence")
    if codes:
        view = _VIEW_CODES.get(text(codes[0], "CodeValue"))
        if view is not None:
            return view
    directions = principal_directions(
        [str(value) for value in values(dataset, "PatientOrientation")]
    )
    if directions is not None and {"A", "P"} & set(directions) and {"H", "F"} & set(directions):
        return "LATERAL"
    return None
