import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.datastructures import Headers

from service.api.idempotency import RequestDigest, parse_key
from service.app import create_app
from service.identity import Principal, PrincipalKind, Scope
from service.problem import Problem
from service.radiograph import problems as film_problems
from service.settings import Settings
from tests.service.api.conftest import OpenDecoder, client_from, running
from tests.service.scripted_engine import Script

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


async def post(client, film, path="/report", headers=KEY, **fields):
    return await client.post(path, files={"image": film}, data=fields, headers=headers)


def code(reply):
    return reply.status_code, reply.json()["code"]


def is_replay(reply):
    return reply.headers.get("Idempotency-Replayed") == "true"


@pytest.mark.parametrize("accept", ["application/json", "image/png", "text/markdown"])
async def test_a_repeat_gets_the_first_reply_without_the_engine(client, engine, film, accept):
    headers = KEY | {"Accept": accept}
    first = await post(client, film, headers=headers)
    asked = len(engine.requests)
    again = await post(client, film, headers=headers)  # httpx draws a new boundary
    assert (first.status_code, is_replay(first), is_replay(again)) == (200, False, True)
    assert again.content == first.content
    for name in ("content-type", "vary", "cache-control", "content-length"):
        assert again.headers[name] == first.headers[name]
    assert len(engine.requests) == asked > 0


async def test_a_replay_is_counted_under_its_route(client, film):
    labels = {"route": "/report", "code": "200"}
    before = REGISTRY.get_sample_value("deepmedix_requests_total", labels) or 0
    for _ in range(2):
        await post(client, film)
    assert REGISTRY.get_sample_value("deepmedix_requests_total", labels) == before + 2


async def test_a_rendering_is_replayed_too(client, film):
    first, again = [await post(client, film, "/render") for _ in range(2)]
    assert (again.status_code, is_replay(again)) == (200, True)
    assert again.content == first.content


async def test_an_event_stream_is_replayed_once_it_has_ended(client, engine, film):
    headers = KEY | {"Accept": "text/event-stream"}
    first = await post(client, film, headers=headers)
    asked = len(engine.requests)
    again = await post(client, film, headers=headers)
    assert (is_replay(again), again.text) == (True, first.text)
    assert again.headers["content-type"].startswith("text/event-stream")
    assert len(engine.requests) == asked


async def test_a_stream_whose_text_looks_like_an_event_is_kept(client, engine, film):
    engine.say(Script("<think> Clear </think>. The answer is: \\boxed{No acute event: stable.}."))
    headers = KEY | {"Accept": "text/event-stream"}
    first = await post(client, film, headers=headers)
    assert "event: stable" in first.text.rpartition("event: reply")[2]
    assert is_replay(await post(client, film, headers=headers))


async def test_a_stream_that_ended_in_a_problem_is_worked_on_anew(client, engine, film):
    engine.say(Script(failure=RuntimeError("x"), fail_after=3))
    headers = KEY | {"Accept": "text/event-stream"}
    assert "event: error" in (await post(client, film, headers=headers)).text
    engine.say(Script())
    again = await post(client, film, headers=headers)
    assert not is_replay(again)
    assert "event: reply" in again.text


@pytest.mark.parametrize(
    ("path", "headers", "fields"),
    [
        ("/report", {}, {"temperature": "1"}),
        ("/report", {"Accept": "image/png"}, {}),
        ("/report?x=1", {}, {}),
        ("/vqa", {}, {"question": "Is it?"}),
        ("/render", {}, {}),
    ],
)
async def test_the_key_with_another_request_is_422(client, film, path, headers, fields):
    await post(client, film)
    other = await post(client, film, path, KEY | headers, **fields)
    assert code(other) == (422, "idempotency-key-reused")
    assert not is_replay(other)


async def test_another_film_is_another_request(client, film):
    await post(client, film)
    assert code(await post(client, film + b"x")) == (422, "idempotency-key-reused")


async def test_a_key_in_flight_is_409_and_replayed_later(client, engine, film):
    release = asyncio.Event()
    engine.say(Script(hold_after=2, release=release))
    engine.asked.clear()
    first = asyncio.create_task(post(client, film))
    await engine.asked.wait()
    assert code(await post(client, film)) == (409, "idempotency-in-flight")
    release.set()
    assert (await first).status_code == 200
    assert is_replay(await post(client, film))


async def test_another_callers_key_is_another_key(make_app, engine, film):
    app = make_app()
    async with running(app) as client, client_from(app, "192.0.2.9") as stranger:
        await post(client, film)
        asked = len(engine.requests)
        theirs = await post(stranger, film)
        assert (theirs.status_code, is_replay(theirs)) == (200, False)
        assert len(engine.requests) > asked
        assert (await post(stranger, film + b"x")).status_code == 422


class OddlyNamed:
    """Whoever asks has the name that a token may hold: any JSON string."""

    enabled, takes_keys = True, False

    async def identify(self, credential, *, bearer):
        return Principal("oidc:\ud800", PrincipalKind.OIDC, frozenset({Scope.READ}))

    async def close(self):
        pass


async def test_a_caller_of_any_name_may_use_keys(engine, decoder, film):
    app = create_app(
        Settings(), engine=engine, decoder=OpenDecoder(decoder), authenticator=OddlyNamed()
    )
    async with running(app) as client:
        headers = KEY | {"Authorization": "Bearer x"}
        first, again = [await post(client, film, headers=headers) for _ in range(2)]
    assert (first.status_code, is_replay(again)) == (200, True)


async def test_a_refusal_that_would_be_met_again_is_replayed(client, film, engine):
    first = await post(client, film, temperature="9")
    again = await post(client, film, temperature="9")
    assert (code(again), is_replay(again)) == ((422, "invalid-field"), True)
    assert again.content == first.content
    assert code(await post(client, film)) == (422, "idempotency-key-reused")


@pytest.mark.parametrize(
    "failure", [film_problems.decode_timeout(), RuntimeError("x")], ids=["422", "500"]
)
async def test_what_may_go_better_next_time_is_worked_on_anew(client, engine, film, failure):
    engine.say(Script(failure=failure))
    assert (await post(client, film)).status_code in (422, 500)
    engine.say(Script())
    again = await post(client, film)
    assert (again.status_code, is_replay(again)) == (200, False)


async def test_a_deadline_that_passed_leaves_the_key_free(client, engine, film):
    engine.say(Script(hold_after=2))
    late = await post(client, film, headers=KEY | {"X-Request-Timeout": "0.2"})
    assert late.status_code == 504
    engine.say(Script())
    assert (await post(client, film)).status_code == 200


async def test_a_refused_request_leaves_the_key_free(make_app, engine, film):
    app = make_app(max_concurrency=1, max_queue=0)
    async with running(app) as client:
        with app.state.service.admission.admit("somebody else"):
            assert (await post(client, film)).status_code == 503
        assert (await post(client, film)).status_code == 200


async def test_repeats_are_bounded_by_themselves(make_app, engine, film):
    app = make_app(max_concurrency=1, max_queue=0)
    async with running(app) as client:
        assert (await post(client, film)).status_code == 200
        service = app.state.service
        with service.admission.admit("somebody else"):
            assert is_replay(await post(client, film))
        with service.repeats.admit("somebody else"):
            assert (await post(client, film)).status_code == 503
        assert is_replay(await post(client, film))
        service.repeats.drain()
        assert (await post(client, film)).json()["code"] == "shutting-down"
        assert service.repeats.admitted == 0


async def test_what_is_kept_is_repeated_while_the_service_drains(make_app, engine, film):
    app = make_app()
    async with running(app) as client:
        first = await post(client, film)
        app.state.service.drain()
        again = await post(client, film)
        assert (is_replay(again), again.content) == (True, first.content)
        assert code(await post(client, film, headers={"Idempotency-Key": "new"})) == (
            503,
            "shutting-down",
        )
        assert code(await post(client, film, temperature=0.5)) == (422, "idempotency-key-reused")


async def test_a_repeat_whose_body_does_not_come_is_ended_with_the_grace(make_app, film):
    app = make_app()
    async with running(app) as client:
        headers = KEY | {"Content-Type": "image/png"}
        first = await client.post("/report", content=film, headers=headers)
        assert first.status_code == 200
        begun = asyncio.Event()

        async def half():
            yield film[:100]
            begun.set()
            await asyncio.Event().wait()

        repeat = asyncio.create_task(client.post("/report", content=half(), headers=headers))
        await begun.wait()
        await app.state.service.finish(0)
        assert code(await repeat) == (503, "shutting-down")


def test_a_form_of_any_number_of_delimiters_is_digested_in_one_pass():
    scope = {"path": "/report", "query_string": b""}
    headers = Headers({"content-type": "multipart/form-data; boundary=a"})
    digest = RequestDigest(scope, headers)
    digest.update({"body": b"\r\n--a" * 100_000, "more_body": True})
    assert digest._parts_left == 0
    digest.update({"body": b"\r\n--a--\r\n", "more_body": False})
    assert digest.complete


async def test_a_reply_is_forgotten_when_it_expires(make_app, engine, film):
    app = make_app(idempotency_expiry=0.05)
    async with running(app) as client:
        await post(client, film)
        store = app.state.service.replies
        async with asyncio.timeout(20):
            while len(store):  # nobody asks for it
                await asyncio.sleep(0.01)
        assert store.bytes == 0
        assert not is_replay(await post(client, film))


async def test_a_reply_over_the_room_is_given_but_not_kept(make_app, engine, film):
    app = make_app(idempotency_bytes=100)
    async with running(app) as client:
        for _ in range(2):
            reply = await post(client, film)
            assert (reply.status_code, is_replay(reply)) == (200, False)
        assert app.state.service.replies.bytes == 0


async def test_a_key_beyond_those_that_may_be_in_flight_is_refused_as_such(make_app, engine, film):
    async with running(make_app(idempotency_entries=1, retry_after=7)) as client:
        release = asyncio.Event()
        engine.say(Script(hold_after=2, release=release))
        engine.asked.clear()
        first = asyncio.create_task(post(client, film))
        await engine.asked.wait()
        other = KEY | {"Idempotency-Key": "another"}
        refused = await post(client, film, headers=other)
        assert (code(refused), refused.headers["Retry-After"]) == ((503, "overloaded"), "7")
        assert "Idempotency-Key" in refused.json()["title"]
        release.set()
        assert (await first).status_code == 200
        await post(client, film, headers=other)  # the first reply gave way
        assert is_replay(await post(client, film, headers=other))


async def test_elsewhere_the_header_means_nothing(client):
    for _ in range(2):
        reply = await client.get("/version", headers={"Idempotency-Key": " "})
        assert (reply.status_code, is_replay(reply)) == (200, False)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("abc-1", "abc-1"),
        ('"abc-1"', "abc-1"),
        ('"a b"', "a b"),
        (r'"a\"b\\"', 'a"b\\'),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_key_is_a_string_with_or_without_quotes(text, key):
    assert parse_key([text]) == key


@pytest.mark.parametrize(
    "given_", [[""], ['""'], ["a b"], ['"a'], ["x" * 256], ["\u00e4"], ["a", "a"], ['"a";b=1']]
)
def test_a_key_that_is_none_is_400(given_):
    with pytest.raises(Problem) as caught:
        parse_key(given_)
    assert (caught.value.code, caught.value.status) == ("invalid-header", 400)


async def test_a_bad_key_is_refused_without_echo(client, film, engine):
    reply = await post(client, film, headers={"Idempotency-Key": "Mrs Smith"})
    assert code(reply) == (400, "invalid-header")
    assert "Smith" not in json.dumps(reply.json())
    assert not engine.requests


def digest_of(body: bytes, cuts: list[int], content_type: str) -> bytes:
    scope = {"type": "http", "path": "/report", "query_string": b""}
    digest = RequestDigest(scope, Headers({"content-type": content_type}))
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        digest.update({"type": "http.request", "body": piece, "more_body": not last})
    assert digest.complete
    return digest.value()


@given(
    parts=st.lists(st.binary(max_size=20), max_size=4),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    other_cuts=st.lists(st.integers(0, 120), max_size=6),
)
def test_neither_the_boundary_nor_the_pieces_change_the_digest(parts, cuts, other_cuts):
    def form(boundary):
        lines = b"".join(b"--" + boundary + b"\r\n\r\n" + part + b"\r\n" for part in parts)
        return lines + b"--" + boundary + b"--\r\n"

    one = digest_of(form(b"QQQQQQ1"), cuts, "multipart/form-data; boundary=QQQQQQ1")
    two = digest_of(form(b"WWWW-2"), other_cuts, 'multipart/form-data; boundary="WWWW-2"')
    assert one == two


TEXTS = st.text("abcd-\r\n ?", max_size=12)


@given(boundary=st.text("abcd-", min_size=1, max_size=4), one=TEXTS, two=TEXTS)
@example("left", "left effusion?", " effusion?")
@example("X", "no X-ray", "no -ray")
@example("b", "a\r\n--", "a\r\n--b")
def test_letters_of_the_boundary_in_a_text_count(boundary, one, two):
    def digest(text):
        head = f"--{boundary}\r\nContent-Disposition: form-data; name=question\r\n\r\n"
        body = f"{head}{text}\r\n--{boundary}--\r\n".encode()
        return digest_of(body, [7, 20], f"multipart/form-data; boundary={boundary}")

    assert (digest(one) == digest(two)) == (one == two)


async def test_a_question_that_lost_the_boundarys_letters_is_another_request(client, film):
    def form(question):
        head = "--left\r\nContent-Disposition: form-data; name="
        return (
            f"{head}question\r\n\r\n{question}\r\n{head}image; filename=a\r\n\r\n".encode()
            + film
            + b"\r\n--left--\r\n"
        )

    headers = KEY | {"Content-Type": "multipart/form-data; boundary=left"}
    first = await client.post("/vqa", content=form("left effusion?"), headers=headers)
    assert first.status_code == 200
    other = await client.post("/vqa", content=form(" effusion?"), headers=headers)
    assert code(other) == (422, "idempotency-key-reused")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_other_bodies_have_other_digests(one, two):
    same = digest_of(one, [], "image/png") == digest_of(two, [3], "image/png")
    assert same == (one == two)
