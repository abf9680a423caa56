"""The three sides of the serving benchmark: the bare engine, the service, vLLM's OpenAI server."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import itertools
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.engine import EngineSettings, GenerationRequest, Manifest, load_manifest
from service.engine.arguments import Machine, engine_arguments, image_limit, weights_size
from service.engine.checkpoint import context_length
from service.engine.environment import kv_cache_is_set, prepare_cpu, prepare_environment
from service.engine.prompt import PromptBuilder
from service.engine.torchvision_schemas import register
from service.interpretation import StudyRequest
from service.interpretation.films import FilmSet
from service.interpretation.plan import plan_section, section_prompt
from service.interpretation.request import sampling_for
from service.radiograph import PixelGrid, fit_to_grid, load_radiograph
from service.reading import Task
from service.settings import EMBEDDED_CHECKPOINT

_MOST_CALLERS = 64
"""Threads that ask the service at once."""


@dataclass(frozen=True)
class Asked:
    """One request, in the form that each side takes.

    Attributes
    ----------
    film
        Bytes of the file, for the service.
    question
        The question; ``None`` asks for the findings.
    generation
        Prompt and sampling, for the other two.
    image
        The decoded image, for the other two: RGB, 8 bit.
    data_url
        The decoded image as a PNG, for the OpenAI server.
    processing
        What the engine is to do with the image beyond the service's arguments, by which it comes
        in the model's size.
    """

    film: bytes
    question: str | None
    generation: GenerationRequest
    image: npt.NDArray[np.uint8]
    data_url: str
    processing: dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """Seconds to the first token and to the end, and the tokens generated."""

    first_token: float
    latency: float
    tokens: int


class Side(Protocol):
    """Something that answers requests."""

    async def ask(self, asked: Asked) -> Answered:
        """Answer one request."""


def grid_of(manifest: Manifest) -> PixelGrid:
    """Return the checkpoint's pixel grid."""
    pixels = manifest.pixels
    return PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)


def prepared(
    film: bytes, manifest: Manifest, *, question: str | None = None, whole: bool = False
) -> Asked:
    """Decode a film and lay out what each side is asked.

    Parameters
    ----------
    film
        Bytes of the file.
    manifest
        Of the checkpoint.
    question
        The question; ``None`` asks for the findings.
    whole
        Give the engine the image in the film's own size, which it brings to the model's by itself;
        else already in the model's.
    """
    radiograph = load_radiograph(film)
    films = FilmSet((radiograph,), (fit_to_grid(radiograph, grid_of(manifest)),))
    task = Task.FINDINGS if question is None else Task.VQA
    study = StudyRequest(films=(film,), tasks=(task,), question=question, temperature=0)
    sampling, _ = sampling_for(study, manifest)
    plan = plan_section(
        task, section_prompt(task, study, manifest), study, manifest, sampling, films
    )
    image = Image.fromarray(radiograph.pixels if whole else films.pixels[0]).convert("RGB")
    png = io.BytesIO()
    image.save(png, format="PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    grid = grid_of(manifest)
    size = {"shortest_edge": grid.min_pixels, "longest_edge": grid.max_pixels}
    return Asked(
        film,
        question,
        plan.generation(plan.decoding),
        np.asarray(image),
        url,
        {"do_resize": True, "size": size} if whole else {},
    )


class BareEngine:
    """vLLM's ``AsyncLLM`` in this process, with the arguments that the service gives it."""

    def __init__(self, model: str = str(EMBEDDED_CHECKPOINT)) -> None:
        folder = Path(model)
        settings = EngineSettings(model)
        self.model = model
        self.manifest, _ = load_manifest(model)
        prepare_environment(local=True)
        register()
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.renderers.hf import resolve_chat_template
        from vllm.v1.engine.async_llm import AsyncLLM

        machine = Machine(
            cpu=current_platform.is_cpu(),
            weights=weights_size(folder),
            context=context_length(folder),
            kv_cache_is_set=kv_cache_is_set(),
        )
        self.arguments = engine_arguments(settings, self.manifest, machine)
        if machine.cpu:
            prepare_cpu(tensor_parallel_size=1)
        config = AsyncEngineArgs(model=model, **self.arguments).create_engine_config()
        self._engine = AsyncLLM.from_vllm_config(config)
        tokenizer = self._engine.renderer.tokenizer
        model_config = self._engine.model_config
        self._prompts = PromptBuilder(
            tokenizer,
            resolve_chat_template(tokenizer, None, None, model_config=model_config) or "",
            self.manifest,
            max_images=image_limit(settings, self.manifest),
            max_model_len=model_config.max_model_len,
        )
        self.suppressed = dict.fromkeys(self._prompts.suppressed, -100.0)
        self._numbers = itertools.count()

    async def ask(self, asked: Asked) -> Answered:
        """Generate; tokenising the prompt is not counted, as everything else before the engine."""
        from vllm.sampling_params import (
            RequestOutputKind,
            SamplingParams,
            StructuredOutputsParams,
        )

        request = asked.generation
        sampling = SamplingParams(
            temperature=0,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            seed=request.sampling.seed,
            output_kind=RequestOutputKind.DELTA,
            logit_bias=self.suppressed,
            structured_outputs=(
                StructuredOutputsParams(grammar=request.grammar) if request.grammar else None
            ),
        )
        prompt = {
            "prompt_token_ids": self._prompts.encode(request),
            "multi_modal_data": {"image": [Image.fromarray(asked.image, "RGB")]},
            **({"mm_processor_kwargs": asked.processing} if asked.processing else {}),
        }
        started = time.perf_counter()
        first, tokens = None, 0
        async for output in self._engine.generate(prompt, sampling, f"bare-{next(self._numbers)}"):
            tokens += len(output.outputs[0].token_ids)
            if first is None and output.outputs[0].text:
                first = time.perf_counter()
        ended = time.perf_counter()
        return Answered((first or ended) - started, ended - started, tokens)

    def close(self) -> None:
        """Stop the engine."""
        if self._engine.output_handler is not None:
            self._engine.output_handler.cancel()
        self._engine.shutdown()
        del self._engine
        gc.collect()  # it is part of cycles, and its finaliser fails when it runs at exit


class ServiceSide:
    """The service, asked for a stream of events with the film as the raw body.

    The stream brings whole steps, no tokens. The time to first token is what passes here from
    sending the film to the end of the stream, less what the service measured from the first token
    to the end of the reading: upload, opening, and the reply's own way are in it.

    The client is the standard library's, a thread for each caller: what an asynchronous one takes
    to send 7 MB, 10 ms more, is no cost of the service.
    """

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")
        self._callers = ThreadPoolExecutor(_MOST_CALLERS)

    async def ask(self, asked: Asked) -> Answered:
        """Post the film and read the stream to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._callers, self._ask, asked)

    def _ask(self, asked: Asked) -> Answered:
        fields = {"temperature": "0", "include": "timings"}
        if asked.question is None:
            path, fields["sections"] = "/report", "findings"
        else:
            path, fields["question"] = "/vqa", asked.question
        headers = {"Accept": "text/event-stream", "Content-Type": "application/octet-stream"}
        started = time.perf_counter()
        reply = b"{}"
        with closing(HTTPConnection(self._address, timeout=600)) as connection:
            connection.request("POST", f"{path}?{urlencode(fields)}", asked.film, headers)
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise RuntimeError(f"the service answered {response.status}")
            for line in response:
                if line.startswith(b"data: "):
                    reply = line.removeprefix(b"data: ")  # of the last event at last
        latency = time.perf_counter() - started
        whole = json.loads(reply)
        (timing,) = whole["timing"]["sections"]
        after = timing["generate_seconds"] + timing["parse_seconds"]
        return Answered(latency - after, latency, whole["usage"]["completion_tokens"])

    async def close(self) -> None:
        """Let the threads go."""
        self._callers.shutdown()


class OpenAISide:
    """vLLM's own server, asked through the OpenAI client for the same prompt and image."""

    def __init__(self, url: str, model: str, suppressed: Mapping[int, float]) -> None:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(
            base_url=url,
            api_key="none",
            timeout=600,
            max_retries=0,
            http_client=httpx.AsyncClient(timeout=600, trust_env=False),
        )
        self._model = model
        self._bias = {str(token): bias for token, bias in suppressed.items()}

    async def ask(self, asked: Asked) -> Answered:
        """Stream one chat completion."""
        request = asked.generation
        extra: dict[str, Any] = {}
        if request.grammar:
            extra["structured_outputs"] = {"grammar": request.grammar}
        if asked.processing:
            extra["mm_processor_kwargs"] = asked.processing
        started = time.perf_counter()
        first, tokens = None, 0
        stream = await self._client.chat.completions.create(
            model=self._model,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": asked.data_url}},
                        {"type": "text", "text": request.prompt},
                    ],
                }
            ],
            temperature=0,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            logit_bias=self._bias,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=extra,
        )
        async for chunk in stream:
            if chunk.usage is not None:
                tokens = chunk.usage.completion_tokens
            if first is None and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter()
        ended = time.perf_counter()
        return Answered((first or ended) - started, ended - started, tokens)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
