"""The environment variables that vLLM and its companions read, set before they are imported."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from service.cgroup import usable_cores
from service.engine.child import FOLDER, PARENT
from service.telemetry import ENGINE_LOGGING, FORMAT_VARIABLE

PLUGINS = "vllm.platform_plugins"
"""Group of entry points that vLLM loads in each of its processes, before all else."""

PLUGIN = "deepmedix"
"""Name of this project's entry point in it."""

_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # vLLM's own, of torch
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    # What vLLM logs passes our handler, which keeps callers' data out of it.
    "VLLM_LOGGING_CONFIG_PATH": str(ENGINE_LOGGING),
    # Of vLLM's spans, where they are wanted: the protocol and name of the service's own.
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_SERVICE_NAME": "deepmedix-engine",
    # Below that, vLLM reports its own defaults; failures come as exceptions all the same.
    "VLLM_LOGGING_LEVEL": "ERROR",
}

# This process has threads, and a fork of it may find their locks held for ever.
_SPAWN = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}

_ONE_NODE = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""The engine's processes are all of this machine; by default their sockets, which ask for no
credential, are open on the address that the host's name resolves to."""

_OURS = "DEEPMEDIX_"

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def prepare_environment(*, local: bool) -> None:
    """Set what the operator has not set: no telemetry, quiet logs, sockets on loopback alone, no
    network for a local folder.

    Parameters
    ----------
    local
        Whether the checkpoint is a folder of this machine.
    """
    one_node = _ONE_NODE if sys.platform == "linux" else {}  # elsewhere it has another name
    wanted = _QUIET | _SPAWN | one_node | (_OFFLINE if local else {})
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    # PYTHONWARNINGS reaches only the processes that are started from here.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
    # Where the operator lists the plugins to load, the repair must still be among them.
    plugins = os.environ.get("VLLM_PLUGINS")
    if plugins is not None and PLUGIN not in plugins.split(","):
        os.environ["VLLM_PLUGINS"] = f"{plugins},{PLUGIN}"


@contextmanager
def without_settings() -> Iterator[None]:
    """Keep the service's settings, its secrets among them, from what is started meanwhile.

    The engine's processes are told what they need; of our variables they read the log's format
    alone.
    """
    ours = [name for name in os.environ if name.startswith(_OURS) and name != FORMAT_VARIABLE]
    kept = {name: os.environ.pop(name) for name in ours}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def core_environment(folder: str) -> Iterator[None]:
    """Tell a core that is started meanwhile whose it is, and where its files go.

    vLLM's sockets go there too. A core that is killed removes nothing itself: whoever owns the
    folder does.
    """
    wanted = {FOLDER: folder, PARENT: str(os.getpid())}
    given = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def prepare_cpu(*, tensor_parallel_size: int) -> None:
    """Lay out the CPU engine's processes and threads, where the operator has not.

    One process, apart from this one, for the engine's core and its only worker: a second would
    cost as long to start as the first. (The variable has no other effect on ``AsyncLLM``.) Its
    threads leave one core, of those that a container may use, for the service.
    """
    if tensor_parallel_size == 1:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() - 1)))


def kv_cache_is_set() -> bool:
    """Whether the environment already says how much memory the CPU engine's cache takes."""
    return bool(os.environ.get("VLLM_CPU_KVCACHE_SPACE"))
