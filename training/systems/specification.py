"""Systems by a line of text: ``NAME=kind:location,option=value``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from service.reading import Mode
from service.settings import EMBEDDED_CHECKPOINT
from training.chat.address import address_of, endpoint_of, settle
from training.chat.client import ChatServer, Patience
from training.chat.errors import ChatError
from training.chat.pace import Pace
from training.systems.baselines import BASELINES
from training.systems.checkpoint import CheckpointSystem
from training.systems.endpoint import EndpointSystem
from training.systems.engine import EngineSystem
from training.systems.folder import FolderSystem
from training.systems.protocol import NoSystemError, System
from training.systems.section import SectionSystem
from training.systems.served import ServedSystem
from training.systems.service import ServiceSystem

KEY = "DEEPMEDIX_SYSTEM_KEY"
"""Environment variable that holds the key of a service or an endpoint that asks for one.

One that has another is given the variable's name: ``key=VARIABLE``.
"""
KINDS = {
    "service": "URL of a running service; mode=think|answer, key=VARIABLE",
    "serve": "a checkpoint as `engine`, but served in a process of its own and asked over HTTP",
    "engine": "`embedded`, a checkpoint's folder or a hub id; mode=think|answer",
    "endpoint": "URL of an OpenAI-compatible server; model=NAME, as=BASELINE, key=VARIABLE",
    "checkpoint": "folder or hub id of a transformers checkpoint; as=BASELINE",
    "predictions": "file or folder; as=BASELINE whose form the texts have",
    "section": "findings or impression: copies that section of the reference report",
}
_OPTIONS = {
    "service": {"mode", "key"},
    "engine": {"mode"},
    "serve": {"mode"},
    "endpoint": {"model", "as", "key"},
    "checkpoint": {"as"},
    "predictions": {"as"},
    "section": set(),
}


@dataclass(frozen=True)
class Asking:
    """How patiently systems are asked.

    Attributes
    ----------
    timeout
        Seconds that one prediction may take.
    per_minute
        Requests a minute to an endpoint; None: as fast as they come.
    allow_remote
        Whether films and texts may go to a public address.
    """

    timeout: float = 300.0
    per_minute: float | None = None
    allow_remote: bool = False


def open_system(line: str, asking: Asking) -> tuple[str, System]:
    """The name and the system that a line describes.

    Raises
    ------
    NoSystemError
        When the line is none, or what it names cannot be.
    """
    name, line = _split_name(line)
    kind, _, rest = line.partition(":")
    location, *pairs = rest.split(",")
    options = dict(pair.partition("=")[::2] for pair in pairs)
    if kind not in KINDS or not location:
        known = "; ".join(f"{kind}:{what}" for kind, what in KINDS.items())
        raise NoSystemError(f"--system {line!r} is none. Known are {known}.")
    if unknown := set(options) - _OPTIONS[kind]:
        raise NoSystemError(f"--system {line!r}: {kind} has no option {', '.join(unknown)}.")
    try:
        system = _open(kind, location, options, asking)
    except (ChatError, ValueError) as error:
        raise NoSystemError(f"--system {line!r}: {error}") from error
    return name or location.rstrip("/").rsplit("/", 1)[-1], system


def _split_name(line: str) -> tuple[str, str]:
    before, sign, after = line.partition("=")
    return (before, after) if sign and ":" not in before and "," not in before else ("", line)


def _open(kind: str, location: str, options: dict[str, str], asking: Asking) -> System:
    variable = options.get("key", KEY)
    key = os.environ.get(variable)
    if key is None and variable != KEY:
        raise NoSystemError(f"key={variable}: the environment has no such variable.")
    if kind == "service":
        endpoint = settle(
            address_of(location, "--system"), option="--system", allow_remote=asking.allow_remote
        )
        mode = Mode(options.get("mode", "think"))
        return ServiceSystem(endpoint, mode=mode, timeout=asking.timeout, key=key)
    if kind in ("engine", "serve"):
        model = str(EMBEDDED_CHECKPOINT) if location == "embedded" else location
        mode = Mode(options.get("mode", "think"))
        if kind == "serve":
            return ServedSystem(model, mode=mode, timeout=asking.timeout)
        return EngineSystem.of(model, mode=mode)
    if kind == "section":
        return SectionSystem(location)
    if kind == "predictions":
        path = Path(location)
        if not path.exists():
            raise NoSystemError(f"{path} is not there.")
        return FolderSystem(path, options.get("as", "deepmedix"))
    form = options.get("as", "plain")
    if form not in BASELINES:
        raise NoSystemError(f"as={form} is not known: {', '.join(BASELINES)}.")
    if kind == "checkpoint":
        return CheckpointSystem(location, BASELINES[form], form)
    if not options.get("model"):
        raise NoSystemError("endpoint needs model=NAME (GET /v1/models lists them).")
    server = ChatServer(
        endpoint_of(location, option="--system", allow_remote=asking.allow_remote),
        Pace(asking.per_minute),
        Patience(tries=3, timeout=asking.timeout),
        key=key,
        remote=asking.allow_remote,
        role="system",
        option="--system",
        key_variable=variable,
    )
    return EndpointSystem(server, options["model"], BASELINES[form], form)
