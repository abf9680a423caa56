"""Ask the teacher about every example, check what it answers, and write what is kept as a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.chat.client import Answer, ChatServer
from training.chat.errors import (
    AwayError,
    GarbledReplyError,
    RefusedError,
    SilentError,
    UnansweredError,
)
from training.data.example import Example
from training.data.store import DESCRIPTION, DataError, write_examples
from training.data.store.description import PREPARATION
from training.data.teacher.answers import Answers
from training.data.teacher.checks import Bounds, Verdict, judge, needs_prior
from training.data.teacher.duplicates import Duplicates
from training.data.teacher.errors import FilmError, TeacherError
from training.data.teacher.reasons import Reason, Refusal
from training.data.teacher.request import Asking, Question, ask_about, request_body
from training.data.teacher.tally import Tally

ANSWERS = "answers.jsonl"
REJECTIONS = "rejections.json"
REJECTED = "rejected.jsonl"
_ASKING = "asking the teacher"


def refuse_other_store(folder: Path) -> None:
    """Refuse a folder with a store that no such run wrote.

    Raises
    ------
    TeacherError
        When it holds one.
    """
    prepared = (folder / PREPARATION).exists()
    if prepared or ((folder / DESCRIPTION).exists() and not (folder / ANSWERS).exists()):
        raise TeacherError(
            f"--out {folder} holds a store that was not taught: it would be lost. Name another "
            "folder."
        )


@dataclass(frozen=True)
class Lesson:
    """How a data set is taught.

    Attributes
    ----------
    films
        Folder that the examples' images are relative to.
    folder
        Receives answers, rejections and the store of what is kept.
    attempts
        Times that the teacher is asked about an example until a reply is kept.
    concurrency
        Requests at once.
    near_duplicates
        Similarity from which two replies count as one.
    silent
        Requests in a row that may stay without an answer before the teacher counts as gone.
    """

    asking: Asking
    films: Path
    folder: Path
    bounds: Bounds = field(default_factory=Bounds)
    attempts: int = 1
    concurrency: int = 8
    near_duplicates: float = 0.85
    silent: int = 5


@dataclass
class _Silence:
    """Requests in a row that got no answer, and what was said of the last."""

    requests: int = 0
    last: SilentError | None = None

    def told(self) -> SilentError | None:
        """The last with how many they are; None where all were answered."""
        if self.last is None:
            return None
        count = "a request" if self.requests == 1 else f"{self.requests} requests in a row"
        return SilentError(f"No answer to {count}. {self.last}")


async def teach(examples: Sequence[Example], teacher: ChatServer, lesson: Lesson) -> Tally:
    """Gather the teacher's answers, then sort them.

    Answers are written down as they come and never asked for twice, so that an interrupted run
    goes on where it was; what the server refused is asked for again by another run. What is kept
    depends on the answers alone, not on the order in which they came. An example that the teacher
    never answers is passed over; where the teacher is gone, what it answered before is sorted and
    stored all the same.

    Raises
    ------
    ChatError
        When the teacher cannot be asked, is gone, or nothing of what it said can be kept.
    """
    gone: AwayError | None = None
    silence = _Silence()
    with Answers(lesson.folder / ANSWERS) as answers:
        async with teacher:
            try:
                await _ask_all(examples, teacher, lesson, answers, silence)
            except AwayError as error:
                gone = error
        if not len(answers):
            gone = gone or silence.told()
            if gone:
                raise gone
        try:
            tally = _sort(examples, lesson, answers)
        except TeacherError as error:
            raise gone or error from None
        if gone:
            raise gone
        return tally


async def _ask_all(
    examples: Sequence[Example],
    teacher: ChatServer,
    lesson: Lesson,
    answers: Answers,
    silence: _Silence,
) -> None:
    waiting = iter(examples)
    claimed: set[str] = set()
    with _progress() as progress:
        task = progress.add_task(_ASKING, total=len(examples))
        teacher.tell = lambda words: progress.update(task, description=escape(words))

        async def work() -> None:
            for example in waiting:  # one iterator: each example goes to one worker
                await _ask_until_kept(example, teacher, lesson, answers, claimed, silence)
                progress.update(task, advance=1, description=_ASKING)

        workers = [asyncio.create_task(work()) for _ in range(lesson.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _ask_until_kept(
    example: Example,
    teacher: ChatServer,
    lesson: Lesson,
    answers: Answers,
    claimed: set[str],
    silence: _Silence,
) -> None:
    if needs_prior(example):
        return
    for attempt in range(lesson.attempts):
        try:
            question = ask_about(example, lesson.asking, lesson.films, attempt)
        except FilmError:
            return  # counted when all is sorted
        if question.key in claimed:  # the same question again
            return
        claimed.add(question.key)
        found = answers.find_settled(question.key)
        if found is None:
            try:
                body = await asyncio.to_thread(request_body, question, lesson.asking, lesson.films)
                found = (await teacher.ask(body)).joined()
            except FilmError as error:
                found = Refusal(Reason.FILM, str(error))
            except UnansweredError:
                return  # not kept: another run asks again
            except SilentError as error:
                silence.requests += 1
                silence.last = error
                if silence.requests >= lesson.silent:
                    raise silence.told() or error from None
                return
            except GarbledReplyError as error:
                found = Refusal(Reason.GARBLED, str(error))
            except RefusedError as error:
                found = Refusal(Reason.REFUSED, str(error))
            if isinstance(found, Answer) or found.was_sent:
                silence.requests = 0
            answers.keep(question.key, example.id, lesson.asking.model, found)
        verdict = _verdict(question, found, lesson)
        if verdict.example is not None or verdict.reason is Reason.FILM:
            return  # another attempt would show the same film


def _sort(examples: Sequence[Example], lesson: Lesson, answers: Answers) -> Tally:
    """Check all answers in the examples' order; write the store and what was rejected."""
    tally = Tally(asked=answers.asked)
    kept: list[Example] = []
    seen: set[str] = set()
    duplicates = Duplicates(lesson.near_duplicates)
    with (lesson.folder / REJECTED).open("w") as rejected:
        for example in examples:
            tally.examples += 1
            last: Reason | None = None
            for question, found, verdict in _replies(example, lesson, answers, seen):
                if found is not None:
                    tally.prompt_tokens += found.tokens[0]
                    tally.completion_tokens += found.tokens[1]
                last = verdict.reason
                if verdict.example is not None:
                    last = duplicates.judge(verdict.example)
                    if last is None:
                        kept.append(verdict.example)
                        break
                assert last is not None
                if last is Reason.REFUSED:
                    tally.refusal = verdict.detail
                tally.by_reason[last] += 1
                rejected.write(_line(example, question, found, last, verdict.detail))
            if last is not None:
                tally.dropped[last] += 1
    tally.kept = len(kept)
    tally.cached = len(answers) - answers.asked
    tally.write(lesson.folder / REJECTIONS)
    if not kept:
        raise TeacherError(
            f"Nothing of what the teacher said is kept; {lesson.folder / REJECTIONS} counts why, "
            f"{lesson.folder / REJECTED} shows each reply. {tally.told_of_refusals()}".rstrip()
        )
    remarks = {str(reason): count for reason, count in tally.dropped.items()}
    try:
        write_examples(lesson.folder, kept, images_root=lesson.films.resolve(), remarks=remarks)
    except DataError as error:
        raise TeacherError(str(error)) from error
    return tally


def _replies(
    example: Example, lesson: Lesson, answers: Answers, seen: set[str]
) -> Iterator[tuple[Question | None, Answer | None, Verdict]]:
    """Every reply about an example with its verdict, in order; or why it was not asked about."""
    if needs_prior(example):
        yield None, None, Verdict(reason=Reason.NEEDS_PRIOR)
        return
    for attempt in range(lesson.attempts):
        try:
            question = ask_about(example, lesson.asking, lesson.films, attempt)
        except FilmError as error:
            yield None, None, Verdict(reason=Reason.FILM, detail=str(error))
            return
        if attempt == 0 and question.key in seen:
            yield question, None, Verdict(reason=Reason.SAME_QUESTION)
            return
        seen.add(question.key)
        found = answers.find(question.key)
        if found is None:
            if attempt == 0:
                yield question, None, Verdict(reason=Reason.UNANSWERED)
            return  # else an earlier reply was good, but a duplicate, or this one never came
        verdict = _verdict(question, found, lesson)
        yield question, found if isinstance(found, Answer) else None, verdict
        if verdict.reason is Reason.FILM:
            return


def _verdict(question: Question, found: Answer | Refusal, lesson: Lesson) -> Verdict:
    if isinstance(found, Refusal):
        return Verdict(reason=found.reason, detail=found.words)
    return judge(question, found, lesson.bounds)


def _line(
    example: Example, question: Question | None, found: Answer | None, reason: Reason, detail: str
) -> str:
    content = {
        "example": example.id,
        "attempt": question.attempt if question else None,
        "reason": str(reason),
        "detail": detail,
        "text": found.text if found else None,
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
