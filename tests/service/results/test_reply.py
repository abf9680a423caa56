"""The reply as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from service.reading import Task
from service.results import ReportReply, VqaReply, to_reply
from service.results import events as event_models
from service.results import reply as reply_models


async def test_a_report_has_the_documented_fields_in_the_documented_order(read_study) -> None:
    reply = json.loads(to_reply(await read_study()).model_dump_json())
    assert list(reply) == [
        "id",
        "report",
        "reasoning",
        "images",
        "warnings",
        "model",
        "usage",
        "timing",
        "disclaimer",
        "raw_text",
    ]
    assert list(reply["report"]) == ["findings", "impression"]
    assert list(reply["reasoning"][0]) == ["step", "section", "text", "boxes", "flags"]
    assert reply["reasoning"][0]["boxes"] == [
        {
            "image": 0,
            "x_min": 120.0,
            "y_min": 200.0,
            "x_max": 360.0,
            "y_max": 360.0,
            "normalized": [0.267857, 0.446429, 0.803571, 0.803571],
            "model": [60.0, 100.0, 180.0, 180.0],
            "flags": [],
        }
    ]
    assert reply["images"] == [
        {
            "index": 0,
            "width": 448,
            "height": 448,
            "media_type": "image/png",
            "view_position": None,
            "rendering": "raster/1",
            "model_width": 224,
            "model_height": 224,
        }
    ]
    assert list(reply["model"]) == ["name", "revision", "stage", "manifest_sha256"]


async def test_an_answer_stands_where_the_report_would(ask) -> None:
    reply = to_reply(await ask())
    assert isinstance(reply, VqaReply)
    assert list(VqaReply.model_fields)[:2] == ["id", "answer"]
    assert {step.section for step in reply.reasoning} == {"answer"}


async def test_step_numbers_run_on_from_section_to_section(read_study) -> None:
    reply = to_reply(await read_study())
    assert [(step.step, step.section) for step in reply.reasoning] == [
        (1, "findings"),
        (2, "findings"),
        (3, "findings"),
        (4, "impression"),
        (5, "impression"),
        (6, "impression"),
    ]


async def test_a_section_that_was_not_asked_for_is_null(read_study) -> None:
    reply = to_reply(await read_study(tasks=(Task.IMPRESSION,)))
    assert isinstance(reply, ReportReply)
    assert reply.report.findings is None
    assert reply.report.impression is not None


async def test_raw_text_and_timings_come_when_asked_for(read_study) -> None:
    interpretation = await read_study()
    plain = to_reply(interpretation)
    assert plain.raw_text is None
    assert plain.timing.sections is None
    full = to_reply(interpretation, raw_text=True, timings=True)
    assert full.raw_text is not None
    assert full.raw_text["findings"].startswith("<think>")
    assert full.timing.sections is not None
    assert [part.section for part in full.timing.sections] == ["findings", "impression"]


async def test_what_was_flagged_is_among_the_warnings(read_study) -> None:
    reply = to_reply(await read_study("<think> Endless", finish_reason="length"))
    assert "retried-constrained" in {warning.code for warning in reply.warnings}


async def test_a_box_beyond_the_film_is_clipped_and_flagged(read_study) -> None:
    reply = to_reply(
        await read_study("<think> Heart [100, 100, 300, 200] </think>. \\boxed{Large.}")
    )
    box = reply.reasoning[0].boxes[0]
    assert (box.x_max, box.normalized[2], box.model[2]) == (448, 1, 300)
    assert reply.warnings != ()


async def test_a_reply_survives_its_own_json(read_study) -> None:
    reply = to_reply(await read_study(), raw_text=True, timings=True)
    assert ReportReply.model_validate_json(reply.model_dump_json()) == reply


def models() -> Iterator[type[BaseModel]]:
    for module in (reply_models, event_models):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


@pytest.mark.parametrize("model", dict.fromkeys(models()), ids=lambda model: model.__name__)
def test_every_field_is_described_and_every_plain_one_has_an_example(
    model: type[BaseModel],
) -> None:
    schema = model.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        assert field.get("description"), name
        nested = "$ref" in json.dumps(field)
        assert nested or field.get("examples") is not None, name
