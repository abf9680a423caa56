"""A whole run against a scripted server: counted, resumed, cached, written as a store."""

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from tests.training.scripted_server import ScriptedServer, completion
from tests.training.teacher.conftest import (
    HEART,
    LEFT,
    RIGHT,
    asked_text,
    example,
    film_number,
    good_reply,
)
from training.chat.client import Answer, ChatServer, Patience
from training.chat.errors import UnansweredError
from training.data.store import read_description, read_examples, write_examples
from training.data.teacher.cli import teach
from training.data.teacher.reasons import Reason

APP = Typer()
APP.command()(teach)
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS += ("eleven", "twelve")


def run(store: Path, server: ScriptedServer, out: Path, *more: str):
    arguments = ["--data", str(store), "--teacher", server.url, "--model", "teacher"]
    arguments += ["--out", str(out), "--picture-pixels", str(56 * 112), "--attempts", "1", *more]
    return CliRunner().invoke(APP, arguments)


def rejections(out: Path) -> dict[str, Any]:
    return json.loads((out / "rejections.json").read_text())


def distinct(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """A good reply in words of its own for every film."""
    word = WORDS[film_number(request)]
    more = f"; it is {word} {word} {word} fingers deep and {word} thumbs of {word} wide"
    return 200, {}, completion(good_reply(more=more))


def test_what_is_kept_is_a_store_with_boxes_in_original_pixels(store, server, tmp_path) -> None:
    server.script = distinct
    done = run(store, server, tmp_path / "out", "--near-duplicates", "1")
    assert done.exit_code == 0, done.output
    kept = list(read_examples(tmp_path / "out", "train"))
    assert len(kept) == 12
    assert kept[0].steps[0].boxes == ((0, HEART),)
    assert kept[0].answer == "Yes"
    description = read_description(tmp_path / "out")
    assert (tmp_path / "out" / description.images_root / kept[0].images[0]).exists()
    assert rejections(tmp_path / "out")["kept"] == 12
    assert "Kept 12 of 12" in done.output


def test_the_teacher_sees_film_question_answer_and_regions(store, server, tmp_path) -> None:
    server.script = distinct
    run(store, server, tmp_path / "out")
    request = server.requests[0]
    picture, text = request["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert request["model"] == "teacher"
    for part in ("Is there a pleural effusion", "Yes", f"right lung: {list(RIGHT)}", "\\boxed"):
        assert part in text["text"]


def test_every_rejection_is_counted_with_its_reason(films, server, tmp_path) -> None:
    spoilt = {
        0: good_reply(),
        1: "no idea",
        2: good_reply("No"),
        3: good_reply().replace(str(list(LEFT)), "[1, 2, 9, 9]"),
        4: good_reply(more="; the report says so"),
        5: good_reply(more="; it is stable"),
        6: good_reply(more="; no left pleural effusion"),
        7: good_reply().replace("right lung", "left lung"),
        8: good_reply(),
        9: good_reply().replace("heart is normal", "heart seems normal"),
    }
    some = [
        example(n, question="Is there a pleural effusion?", indication=f"on film {n}")
        for n in range(10)
    ]
    some.append(example(10, answer="No longer", question="What of the effusion?"))
    some.append(example(0, id="again", indication="on film 0"))
    write_examples(tmp_path / "store", some, images_root=films)
    server.script = lambda request: (200, {}, completion(spoilt[film_number(request)]))
    done = run(tmp_path / "store", server, tmp_path / "out", "--near-duplicates", "0.7")
    assert done.exit_code == 0, done.output
    counted = rejections(tmp_path / "out")
    assert counted["dropped"] == {
        "answer-needs-prior": 1,
        "same-question": 1,
        "does-not-parse": 1,
        "leaks-reference": 1,
        "speaks-of-prior": 1,
        "box-unknown": 1,
        "box-of-other-region": 1,
        "answer-disagrees": 1,
        "contradicts": 1,
        "duplicate": 1,
        "near-duplicate": 1,
    }
    assert counted["kept"] + sum(counted["dropped"].values()) == counted["examples"] == 12
    assert len(server.requests) == 10
    assert read_description(tmp_path / "out").remarks == counted["dropped"]
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert len(lines) == 11
    assert {"example": "e1", "attempt": 0, "reason": "does-not-parse"}.items() <= json.loads(
        lines[0]
    ).items()


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(store, server, tmp_path) -> None:
    out = tmp_path / "out"

    def fails_late(request: dict[str, Any]):
        return distinct(request) if len(server.requests) <= 5 else (401, {}, {})

    server.script = fails_late
    first = run(store, server, out, "--concurrency", "1")
    assert first.exit_code == 2
    assert "DEEPMEDIX_TEACHER_KEY" in first.output
    assert not (out / "dataset.json").exists()
    answers = out / "answers.jsonl"
    assert len(answers.read_text().splitlines()) == 5
    # As a process that was killed leaves it: half a line.
    half = answers.read_bytes()
    answers.write_bytes(half[:-40])
    server.requests.clear()
    server.script = distinct
    assert run(store, server, out, "--near-duplicates", "1").exit_code == 0
    assert len(server.requests) == 12 - 4
    server.requests.clear()
    assert run(store, server, out, "--near-duplicates", "1").exit_code == 0
    assert server.requests == []
    assert rejections(out)["kept"] == 12


def test_what_is_kept_does_not_depend_on_who_answers_first(store, server, tmp_path) -> None:
    server.script = lambda request: (200, {}, completion(good_reply()))
    kept = []
    for name, concurrency in (("a", "1"), ("b", "6")):
        run(store, server, tmp_path / name, "--concurrency", concurrency)
        kept.append([item.id for item in read_examples(tmp_path / name)])
    assert kept[0] == kept[1]


def test_a_rejected_reply_is_asked_for_again_as_often_as_allowed(store, server, tmp_path) -> None:
    def second_is_good(request: dict[str, Any]):
        return distinct(request) if request["seed"] else (200, {}, completion("hm"))

    server.script = second_is_good
    more = ("--attempts", "2", "--near-duplicates", "1")
    assert run(store, server, tmp_path / "out", *more).exit_code == 0
    counted = rejections(tmp_path / "out")
    assert counted["kept"] == 12
    assert counted["dropped"] == {}
    assert counted["replies_rejected"] == {"does-not-parse": 12}
    assert len(server.requests) == 24


def test_another_prompt_or_film_is_another_request(store, server, films, tmp_path) -> None:
    server.script = lambda request: (200, {}, completion(good_reply()))
    out = tmp_path / "out"
    run(store, server, out)
    (tmp_path / "prompt.txt").write_text("{regions} {answer} {prompt}")
    server.requests.clear()
    run(store, server, out, "--prompt", str(tmp_path / "prompt.txt"))
    assert len(server.requests) == 12
    assert "First" not in asked_text(server.requests[0])
    assert asked_text(server.requests[0]).startswith("- left pleural effusion: [")


def test_no_more_requests_run_at_once_than_allowed(store, server, tmp_path) -> None:
    meeting = threading.Barrier(3)
    lock = threading.Lock()
    running, most = 0, 0

    def meets(request: dict[str, Any]):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait(timeout=20)  # three are let in at once, or none
        with lock:
            running -= 1
        return distinct(request)

    server.script = meets
    assert run(store, server, tmp_path / "out", "--concurrency", "3").exit_code == 0
    assert most == 3


def test_a_refusal_is_counted_and_asked_for_again_by_another_run(store, server, tmp_path) -> None:
    def refuses_one(request: dict[str, Any]):
        if film_number(request) == 3:
            return 400, {}, {"error": {"message": "too many tokens"}}
        return distinct(request)

    server.script = refuses_one
    for number, there in ((12, 0), (1, 11)):
        server.requests.clear()
        assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
        assert rejections(tmp_path / "out")["dropped"] == {"refused-by-server": 1}
        replies = rejections(tmp_path / "out")["replies"]
        assert replies == {"asked_now": number, "there_already": there}
        assert len(server.requests) == number


def test_a_garbled_reply_is_counted_as_one_and_asked_for_again_by_another_run(
    store, server, tmp_path
) -> None:
    garbled = (200, {}, b"<html>a proxy's page</html>")
    server.script = lambda asked: garbled if film_number(asked) == 3 else distinct(asked)
    assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
    assert rejections(tmp_path / "out")["dropped"] == {"garbled-reply": 1}
    server.script = distinct
    server.requests.clear()
    assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
    assert rejections(tmp_path / "out")["dropped"] == {}
    assert len(server.requests) == 1


def test_the_console_tells_the_last_refusal_in_the_servers_words(store, server, tmp_path) -> None:
    refusal = (400, {}, {"error": {"message": "too many pictures"}})
    server.script = lambda asked: refusal if film_number(asked) == 3 else distinct(asked)
    done = run(store, server, tmp_path / "some", "--near-duplicates", "1")
    assert done.exit_code == 0
    assert "refused 1 requests, the last: HTTP 400: too many pictures" in done.output
    server.script = lambda asked: refusal
    done = run(store, server, tmp_path / "all")
    assert done.exit_code == 2
    assert "refused 12 requests, the last: HTTP 400: too many pictures" in done.output
    server.script = distinct
    assert "refused" not in run(store, server, tmp_path / "none", "--near-duplicates", "1").output


def test_a_server_that_parts_the_reasoning_from_the_text_loses_nothing(
    store, server, tmp_path
) -> None:
    def parts(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        status, headers, whole = distinct(request)
        message = whole["choices"][0]["message"]
        thought, message["content"] = message["content"].split("</think>. ")
        message["reasoning_content"] = thought.removeprefix("<think>")
        return status, headers, whole

    server.script = parts
    done = run(store, server, tmp_path / "out", "--near-duplicates", "1")
    assert done.exit_code == 0, done.output
    assert rejections(tmp_path / "out")["kept"] == 12
    server.requests.clear()
    assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
    assert server.requests == []


@pytest.mark.parametrize("written", [("dataset.json",), ("preparation.json", "answers.jsonl")])
def test_a_store_that_was_not_taught_is_not_written_over(store, server, tmp_path, written) -> None:
    out = tmp_path / "other"
    out.mkdir()
    for name in written:
        (out / name).write_text("precious")
    done = run(store, server, out)
    assert done.exit_code == 2
    assert "was not taught" in done.output
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(
        written, "precious"
    )
    assert server.requests == []


def test_a_server_that_was_started_wrongly_can_be_mended(store, server, tmp_path) -> None:
    out = tmp_path / "out"
    server.script = lambda request: (400, {}, {"error": {"message": "max-model-len is 128"}})
    assert run(store, server, out, "--near-duplicates", "1").exit_code == 2
    server.script = distinct
    for asked in (12, 0):
        assert run(store, server, out, "--near-duplicates", "1").exit_code == 0
        assert rejections(out)["kept"] == 12
        assert rejections(out)["replies"] == {"asked_now": asked, "there_already": 12 - asked}


def test_a_request_that_is_never_answered_is_asked_for_again_by_another_run(
    store, server, tmp_path, monkeypatch
) -> None:
    class Away(ChatServer):
        async def ask(self, request: dict[str, Any]) -> Answer:
            if film_number(request) == 3:
                raise UnansweredError("no answer in 6 tries (HTTP 429)")
            return await super().ask(request)

    server.script = distinct
    with monkeypatch.context() as patched:
        patched.setattr("training.chat.client.ChatServer", Away)
        assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
    assert rejections(tmp_path / "out")["dropped"] == {"no-answer": 1}
    assert run(store, server, tmp_path / "out", "--near-duplicates", "1").exit_code == 0
    assert rejections(tmp_path / "out")["dropped"] == {}


def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = partial(Patience, tries=2, first_wait=0.01)
    monkeypatch.setattr("training.chat.client.Patience", patience)


@pytest.mark.parametrize("lost", [3, 11])
def test_a_request_that_always_fails_is_passed_over_and_the_rest_is_stored(
    store, server, tmp_path, monkeypatch, lost: int
) -> None:
    hasty(monkeypatch)
    server.script = lambda asked: (500, {}, {}) if film_number(asked) == lost else distinct(asked)
    out, more = tmp_path / "out", ("--near-duplicates", "1", "--concurrency", "1")
    for _ in range(2):
        done = run(store, server, out, *more)
        assert done.exit_code == 0, done.output
        assert rejections(out)["dropped"] == {"no-answer": 1}
        assert len(list(read_examples(out))) == 11
    server.script = distinct
    assert run(store, server, out, *more).exit_code == 0
    assert rejections(out)["kept"] == 12


def test_of_a_teacher_that_is_gone_what_it_answered_is_stored(
    store, server, tmp_path, monkeypatch
) -> None:
    hasty(monkeypatch)
    server.script = lambda asked: (500, {}, {}) if film_number(asked) > 3 else distinct(asked)
    out = tmp_path / "out"
    done = run(store, server, out, "--near-duplicates", "1", "--concurrency", "1")
    assert done.exit_code == 2
    assert "run the same command when it is well" in done.output
    assert len(server.requests) == 4 + 5 * 2
    assert len(list(read_examples(out))) == 4
    assert rejections(out)["dropped"] == {"no-answer": 8}


def test_a_teacher_that_answers_nothing_is_told_so(store, server, tmp_path, monkeypatch) -> None:
    hasty(monkeypatch)
    server.script = lambda asked: (500, {}, {})
    done = run(store, server, tmp_path / "out")
    assert done.exit_code == 2
    assert "did not answer in 2 tries" in done.output
    assert "No answer to 5 requests in a row" in done.output


def test_a_teacher_whose_replies_break_off_ends_the_run_with_their_count(
    store, server, tmp_path, monkeypatch
) -> None:
    hasty(monkeypatch)
    server.script = lambda asked: (200, {"Content-Length": "99"}, {})
    done = run(store, server, tmp_path / "out", "--concurrency", "1")
    assert done.exit_code == 2
    assert "No answer to 5 requests in a row" in done.output
    assert "without sending complete message body" in done.output
    assert len(server.requests) == 10


def test_films_that_cannot_be_shown_are_no_answers_of_a_teacher_that_is_silent(
    films, server, tmp_path, monkeypatch
) -> None:
    hasty(monkeypatch)
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "0.png").write_bytes((films / "0.png").read_bytes())
    (folder / "1.png").write_bytes(b"no picture")
    write_examples(tmp_path / "store", [example(n) for n in range(2)], images_root=folder)
    server.script = lambda asked: (500, {}, {})
    done = run(tmp_path / "store", server, tmp_path / "out", "--concurrency", "1")
    assert done.exit_code == 2
    assert "No answer to a request." in done.output


def test_half_a_character_in_a_reply_loses_nothing(store, server, tmp_path) -> None:
    def halved(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return 200, {}, completion(f"\ud83d {film_number(request)}")

    server.script = halved
    for _ in range(2):
        assert run(store, server, tmp_path / "out").exit_code != 0
    assert len(server.requests) == 12


def test_nothing_is_sent_to_a_public_address(store, server, tmp_path) -> None:
    server.url = "https://8.8.8.8/v1"
    done = run(store, server, tmp_path / "out")
    assert done.exit_code == 2
    assert "--allow-remote" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--split", "validate"), "no split"),
        (("--split", "test"), "tested on"),
        (("--prompt", "/nowhere"), "--prompt"),
        (("--manifest", "some/one"), "--manifest"),
    ],
)
def test_bad_input_is_told_in_words(store, server, tmp_path, option, word) -> None:
    done = run(store, server, tmp_path / "out", *option)
    assert done.exit_code == 2
    assert word in done.output


def test_nothing_kept_is_an_error_that_says_where_to_look(store, server, tmp_path) -> None:
    server.script = lambda request: (200, {}, completion("no"))
    done = run(store, server, tmp_path / "out")
    assert done.exit_code == 2
    assert "rejections.json" in done.output
    assert rejections(tmp_path / "out")["dropped"] == {"does-not-parse": 12}


def test_films_that_cannot_be_shown_are_counted_and_the_rest_is_taught(
    films, server, tmp_path
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "0.png").write_bytes((films / "0.png").read_bytes())
    (folder / "1.png").write_bytes(b"no picture")
    write_examples(tmp_path / "store", [example(n) for n in range(3)], images_root=folder)
    server.script = lambda request: (200, {}, completion(good_reply()))
    assert run(tmp_path / "store", server, tmp_path / "out").exit_code == 0
    counted = rejections(tmp_path / "out")
    assert counted["kept"] == 1
    assert counted["dropped"] == {"film-cannot-be-shown": 2}


def test_a_film_that_cannot_be_shown_counts_once_however_often_it_may_be_asked_about(
    films, server, tmp_path
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "0.png").write_bytes((films / "0.png").read_bytes())
    (folder / "1.png").write_bytes(b"no picture")
    write_examples(tmp_path / "store", [example(n) for n in range(2)], images_root=folder)
    server.script = lambda request: (200, {}, completion(good_reply()))
    for asked in (1, 0):
        assert run(tmp_path / "store", server, tmp_path / "out", "--attempts", "3").exit_code == 0
        counted = rejections(tmp_path / "out")
        assert counted["replies_rejected"] == {"film-cannot-be-shown": 1}
        assert counted["replies"] == {"asked_now": asked, "there_already": 1 - asked}


def test_a_teacher_that_cannot_see_works_from_the_regions(store, server, tmp_path) -> None:
    server.script = distinct
    assert run(store, server, tmp_path / "out", "--no-pictures").exit_code == 0
    assert [part["type"] for part in server.requests[0]["messages"][0]["content"]] == ["text"]


def test_the_documentation_lists_every_reason_with_its_meaning() -> None:
    page = Path(__file__).parents[3] / "docs" / "cold-start-data.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{reason}` | {reason.meaning} |" for reason in Reason]
