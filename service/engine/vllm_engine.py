"""vLLM in this process: the front end here, the model in the processes that it starts."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import multiprocessing
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import fields
from importlib.metadata import entry_points
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from service.daemon_thread import DaemonThread
from service.engine.arguments import (
    Machine,
    check_arguments,
    engine_arguments,
    image_limit,
    weights_size,
)
from service.engine.checkpoint import (
    checkpoint_folder,
    context_length,
    load_manifest,
    verify_loaded_config,
)
from service.engine.child import CORE, start_failure
from service.engine.environment import (
    PLUGIN,
    PLUGINS,
    core_environment,
    kv_cache_is_set,
    prepare_cpu,
    prepare_environment,
    without_settings,
)
from service.engine.failure import EngineStartError, EngineStuckError
from service.engine.manifest import Manifest
from service.engine.prompt import PromptBuilder
from service.engine.protocol import (
    Delta,
    EngineUnavailable,
    GenerationRequest,
    RequestRefused,
    Usage,
)
from service.engine.settings import (
    EngineArgumentError,
    EngineNotInstalledError,
    EngineSettings,
)
from service.engine.torchvision_schemas import register

LOG = logging.getLogger("deepmedix")

_SUPPRESSED = -100.0
"""Added to the logit of a token that must never be sampled."""

_LONGEST_STEP = 30.0
_LONGEST_STEP_OF_LARGE_MODEL_ON_CPU = 300.0

_LONGEST_GIVING_UP = 30.0
"""Seconds until a start that is to end, and whose processes are killed, counts as stuck."""


class VllmEngine:
    """Meets :class:`service.engine.protocol.WatchedEngine` with vLLM's ``AsyncLLM``.

    Making one reads and verifies the manifest; vLLM is imported and the checkpoint loaded by
    :meth:`start`.

    Parameters
    ----------
    settings
        Which checkpoint to serve, and how.

    Raises
    ------
    ManifestError
        When the manifest is missing, another one than the settings ask for, or contradicts the
        checkpoint.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._manifest, self._manifest_sha256 = load_manifest(
            settings.model, settings.manifest_sha256
        )
        self._folder = checkpoint_folder(settings.model)
        self._engine: Any = None
        self._loaded: Any = None
        self._prompts: PromptBuilder | None = None
        self._starting: asyncio.Future[None] | None = None
        # The kernel ends vLLM's processes with the thread that started them (see `child`).
        self._starter: DaemonThread | None = None
        self._others: set[BaseProcess] | None = None
        self._watched: list[BaseProcess] = []
        self._temporary: TemporaryDirectory[str] | None = None
        self._longest_step = _LONGEST_STEP
        self._stopped = False
        self._numbers = itertools.count()

    @property
    def manifest(self) -> Manifest:
        """Conventions and facts of the checkpoint that is served."""
        return self._manifest

    @property
    def manifest_sha256(self) -> str:
        """Digest of the manifest's bytes, in hexadecimal."""
        return self._manifest_sha256

    async def start(self) -> None:
        """Load the checkpoint; returns when requests can be taken.

        The event loop stays free meanwhile.

        Raises
        ------
        EngineArgumentError
            When an engine argument is unknown or cannot be used.
        EngineStartError
            When a process of the engine's could not start, and has said why.
        EngineNotInstalledError
            When vLLM, or what it needs of this program, is not installed.
        EngineStuckError
            When a start before hangs still.
        ManifestError
            When the manifest contradicts what was loaded.
        """
        if self._engine is not None:
            return
        self._watched = []  # how an earlier one ended says nothing of this one
        if self._starting is not None and not self._starting.done():
            raise EngineStuckError
        self._stopped = False
        self._others = set(multiprocessing.active_children())
        self._starter = DaemonThread("engine-starter")
        # A short name: the path of a socket in it may have 107 bytes.
        self._temporary = TemporaryDirectory(prefix="dmx-", ignore_cleanup_errors=True)
        self._starting = asyncio.get_running_loop().run_in_executor(self._starter, self._load)
        # Shielded: a thread cannot be cancelled, and stop() must be able to wait for it.
        await asyncio.shield(self._starting)
        self._prompts = self._prompt_builder(self._loaded)
        self._engine = self._loaded
        self._tell_what_is_served()

    async def stop(self) -> None:
        """Abort what runs and free everything; safe to call in any state.

        Raises
        ------
        EngineStuckError
            When a start cannot be given up: it hangs in a driver, for one. Nothing is freed then.
        """
        self._stopped = True
        self._engine = None
        if self._starting is not None:
            await self._give_up(self._starting)
            self._starting = None
        engine, self._loaded = self._loaded, None
        if engine is not None:
            if engine.output_handler is not None:
                engine.output_handler.cancel()  # else it reports the core's end as a failure
            _tell_those_waiting(engine)
            await asyncio.get_running_loop().run_in_executor(self._starter, engine.shutdown)
            del engine
            # vLLM's engine is part of cycles, and its finaliser fails when it runs at exit.
            gc.collect()
        starter, self._starter = self._starter, None
        if starter is not None:
            starter.shutdown(wait=False)
        self._others = None
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    def kill(self) -> None:
        """End vLLM's processes now, without asking them; :meth:`stop` then frees the rest."""
        for process in self._processes():
            _kill_with_descendants(process)

    async def beat(self) -> None:
        """Return when the engine's core has answered, which it does between two steps.

        Raises
        ------
        EngineUnavailable
            When the engine is not started.
        Exception
            vLLM's own, when the core cannot be asked.
        """
        await self._running().is_paused()

    async def ended(self) -> None:
        """Return when one of the processes that vLLM started from here has ended."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._watched = self._processes()
        sentinels = [process.sentinel for process in self._watched]
        for sentinel in sentinels:
            loop.add_reader(sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            for sentinel in sentinels:
                loop.remove_reader(sentinel)

    @property
    def endings(self) -> str:
        """How the processes that have ended by themselves did."""
        return ", ".join(
            f"{process.name} {_ending(process.exitcode)}"
            for process in self._watched
            if process.exitcode is not None
        )

    @property
    def has_processes(self) -> bool:
        """Whether vLLM has started a process that is there still."""
        return bool(self._processes())

    @property
    def longest_step(self) -> float:
        """Seconds within which any step ends on this machine, with room to spare."""
        return self._longest_step

    async def check_health(self) -> None:
        """Return when requests can be taken.

        Raises
        ------
        EngineUnavailable
            When the engine is not started or has died.
        """
        engine = self._running()
        try:
            await engine.check_health()
        except Exception as error:
            raise EngineUnavailable() from error

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Yield the text as it comes; closing or cancelling the iterator aborts the request.

        Raises
        ------
        EngineUnavailable
            When the engine is not started, has died or takes no further request.
        TooManyImages, PromptTooLong, RequestRefused
            When this checkpoint cannot read the request.
        """
        engine = self._running()
        assert self._prompts is not None
        prompt: dict[str, Any] = {"prompt_token_ids": self._prompts.encode(request)}
        if request.images:
            images = [Image.fromarray(image, "RGB") for image in request.images]
            prompt["multi_modal_data"] = {"image": images}
        # Names of requests are the callers'; what vLLM aborts by must be unique.
        name = f"{request.request_id}-{next(self._numbers)}"
        trace = dict(request.trace_headers) if request.trace_headers else None
        outputs = engine.generate(prompt, self._sampling(request), name, trace_headers=trace)
        finished = False
        try:
            async with aclosing(_deltas(outputs)) as deltas:
                async for delta in deltas:
                    finished = delta.finish_reason is not None
                    yield delta
        finally:
            if not finished and engine is self._engine:
                # vLLM aborts by itself, except where it is left while it hands the request over.
                await asyncio.shield(_abort(engine, name))

    def unfinished_requests(self) -> int:
        """Return how many requests wait or run in the engine."""
        return int(self._running().get_num_unfinished_requests())

    def prompt_length(self, request: GenerationRequest) -> int:
        """Return how many tokens the model reads for a request, images included.

        Raises
        ------
        EngineUnavailable
            When the engine is not started.
        TooManyImages, PromptTooLong
            When this checkpoint cannot read the request.
        """
        self._running()
        assert self._prompts is not None
        return self._prompts.length(self._prompts.encode(request), request)

    def _processes(self) -> list[BaseProcess]:
        """What vLLM has started for this engine, also while it still starts."""
        if self._others is None:
            return []
        children = set(multiprocessing.active_children()) - self._others
        return [child for child in children if child.name.startswith(CORE)]

    async def _give_up(self, starting: asyncio.Future[None]) -> None:
        """Wait for a start that nobody wants any more, made shorter where that can be done."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST_GIVING_UP
        while not starting.done():
            if loop.time() > end:
                raise EngineStuckError
            self.kill()  # a core that still loads its weights hears nothing else
            await asyncio.wait([starting], timeout=0.5)
        if not starting.cancelled():
            starting.exception()  # seen, so that asyncio does not report it

    def _running(self) -> Any:
        if self._engine is None:
            raise EngineUnavailable("The engine is not started.")
        return self._engine

    def _load(self) -> None:
        """Import vLLM and build the engine; takes tens of seconds, in a thread of its own."""
        with without_settings():
            self._load_by_itself()

    def _load_by_itself(self) -> None:
        prepare_environment(local=self._folder is not None)
        _check_installation(repaired=register())
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        check_arguments(self._settings, (field.name for field in fields(AsyncEngineArgs)))
        machine = self._machine(cpu=current_platform.is_cpu())
        if machine.cpu and not machine.small:
            self._longest_step = _LONGEST_STEP_OF_LARGE_MODEL_ON_CPU
        arguments = engine_arguments(self._settings, self._manifest, machine)
        if self._folder is None:
            arguments.setdefault("revision", self._manifest.revision)
            arguments.setdefault("tokenizer_revision", arguments["revision"])
        if machine.cpu:
            prepare_cpu(tensor_parallel_size=arguments.get("tensor_parallel_size", 1))
            _inspect_here(self._manifest.architecture)
        try:
            config = AsyncEngineArgs(model=self._model(), **arguments).create_engine_config()
        except (TypeError, ValueError) as error:
            raise EngineArgumentError(f"vLLM refuses the engine's arguments: {error}") from error
        if not self._stopped:
            assert self._temporary is not None
            folder = self._temporary.name
            with core_environment(folder):
                try:
                    # Not returned: the thread would keep it alive beyond its shutdown.
                    self._loaded = AsyncLLM.from_vllm_config(config)
                except Exception as error:
                    if (cause := start_failure(folder)) is None:
                        raise
                    raise EngineStartError(cause) from error

    def _model(self) -> str:
        return str(self._folder) if self._folder is not None else self._settings.model

    def _tell_what_is_served(self) -> None:
        config = self._loaded.vllm_config
        model, cache = config.model_config, config.cache_config
        tokens = (cache.num_gpu_blocks or 0) * cache.block_size
        LOG.info(
            "serving %s, revision %s, from %s: %s on %s, %d tokens a request at most, %d tokens of "
            "cache for %d requests at once",
            *(self._manifest.name, self._manifest.revision, self._model()),
            *(str(model.dtype).removeprefix("torch."), config.device_config.device_type),
            *(model.max_model_len, tokens, config.scheduler_config.max_num_seqs),
        )

    def _machine(self, *, cpu: bool) -> Machine:
        folder: Path | None = self._folder
        return Machine(
            cpu=cpu,
            weights=weights_size(folder) if folder else None,
            context=context_length(folder) if folder else None,
            kv_cache_is_set=kv_cache_is_set(),
        )

    def _prompt_builder(self, engine: Any) -> PromptBuilder:
        from vllm.renderers.hf import resolve_chat_template

        config = engine.model_config
        verify_loaded_config(config.hf_config.to_dict(), self._manifest)
        tokenizer = engine.renderer.tokenizer
        return PromptBuilder(
            tokenizer,
            resolve_chat_template(tokenizer, None, None, model_config=config) or "",
            self._manifest,
            max_images=image_limit(self._settings, self._manifest),
            max_model_len=config.max_model_len,
        )

    def _sampling(self, request: GenerationRequest) -> Any:
        from vllm.sampling_params import (
            RequestOutputKind,
            SamplingParams,
            StructuredOutputsParams,
        )

        assert self._prompts is not None
        sampling = request.sampling
        try:
            return SamplingParams(
                n=1,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=sampling.seed,
                output_kind=RequestOutputKind.DELTA,
                logit_bias=dict.fromkeys(self._prompts.suppressed, _SUPPRESSED),
                structured_outputs=(
                    StructuredOutputsParams(grammar=request.grammar) if request.grammar else None
                ),
            )
        except ValueError as error:
            raise RequestRefused() from error


def _check_installation(*, repaired: bool) -> None:
    if find_spec("vllm") is None:
        raise EngineNotInstalledError(
            "vLLM is not installed. Run `make install`, or install the extra `cpu` or `gpu`."
        )
    # vLLM's other processes find the repair by the entry point alone.
    if repaired and PLUGIN not in entry_points(group=PLUGINS).names:
        raise EngineNotInstalledError(
            "This program is not installed in its environment, and vLLM's processes need it there. "
            "Run `make install`, or `pip install -e .` in the checkout."
        )


def _inspect_here(architecture: str) -> None:
    """Spare vLLM the fresh interpreter in which it looks at a model's class for the first time.

    It does so to keep CUDA out of this process; on a CPU that only costs time.
    """
    from vllm import ModelRegistry

    models = ModelRegistry.models
    if architecture in models:
        ModelRegistry.register_model(architecture, models[architecture].load_model_cls())


async def _deltas(outputs: Any) -> AsyncGenerator[Delta, None]:
    """Read vLLM's outputs; its failures become problems without any text of theirs."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMServerError

    written = 0
    try:
        async with aclosing(outputs):
            async for output in outputs:
                completion = output.outputs[0]
                written += len(completion.token_ids)
                if not output.finished:
                    yield Delta(completion.text)
                    continue
                if completion.finish_reason not in ("stop", "length"):
                    raise EngineUnavailable("The engine gave the request up.")
                usage = Usage(len(output.prompt_token_ids), written)
                yield Delta(completion.text, completion.finish_reason, usage)
    except (VLLMServerError, GracefulHTTPError) as error:
        raise EngineUnavailable() from error
    except (VLLMClientError, ValueError) as error:
        raise RequestRefused() from error


def _tell_those_waiting(engine: Any) -> None:
    """End every wait for text: vLLM itself forgets whoever waits when it is shut down."""
    from vllm.v1.engine.exceptions import EngineDeadError

    engine.output_processor.propagate_error(EngineDeadError())


def _ending(status: int) -> str:
    """What an exit status of multiprocessing's says."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    # The kernel's log tells which of both it was.
    hint = ", as the kernel does where memory runs out" if -status == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"


def _kill_with_descendants(process: BaseProcess) -> None:
    import psutil  # type: ignore[import-untyped]  # without types; a dependency of vLLM itself
    from vllm.utils.system_utils import kill_process_tree

    if process.pid is not None and process.is_alive():
        # It may end in this very moment.
        with suppress(psutil.NoSuchProcess):
            kill_process_tree(process.pid)


async def _abort(engine: Any, name: str) -> None:
    if not engine.errored:
        await engine.abort(name)
