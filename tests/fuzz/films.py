"""Mutated films through the decoder with its worker, and a sample of them over HTTP."""

from __future__ import annotations

import asyncio
import base64
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from service.api.documentation import PROBLEM_CODES
from service.app import create_app
from service.problem import Problem
from service.radiograph import Radiograph, RadiographDecoder
from service.settings import Settings
from tests.fuzz.mutations import mutant
from tests.fuzz.seeds import all_seeds
from tests.service.scripted_engine import ScriptedEngine

MEMORY_LIMIT = 1024**3
"""Address space of a decode worker, in bytes."""

TIME_LIMIT = 20.0
"""Seconds that a film may take; a small film that takes so long, twice, is a fault."""

_TOO_SLOW = "decode-timeout"

_EVERY = 20
"""One film in so many goes through HTTP as well."""

_CODES = {code for status, codes in PROBLEM_CODES.items() if status < 500 for code in codes}


@dataclass
class Findings:
    """What came of a run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    replaced: int = 0
    over_http: int = 0
    peak_resident: int = 0
    peak_address_space: int = 0
    slowest: tuple[float, int] = (0.0, -1)


async def fuzz_films(
    seed: int, indices: Iterator[int], *, lanes: int = 2, memory_limit: int = MEMORY_LIMIT
) -> Findings:
    """Decode the mutants of these numbers; every lane has one worker and one application.

    Parameters
    ----------
    seed
        Seed of the run; with an index it names one mutant.
    indices
        Which mutants.
    lanes
        Films decoded at once.
    memory_limit
        Address space of a worker, in bytes.
    """
    findings = Findings()
    await asyncio.gather(*(_lane(seed, indices, findings, memory_limit) for _ in range(lanes)))
    return findings


async def _lane(seed: int, indices: Iterator[int], findings: Findings, memory_limit: int) -> None:
    decoder = RadiographDecoder(memory_limit=memory_limit, time_limit=TIME_LIMIT)
    await decoder.start()
    try:
        async with _client(decoder) as client:
            for index in indices:
                name, data = mutant(seed, index)
                fault = await _decode(decoder, data, index, findings)
                if fault is None and index % _EVERY == 0:
                    findings.over_http += 1
                    fault = await _over_http(client, data, index // _EVERY)
                if fault is not None:
                    findings.faults[index] = f"{fault} (from {name})"
        _weigh(decoder, findings)
    finally:
        await decoder.close()


async def _decode(
    decoder: RadiographDecoder, data: bytes, index: int, findings: Findings
) -> str | None:
    before = decoder.worker_pids
    if index % 100 == 0:
        _weigh(decoder, findings)
    started = perf_counter()
    fault: str | None = None
    try:
        film = await decoder.load(data, allow_other_anatomy=True)
    except Problem as problem:
        findings.outcomes[problem.code] += 1
        if problem.code not in _CODES:
            fault = f"answered {problem.code}"
        elif problem.code == _TOO_SLOW and await _is_slow(decoder, data):
            fault = f"takes over {TIME_LIMIT:.0f} s"
    except Exception as error:
        fault = f"raised {type(error).__name__}"
    else:
        findings.outcomes["decoded"] += 1
        fault = _fault_of(film)
    seconds = perf_counter() - started
    findings.slowest = max(findings.slowest, (seconds, index))
    if decoder.worker_pids != before:
        # A codec took its process with it, or ran out of time; the next film finds another.
        findings.replaced += 1
        sound = all_seeds()[0].data
        try:
            await decoder.load(sound, allow_other_anatomy=True)
        except Problem as problem:
            fault = f"the worker that replaced its own answered {problem.code}"
    return fault


async def _is_slow(decoder: RadiographDecoder, data: bytes) -> bool:
    """Tell whether a film is too slow again: once may be the machine's doing."""
    try:
        await decoder.load(data, allow_other_anatomy=True)
    except Problem as problem:
        return problem.code == _TOO_SLOW
    return False


def _fault_of(film: Radiograph) -> str | None:
    rows, columns = film.pixels.shape[:2]
    if film.pixels.dtype != "uint8" or film.pixels.ndim not in (2, 3):
        return "the pixels are not 8 bit"
    if {rows, columns} != {film.width, film.height} or not film.pixels.size:
        return "the pixels are not of the stated size"
    affine = film.to_original
    if not all(map(math.isfinite, (affine.a, affine.b, affine.c, affine.d, affine.e, affine.f))):
        return "the map to stored pixels is not finite"
    if not (math.isfinite(film.pixel_aspect) and film.pixel_aspect > 0):
        return "the pixel aspect is no ratio"
    return None


def _weigh(decoder: RadiographDecoder, findings: Findings) -> None:
    """Note the most memory that the workers have had (Linux)."""
    for pid in decoder.worker_pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        resident, space = (int(sizes[name].split()[0]) * 1024 for name in ("VmHWM", "VmPeak"))
        findings.peak_resident = max(findings.peak_resident, resident)
        findings.peak_address_space = max(findings.peak_address_space, space)


# Over HTTP ----------------------------------------------------------------------------------------


class _Open:
    """The lane's decoder, which the application neither starts nor stops."""

    def __init__(self, decoder: RadiographDecoder) -> None:
        self.load = decoder.load

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


@asynccontextmanager
async def _client(decoder: RadiographDecoder) -> Any:
    opened: Any = _Open(decoder)  # lends the decoder, and does not close it
    app = create_app(Settings(), engine=ScriptedEngine(), decoder=opened)
    async with app.router.lifespan_context(app):
        await app.state.service.started.wait()
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://fuzz") as client:
            yield client


async def _over_http(client: httpx.AsyncClient, data: bytes, turn: int) -> str | None:
    """Post a film in one of the ways that films come; anything but a documented answer is wrong."""
    path = ("/report", "/vqa", "/render")[turn % 3]
    fields = {"allow_other_anatomy": "true"}
    if path == "/vqa":
        fields["question"] = "Is the heart enlarged?"
    accept = ("*/*", "image/png", "text/event-stream", "text/markdown")[turn % 4]
    headers = {"Accept": "image/png" if path == "/render" else accept}
    way = turn // 4 % 3
    try:
        if way == 0:
            reply = await client.post(path, files={"image": data}, data=fields, headers=headers)
        elif way == 1:
            headers["Content-Type"] = "application/octet-stream"
            reply = await client.post(path, params=fields, content=data, headers=headers)
        else:
            image = [base64.b64encode(data).decode()]
            body = {**fields, "image": image, "allow_other_anatomy": True}
            reply = await client.post(path, json=body, headers=headers)
    except Exception as error:
        return f"POST {path} raised {type(error).__name__}"
    if reply.status_code == 200:
        return "a stream ended in an error" if b"internal-error" in reply.content else None
    code = reply.json().get("code")
    if code not in PROBLEM_CODES.get(reply.status_code, ()) or reply.status_code >= 500:
        return f"POST {path} answered {reply.status_code} {code}"
    return None
