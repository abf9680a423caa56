"""A server is asked at a pace, again where that helps, and not where it does not."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.scripted_server import ScriptedServer, completion
from training.chat.address import endpoint_of
from training.chat.client import Answer, ChatServer, Patience
from training.chat.errors import ChatError, RefusedError, SilentError
from training.chat.pace import Pace, retry_after


class StoppedClock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def replies(*some: tuple[int, dict[str, str], Any]):
    waiting = list(some)
    return lambda request: waiting.pop(0)


AS_JUDGE = {"key": "secret", "role": "judge", "option": "--judge", "key_variable": "JUDGE_KEY"}
FINE = (200, {}, completion("seen"))


async def asked(
    server: ScriptedServer, clock: StoppedClock, per_minute: float | None = None, **patience: Any
) -> Answer:
    pace = Pace(per_minute, clock=clock, sleep=clock.sleep)
    async with ChatServer(endpoint_of(server.url), pace, Patience(**patience), **AS_JUDGE) as one:
        return await one.ask({"model": "teacher", "messages": []})


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


async def test_an_answer_comes_with_its_end_and_its_tokens(server, clock) -> None:
    server.script = replies((200, {}, completion("half", "length")))
    assert await asked(server, clock) == Answer("half", "length", (100, 50))
    assert server.requests[0]["path"] == "/v1/chat/completions"
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert clock.waits == []


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_that_the_server_parts_from_the_text_is_joined_again(
    server, clock, name: str
) -> None:
    parted = completion("The answer is: \\boxed{Yes}")
    parted["choices"][0]["message"][name] = "\nthe heart is normal\n"
    server.script = replies((200, {}, parted))
    answer = await asked(server, clock)
    assert answer.text == "The answer is: \\boxed{Yes}"
    joined = "<think> the heart is normal </think>. The answer is: \\boxed{Yes}"
    assert answer.joined() == Answer(joined, "stop", (100, 50))


@pytest.mark.parametrize(
    ("answer", "joined"),
    [
        (Answer("<think> a </think> b", reasoning="c"), "<think> a </think> b"),
        (Answer("b", reasoning=" "), "b"),
        (Answer("", "length", reasoning="a"), "<think> a"),
        (Answer("b", reasoning="<think>a</think>"), "<think> a </think>. b"),
    ],
)
def test_a_think_block_is_neither_doubled_nor_closed_where_it_was_cut_off(answer, joined) -> None:
    assert answer.joined().text == joined


def wants_the_later_name(sent: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    if "max_tokens" in sent:
        return 400, {}, {"error": {"message": "'max_tokens' is not supported with this model."}}
    return FINE


async def test_a_server_that_refuses_max_tokens_is_asked_by_its_later_name(server, clock) -> None:
    server.script = wants_the_later_name
    pace = Pace(clock=clock, sleep=clock.sleep)
    async with ChatServer(endpoint_of(server.url), pace, Patience(tries=1)) as one:
        for _ in range(2):
            assert (await one.ask({"max_tokens": 9})).text == "seen"
    limits = [
        (sent.get("max_tokens"), sent.get("max_completion_tokens")) for sent in server.requests
    ]
    assert limits == [(9, None), (None, 9), (None, 9)]


async def test_the_later_name_is_tried_once(server, clock) -> None:
    server.script = lambda sent: (
        422,
        {},
        {"detail": [{"loc": ["max_tokens"], "msg": "too large"}]},
    )
    pace = Pace(clock=clock, sleep=clock.sleep)
    async with ChatServer(endpoint_of(server.url), pace) as one:
        with pytest.raises(RefusedError, match=r"HTTP 422: .*too large"):
            await one.ask({"max_tokens": 9})
    assert len(server.requests) == 2


async def test_a_refusal_is_told_in_one_short_line_of_printable_signs(server, clock) -> None:
    said = "no\n\x1b[31m " + "long " * 100
    server.script = replies((400, {}, {"error": {"message": said}}))
    with pytest.raises(RefusedError) as refused:
        await asked(server, clock)
    assert str(refused.value).startswith("HTTP 400: no [31m long long")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 220


@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_the_server_asks_for_is_kept_to(server, clock, status: int) -> None:
    server.script = replies((status, {"Retry-After": "17"}, {}), FINE)
    assert (await asked(server, clock)).text == "seen"
    assert clock.now >= 117
    assert len(server.requests) == 2


async def test_without_one_each_wait_is_twice_as_long(server, clock) -> None:
    server.script = replies(*[(500, {}, {})] * 4, FINE)
    await asked(server, clock, first_wait=2, longest_wait=8)
    assert [
        round(wait / base, 2) for wait, base in zip(clock.waits, (2, 4, 8, 8), strict=True)
    ] == [pytest.approx(1, abs=0.26)] * 4


async def test_a_reply_that_breaks_off_is_asked_for_as_often_as_any_and_each_wait_is_told(
    server, clock
) -> None:
    server.script = lambda request: (200, {"Content-Length": "999"}, {})
    told: list[str] = []
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    endpoint, patience = endpoint_of(server.url), Patience(tries=3)
    async with ChatServer(endpoint, pace, patience, tell=told.append) as one:
        with pytest.raises(SilentError, match=r"in 3 tries .*complete message body"):
            await one.ask({"model": "teacher", "messages": []})
    assert len(server.requests) == 3
    assert sum(clock.waits) < 4
    assert ["complete message body" in words for words in told] == [True] * 3
    assert "try 2 of 3" in told[1]


async def test_a_pause_asked_for_by_one_reply_holds_all_requests(server, clock) -> None:
    server.script = replies((429, {"Retry-After": "30"}, {}), FINE, FINE)
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    async with ChatServer(endpoint_of(server.url), pace) as one:
        await one.ask({})
        waited = clock.now
        await one.ask({})
    assert waited >= 130
    assert clock.now == waited


async def test_a_longer_pause_than_is_waited_for_ends_the_run(server, clock) -> None:
    server.script = replies((429, {"Retry-After": "7200"}, {}))
    with pytest.raises(ChatError, match=r"7200 seconds.*run the same command"):
        await asked(server, clock)
    assert clock.waits == []


@pytest.mark.parametrize(("status", "word"), [(401, "JUDGE_KEY"), (403, "key"), (404, "--judge")])
async def test_what_no_other_request_would_mend_ends_the_run(server, clock, status, word) -> None:
    server.script = replies((status, {}, {}))
    with pytest.raises(ChatError, match=word) as error:
        await asked(server, clock)
    assert "secret" not in str(error.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        (400, {}, {"error": {"message": "prompt too long"}}),
        (413, {}, b"too large"),
        (200, {}, b"<html>"),
        (200, {}, {"choices": []}),
        (200, {}, {"choices": [None]}),
        (200, {}, []),
    ],
)
async def test_a_request_that_the_server_refuses_is_not_sent_again(server, clock, reply) -> None:
    server.script = replies(reply)
    with pytest.raises(RefusedError):
        await asked(server, clock)
    assert len(server.requests) == 1


async def test_a_redirect_is_not_followed(server, clock) -> None:
    server.script = replies((307, {"Location": "http://198.51.100.1/v1"}, {}))
    with pytest.raises(ChatError, match="redirects"):
        await asked(server, clock)


async def test_a_server_that_is_gone_ends_the_run_after_all_tries(server, clock) -> None:
    server.script = replies(*[(502, {}, {})] * 3)
    with pytest.raises(ChatError, match=r"3 tries \(HTTP 502\)"):
        await asked(server, clock, tries=3)
    nobody = endpoint_of("http://127.0.0.1:9/v1")
    async with ChatServer(nobody, Pace(clock=clock, sleep=clock.sleep), Patience(tries=2)) as one:
        with pytest.raises(ChatError, match="2 tries"):
            await one.ask({})


async def test_a_request_that_is_never_answered_while_others_are_is_given_up_alone(
    server, clock
) -> None:
    server.script = lambda sent: FINE if sent.get("well") else (502, {}, {})
    pace = Pace(clock=clock, sleep=clock.sleep)
    async with ChatServer(endpoint_of(server.url), pace, Patience(tries=3)) as one:
        ill = asyncio.create_task(one.ask({}))
        while not ill.done():
            await one.ask({"well": True})
        with pytest.raises(RefusedError, match="no answer in 3 tries"):
            await ill


@given(
    per_minute=st.floats(1, 6000),
    idle=st.lists(st.floats(0, 30), min_size=2, max_size=20),
    together=st.integers(1, 5),
)
@settings(deadline=None, max_examples=40)
def test_no_minute_holds_more_requests_than_allowed(per_minute, idle, together) -> None:
    clock = StoppedClock()
    starts: list[float] = []

    async def ask_all() -> None:
        pace = Pace(per_minute, clock=clock, sleep=clock.sleep)

        async def one() -> None:
            await pace.turn()
            starts.append(clock.now)

        for pause in idle:
            clock.now += pause
            await asyncio.gather(*(one() for _ in range(together)))

    asyncio.run(ask_all())
    for start in starts:
        inside = [t for t in starts if start <= t < start + 60 - 1e-6]
        assert len(inside) <= per_minute + 1


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after("12") == 12
    assert retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 30
    assert retry_after("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert retry_after(None) is None
    assert retry_after("soon") is None
