"""Soak and chaos in short, on the scripted engine: they pass on a right service, and can fail."""

from __future__ import annotations

import pytest

from benchmarks import chaos, soak
from benchmarks.endurance.exchange import Exchange, Outcome
from benchmarks.endurance.growth import MIB, Held, growth
from benchmarks.endurance.truthfulness import truthfulness

SCRIPTED = ("-m", "tests.service.serving_process")

pytestmark = pytest.mark.timeout(300)


async def test_a_short_soak_finds_no_fault(tmp_path):
    options = soak.parser().parse_args(
        ["--minutes", "0.15", "--capacity-seconds", "2", "--rate", "10"]
    )
    figures = await soak.soak(options, tmp_path, SCRIPTED)
    assert figures["faults"] == []
    assert figures["outcomes"]["right"] > 0
    assert "faults              none" in soak.table(figures)


async def test_scenarios_that_need_no_model_pass(tmp_path):
    names = ["decode-worker-killed", "clock-jumps", "disk-full-closed"]
    told = []
    found = await chaos.chaos(names, tmp_path, lambda *it: told.append(chaos.table(*it)), SCRIPTED)
    assert list(found) == names
    failed = [check for checks in found.values() for check in checks if not check.holds]
    assert failed == []
    assert [text.split()[:2] for text in told] == [["pass", name] for name in names]


def test_what_grew_is_a_fault():
    held = Held(descriptors=20, threads=10, tasks=8, temporary_files=0)
    more = Held(descriptors=21, threads=30, tasks=9, temporary_files=1)
    steady = growth(range(8), [100 * MIB] * 8)
    # A process that is renewed leaks where each of its lives ends with more than it began with.
    low, high, young = [[size * MIB] * 8 for size in (100, 130, 90)]
    leak = [size * MIB for size in range(100, 116, 2)]
    one_after_another = [low, high, high, leak, young]
    sizes = [size for life in one_after_another for size in life]
    assert growth(range(40), sizes, lives=one_after_another).ratio == 1
    assert growth(range(40), sizes, lives=[leak, leak, low, leak]).ratio == pytest.approx(113 / 101)
    assert growth(range(8), leak, lives=[leak]).ratio == pytest.approx(113 / 101)
    grown = growth([0, 60, 120, 180], [100 * MIB, 105 * MIB, 110 * MIB, 115 * MIB])
    assert grown.slope == pytest.approx(5)
    flat = {"all": steady, "service": steady}
    assert soak.grown_too_much(flat, held, held, judged=True) == []
    assert len(soak.grown_too_much({"all": grown}, held, more, judged=True)) == 5
    # One process may not hide behind the others.
    (fault,) = soak.grown_too_much({**flat, "service": grown}, held, held, judged=True)
    assert "of service" in fault
    assert soak.grown_too_much({"service": grown}, held, held, judged=False) == []


@pytest.mark.parametrize(
    ("recorded", "faults"), [(["200"], 0), ([], 1), (["200", "200"], 1), (["503 overloaded"], 1)]
)
def test_each_request_is_recorded_once_as_it_was_answered(recorded, faults):
    exchange = Exchange("report", status=200)
    exchange.end(Outcome.RIGHT)
    reading = {"type": {"code": "rest"}}
    events = {exchange.request_id: [{**reading, "outcomeDesc": outcome} for outcome in recorded]}
    assert len(soak.unrecorded([exchange], events)) == faults


@pytest.mark.parametrize(("counted", "faults"), [(2, 0), (1, 1), (3, 1)])
def test_refused_credentials_are_all_told_of(counted, faults):
    exchanges = [Exchange("no-credential", status=401) for _ in range(3)]
    for exchange in exchanges:
        exchange.end(Outcome.RIGHT)
    outcome = "401 unauthenticated"
    event = {"type": {"code": "110114"}, "outcomeDesc": outcome, "entity": [{}]}
    details = [{"type": it, "valueString": str(counted)} for it in ("requests", outcome)]
    rest = {**event, "entity": [{"detail": details}]}
    events = {exchanges[0].request_id: [event], exchanges[2].request_id: [rest]}
    assert len(soak.unrecorded(exchanges, events)) == faults


def test_retry_after_is_true_where_the_next_request_is_admitted_by_then():
    refused = Exchange("vqa", "clinic", began=0, code="overloaded", status=503, retry_after=2)
    refused.end(Outcome.REFUSED)
    refused.ended = 0.1
    for began, truth in ((1.1, 1.0), (3.1, 0.0)):
        admitted = Exchange("vqa", "clinic", began=began, status=200)
        admitted.end(Outcome.RIGHT)
        found = truthfulness([refused, admitted], "overloaded")
        assert found is not None
        assert (found.told, found.room_by_then) == (2, truth)
        assert found.until_admitted == pytest.approx(began - 0.1)


@pytest.mark.parametrize("arguments", [["--minutes", "61"], ["--rate", "0"], ["--url", "x"]])
def test_a_soak_has_bounds(arguments):
    with pytest.raises(SystemExit):
        soak.parser().parse_args(arguments)
