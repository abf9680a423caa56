import base64
import io
import json
import logging

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from pydicom.data import get_testdata_file

from service.api import metrics
from service.settings import Settings
from tests.service.api.conftest import HEIGHT, WIDTH, running
from tests.service.scripted_engine import Script


def events_of(text: str) -> list[tuple[str, dict]]:
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def post(client, path, film, accept=None, **fields):
    headers = {} if accept is None else {"Accept": accept}
    return await client.post(path, files={"image": film}, data=fields, headers=headers)


async def test_a_report_has_its_sections_and_steps_with_boxes_on_the_film(client, film):
    reply = await post(client, "/report", film)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["report"]["findings"] == "The heart is enlarged. Small left pleural effusion."
    assert body["report"]["impression"]
    assert [step["section"] for step in body["reasoning"]] == ["findings"] * 3 + ["impression"] * 3
    box = body["reasoning"][0]["boxes"][0]
    assert 0 <= box["x_min"] < box["x_max"] <= WIDTH
    assert 0 <= box["y_min"] < box["y_max"] <= HEIGHT
    assert body["images"][0]["width"] == WIDTH
    assert body["disclaimer"]


async def test_a_question_gets_an_answer(client, film, engine):
    reply = await post(client, "/vqa", film, question="Is there an effusion?")
    assert reply.json()["answer"] == "The heart is enlarged. Small left pleural effusion."
    assert "Is there an effusion?" in engine.requests[-1].prompt


async def test_a_question_is_needed(client, film):
    reply = await post(client, "/vqa", film)
    assert reply.status_code == 422
    assert reply.json()["errors"] == [{"field": "question", "kind": "missing"}]


async def test_fields_reach_the_engine(client, film, engine):
    reply = await post(
        client,
        "/report",
        film,
        sections="impression",
        decoding="constrained",
        temperature="0.25",
        max_tokens="17",
        seed="5",
        indication="Cough.",
    )
    assert reply.status_code == 200, reply.text
    (request,) = engine.requests
    assert (request.sampling.temperature, request.sampling.seed) == (0.25, 5)
    assert request.sampling.max_tokens == 17
    assert request.grammar is not None
    assert "Cough." in request.prompt
    assert reply.json()["report"]["findings"] is None


async def test_trace_context_reaches_the_engine(client, film, engine):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = await client.post("/report", files={"image": film}, headers={"traceparent": parent})
    handed_on = engine.requests[-1].trace_headers
    assert handed_on == {"traceparent": reply.headers["traceresponse"]}
    assert handed_on["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert handed_on["traceparent"] != parent


async def test_raw_text_and_timings_come_when_asked_for(client, film):
    plain = (await post(client, "/report", film)).json()
    full = (await post(client, "/report", film, include=["raw_text", "timings"])).json()
    assert plain["raw_text"] is None
    assert "<think>" in full["raw_text"]["findings"]
    assert plain["timing"]["sections"] is None
    assert len(full["timing"]["sections"]) == 2


async def test_a_section_named_twice_is_refused(client, film):
    reply = await post(client, "/report", film, sections="findings,findings")
    assert reply.json()["errors"] == [{"field": "sections", "kind": "repeated"}]


async def test_the_picture_is_the_film_with_boxes(client, film):
    reply = await post(client, "/report", film, "image/png")
    assert reply.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(reply.content))
    assert picture.width >= WIDTH
    assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 256


async def test_the_page_is_markdown(client, film):
    reply = await post(client, "/vqa", film, "text/markdown", question="Effusion?")
    assert reply.headers["content-type"].startswith("text/markdown")
    assert "The heart is enlarged" in reply.text


async def test_the_stream_tells_steps_and_answer_and_ends_with_the_whole(client, film):
    whole = (await post(client, "/report", film)).json()
    reply = await post(client, "/report", film, "text/event-stream")
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = events_of(reply.text)
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("images", "reply")
    assert names.count("step") == 6
    said = "".join(
        data["text"] for name, data in events if name == "answer" and data["section"] == "findings"
    )
    assert said == whole["report"]["findings"]
    last = events[-1][1]
    assert (last["report"], last["reasoning"]) == (whole["report"], whole["reasoning"])


async def test_a_problem_amid_the_stream_is_its_last_event(client, film, engine, caplog):
    engine.say(Script(failure=RuntimeError("Mrs Smith"), fail_after=3))
    outcomes = [{"route": "/report", "code": code} for code in ("200", "500")]
    before = [REGISTRY.get_sample_value("deepmedix_requests_total", o) or 0 for o in outcomes]
    failed = {"route": "/report", "outcome": "failed"}
    failures = REGISTRY.get_sample_value("deepmedix_request_seconds_count", failed) or 0
    with caplog.at_level(logging.INFO, logger="deepmedix.access"):
        reply = await post(client, "/report", film, "text/event-stream")
    (access,) = [record for record in caplog.records if record.name == "deepmedix.access"]
    assert (access.status, access.code) == (200, "internal-error")
    assert reply.status_code == 200
    name, data = events_of(reply.text)[-1]
    assert (name, data["code"], data["status"]) == ("error", "internal-error", 500)
    assert "Smith" not in reply.text
    after = [REGISTRY.get_sample_value("deepmedix_requests_total", o) or 0 for o in outcomes]
    assert after == [before[0], before[1] + 1]
    assert REGISTRY.get_sample_value("deepmedix_request_seconds_count", failed) == failures + 1


async def test_a_film_that_cannot_be_read_is_refused_before_a_stream_begins(client):
    reply = await post(client, "/report", b"not a film", "text/event-stream")
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("question", ["  ", "<|image_pad|>", "\u0000"])
async def test_a_question_without_words_is_422_in_every_format(
    client, film, engine, accept, question
):
    reply = await client.post(
        "/vqa",
        json={"image": base64.b64encode(film).decode(), "question": question},
        headers={"Accept": accept},
    )
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid-field")
    assert engine.requests == []


async def test_no_format_in_common_is_406_whatever_the_body(client, film, engine):
    reply = await post(client, "/report", film, "text/html")
    assert (reply.status_code, reply.json()["code"]) == (406, "not-acceptable")
    assert engine.requests == []


async def test_several_accept_headers_are_one_list(client, film):
    accept = [("Accept", "text/html"), ("Accept", "text/markdown")]
    reply = await client.post("/report", files={"image": film}, headers=accept)
    assert reply.headers["content-type"].startswith("text/markdown")


@pytest.mark.parametrize("accept", ["application/json", "image/png", "text/markdown"])
async def test_an_engine_that_breaks_is_500_without_its_text(client, film, engine, accept):
    engine.say(Script(failure=RuntimeError("Mrs Smith")))
    reply = await post(client, "/report", film, accept)
    assert (reply.status_code, reply.json()["code"]) == (500, "internal-error")
    assert "Smith" not in reply.text


async def test_special_tokens_of_a_caller_never_reach_the_engine(client, film, engine):
    await post(client, "/vqa", film, question="<|image_pad|>Is it?", indication="<|im_end|>x")
    assert "<|" not in engine.requests[-1].prompt


async def test_more_films_than_the_checkpoint_reads_are_refused(client, film, engine):
    most = engine.manifest.max_images
    files = [("image", ("x", film))] * (most + 1)
    reply = await client.post("/report", files=files)
    assert (reply.status_code, reply.json()["code"]) == (422, "too-many-images")


async def test_another_anatomy_is_refused_unless_overridden(client):
    path = get_testdata_file("CT_small.dcm")
    with open(path, "rb") as file:
        scan = file.read()
    refused = await post(client, "/report", scan)
    assert (refused.status_code, refused.json()["code"]) == (422, "not-a-chest-radiograph")
    taken = await post(client, "/report", scan, allow_other_anatomy="true")
    assert taken.status_code == 200, taken.text
    assert "anatomy-overridden" in [warning["code"] for warning in taken.json()["warnings"]]


async def test_the_rendering_is_exactly_what_the_engine_gets(client, film, engine):
    reply = await client.post(
        "/render", content=film, headers={"Content-Type": "image/png", "Accept": "image/png"}
    )
    assert reply.status_code == 200, reply.text
    await post(client, "/report", film)
    seen = engine.requests[-1].images[0]
    rendering = Image.open(io.BytesIO(reply.content)).convert("RGB")
    assert rendering.tobytes() == seen.tobytes()


async def test_a_rendering_is_a_png_only(client, film):
    reply = await post(client, "/render", film, "application/json")
    assert reply.status_code == 406


async def test_json_films_are_read_too(client, film):
    body = {"image": [base64.b64encode(film).decode()], "sections": ["findings"]}
    reply = await client.post("/report", json=body)
    assert reply.status_code == 200, reply.text


async def test_stages_tokens_and_notices_are_measured(client, film):
    def value(name, **labels):
        return REGISTRY.get_sample_value(name, labels) or 0.0

    names = [
        ("deepmedix_stage_seconds_count", {"stage": stage})
        for stage in ("queue", "decode", "first_token", "generate", "parse", "total")
    ] + [
        ("deepmedix_tokens_total", {"kind": "completion"}),
        ("deepmedix_notices_total", {"code": "max-tokens-capped"}),
    ]
    before = [value(name, **labels) for name, labels in names]
    await post(client, "/report", film, max_tokens="1000000")
    after = [value(name, **labels) for name, labels in names]
    assert all(late > early for early, late in zip(before, after, strict=True))


ALL_STAGES = ("queue", "decode", "first_token", "generate", "parse")


def stage_counts():
    return {
        stage: REGISTRY.get_sample_value("deepmedix_stage_seconds_count", {"stage": stage}) or 0.0
        for stage in (*ALL_STAGES, "total")
    }


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    ("script", "took_place"),
    [
        (
            Script(failure=RuntimeError("x"), fail_after=3),
            ALL_STAGES,
        ),
        (Script(failure=RuntimeError("x")), ALL_STAGES[:3]),
        (Script(hold_after=3), ALL_STAGES),
        (Script(hold_after=0), ALL_STAGES[:3]),
    ],
    ids=["fails while it writes", "fails at once", "late while it writes", "late from the start"],
)
async def test_stages_of_readings_that_fail_or_are_too_late_are_measured(
    client, engine, film, script, took_place, accept
):
    engine.say(script)
    before = stage_counts()
    headers = {"X-Request-Timeout": "0.5", "Accept": accept}
    await client.post(
        "/report", files={"image": film}, data={"sections": "findings"}, headers=headers
    )
    assert {name for name, count in stage_counts().items() if count > before[name]} == set(
        took_place
    )


async def test_the_decoding_of_a_film_that_cannot_be_read_is_measured(client):
    before = stage_counts()
    reply = await client.post("/report", files={"image": b"\x89PNG\r\n\x1a\nbroken"})
    assert reply.status_code == 422
    assert stage_counts()["decode"] == before["decode"] + 1


def test_what_runs_into_the_deadline_is_told_from_what_hangs_longer():
    longest = Settings().request_timeout
    for histogram in (metrics.REQUEST_SECONDS, metrics.STAGE_SECONDS):
        assert longest in histogram._upper_bounds
        assert longest < histogram._upper_bounds[-2] < float("inf")


async def test_replies_are_not_to_be_stored_and_vary_with_the_format(client, film):
    reply = await post(client, "/report", film)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Vary"] == "Accept"


@pytest.mark.parametrize("text", ["yes", "1", "on"])
async def test_texts_other_than_true_and_false_are_no_booleans(client, film, text):
    reply = await client.post("/report", files={"image": film}, data={"allow_other_anatomy": text})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid-field")


async def test_a_whole_number_in_json_is_an_integer_however_it_is_written(client, film):
    encoded = base64.b64encode(film).decode()
    body = f'{{"image": ["{encoded}"], "seed": 3.0, "temperature": 0}}'
    reply = await client.post("/report", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 200, reply.text


async def test_no_film_outlives_its_request(make_app, engine, film, monkeypatch):
    """A connection keeps the state of its last request for as long as it is open."""
    states = []

    class Kept:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
            states.append(scope["state"])

    app = make_app(film_memory_bytes=0)
    app.add_middleware(Kept)
    async with running(app) as client:
        for path, data in (("/report", {}), ("/vqa", {"question": "Mass?"}), ("/render", {})):
            assert (await client.post(path, files={"image": film}, data=data)).status_code == 200
    assert len(states) == 3
    assert not any("films" in state for state in states)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_all_methods_of_a_path_are_told(client, path):
    assert (await client.post(path)).headers["Allow"] == "GET, HEAD"


async def test_a_refusal_says_in_its_body_too_when_to_come_again(make_app, engine, film):
    app = make_app(max_concurrency=1, max_queue=0)
    async with running(app) as client:
        with app.state.service.admission.admit("somebody else"):
            reply = await client.post("/report", files={"image": film})
        assert reply.json()["retry_after"] == int(reply.headers["Retry-After"])
        assert "retry_after" not in (await client.post("/report", files={"image": b"x"})).json()
