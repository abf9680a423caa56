"""What tells of no film, or of another, is neither affirmed nor denied of this one."""

from __future__ import annotations

import tarfile
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training.assertion import untold_of
from training.labels import finding_labels, negated_labels, read_findings
from training.rewards.retraction import unsays_itself
from training.rewards.wording import count_words


@pytest.mark.parametrize(
    "text",
    [
        *("Look for a mass.", "Please evaluate for a mass.", "The task is to find a mass."),
        *("A mass would be abnormal.", "There could have been a mass.", "Imagine a mass."),
        *("His brother has a mass.", "Mother: mass.", "Patients with a mass are rare in Europe."),
        *("The prior film showed a mass.", "On the previous study there was a mass, now resolved."),
        *("A mass was expected.", "We looked for a mass.", "To prevent a mass, stop smoking."),
        *("It is unclear whether there is a mass.", "Keywords: mass.", "He will develop a mass."),
    ],
)
def test_what_tells_of_no_film_is_neither_affirmed_nor_denied(text: str) -> None:
    found = read_findings(text)
    assert (found.affirmed, found.denied) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "The mass of the prior film is unchanged.",
        "The previously seen mass is larger.",
        "The previous study showed a mass, which is still there.",
        "There is a mass; the mother was informed.",
        "A mass, which would be consistent with a tumour.",
        "A mass that would be better seen on CT.",
        "There is a mass. It is unclear whether it is new.",
        "Possible mass.",
    ],
)
def test_what_tells_of_this_film_stands(text: str) -> None:
    assert "mass" in finding_labels(text)


@pytest.mark.parametrize(
    "text",
    [
        "A mass would not be expected.",
        "There is a 0% chance of a mass.",
        "The patient denies a mass.",
    ],
)
def test_what_is_denied_of_this_film_is_denied(text: str) -> None:
    assert (finding_labels(text), negated_labels(text)) == (frozenset(), {"mass"})


def test_a_list_of_what_is_looked_for_is_looked_for_in_whole() -> None:
    found = read_findings("There is a risk of pneumonia, edema and a small left effusion.")
    assert not found.affirmed
    assert read_findings("Evaluate for pneumonia. There is edema.").affirmed == {"edema"}


def test_a_sentence_tells_from_where_it_does() -> None:
    sentence = "Left opacity, not known whether a mass."
    told, untold = untold_of(sentence)
    assert told == 0
    assert sentence[untold:].startswith("not known whether")
    assert read_findings(sentence).affirmed == {"left opacity"}


def test_real_reports_tell_of_their_films_and_take_nothing_back() -> None:
    """Findings and impressions of Open-I."""
    package = find_spec("torchxrayvision")
    if package is None or package.origin is None:
        pytest.skip("torchxrayvision is not installed")
    texts = []
    with tarfile.open(Path(package.origin).parent / "data" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml") and (file := archive.extractfile(member)):
                sections = ElementTree.parse(file).iter("AbstractText")
                texts += [
                    section.text
                    for section in sections
                    if section.get("Label") in ("FINDINGS", "IMPRESSION") and section.text
                ]
    assert len(texts) > 7000
    untold = [text for text in texts if read_findings(text).supposed]
    assert 0 < len(untold) < len(texts) / 1000
    assert not [text for text in texts if unsays_itself(text, count_words(text), findings=True)]
