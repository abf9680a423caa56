import base64
import builtins
import io
import json
import os
import tempfile
import threading
from typing import ClassVar

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from service.api import json_body
from service.api.handlers import add_handlers
from service.api.middleware import BodyCap, RequestRecord
from service.api.submission import read_submission

FILM = b"DICM" + bytes(range(256)) * 40
LIMIT = 8 * 1024 * 1024


class Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")
    LISTS: ClassVar[tuple[str, ...]] = ("include",)

    question: str = Field(max_length=20)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    include: tuple[str, ...] = ()


@pytest.mark.parametrize("wrong", [{"temperature": "1"}, {"temperature": True}, {"question": 3}])
async def test_json_values_have_the_types_of_json(client, wrong):
    encoded = base64.b64encode(FILM).decode()
    reply = await client.post("/echo", json={"image": encoded, "question": "x", **wrong})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, next(iter(wrong)))


@pytest.fixture
def client():
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request):
        submission = await read_submission(request, Fields, max_images=4, timeout=30)
        films = [base64.b64encode(film).decode() for film in submission.films]
        return {"films": films, **submission.fields.model_dump()}

    add_handlers(app)
    app.add_middleware(BodyCap, limit=LIMIT)
    app.add_middleware(RequestRecord)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_form_raw_body_and_json_submit_the_same(client):
    form = await client.post(
        "/echo",
        files=[("image", ("x", FILM))],
        data={"question": "Effusion?", "temperature": "0.5", "include": ["a", "b"]},
    )
    raw = await client.post(
        "/echo",
        params={"question": "Effusion?", "temperature": "0.5", "include": "a,b"},
        content=FILM,
        headers={"Content-Type": "application/dicom"},
    )
    as_json = await client.post(
        "/echo",
        json={
            "image": [base64.b64encode(FILM).decode()],
            "question": "Effusion?",
            "temperature": 0.5,
            "include": ["a", "b"],
        },
    )
    assert form.status_code == 200, form.text
    assert form.json() == raw.json() == as_json.json()
    assert base64.b64decode(form.json()["films"][0]) == FILM


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "application/octet-stream"])
async def test_a_raw_body_may_be_any_film(client, content_type):
    reply = await client.post(
        "/echo?question=x", content=FILM, headers={"Content-Type": content_type}
    )
    assert reply.status_code == 200


async def test_half_a_character_in_json_is_replaced(client):
    encoded = base64.b64encode(FILM).decode()
    body = '{"image": "' + encoded + '", "question": "a\\ud83d b \\ud83d\\ude00"}'
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/echo", content=body, headers=headers)
    assert reply.json()["question"] == "a\ufffd b \U0001f600"


async def test_base64_may_be_broken_into_lines(client):
    lines = base64.encodebytes(FILM * 20).decode()
    assert lines.count("\n") > 1
    reply = await client.post("/echo", json={"image": lines, "question": "x"})
    assert base64.b64decode(reply.json()["films"][0]) == FILM * 20


@given(
    film=st.binary(max_size=60),
    piece=st.sampled_from([4, 5, 7, 64]),
    breaks=st.lists(st.integers(0, 80), max_size=5),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_base64_is_the_same_in_pieces(film, piece, breaks, ending):
    text = base64.b64encode(film).decode()
    for place in breaks:
        text = text[:place] + ending + text[place:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "_PIECE", piece)
        assert json_body._decode(text) == film


@pytest.mark.parametrize(
    "text", ["QQ==QUJD", "QUJDQQ==QUJD", "Q", "QUJ", "QQ====", "Q\u00e4==", "=="]
)
@pytest.mark.parametrize("piece", [4, 1024])
def test_what_is_no_base64_is_refused_in_pieces_too(text, piece, monkeypatch):
    monkeypatch.setattr(json_body, "_PIECE", piece)
    with pytest.raises(ValueError, match=r"padding|base64|ASCII|data characters"):
        json_body._decode(text)


async def test_a_large_json_body_is_read_beside_the_event_loop(client, monkeypatch):
    threads = []

    def parse(body, parse=json_body._parse):
        threads.append(threading.current_thread())
        return parse(body)

    monkeypatch.setattr(json_body, "_parse", parse)
    for film in (FILM, bytes(1024 * 1024)):
        encoded = base64.b64encode(film).decode()
        reply = await client.post("/echo", json={"image": encoded, "question": "x"})
        assert base64.b64decode(reply.json()["films"][0]) == film
    small, large = threads
    assert small is threading.main_thread()
    assert large is not threading.main_thread()


async def test_the_body_as_sent_is_not_kept_beside_the_films(client, monkeypatch):
    requests = []

    async def read(request, *arguments, read=read_submission, **options):
        requests.append(request)
        return await read(request, *arguments, **options)

    monkeypatch.setitem(globals(), "read_submission", read)
    encoded = base64.b64encode(FILM).decode()
    reply = await client.post("/echo", json={"image": encoded, "question": "x"})
    assert reply.status_code == 200
    assert not any(
        isinstance(kept, bytes) and encoded.encode() in kept for kept in vars(requests[0]).values()
    )


@pytest.mark.parametrize("filler", ["[]", "{}", "1"])
async def test_json_of_countless_values_is_refused_before_it_is_read(client, monkeypatch, filler):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was read"))
    body = '{"image": "AAAA", "x": [' + ",".join([filler] * 70_000) + "]}"
    reply = await client.post("/echo", content=body, headers={"Content-Type": "application/json"})
    monkeypatch.undo()
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed-request")


async def test_a_long_text_beside_the_films_is_refused(client):
    reply = await client.post("/echo", json={"image": "AAAA", "question": "x" * 2_000_000})
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed-request")


async def test_up_to_four_films_in_their_order(client):
    films = [bytes([i]) * 10 for i in range(4)]
    files = [("image", ("x", film)) for film in films]
    reply = await client.post("/echo", files=files, data={"question": "x"})
    assert [base64.b64decode(film) for film in reply.json()["films"]] == films


async def test_a_fifth_film_is_refused(client):
    files = [("image", ("x", FILM))] * 5
    reply = await client.post("/echo", files=files, data={"question": "x"})
    assert (reply.status_code, reply.json()["code"]) == (422, "too-many-images")


SECRET = "Mrs Smith born 1950"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported-body"),
        (
            {
                "content": b"a=" + SECRET.encode(),
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            },
            415,
            "unsupported-body",
        ),
        (
            {"content": b"{", "headers": {"Content-Type": "application/json"}},
            400,
            "malformed-request",
        ),
        (
            {"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
            400,
            "malformed-request",
        ),
        ({"json": [1]}, 400, "malformed-request"),
        (
            {
                "content": f'{{"image": "eA==", "question": "x", "question": "{SECRET}"}}',
                "headers": {"Content-Type": "application/json"},
            },
            400,
            "malformed-request",
        ),
        ({"json": {"image": [SECRET], "question": "x"}}, 400, "malformed-request"),
        ({"json": {"image": {"a": SECRET}, "question": "x"}}, 400, "malformed-request"),
        ({"json": {"question": "x"}}, 400, "missing-image"),
        ({"data": {"question": "x"}, "files": {"other": b"x"}}, 422, "invalid-field"),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "malformed-request",
        ),
        (
            {"content": b"", "headers": {"Content-Type": "image/png"}, "params": {"question": "x"}},
            400,
            "missing-image",
        ),
        ({"files": {"image": b"x"}, "params": {"question": SECRET}}, 400, "fields-in-two-places"),
        ({"files": {"image": b"x"}, "data": {"question": SECRET * 2}}, 422, "invalid-field"),
        (
            {"files": {"image": b"x"}, "data": {"question": "x", SECRET: SECRET}},
            422,
            "invalid-field",
        ),
        (
            {"files": {"image": b"x"}, "data": {"question": "x", "temperature": SECRET}},
            422,
            "invalid-field",
        ),
        ({"files": {"image": b"x"}, "data": {"question": ["x", SECRET]}}, 422, "invalid-field"),
        ({"files": {"image": b"x", "question": SECRET.encode()}}, 422, "invalid-field"),
        (
            {"files": {"image": b"x"}, "data": {"question": "x", "image": SECRET}},
            422,
            "invalid-field",
        ),
    ],
)
async def test_what_cannot_be_read_is_refused_without_echo(client, request_, status, code):
    reply = await client.post("/echo", **request_)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert "Smith" not in reply.text
    assert "Smith" not in str(reply.headers)


def part(head: str, body: bytes) -> bytes:
    disposition = f"Content-Disposition: form-data; {head}".encode()
    return b"--xyz\r\n" + disposition + b"\r\n\r\n" + body + b"\r\n"


WHOLE_FILM = part('name="image"; filename="a"', FILM)
QUESTION = part('name="question"', b"x")
EXTENDED = part("name=\"image\"; filename*=UTF-8''a%20b.png", FILM)
CUT_FILM = part('name="image"; filename="b"', FILM)[:-100]


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (WHOLE_FILM + QUESTION + CUT_FILM, "utf-8"),
        (WHOLE_FILM + QUESTION, "utf-8"),
        (b"", "utf-8"),
        (b"no form", "utf-8"),
        (QUESTION + b"--xyz--\r\n", "undefined"),
    ],
)
async def test_a_form_that_is_cut_off_or_garbled_is_malformed(client, body, charset):
    content_type = f"multipart/form-data; boundary=xyz; charset={charset}"
    reply = await client.post("/echo", content=body, headers={"Content-Type": content_type})
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed-request")


async def test_a_film_whose_name_is_given_in_the_extended_form_alone_is_a_film(client):
    reply = await client.post(
        "/echo",
        content=EXTENDED + QUESTION + b"--xyz--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=xyz"},
    )
    assert [base64.b64decode(film) for film in reply.json()["films"]] == [FILM]


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip", "Deflate"])
async def test_an_encoded_body_is_refused_by_name(client, encoding):
    headers = {"Content-Type": "image/png", "Content-Encoding": encoding}
    reply = await client.post("/echo?question=x", content=FILM, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (415, "encoded-body")
    assert reply.headers["Accept-Encoding"] == "identity"
    headers["Content-Encoding"] = "identity"
    plain = await client.post("/echo?question=x", content=FILM, headers=headers)
    assert plain.status_code == 200


async def test_a_transfer_coding_that_is_not_known_is_refused(client):
    headers = {"Content-Type": "image/png", "Transfer-Encoding": "gzip, chunked"}
    reply = await client.post("/echo?question=x", content=FILM, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (501, "unknown-transfer-coding")


async def test_an_invalid_field_is_named_with_the_kind_of_error(client):
    reply = await client.post(
        "/echo", files={"image": FILM}, data={"question": "x", "temperature": "3"}
    )
    assert reply.json()["errors"] == [
        {"field": "temperature", "kind": "less_than_equal", "bound": 2.0}
    ]


async def test_not_a_number_is_no_temperature(client):
    reply = await client.post(
        "/echo",
        content=json.dumps({"image": "AAAA", "question": "x", "temperature": float("nan")}),
        headers={"Content-Type": "application/json"},
    )
    assert reply.json()["errors"][0]["field"] == "temperature"


async def test_an_announced_body_over_the_cap_is_413(client):
    reply = await client.post("/echo", files={"image": bytes(LIMIT + 1)})
    assert (reply.status_code, reply.json()["code"]) == (413, "body-too-large")


async def test_a_chunked_body_over_the_cap_is_413_while_it_is_read(client):
    sent = 0

    async def chunks():
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield bytes(1024 * 1024)

    reply = await client.post(
        "/echo?question=x", content=chunks(), headers={"Content-Type": "image/png"}
    )
    assert (reply.status_code, reply.json()["code"]) == (413, "body-too-large")
    assert sent <= LIMIT // (1024 * 1024) + 1


async def test_a_large_upload_never_touches_the_disk(client, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("a file was opened for an upload")

    monkeypatch.setattr(tempfile, "TemporaryFile", forbidden)
    monkeypatch.setattr(tempfile, "mkstemp", forbidden)
    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr(io, "open", forbidden)
    monkeypatch.setattr(os, "open", forbidden)
    film = bytes(6 * 1024 * 1024)
    reply = await client.post("/echo", files={"image": film}, data={"question": "x"})
    monkeypatch.undo()
    assert reply.status_code == 200
    assert base64.b64decode(reply.json()["films"][0]) == film


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "zlib"])
async def test_a_form_in_another_charset_is_refused(client, charset):
    body = b"--b\r\nContent-Disposition: form-data; name=question\r\n\r\nci8caaaa\r\n--b--\r\n"
    content_type = f"multipart/form-data; boundary=b; charset={charset}"
    reply = await client.post("/echo", content=body, headers={"Content-Type": content_type})
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed-request")


@pytest.mark.parametrize("depth", range(900, 1000, 10))
@pytest.mark.parametrize("size", [10, 300_000])
async def test_json_nested_too_deep_is_the_callers_fault(client, depth, size):
    film = base64.b64encode(b"x" * size).decode()
    text = f'{{"image": ["{film}"], "question": {"[" * depth}{"]" * depth}}}'
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/echo", content=text, headers=headers)
    assert reply.status_code in (400, 422), reply.text
