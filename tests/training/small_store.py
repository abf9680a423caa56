"""A small store with findings, boxes and questions, and systems that say what they are told."""

from collections.abc import Callable, Sequence
from typing import Any

from service.reading import Mode, Task
from training.data.example import Example
from training.systems.prediction import PredictedStep, Prediction

SIZE = (64, 80)
BOX = (10, 20, 30, 50)


def example(number: int, task: Task = Task.FINDINGS, **changes: Any) -> Example:
    fields: dict[str, Any] = {
        "id": f"{task}-{number}",
        "images": (f"{number}.png",),
        "sizes": (SIZE,),
        "task": task,
        "mode": Mode.ANSWER,
        "answer": "The heart is enlarged. There is a left pleural effusion.",
        "steps": (),
        "split": "test",
        "subject": f"patient-{number}",
        "view": "PA" if number % 2 else "AP",
        "labels": ("left pleural effusion", "cardiomegaly"),
        "source": "made",
        "licence": "MIT",
    }
    if task is Task.FINDINGS:
        fields["regions"] = (("left pleural effusion", BOX),)
    if task is Task.VQA:
        fields |= {
            "question": "Is there a pleural effusion?",
            "question_type": "presence",
            "answer": "Yes" if number % 3 else "No",
        }
    return Example(**(fields | changes))


def right(asked: Example) -> Prediction:
    """What the reference says, boxes included."""
    steps = tuple(
        PredictedStep(f"There is a {label}.", ((0, tuple(map(float, box))),))
        for label, box in asked.regions
    )
    return Prediction("", "", text=asked.answer, answer=asked.answer, steps=steps, complete=True)


class Scripted:
    """A system that answers by a function, and counts."""

    def __init__(
        self, say: Callable[[Example, Sequence[bytes]], Prediction], name: str = "scripted"
    ) -> None:
        self.say = say
        self.asked: list[str] = []
        self.identity = {"kind": name}
        self.needs_films = True

    async def __aenter__(self) -> "Scripted":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def predict(self, asked: Example, films: Sequence[bytes]) -> Prediction:
        self.asked.append(asked.id)
        return self.say(asked, films)
