"""Our engine in this process, asked through the service's own walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from service.engine import Engine, EngineSettings, ManifestError, VllmEngine
from service.interpretation import StudyRequest, interpret
from service.problem import Problem
from service.radiograph import RadiographDecoder
from service.reading import ClinicalContext, Mode, Reading, Task
from training.data.example import Example
from training.systems.prediction import Failure, PredictedStep, Prediction
from training.systems.protocol import FailedError, NoSystemError


class EngineSystem:
    """A checkpoint served by vLLM within this process.

    Parameters
    ----------
    engine
        Started when the system is entered, stopped when it is left.
    """

    needs_films = True

    def __init__(self, engine: Engine, *, mode: Mode = Mode.THINK) -> None:
        self._engine = engine
        self._mode = mode
        self._decoder = RadiographDecoder()

    @classmethod
    def of(cls, model: str, *, mode: Mode = Mode.THINK) -> EngineSystem:
        """The system of a checkpoint: its folder, or a hub id.

        Raises
        ------
        NoSystemError
            When there is no checkpoint that can be served.
        """
        try:
            return cls(VllmEngine(EngineSettings(model)), mode=mode)
        except (ManifestError, OSError) as error:
            raise NoSystemError(f"{model} cannot be served: {error}") from error

    @property
    def identity(self) -> dict[str, Any]:
        """The checkpoint's manifest, and how it is asked."""
        return {
            "kind": "engine",
            "manifest": self._engine.manifest_sha256,
            "mode": str(self._mode),
        }

    async def __aenter__(self) -> Self:
        await self._engine.start()
        await self._decoder.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._decoder.close()
        await self._engine.stop()

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Read the study.

        Raises
        ------
        FailedError
            When the walk ends in a problem.
        """
        context = ClinicalContext(
            example.indication, example.technique, example.comparison, example.prior_report
        )
        try:
            request = StudyRequest(
                tuple(films),
                (example.task,),
                question=example.question if example.task is Task.VQA else None,
                mode=self._mode,
                context=context,
                temperature=0.0,
                allow_other_anatomy=True,
            )
            done = await interpret(request, decoder=self._decoder, engine=self._engine)
        except Problem as error:
            gone = error.status in (503, 504)
            raise FailedError(
                Failure.UNREACHABLE if gone else Failure.REFUSED, error.code
            ) from error
        except ValueError as error:  # more films than a study may have
            raise FailedError(Failure.REFUSED, str(error)) from error
        said = of_reading(done.sections[0].reading, tokens=done.usage.completion_tokens)
        return replace(said, pointing=self._mode is Mode.THINK)


def of_reading(reading: Reading, *, tokens: int | None = None) -> Prediction:
    """A reading as a prediction, boxes in original pixels."""
    steps = tuple(
        PredictedStep(
            step.text,
            tuple((box.image, (box.x_min, box.y_min, box.x_max, box.y_max)) for box in step.boxes),
        )
        for step in reading.steps
    )
    return Prediction(
        "",
        "",
        text=reading.raw_text,
        answer=reading.answer,
        steps=steps,
        notices=tuple(notice.code for notice in reading.notices),
        complete=reading.complete,
        tokens=tokens,
    )
