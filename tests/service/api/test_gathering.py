"""Pieces of an answer go out gathered, whole and in order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.gathering import gathered
from service.interpretation import AnswerRead, RetryStarted
from service.interpretation.events import Shortfall
from service.reading import Task


def retry(task=Task.FINDINGS):
    return RetryStarted(task, Shortfall.LENGTH)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def source(clock, timed):
    for at, event in timed:
        clock.now = at
        if isinstance(event, Exception):
            raise event
        yield event


async def collect(timed, moment=1.0):
    clock = Clock()
    return [
        (clock.now, event)
        async for event in gathered(source(clock, timed), moment=moment, clock=clock)
    ]


def piece(text, task=Task.FINDINGS):
    return AnswerRead(task, text)


async def test_the_first_piece_goes_out_at_once_and_those_after_it_together():
    timed = [(0.0, piece("The ")), (0.1, piece("heart ")), (0.2, piece("is ")), (1.0, piece("big"))]
    assert await collect(timed) == [(0.0, piece("The ")), (1.0, piece("heart is big"))]


async def test_pieces_that_come_slowly_are_not_held():
    timed = [(float(at), piece(str(at))) for at in range(4)]
    assert await collect(timed) == timed


async def test_what_is_held_comes_before_whatever_else_is_told():
    timed = [(0.0, piece("a")), (0.1, piece("b")), (0.2, retry()), (0.3, piece("c"))]
    assert await collect(timed) == [
        (0.0, piece("a")),
        (0.2, piece("b")),
        (0.2, retry()),
        (0.3, piece("c")),
    ]


async def test_what_was_said_before_a_failure_is_told():
    clock = Clock()
    timed = [(0.0, piece("a")), (0.1, piece("b")), (0.2, ValueError("broken off"))]
    events = gathered(source(clock, timed), moment=1.0, clock=clock)
    told = [await anext(events), await anext(events)]
    with pytest.raises(ValueError, match="broken off"):
        await anext(events)
    assert told == [piece("a"), piece("b")]


EVENTS = st.one_of(
    st.builds(piece, st.text("ab ", min_size=1), st.sampled_from([Task.FINDINGS, Task.IMPRESSION])),
    st.builds(retry, st.sampled_from([Task.FINDINGS, Task.IMPRESSION])),
)


def runs(events):
    """For each section what it says between its other events."""
    told = {}
    for event in events:
        said = told.setdefault(event.task, [""])
        if isinstance(event, AnswerRead):
            said[-1] += event.text
        else:
            said += [event, ""]
    return told


@given(st.lists(st.tuples(st.floats(0, 2), EVENTS)))
async def test_every_section_says_the_same_gathered(steps):
    times = itertools.accumulate(step for step, _ in steps)
    timed = list(zip(times, (event for _, event in steps), strict=True))
    told = [event for _, event in await collect(timed)]
    assert runs(told) == runs(event for _, event in timed)
