"""What every attempt at one section has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from service.engine import GenerationRequest, Manifest, Sampling
from service.interpretation.films import FilmSet
from service.interpretation.request import StudyRequest
from service.reading import (
    BoxSpace,
    Decoding,
    Mode,
    ParsedStep,
    ParsedText,
    Reading,
    ReasoningStep,
    Task,
    build_prompt,
    ground,
    grounded_text_grammar,
    to_model_space,
)


@dataclass(frozen=True, slots=True, eq=False)
class SectionPlan:
    """A section to ask for, and the films to ask it of.

    Attributes
    ----------
    task, mode
        What is asked, and whether to reason first.
    decoding
        How the first attempt is decoded.
    prompt
        Text of the user's turn.
    films
        The films, shared by all sections.
    box_space
        The space in which the checkpoint writes boxes.
    sampling
        How tokens are chosen.
    trace_headers
        Handed on to the engine.
    """

    task: Task
    mode: Mode
    decoding: Decoding
    prompt: str
    films: FilmSet
    box_space: BoxSpace
    sampling: Sampling
    trace_headers: Mapping[str, str] | None

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each image in the space that boxes are written in."""
        corners = (
            to_model_space(
                (0.0, 0.0, image.width, image.height), image.width, image.height, self.box_space
            )
            for image in self.films.model_images
        )
        return tuple((corner[2], corner[3]) for corner in corners)

    def generation(self, decoding: Decoding) -> GenerationRequest:
        """Return the engine's request, under a name that no other request has."""
        grammar = None
        if decoding is Decoding.CONSTRAINED:
            steps, characters = _bounds(self.sampling.max_tokens)
            grammar = grounded_text_grammar(
                self.mode,
                extents=self.extents,
                max_steps=steps,
                max_answer_characters=characters,
            )
        return GenerationRequest(
            request_id=f"{self.task}-{uuid4().hex}",
            prompt=self.prompt,
            images=self.films.pixels,
            sampling=self.sampling,
            grammar=grammar,
            trace_headers=self.trace_headers,
        )

    def ground(self, parsed: ParsedText, raw_text: str) -> Reading:
        """Return the parsed text with its boxes in the films' stored pixels."""
        return ground(
            parsed,
            task=self.task,
            mode=self.mode,
            raw_text=raw_text,
            images=self.films.model_images,
            radiographs=self.films.radiographs,
            box_space=self.box_space,
        )

    def ground_step(self, step: ParsedStep, index: int) -> ReasoningStep:
        """Return one step as ``ground`` gives it, before the whole text is known."""
        alone = ParsedText(steps=(step,), answer="", notices=(), complete=False)
        return replace(self.ground(alone, step.raw).steps[0], index=index)


def _bounds(max_tokens: int) -> tuple[int, int]:
    """Return the most steps, and characters of the answer, that fit a number of tokens as a rule.

    A step with a box is about 25 tokens, a token at least three characters: so a model that would
    go on for ever is led to its end instead of being cut off.
    """
    steps = int(0.7 * max_tokens / 25)
    characters = int(0.4 * max_tokens * 3)
    return min(max(steps, 1), 24), min(max(characters, 40), 2000)


def section_prompt(task: Task, request: StudyRequest, manifest: Manifest) -> str:
    """Return the text of one section's turn, which no film is needed for.

    Raises
    ------
    Problem
        ``invalid-field`` where nothing of the question is left.
    """
    return build_prompt(
        manifest.conventions,
        task,
        request.mode,
        question=request.question if task is Task.VQA else None,
        context=request.context,
        images=len(request.films),
    )


def plan_section(
    task: Task,
    prompt: str,
    request: StudyRequest,
    manifest: Manifest,
    sampling: Sampling,
    films: FilmSet,
) -> SectionPlan:
    """Return the plan of one section, the manifest's conventions filled in."""
    return SectionPlan(
        task=task,
        mode=request.mode,
        decoding=request.decoding or manifest.decoding,
        prompt=prompt,
        films=films,
        box_space=manifest.conventions.box_space,
        sampling=sampling,
        trace_headers=request.trace_headers,
    )
