"""Build docker/Dockerfile.cpu, start the image locked down, and do the main job in it.

``python -m docker.image_check [--work FOLDER]``, as root. The base image is a Debian root from
debootstrap, the builder buildah, the engine podman with runc: all from Debian. Ends with status 1
where the image does not do what docs/deployment.md says.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from docker.image_check.base_image import make_base_image
from docker.image_check.container import Container
from docker.image_check.pip_settings import pip_settings
from docker.image_check.tools import CheckError, engine, missing, run, say

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/deepmedix:cpu"
UID = "10001"
BUILD_TOOLS = ("gcc", "g++", "cc", "make", "ninja", "git", "pip", "pip3", "curl", "wget")
_READY = 600.0
_GRACE = 60


def main() -> int:
    """Run every step; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/image-check"))
    parser.add_argument("--keep", action="store_true", help="keep image and storage")
    options = parser.parse_args()
    obstacle = missing()
    if obstacle:
        print(obstacle, file=sys.stderr)
        return 2
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    container = Container(IMAGE, work)
    try:
        _build(work)
        _check(container, work)
    except CheckError as failure:
        print(f"image-check FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        container.remove()
        if not options.keep:
            run(*engine("buildah", work), "rm", "--all", check=False)
            run(*engine("buildah", work), "rmi", "--force", IMAGE, check=False)
    say("image-check passed")
    return 0


def _build(work: Path) -> None:
    base = make_base_image(work)
    say("buildah: every step of docker/Dockerfile.cpu")
    command = [
        *engine("buildah", work), "build", "--isolation", "chroot", "--pull-never",
        "--layers", "--format", "docker",
        "--build-arg", f"BASE_IMAGE={base}", *pip_settings(work).arguments,
        "--file", "docker/Dockerfile.cpu", "--ignorefile", ".dockerignore", "--tag", IMAGE, ".",
    ]  # fmt: skip
    built = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    if built.returncode:
        raise CheckError(f"the build ended with {built.returncode}")
    told = json.loads(run(*engine("podman", work), "image", "inspect", IMAGE))[0]
    say(f"image: {told['Size'] / 1e9:.2f} GB unpacked, {len(told['RootFS']['Layers'])} layers")
    _expect(told["Config"]["User"] == f"{UID}:{UID}", "the image does not run as its own user")
    _expect(told["Config"]["StopSignal"] in ("SIGTERM", "15"), "the stop signal is not SIGTERM")


def _check(container: Container, work: Path) -> None:
    _nothing_to_build_with(container)
    _missing_weights(container)
    cache = _folder(work / "cache")
    films = _folder(work / "films")
    shutil.copy(_film(), films / "film.dcm")
    mounts = ["--volume", f"{cache}:/cache", "--volume", f"{films}:/films:ro"]
    key, identity = _identity(container, work)
    container.start([*mounts, *identity])
    seconds = container.wait_until_healthy(_READY)
    say(f"healthy after {seconds:.0f} s; the log so far:\n{container.log().rstrip()}")
    _locked_down(container)
    _main_job(container, ["--env", f"DEEPMEDIX_API_KEY={key}"] if key else [])
    status = container.stop(_GRACE)
    _expect(status == 0, f"SIGTERM ended it with {status}:\n{container.log()[-2000:]}")
    say("SIGTERM: ended with status 0")


def _nothing_to_build_with(container: Container) -> None:
    script = "".join(f"command -v {name}; " for name in BUILD_TOOLS) + "true"
    done = container.run_once("-c", script, options=["--entrypoint", "/bin/sh"])
    _expect(done.returncode == 0, f"the image does not start: {done.stderr}")
    _expect(not done.stdout.strip(), f"there are build tools in the image: {done.stdout}")
    done = container.run_once("/opt/deepmedix/share/licences", options=["--entrypoint", "/bin/ls"])
    texts = done.stdout.split()
    _expect("LICENSE" in texts and len(texts) > 100, f"licences are missing: {done.stderr}")
    say(f"no build tools; licences of {len(texts) - 2} distributions")


def _missing_weights(container: Container) -> None:
    """A hub id that no mounted cache holds: refused in words, not after a time-out."""
    done = container.run_once("serve", options=["--env", "DEEPMEDIX_MODEL=Qika/DeepMedix-R1",
                                                "--env", "DEEPMEDIX_INSECURE=true"])  # fmt: skip
    said = done.stdout + done.stderr
    _expect(done.returncode == 1, f"without weights it ended with {done.returncode}:\n{said}")
    _expect("HF_HUB_OFFLINE" in said and "mount" in said, f"without weights it says:\n{said}")
    say("without weights: ended with status 1 and says what to mount")


def _identity(container: Container, work: Path) -> tuple[str, list[str]]:
    """Make a key with the image itself; return it and the options that mount the key file."""
    keys = _folder(work / "keys")
    mounted = ["--volume", f"{keys}:/keys", "--env", "DEEPMEDIX_KEYS_FILE=/keys/keys.json"]
    done = container.run_once("keys", "add", "image-check", "--json", options=mounted)
    if "No such command" in done.stderr:
        say("this version has no API keys yet: the service runs without")
        return "", ["--env", "DEEPMEDIX_INSECURE=true"]
    _expect(done.returncode == 0, f"no key could be made: {done.stderr}")
    refused = container.run_once("serve")
    said = refused.stdout + refused.stderr
    _expect(
        refused.returncode in (1, 2) and "insecure" in said.lower(),
        f"without authentication it ended with {refused.returncode}:\n{said}",
    )
    say("without a key file: refuses to start")
    return json.loads(done.stdout)["key"], [
        "--volume", f"{keys}:/keys:ro", "--env", "DEEPMEDIX_KEYS_FILE=/keys/keys.json",
    ]  # fmt: skip


def _locked_down(container: Container) -> None:
    status = container.execute("cat", "/proc/1/status").stdout
    fields = {
        line.partition(":")[0]: line.partition(":")[2].split() for line in status.splitlines()
    }
    _expect(fields["Uid"] == [UID] * 4, f"process 1 runs as {fields['Uid']}")
    _expect(int(fields["CapEff"][0], 16) == 0, "process 1 has capabilities")
    _expect(fields["NoNewPrivs"] == ["1"], "process 1 may gain privileges")
    for path, allowed in (
        ("/opt/x", False),
        ("/etc/x", False),
        ("/tmp/x", True),
        ("/cache/x", True),
    ):
        written = container.execute("touch", path).returncode == 0
        _expect(written == allowed, f"writing to {path}: {written}")
    say("process 1: uid 10001, no capabilities, no new privileges; writable: /tmp, /cache")


def _main_job(container: Container, credential: list[str]) -> None:
    done = container.execute(
        "deepmedix", "report", "/films/film.dcm", "--url", "http://127.0.0.1:8000",
        "--format", "json", options=credential,
    )  # fmt: skip
    _expect(done.returncode == 0, f"POST /report: {done.stderr}\n{container.log()[-2000:]}")
    reply = json.loads(done.stdout)
    boxes = sum(len(step["boxes"]) for step in reply["reasoning"])
    _expect(bool(reply["report"]["findings"]) and boxes > 0, "the report is not grounded")
    say(f"POST /report: {len(reply['reasoning'])} steps, {boxes} boxes; findings: "
        f"{str(reply['report']['findings'])[:120]}")  # fmt: skip


def _film() -> Path:
    spec = find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        raise CheckError("pydicom-data is not installed: run `make develop`")
    return Path(spec.submodule_search_locations[0]) / "data" / "RG1_UNCR.dcm"


def _folder(path: Path) -> Path:
    """Return an empty folder that belongs to the image's user."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    shutil.chown(path, int(UID), int(UID))
    return path


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
