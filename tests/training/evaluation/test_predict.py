"""Systems are asked once about everything, whatever they do; interrupted runs go on."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reading import Task
from tests.training.small_store import Scripted, example, right
from training.chat.stopwatch import queueing
from training.data.example import Example
from training.evaluation.controls import Films, FilmViewer
from training.evaluation.predict import predict_all, prediction_key
from training.systems.prediction import (
    Failure,
    PredictedStep,
    Prediction,
    Predictions,
    read_predictions,
    writable,
)
from training.systems.protocol import FailedError, NoSystemError

EXAMPLES = [example(n) for n in range(12)]


@pytest.fixture
def look(films: Path) -> FilmViewer:
    return FilmViewer(films, [e.images[0] for e in EXAMPLES], Films.SHOWN)


async def asked(system: Scripted, look: FilmViewer, path: Path, **more) -> list[Prediction]:
    return await predict_all("one", system, EXAMPLES, look, path, **more)


async def test_predictions_come_in_the_order_of_the_examples(look, tmp_path: Path) -> None:
    said = await asked(Scripted(lambda e, films: right(e)), look, tmp_path / "p.jsonl")
    assert [p.example for p in said] == [e.id for e in EXAMPLES]
    assert {p.system for p in said} == {"one"}
    assert said[0].answer == EXAMPLES[0].answer
    assert {p.example for p in read_predictions(tmp_path / "p.jsonl")} == {p.example for p in said}


async def test_an_interrupted_run_goes_on_without_asking_again(look, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    calls = 0

    def dies(e: Example, films: Sequence[bytes]) -> Prediction:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise KeyboardInterrupt
        return right(e)

    with pytest.raises(KeyboardInterrupt):
        # In a loop of its own: an interrupt ends the loop it is raised in.
        await asyncio.to_thread(
            lambda: asyncio.run(asked(Scripted(dies), look, path, concurrency=1))
        )
    with path.open("a") as file:
        file.write('{"example": "half wri')
    again = Scripted(lambda e, films: right(e))
    said = await asked(again, look, path)
    assert len(said) == 12
    assert len(again.asked) == 7
    once_more = Scripted(lambda e, films: right(e))
    assert await asked(once_more, look, path) == said
    assert once_more.asked == []


async def test_whatever_a_system_does_on_one_example_the_others_are_asked(look, tmp_path) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    class Odd(Scripted):
        async def predict(self, e: Example, films: Sequence[bytes]) -> Prediction:
            self.asked.append(e.id)
            match EXAMPLES.index(e):
                case 0:
                    raise ZeroDivisionError
                case 1:
                    raise FailedError(Failure.REFUSED, "HTTP 422 too-many-images")
                case 2:
                    await forever()
                case 3:
                    raise FailedError(Failure.UNREACHABLE)
            return right(e)

    path = tmp_path / "p.jsonl"
    said = await asked(Odd(lambda e, films: right(e)), look, path, timeout=0.05)
    assert [p.failure for p in said[:5]] == [
        Failure.BROKEN,
        Failure.REFUSED,
        Failure.TIMEOUT,
        Failure.UNREACHABLE,
        None,
    ]
    assert said[0].notices == ("ZeroDivisionError",)
    # What may pass is asked again, the rest is not.
    again = Scripted(lambda e, films: right(e))
    said = await asked(again, look, path)
    assert sorted(again.asked) == sorted(EXAMPLES[n].id for n in (2, 3))
    assert [p.failure for p in said[:4]] == [Failure.BROKEN, Failure.REFUSED, None, None]


async def test_a_system_that_cannot_be_asked_ends_the_run(look, tmp_path: Path) -> None:
    def wrong(e: Example, films: Sequence[bytes]) -> Prediction:
        raise NoSystemError("the key is wrong")

    with pytest.raises(NoSystemError, match="the key is wrong"):
        await asked(Scripted(wrong), look, tmp_path / "p.jsonl")


async def test_a_missing_film_is_a_failure_of_its_example(films: Path, tmp_path: Path) -> None:
    look = FilmViewer(films, [e.images[0] for e in EXAMPLES], Films.SHOWN)
    (films / "4.png").unlink()
    said = await asked(Scripted(lambda e, films: right(e)), look, tmp_path / "p.jsonl")
    assert [p.failure for p in said] == [None] * 4 + [Failure.FILM] + [None] * 7


@pytest.mark.parametrize("shown", Films)
async def test_a_film_that_cannot_be_opened_is_a_failure_of_its_example(
    shown: Films, films: Path, tmp_path: Path
) -> None:
    (films / "4.png").write_bytes(b"no film")
    look = FilmViewer(films, [e.images[0] for e in EXAMPLES], shown)
    system = Scripted(lambda e, seen: right(e))
    said = await asked(system, look, tmp_path / "p.jsonl")
    failed = [p.failure for p in said if p.failure]
    # Only the blank control opens films itself; otherwise the system is the one to say so.
    assert failed == ([Failure.FILM] if shown is Films.BLANK else [])
    assert len(said) == 12


ODD = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ["\ud83d", "\u2028", "a\u0085b", "\r\n"]
)


@given(text=ODD, step=ODD)
def test_whatever_a_model_writes_is_kept_and_read_again(tmp_path_factory, text, step) -> None:
    path = tmp_path_factory.mktemp("odd") / "p.jsonl"
    told = Prediction("e", "s", "k", text=text, answer=text, steps=(PredictedStep(step),))
    kept = Predictions(path)
    kept.keep(writable(told))
    kept.close()
    (found,) = read_predictions(path)
    assert Predictions(path).find("k") == found
    whole = not any("\ud800" <= letter <= "\udfff" for letter in text + step)
    assert (found == told) is whole
    assert ("not-unicode" in found.notices) is not whole


async def test_half_a_character_in_an_answer_ends_no_run(look, tmp_path: Path) -> None:
    says = Scripted(lambda e, films: replace(right(e), text="\ud83d", answer="\ud83d"))
    said = await asked(says, look, tmp_path / "p.jsonl")
    assert {(p.answer, p.failure) for p in said} == {("\N{REPLACEMENT CHARACTER}", None)}
    again = Scripted(lambda e, films: right(e))
    assert await asked(again, look, tmp_path / "p.jsonl") == said
    assert again.asked == []


@pytest.mark.parametrize("wrong", [None, "left", {"x": 1}])
async def test_what_is_no_prediction_is_not_kept(look, tmp_path: Path, wrong) -> None:
    step = PredictedStep("A mass.", ((0, (wrong, 1.0, 2.0, 3.0)),))
    says = Scripted(lambda e, films: replace(right(e), steps=(step,)))
    said = await asked(says, look, tmp_path / "p.jsonl")
    assert {p.failure for p in said} == {Failure.BROKEN}
    assert len(read_predictions(tmp_path / "p.jsonl")) == 12


@given(cut=st.integers(1, 60))
def test_a_line_cut_within_a_character_is_passed_over(tmp_path_factory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "p.jsonl"
    kept = Predictions(path)
    for key in "ab":
        kept.keep(Prediction(key, "s", key, text="é" * 40))
    kept.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = Predictions(path)
    assert again.find("a") is not None
    assert (again.find("b") is None) is (cut > 1)
    again.keep(Prediction("c", "s", "c"))
    again.close()
    assert {p.example for p in read_predictions(path)} >= {"a", "c"}


async def test_the_wait_for_ones_turn_is_no_time_of_the_answer(look, tmp_path: Path) -> None:
    """One at a time; each takes a fifth of the limit, and the last waits for eleven others."""
    turn = asyncio.Lock()
    begun: list[float] = []

    class OneAtATime(Scripted):
        async def predict(self, e: Example, films: Sequence[bytes]) -> Prediction:
            with queueing():
                await turn.acquire()
            try:
                loop = asyncio.get_running_loop()
                begun.append(loop.time())
                done = asyncio.Event()
                loop.call_later(0.1, done.set)
                await done.wait()
            finally:
                turn.release()
            return right(e)

    said = await asked(
        OneAtATime(lambda e, films: right(e)),
        look,
        tmp_path / "p.jsonl",
        concurrency=12,
        timeout=0.5,
    )
    assert begun[-1] - begun[0] > 0.5
    assert {p.failure for p in said} == {None}


async def test_equal_questions_of_equal_films_are_asked_once(films: Path, tmp_path: Path) -> None:
    twice = [example(1, Task.VQA), example(1, Task.VQA, id="again")]
    look = FilmViewer(films, ["1.png"], Films.SHOWN)
    system = Scripted(lambda e, films: right(e))
    said = await predict_all("one", system, twice, look, tmp_path / "p.jsonl")
    assert len(system.asked) == 1
    assert [p.example for p in said] == ["vqa-1", "again"]
    assert said[0].answer == said[1].answer


def test_the_key_changes_with_all_that_an_answer_depends_on() -> None:
    base = example(1, Task.VQA)
    keys = {
        prediction_key({"model": 1}, base, [b"film"]),
        prediction_key({"model": 2}, base, [b"film"]),
        prediction_key({"model": 1}, base, [b"other film"]),
        prediction_key({"model": 1}, example(1, Task.VQA, question="Where?"), [b"film"]),
        prediction_key({"model": 1}, example(1, Task.VQA, indication="Cough"), [b"film"]),
    }
    assert len(keys) == 5
    # The reference is none of its business.
    changed = example(1, Task.VQA, answer="No", labels=())
    assert prediction_key({"model": 1}, base, [b""]) == prediction_key({"model": 1}, changed, [b""])


def test_a_line_that_is_no_prediction_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"example": "e", "system": "s"}) + '\n{"system": "s"}\n')
    with pytest.raises(ValueError, match=r"p\.jsonl:2 is no prediction"):
        read_predictions(path)
