"""A short run of ``make fuzz``; the long one is for the night."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.problem import Problem
from service.radiograph import load_radiograph
from service.radiograph.problems import decode_timeout, malformed_dicom
from service.reading import Mode
from tests.fuzz.films import Findings, _decode, fuzz_films
from tests.fuzz.mutations import mutant
from tests.fuzz.seeds import all_seeds
from tests.fuzz.texts import fault_of_reading, mutant_text

NUMBERS = st.integers(0, 2**32)


async def test_mutated_films_are_decoded_or_refused():
    findings = await fuzz_films(1, iter(range(400)))
    assert findings.faults == {}
    assert sum(findings.outcomes.values()) == 400
    assert findings.over_http == 20


@given(NUMBERS, NUMBERS)
def test_mutated_texts_are_read_alike_whole_and_in_pieces(seed, index):
    assert fault_of_reading(*mutant_text(seed, index)) is None


@given(NUMBERS, NUMBERS)
def test_a_mutant_is_the_same_each_time(seed, index):
    assert mutant(seed, index) == mutant(seed, index)


def test_seeds_of_every_kind_are_decoded():
    """Mutants of what nobody can read would prove little."""
    decoded = set()
    for seed in all_seeds():
        try:
            load_radiograph(seed.data, allow_other_anatomy=True)
        except Problem:
            continue
        decoded.add(seed.name)
    made = {seed.name for seed in all_seeds() if not seed.name.endswith(".dcm")}
    assert made <= decoded
    assert len(decoded) > 50


def test_a_text_that_comes_otherwise_than_whole_is_a_fault():
    text = "<think> A mass [1, 2, 3, 4]. </think> \\boxed{Mass.}"
    assert fault_of_reading(text, [text[:20]], Mode.THINK, 1) is not None


async def test_an_answer_that_is_not_documented_is_a_fault(monkeypatch):
    monkeypatch.setattr("tests.fuzz.films._CODES", frozenset())
    findings = await fuzz_films(1, iter(range(20)))
    assert findings.faults


@pytest.mark.parametrize(("times", "fault"), [(1, None), (2, "takes over 20 s")])
async def test_a_film_that_reaches_the_time_limit_twice_is_a_fault(times, fault):
    class Slow:
        worker_pids = (1,)
        asked = 0

        async def load(self, data, *, allow_other_anatomy):
            self.asked += 1
            raise decode_timeout() if self.asked <= times else malformed_dicom()

    decoder: Any = Slow()
    assert await _decode(decoder, b"", 1, Findings()) == fault
