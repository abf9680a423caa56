"""The whole service on the real engine: the real film through every door."""

from __future__ import annotations

import base64
import io
import json

import httpx
import pytest_asyncio
from PIL import Image
from pydicom.data import get_testdata_file

from service.app import create_app
from service.settings import Settings
from tests.integration.load import run_load
from tests.integration.running_engine import RunningEngine

ENCODINGS = {
    "uncompressed": "RG1_UNCR.dcm",
    "JPEG 2000 lossless": "RG1_J2KR.dcm",
    "uncompressed, of the lossy": "RG1_UNCI.dcm",
    "JPEG 2000 lossy": "RG1_J2KI.dcm",
}
WIDTH, HEIGHT = 1955, 1841


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(engine):
    app = create_app(Settings(max_concurrency=16), engine=RunningEngine(engine))
    async with app.router.lifespan_context(app):
        await app.state.service.started.wait()
        assert app.state.service.failure is None
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", timeout=600
        ) as connected:
            yield connected


def film(name: str) -> bytes:
    path = get_testdata_file(name)
    assert path is not None
    with open(path, "rb") as file:
        return file.read()


async def post(client, path, data, accept="application/json", **fields):
    return await client.post(path, files={"image": data}, data=fields, headers={"Accept": accept})


def told(reply: dict) -> dict:
    """What a reply says of the film, without what differs from request to request."""
    return {key: reply[key] for key in ("report", "reasoning", "warnings", "images", "usage")}


async def test_equal_pixels_give_equal_readings_whatever_their_encoding(client):
    readings = {}
    for encoding, name in ENCODINGS.items():
        reply = await post(client, "/report", film(name), temperature="0")
        assert reply.status_code == 200, reply.text
        readings[encoding] = told(reply.json())
    assert readings["uncompressed"] == readings["JPEG 2000 lossless"]
    assert readings["uncompressed, of the lossy"] == readings["JPEG 2000 lossy"]


async def test_boxes_lie_on_the_film(client):
    reply = (await post(client, "/report", film("RG1_UNCR.dcm"), temperature="0")).json()
    image = reply["images"][0]
    assert {image["width"], image["height"]} == {WIDTH, HEIGHT}
    boxes = [box for step in reply["reasoning"] for box in step["boxes"]]
    for box in boxes:
        assert 0 <= box["x_min"] <= box["x_max"] <= image["width"]
        assert 0 <= box["y_min"] <= box["y_max"] <= image["height"]


async def test_the_three_ways_to_send_a_film_give_one_reading(client):
    data = film("RG1_J2KR.dcm")
    form = await post(client, "/report", data, temperature="0")
    raw = await client.post(
        "/report?temperature=0", content=data, headers={"Content-Type": "application/dicom"}
    )
    as_json = await client.post(
        "/report", json={"image": [base64.b64encode(data).decode()], "temperature": 0}
    )
    assert told(form.json()) == told(raw.json()) == told(as_json.json())


async def test_a_report_in_every_format(client):
    data = film("RG1_J2KR.dcm")
    whole = await post(client, "/report", data, temperature="0")
    picture = await post(client, "/report", data, "image/png", temperature="0")
    page = await post(client, "/report", data, "text/markdown", temperature="0")
    events = await post(client, "/report", data, "text/event-stream", temperature="0")
    assert Image.open(io.BytesIO(picture.content)).format == "PNG"
    assert whole.json()["disclaimer"] in page.text
    last = [line for line in events.text.splitlines() if line.startswith("data: ")][-1]
    assert told(json.loads(last.removeprefix("data: "))) == told(whole.json())


async def test_a_question_is_answered(client):
    reply = await post(
        client, "/vqa", film("RG1_J2KR.dcm"), question="Is the heart enlarged?", temperature="0"
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["answer"]


async def test_the_rendering_is_what_the_model_saw(client):
    data = film("RG1_J2KR.dcm")
    image = (await post(client, "/report", data, temperature="0")).json()["images"][0]
    rendering = await post(client, "/render", data, "image/png")
    size = Image.open(io.BytesIO(rendering.content)).size
    assert size == (image["model_width"], image["model_height"])


async def test_constrained_text_always_parses(client):
    reply = await post(
        client, "/report", film("RG1_J2KR.dcm"), decoding="constrained", temperature="1", seed="3"
    )
    assert reply.status_code == 200
    report = reply.json()["report"]
    assert report["findings"]
    assert report["impression"]


async def test_vllms_metrics_are_on_the_same_page_as_ours(client):
    page = (await client.get("/metrics")).text
    assert "deepmedix_requests_total" in page
    assert "vllm:" in page


async def test_two_hundred_requests_at_concurrency_sixteen_all_succeed(client):
    load = await run_load(
        client,
        [film("RG1_J2KR.dcm"), film("RG1_J2KI.dcm")],
        requests=200,
        concurrency=16,
        max_tokens=64,
    )
    assert load.failures == 0, load.statuses
    assert sum(load.statuses.values()) == 200
