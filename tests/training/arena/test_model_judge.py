"""A model behind a server judges blind, in the form that its server takes, within the budget."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.arena.test_tournament import BAD, ENTRANTS, EXAMPLES, FAIR, GOOD
from tests.training.scripted_server import ScriptedServer, completion, running_server
from training.arena.entry import KEY, Hearing, open_judges
from training.arena.judge import ModelJudge
from training.arena.match import Outcome
from training.arena.rubric import CRITERIA, PLAIN_SCHEMA, SCHEMA, prompt_of
from training.arena.tournament import Rules, play
from training.chat.address import endpoint_of
from training.chat.client import ChatServer, Patience
from training.systems.prediction import PredictedStep

TIE = json.dumps({"reason": "alike", "decided_by": "clarity", "verdict": "tie"})


# No two texts alike, so that no two questions are.
UNLIKE = {
    name: [replace(p, answer=f"{p.answer} Film {n}.") for n, p in enumerate(some)]
    for name, some in ENTRANTS.items()
}


def played(judges, out: Path, entrants=UNLIKE, **rules):
    return asyncio.run(play(EXAMPLES, entrants, judges, out, Rules(**rules)))


def judge_of(server: ScriptedServer, **more) -> ModelJudge:
    chat = ChatServer(endpoint_of(server.url), patience=Patience(tries=1))
    return ModelJudge("model", chat, "m", **more)


def test_a_model_is_asked_blind_for_json_of_the_rubrics_form(server, films, tmp_path) -> None:
    said = json.dumps({"reason": "sharper", "decided_by": "clarity", "verdict": "tie"})
    server.script = lambda request: (200, {}, completion(said))
    judge = judge_of(server, films=films)
    matches, tally = played([judge], tmp_path / "out", matches=3)
    assert {match.outcome for match in matches} == {Outcome.TIE}
    assert {match.reason for match in matches} == {"sharper"}
    assert tally.tokens == 6 * 150
    assert len(server.requests) == 6
    for request in server.requests:
        assert request["response_format"]["json_schema"]["schema"] == SCHEMA
        picture, text = request["messages"][0]["content"]
        assert picture["type"] == "image_url"
        for name in CRITERIA:
            assert name in text["text"]
        assert EXAMPLES[0].answer in text["text"]
        for name in ENTRANTS:
            assert name not in text["text"].lower().split()


def test_the_reference_is_told_only_where_wished(server, tmp_path: Path) -> None:
    server.script = lambda request: (200, {}, completion('{"verdict": "A"}'))
    played([judge_of(server, reference=False)], tmp_path, matches=1, entrants={"a": FAIR, "b": BAD})
    for request in server.requests:
        (text,) = request["messages"][0]["content"]
        assert EXAMPLES[0].answer not in text["text"]
        assert "not shown the film" in text["text"]


def uncounted(text: str) -> dict:
    reply = completion(text)
    del reply["usage"]
    return reply


@pytest.mark.parametrize("reply", [completion, uncounted])
@pytest.mark.parametrize("tokens", [5, 900, 1000])
def test_a_budget_below_one_verdicts_upper_estimate_lets_nothing_through(
    server, tmp_path: Path, reply, tokens: int
) -> None:
    server.script = lambda request: (200, {}, reply(TIE))
    matches, tally = played([judge_of(server)], tmp_path, matches=20, tokens=tokens)
    assert (matches, server.requests, tally.tokens) == ([], [], 0)


def test_tokens_that_no_server_counts_are_estimated_and_held_to_the_budget(
    server, tmp_path: Path
) -> None:
    server.script = lambda request: (200, {}, uncounted(TIE))
    _, tally = played([judge_of(server)], tmp_path, matches=60, tokens=30_000)
    assert 0 < len(server.requests) < 60
    assert tally.tokens == tally.estimated <= 30_000
    written = sum(len(r["messages"][0]["content"][0]["text"]) + len(TIE) for r in server.requests)
    assert tally.tokens > written  # a token for each byte, and some for the frame


def test_the_upper_estimate_holds_what_the_server_may_write(server, films) -> None:
    blind, seeing = judge_of(server), judge_of(server, films=films)
    question = (EXAMPLES[0], GOOD[0], BAD[0])
    shown = prompt_of(*question, reference=True, pictures=False)
    assert blind.most(*question) >= len(shown.encode()) + 1024
    assert seeing.most(*question) > blind.most(*question)


def test_a_server_that_refuses_schemas_is_asked_for_json_in_the_prompt(server, tmp_path) -> None:
    def strict(request):
        if "response_format" in request:
            return 400, {}, {"error": {"message": "response_format is not supported"}}
        return 200, {}, completion(TIE)

    server.script = strict
    matches, tally = played([judge_of(server)], tmp_path, matches=6, concurrency=1)
    assert len(matches) == 6
    assert tally.failed == 0
    formats = [request.get("response_format") for request in server.requests]
    tried = [told and told["json_schema"]["schema"] for told in formats]
    assert tried[:3] == [SCHEMA, PLAIN_SCHEMA, None]
    assert tried[3:] == [None] * 11  # once is enough


def test_questions_under_way_when_the_form_is_found_find_it_too(server, tmp_path: Path) -> None:
    found = threading.Event()

    def strict(request):
        if "response_format" not in request:
            found.set()
            return 200, {}, completion(TIE)
        if len(server.requests) == 2:  # told no only once the other has found the form
            assert found.wait(timeout=60)
        return 400, {}, {"error": {"message": "response_format is not supported"}}

    server.script = strict
    matches, tally = played([judge_of(server)], tmp_path, matches=6, concurrency=2)
    assert (len(matches), tally.failed) == (6, 0)


def test_a_refused_question_does_not_loosen_the_form_of_the_others(server, tmp_path) -> None:
    def now_and_then(request):
        if len(server.requests) == 3:
            return 400, {}, {"error": {"message": "too long"}}
        return 200, {}, completion(TIE)

    server.script = now_and_then
    matches, tally = played([judge_of(server)], tmp_path, matches=6, concurrency=1)
    assert (len(matches), tally.failed, tally.failures) == (5, 1, {"HTTP 400": 1})
    assert all("response_format" in request for request in server.requests)


def test_the_schemas_are_of_openais_strict_kind() -> None:
    for schema in (SCHEMA, PLAIN_SCHEMA):
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        assert all(part["type"] == "string" for part in schema["properties"].values())
    assert all(set(part) <= {"type", "enum"} for part in PLAIN_SCHEMA["properties"].values())


@pytest.mark.parametrize(
    ("status", "content", "why"),
    [
        (400, {"error": {"message": "too long"}}, "HTTP 400"),
        (200, {"nothing": "useful"}, "the reply is no chat completion"),
    ],
)
def test_a_failed_question_is_told_by_its_reason_and_asked_again(
    server, tmp_path: Path, status: int, content, why: str
) -> None:
    server.script = lambda request: (status, {}, content)
    _, tally = played([judge_of(server)], tmp_path, matches=2)
    assert (tally.failed, tally.unreadable) == (2, 0)
    assert tally.failures == {why: 4}
    # A reply that is none may have been paid for all the same.
    assert (tally.tokens > 0) == (status == 200)
    server.script = lambda request: (200, {}, completion(TIE))
    matches, again = played([judge_of(server)], tmp_path, matches=2)
    assert len(matches) == 2
    assert again.tokens == tally.tokens + 4 * 150


def test_a_film_that_is_missing_is_no_verdict_for_ever(server, films: Path, tmp_path: Path) -> None:
    server.script = lambda request: (200, {}, completion(TIE))
    out, empty = tmp_path / "out", tmp_path / "empty"
    _, tally = played([judge_of(server, films=empty)], out, matches=2)
    assert tally.failures == {"a film that cannot be shown": 4}
    assert server.requests == []
    matches, tally = played([judge_of(server, films=films)], out, matches=2)
    assert (len(matches), tally.failed) == (2, 0)


def test_two_servers_of_one_model_are_both_asked(server, tmp_path: Path) -> None:
    first, second = (json.dumps({"verdict": v, "reason": "", "decided_by": "harm"}) for v in "AB")
    with running_server() as other:
        server.script = lambda request: (200, {}, completion(first))
        other.script = lambda request: (200, {}, completion(second))
        judges = [
            ModelJudge(name, ChatServer(endpoint_of(one.url)), "m")
            for name, one in (("one", server), ("other", other))
        ]
        matches, _ = played(judges, tmp_path, matches=3)
        assert len(server.requests) == len(other.requests) == 6
    assert {(m.judge, m.favoured) for m in matches} == {("one", "first"), ("other", "second")}


def test_a_prompt_says_which_film_a_box_is_on() -> None:
    box, other = (10, 20, 30, 40), (11, 21, 31, 41)
    asked = replace(
        EXAMPLES[0],
        images=("0.png", "1.png"),
        sizes=((64, 80), (64, 80)),
        regions=(("mass", box),),
        regions_by_image=((("mass", box),), (("nodule", other),)),
    )
    said = replace(GOOD[0], steps=(PredictedStep("A nodule.", ((1, (1.0, 2.0, 3.0, 4.0)),)),))
    prompt = prompt_of(asked, said, BAD[0], reference=True, pictures=False)
    assert "mass film 1 [10, 20, 30, 40]; nodule film 2 [11, 21, 31, 41]" in prompt
    assert "1. A nodule. film 2 [1, 2, 3, 4]" in prompt


def test_a_prompt_of_half_a_surrogate_pair_can_be_sent(server, tmp_path: Path) -> None:
    server.script = lambda request: (200, {}, completion('{"verdict": "tie", "reason": "\\ud83d"}'))
    broken = [replace(p, answer="A mass \ud83d.") for p in BAD]
    matches, _ = played([judge_of(server)], tmp_path, {"a": broken, "b": GOOD}, matches=1)
    assert [match.reason for match in matches] == ["\ufffd"]


def test_a_key_goes_to_the_server_that_it_is_for(server, tmp_path, monkeypatch) -> None:
    server.script = lambda request: (200, {}, completion(TIE))
    monkeypatch.setenv(KEY, "shared")
    monkeypatch.setenv(f"{KEY}_BIG_70B", "its-own")
    lines = [f"big-70b={server.url},model=m", f"small={server.url},model=m"]

    def keys(*some: str) -> set:
        server.headers.clear()
        played(open_judges(some, Hearing()), tmp_path / str(len(some)) / some[0][:3], matches=1)
        return {headers.get("Authorization") for headers in server.headers}

    assert keys(lines[0]) == {"Bearer its-own"}
    assert keys(lines[1]) == {"Bearer shared"}
    assert keys(*lines) == {"Bearer its-own", None}
    with pytest.raises(ValueError, match="DEEPMEDIX_JUDGE_KEY_BIG_70B"):
        open_judges([lines[0], f"BIG.70b={server.url},model=m"], Hearing())
