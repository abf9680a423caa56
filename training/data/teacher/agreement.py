"""Whether the teacher's answer is the known one."""

from __future__ import annotations

from service.reading import Task
from training.data.example import Example
from training.data.teacher.polarity import polarity_of
from training.labels import finding_labels
from training.rewards.equivalence import answer_worth


def answers_agree(example: Example, answer: str) -> bool:
    """Whether an answer says what the known one says.

    Answers to questions say the same as :func:`answer_worth` reads them, and nothing beside it.
    Report sections affirm the same findings on the same sides, and do not contradict each other.
    """
    if not answer.strip():
        return False
    if example.task is Task.VQA:
        question = example.question or ""
        return answer_worth(answer, example.answer, finding_labels(question), question) == 1
    said_of, known_of = polarity_of(answer), polarity_of(example.answer)
    return said_of.affirmed == known_of.affirmed and not said_of.contradicts(known_of)
