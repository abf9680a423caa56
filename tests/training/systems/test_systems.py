"""Services and endpoints are asked as they want to be; what they do wrong becomes a failure."""

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from service.reading import Mode, Task
from service.settings import EMBEDDED_CHECKPOINT
from tests.training.scripted_server import ScriptedServer, completion
from tests.training.small_store import SIZE, example
from training.chat.address import address_of, endpoint_of, settle
from training.chat.client import ChatServer, Patience
from training.systems.baselines import BASELINES
from training.systems.checkpoint import CheckpointSystem
from training.systems.endpoint import EndpointSystem
from training.systems.folder import FolderSystem
from training.systems.prediction import Failure
from training.systems.protocol import FailedError, NoSystemError
from training.systems.section import SectionSystem
from training.systems.service import ServiceSystem
from training.systems.specification import Asking, open_system

VERSION = {"service": "1", "model": "m", "revision": "1", "stage": "s", "manifest_sha256": "0"}
REPLY: dict[str, Any] = {
    "report": {"findings": "The heart is enlarged.", "impression": None},
    "reasoning": [
        {
            "text": "The heart is enlarged.",
            "boxes": [{"image": 0, "x_min": 1.5, "y_min": 2, "x_max": 30, "y_max": 40}],
        }
    ],
    "warnings": [{"code": "lateral-view", "detail": "..."}],
    "usage": {"completion_tokens": 12},
    "raw_text": {"findings": "<think>...</think>"},
}


def with_box(**wrong: Any) -> dict[str, Any]:
    """A reply whose one box holds what it must not."""
    (step,) = REPLY["reasoning"]
    return REPLY | {"reasoning": [step | {"boxes": [step["boxes"][0] | wrong]}]}


@pytest.fixture
def film(films: Path) -> bytes:
    return (films / "0.png").read_bytes()


def service(server: ScriptedServer, *replies: tuple[int, dict[str, str], Any]) -> ServiceSystem:
    waiting = list(replies)
    server.script = lambda request: (
        (200, {}, VERSION) if request["path"] == "/version" else waiting.pop(0)
    )
    return ServiceSystem(settle(address_of(server.url.removesuffix("/v1"))), timeout=5)


async def test_a_reply_of_the_service_is_a_prediction(server, film: bytes) -> None:
    async with service(server, (200, {}, REPLY)) as system:
        assert system.identity["version"] == VERSION
        said = await system.predict(example(0, indication="Cough."), [film])
    assert said.answer == "The heart is enlarged."
    assert said.steps[0].boxes == ((0, (1.5, 2, 30, 40)),)
    assert (said.notices, said.tokens, said.complete) == (("lateral-view",), 12, True)
    form = server.requests[-1]["form"]
    for part in (
        b'name="sections"\r\n\r\nfindings',
        b'name="temperature"\r\n\r\n0',
        b"Cough.",
        film,
    ):
        assert part in form
    assert server.requests[-1]["path"] == "/report"


async def test_a_question_goes_to_vqa_and_a_text_cut_off_is_not_complete(server, film) -> None:
    reply = REPLY | {"answer": "Yes", "raw_text": {"answer": "Yes"}}
    reply |= {"warnings": [{"code": "cut-off", "detail": ""}]}
    async with service(server, (200, {}, reply)) as system:
        said = await system.predict(example(0, Task.VQA), [film])
    assert server.requests[-1]["path"] == "/vqa"
    assert (said.answer, said.complete) == ("Yes", False)


async def test_a_busy_service_is_waited_for(server, film) -> None:
    busy = (503, {"Retry-After": "0"}, {"code": "overloaded"})
    async with service(server, busy, busy, (200, {}, REPLY)) as system:
        assert (await system.predict(example(0), [film])).complete


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ((422, {}, {"code": "not-a-chest-radiograph"}), Failure.REFUSED),
        ((500, {}, b"<html>"), Failure.REFUSED),
        ((200, {}, b"nonsense"), Failure.BROKEN),
        ((200, {}, {"report": {}}), Failure.BROKEN),
        ((200, {}, with_box(x_min=None)), Failure.BROKEN),
        ((200, {}, with_box(y_max="40")), Failure.BROKEN),
        ((200, {}, with_box(image=-1)), Failure.BROKEN),
        ((200, {}, with_box(image=0.5)), Failure.BROKEN),
        ((200, {}, REPLY | {"report": {"findings": None}}), Failure.BROKEN),
        ((200, {}, REPLY | {"raw_text": {"findings": 3}}), Failure.BROKEN),
        ((504, {}, {"code": "deadline"}), Failure.UNREACHABLE),
    ],
)
async def test_what_a_service_does_wrong_is_named(server, film, reply, failure) -> None:
    async with service(server, reply) as system:
        with pytest.raises(FailedError) as error:
            await system.predict(example(0), [film])
    assert error.value.failure is failure


async def test_a_service_that_is_not_there_cannot_be_asked() -> None:
    system = ServiceSystem(settle(address_of("http://127.0.0.1:9")))
    with pytest.raises(NoSystemError, match="make serve"):
        async with system:
            pass


def endpoint(server: ScriptedServer, name: str = "qwen2.5-vl") -> EndpointSystem:
    chat = ChatServer(endpoint_of(server.url), patience=Patience(tries=1, first_wait=0.01))
    return EndpointSystem(chat, "m", BASELINES[name], name)


async def test_an_endpoint_sees_the_film_and_boxes_come_back_to_its_pixels(server, film) -> None:
    said = '[{"bbox_2d": [28, 28, 56, 56], "label": "heart"}]'
    server.script = lambda request: (200, {}, completion(f"Large heart. {said}"))
    async with endpoint(server) as system:
        found = await system.predict(example(0), [film])
    picture, text = server.requests[0]["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text["text"] == BASELINES["qwen2.5-vl"].findings
    assert found.answer == "Large heart."
    # The picture has whole blocks of 28 pixels: 56 x 84 for a film of 64 x 80.
    (box,) = found.steps[0].boxes
    assert box == (0, (32, pytest.approx(80 / 3), 64, pytest.approx(160 / 3)))
    assert found.tokens == 50


async def test_an_answer_that_was_cut_off_is_not_complete(server, film) -> None:
    server.script = lambda request: (200, {}, completion("Large", "length"))
    async with endpoint(server) as system:
        assert not (await system.predict(example(0), [film])).complete


@pytest.mark.parametrize(
    ("status", "raised", "failure"),
    [
        (400, FailedError, Failure.REFUSED),
        (503, FailedError, Failure.UNREACHABLE),
        (401, NoSystemError, None),
        (404, NoSystemError, None),
    ],
)
async def test_what_an_endpoint_refuses_is_named(server, film, status, raised, failure) -> None:
    server.script = lambda request: (status, {}, {})
    async with endpoint(server) as system:
        with pytest.raises(raised) as error:
            await system.predict(example(0), [film])
    assert getattr(error.value, "failure", None) is failure


async def test_a_system_turn_goes_first_where_a_model_wants_one(server, film) -> None:
    server.script = lambda request: (200, {}, completion("No."))
    async with endpoint(server, "medgemma") as system:
        await system.predict(example(0, Task.VQA), [film])
    turns = [message["role"] for message in server.requests[0]["messages"]]
    assert turns == ["system", "user"]


async def test_a_film_that_is_none_is_a_failure_of_its_own(server) -> None:
    async with endpoint(server) as system:
        with pytest.raises(FailedError) as error:
            await system.predict(example(0), [b"no film"])
    assert error.value.failure is Failure.FILM


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", '{"findings-0": "Normal."}'),
        ("p.json", '[{"id": "findings-0", "report": "Normal."}]'),
        ("p.jsonl", '{"study_id": "findings-0", "prediction": "Normal."}\n'),
        ("p.csv", "image_id,output\nfindings-0,Normal.\n"),
        ("findings-0.txt", "Normal."),
    ],
)
@pytest.mark.parametrize("whole_folder", [True, False])
async def test_predictions_are_read_in_the_usual_forms(
    tmp_path, name, content, whole_folder
) -> None:
    (tmp_path / name).write_text(content)
    async with FolderSystem(tmp_path if whole_folder else tmp_path / name, "llava-rad") as system:
        assert (await system.predict(example(0), [])).answer == "Normal."
        with pytest.raises(FailedError) as error:
            await system.predict(example(1), [])
    assert error.value.failure is Failure.MISSING


@pytest.mark.parametrize(
    ("row", "sure"),
    [({"confidence": 0.7}, 0.7), ({"probability": "0.25"}, 0.25), ({"confidence": None}, None)],
)
async def test_confidence_comes_with_the_text(tmp_path: Path, row, sure) -> None:
    told = [{"id": "vqa-0", "answer": "Yes"} | row]
    (tmp_path / "p.json").write_text(json.dumps(told))
    async with FolderSystem(tmp_path, "plain") as system:
        assert (await system.predict(example(0, Task.VQA), [])).confidence == sure


async def test_a_confidence_beyond_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('[{"id": "vqa-0", "answer": "Yes", "confidence": 87}]')
    with pytest.raises(NoSystemError, match="not within 0 and 1"):
        async with FolderSystem(tmp_path, "plain"):
            pass


async def test_maira_2_from_a_folder_has_its_boxes_in_the_films_pixels(tmp_path: Path) -> None:
    text = '{"findings-0": [["A large heart.", [[0.0, 0.0, 0.5, 1.0]]]]}'
    (tmp_path / "p.json").write_text(text)
    async with FolderSystem(tmp_path, "maira-2") as system:
        said = await system.predict(example(0), [])
    assert SIZE == (64, 80)  # the central square begins eight rows down
    assert said.steps[0].boxes == ((0, (0, 8, 32, 72)),)


@pytest.mark.parametrize(
    "content", ["", "not json", '[{"text": "no identifier"}]', '[{"id": "x"}]', "[1]"]
)
async def test_a_folder_that_cannot_be_read_is_said_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(NoSystemError):
        async with FolderSystem(tmp_path, "plain"):
            pass


async def test_a_section_of_the_reference_can_be_copied_without_films() -> None:
    told = example(0, Task.IMPRESSION, findings="Large heart.", regions=())
    async with SectionSystem("findings") as system:
        assert (await system.predict(told, [])).answer == "Large heart."
        with pytest.raises(FailedError):
            await system.predict(replace(told, findings=None), [])


@pytest.mark.parametrize(
    ("line", "name", "kind"),
    [
        ("R1=service:http://127.0.0.1:8000", "R1", ServiceSystem),
        ("service:http://127.0.0.1:8000", "127.0.0.1:8000", ServiceSystem),
        ("q=endpoint:http://127.0.0.1:1/v1,model=m,as=medgemma", "q", EndpointSystem),
        ("section:findings", "findings", SectionSystem),
    ],
)
def test_a_line_names_a_system(line: str, name: str, kind: type) -> None:
    found, system = open_system(line, Asking())
    assert found == name
    assert isinstance(system, kind)


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(NoSystemError, match="dream"):
        open_system("service:http://127.0.0.1:8000,mode=dream", Asking())
    assert Mode("answer") is Mode.ANSWER


def refuses(lines: Sequence[str]) -> None:
    for line in lines:
        with pytest.raises(NoSystemError):
            open_system(line, Asking())


def test_what_describes_no_system_is_refused() -> None:
    refuses(["", "x", "x=", "service:", "section:history", "checkpoint:x,as=nobody"])


async def test_a_transformers_checkpoint_answers_as_its_chat_template_asks(film: bytes) -> None:
    system = CheckpointSystem(str(EMBEDDED_CHECKPOINT), BASELINES["plain"], "plain", max_tokens=8)
    async with system:
        said = await system.predict(example(0, Task.VQA), [film])
        with pytest.raises(FailedError):
            await system.predict(example(0), [b"no film"])
    assert said.text
    assert 0 < (said.tokens or 0) <= 8


async def test_what_is_no_checkpoint_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(NoSystemError, match="cannot be loaded"):
        async with CheckpointSystem(str(tmp_path), BASELINES["plain"], "plain"):
            pass


async def test_a_checkpoint_that_lacks_weights_cannot_be_asked(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "lacking"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(NoSystemError, match="missing weights"):
        async with CheckpointSystem(str(folder), BASELINES["plain"], "plain"):
            pass


async def test_each_server_gets_its_own_key_where_it_has_one(server, film, monkeypatch) -> None:
    server.script = lambda request: (200, {}, completion("Large heart."))
    monkeypatch.setenv("DEEPMEDIX_SYSTEM_KEY", "of all")
    monkeypatch.setenv("KEY_OF_ONE", "its own")
    for option in ("", ",key=KEY_OF_ONE"):
        _, system = open_system(f"endpoint:{server.url},model=m{option}", Asking())
        async with system:
            await system.predict(example(0), [film])
    sent = [headers["Authorization"] for headers in server.headers]
    assert sent == ["Bearer of all", "Bearer its own"]
    with pytest.raises(NoSystemError, match="no such variable"):
        open_system(f"endpoint:{server.url},model=m,key=NOT_SET", Asking())


@pytest.mark.parametrize("kind", ["engine", "checkpoint"])
async def test_a_folder_that_is_not_there_is_no_system(kind: str) -> None:
    async def entered() -> None:
        _, system = open_system(f"{kind}:/no/such", Asking())
        async with system:
            pass

    with pytest.raises(NoSystemError, match="/no/such"):
        await entered()


async def test_predictions_with_line_separators_in_them_are_read(tmp_path: Path) -> None:
    odd = "One\N{LINE SEPARATOR}two\N{NEXT LINE}three"
    row = json.dumps({"id": "findings-0", "report": odd}, ensure_ascii=False)
    (tmp_path / "p.jsonl").write_text(row + "\n", encoding="utf-8")
    async with FolderSystem(tmp_path, "plain") as system:
        assert (await system.predict(example(0), [])).answer == odd


async def test_who_is_asked_to_point_says_so(server, film) -> None:
    server.script = lambda request: (200, {}, completion("<think>so</think> Yes"))
    for name, points in (("qwen2.5-vl", False), ("qwen2.5-vl-thinking", True)):
        async with endpoint(server, name) as system:
            assert (await system.predict(example(0, Task.VQA), [film])).pointing is points


def turned(film: bytes) -> bytes:
    """The film stored on its side, as its EXIF says."""
    with Image.open(io.BytesIO(film)) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        written = io.BytesIO()
        image.convert("L").save(written, "JPEG", exif=exif)
    return written.getvalue()


async def test_a_checkpoint_is_shown_no_film_whose_boxes_would_lie_elsewhere(film) -> None:
    system = CheckpointSystem(str(EMBEDDED_CHECKPOINT), BASELINES["plain"], "plain", max_tokens=2)
    async with system:
        with pytest.raises(FailedError, match="stored turned") as error:
            await system.predict(example(0), [turned(film)])
    assert error.value.failure is Failure.FILM


async def test_a_checkpoint_is_known_by_its_content_and_by_how_it_is_asked(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(EMBEDDED_CHECKPOINT, folder)

    async def identity(name: str = "plain", max_tokens: int = 8) -> str:
        async with CheckpointSystem(
            str(folder), BASELINES[name], name, max_tokens=max_tokens
        ) as system:
            return json.dumps(system.identity, sort_keys=True)

    before = await identity()
    assert await identity() == before
    assert len({before, await identity("medgemma"), await identity(max_tokens=9)}) == 3
    (folder / "README.md").write_text("trained further")
    assert await identity() != before
