"""The paper's baselines, and others that ground: how each is asked and how its text is read.

Prompts follow the models' own cards where they give one; boxes are asked for only of models that
were trained to write them. MAIRA-2, LLaVA-Rad and CheXagent need their own code to run: they are
read from folders of predictions (:mod:`training.systems.folder`) as well as from a server.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.reading import Task
from training.data.example import Example
from training.systems.formats import (
    Format,
    fraction_of,
    grounded_sentences,
    headed_report,
    json_boxes,
    of_picture,
    plain,
    referred,
    rows_first,
    tagged_thinking,
)


@dataclass(frozen=True)
class Baseline:
    """How a model is asked.

    Attributes
    ----------
    findings, impression
        Prompts for the sections of a report.
    question
        Prompt for a question; ``{question}`` stands for it.
    read
        What its text says.
    system
        Turn of the system, where the model wants one.
    picture_pixels
        Largest area of a picture that is sent.
    pointing
        Tasks for which its prompt asks for boxes.
    """

    findings: str
    impression: str
    question: str
    read: Format = plain
    system: str = ""
    picture_pixels: int = 1024 * 1024
    pointing: frozenset[Task] = frozenset()

    @property
    def prompts(self) -> list[str]:
        """All of its words: what an answer depends on."""
        return [self.system, self.findings, self.impression, self.question]

    def points(self, task: Task) -> bool:
        """Whether it is asked for boxes, too."""
        return task in self.pointing

    def prompt(self, example: Example) -> str:
        """What the user's turn says."""
        if example.task is Task.VQA:
            return self.question.format(question=example.question)
        text = self.findings if example.task is Task.FINDINGS else self.impression
        context = [
            f"{name.capitalize()}: {value}"
            for name in ("indication", "technique", "comparison")
            if (value := getattr(example, name))
        ]
        return "\n".join([*context, text])


_FINDINGS = "Write the findings section of the radiology report of this chest X-ray."
_IMPRESSION = "Write the impression section of the radiology report of this chest X-ray."
_BRIEF = "{question} Answer with a single word or phrase."
_THINK = (
    " First think step by step between <think> and </think>, naming the region of each"
    " observation as [x_min, y_min, x_max, y_max] in pixels; then give the answer between <answer>"
    " and </answer>."
)
_EXPERT = "You are an expert radiologist."

BASELINES: dict[str, Baseline] = {
    "plain": Baseline(_FINDINGS, _IMPRESSION, _BRIEF),
    "qwen2.5-vl": Baseline(_FINDINGS, _IMPRESSION, _BRIEF, json_boxes("bbox_2d", of_picture)),
    "qwen2.5-vl-thinking": Baseline(
        _FINDINGS + _THINK,
        _IMPRESSION + _THINK,
        "{question}" + _THINK,
        tagged_thinking,
        pointing=frozenset(Task),
    ),
    "medgemma": Baseline(
        _FINDINGS,
        _IMPRESSION,
        _BRIEF,
        headed_report,
        system=_EXPERT,
        picture_pixels=896 * 896,
    ),
    "medgemma-boxes": Baseline(
        _FINDINGS,
        _IMPRESSION,
        _BRIEF,
        json_boxes("box_2d", rows_first),
        system=_EXPERT,
        picture_pixels=896 * 896,
    ),
    "huatuogpt-vision": Baseline(_FINDINGS, _IMPRESSION, _BRIEF),
    "deepseek-vl": Baseline(_FINDINGS, _IMPRESSION, _BRIEF),
    "deepseek-vl2": Baseline(
        "<|grounding|>" + _FINDINGS,
        _IMPRESSION,
        _BRIEF,
        referred(fraction_of(999)),
        pointing=frozenset((Task.FINDINGS,)),
    ),
    "chexagent": Baseline(
        "Given the chest X-ray, generate the findings section.",
        "Given the chest X-ray, generate the impression section.",
        _BRIEF,
        referred(fraction_of(100)),
        picture_pixels=512 * 512,
    ),
    "llava-rad": Baseline(
        "Describe the findings of the chest x-ray.",
        "Describe the impression of the chest x-ray.",
        "{question}",
    ),
    "maira-2": Baseline(
        "Provide a description of the findings in the radiology study.",
        "Provide the impression of the radiology study.",
        "{question}",
        grounded_sentences,
    ),
}
"""By the name that a system's ``as`` gives."""
