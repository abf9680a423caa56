"""What one study can be asked."""

from __future__ import annotations

import pytest

from service.interpretation import REPORT, StudyRequest
from service.interpretation.request import sampling_for
from service.reading import Task
from tests.service.scripted_engine import scripted_manifest

FILM = b"film"


def test_a_request_asks_for_both_sections_unless_told_otherwise() -> None:
    assert StudyRequest(films=(FILM,)).tasks == REPORT


def test_every_request_has_an_id_of_its_own() -> None:
    assert StudyRequest(films=(FILM,)).id != StudyRequest(films=(FILM,)).id


@pytest.mark.parametrize(
    "fields",
    [
        {"films": ()},
        {"films": (FILM,) * 5},
        {"tasks": ()},
        {"tasks": (Task.FINDINGS, Task.FINDINGS)},
        {"tasks": (Task.VQA, Task.FINDINGS), "question": "Is it so?"},
        {"tasks": (Task.VQA,)},
        {"question": "Is it so?"},
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"max_tokens": 0},
    ],
)
def test_contradictions_and_values_out_of_bounds_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"film|task|question|temperature|max_tokens"):
        StudyRequest(**{"films": (FILM,), **fields})  # type: ignore[arg-type]  # wrong on purpose


def test_what_is_asked_never_shows_in_the_requests_representation() -> None:
    request = StudyRequest(films=(FILM,), tasks=(Task.VQA,), question="Is Mr Miller ill?")
    assert "Miller" not in repr(request)
    assert "film" not in repr(request).removeprefix("StudyRequest")


def test_the_manifest_says_how_to_sample_unless_the_request_does() -> None:
    manifest = scripted_manifest(temperature=0.6, max_tokens=100, seed=3)
    sampling, notices = sampling_for(StudyRequest(films=(FILM,)), manifest)
    assert (sampling.temperature, sampling.max_tokens, sampling.seed) == (0.6, 100, 3)
    assert notices == ()
    request = StudyRequest(films=(FILM,), temperature=0.0, max_tokens=50, seed=7)
    sampling, notices = sampling_for(request, manifest)
    assert (sampling.temperature, sampling.max_tokens, sampling.seed) == (0.0, 50, 7)
    assert notices == ()


def test_more_tokens_than_the_manifest_allows_are_cut_and_the_caller_is_told() -> None:
    manifest = scripted_manifest(max_tokens=100)
    sampling, notices = sampling_for(StudyRequest(films=(FILM,), max_tokens=101), manifest)
    assert sampling.max_tokens == 100
    assert [notice.code for notice in notices] == ["max-tokens-capped"]
