"""A Debian root made from Debian's own packages, as the base image that cannot be pulled here."""

from __future__ import annotations

import os
from pathlib import Path

from docker.image_check.tools import CheckError, engine, run, say

SUITE = "bookworm"
NAME = "localhost/deepmedix-base:bookworm"


def make_base_image(work: Path) -> str:
    """Return the name of the base image, made unless ``work`` has it already.

    The mirror is ``$MIRROR``, or that of this machine's own apt.
    """
    if run(*engine("buildah", work), "images", "--quiet", NAME, check=False).strip():
        say(f"base image {NAME}: made earlier")
        return NAME
    sources = _sources()
    mirror = os.environ.get("MIRROR") or sources[0][0]
    root = work / "base"
    say(f"debootstrap {SUITE} into {root}")
    run("rm", "-rf", root)
    run("debootstrap", "--variant=minbase", SUITE, root, mirror)
    lines = [f"deb {uri} {suite} main" for uri, suite in sources if suite.startswith(SUITE)]
    (root / "etc/apt/sources.list").write_text(
        "\n".join(lines or [f"deb {mirror} {SUITE} main"]) + "\n"
    )
    _proxy(root)
    container = run(*engine("buildah", work), "from", "scratch").strip()
    mounted = run(*engine("buildah", work), "mount", container).strip()
    run("cp", "-a", f"{root}/.", mounted)
    run(*engine("buildah", work), "umount", container)
    run(
        *engine("buildah", work), "commit", "--quiet", "--disable-compression", "--rm",
        container, NAME,
    )  # fmt: skip
    run("rm", "-rf", root)
    return NAME


def _sources() -> list[tuple[str, str]]:
    """Return address and suite of Debian's archives in apt's configuration, the main one first."""
    told = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(SUITE) $(CODENAME)",
        "Created-By: Packages", "Origin: Debian", "Component: main",
    )  # fmt: skip
    rows = [tuple(line.split()) for line in told.splitlines() if line.strip()]
    found = [(row[0], row[-1]) for row in rows]
    if not found:
        raise CheckError(
            "apt's configuration names no archive of Debian's: run `apt-get update`, or name a "
            "mirror: make image-check MIRROR=http://..."
        )
    return sorted(set(found), key=lambda row: (row[1] != SUITE, row[1]))


def _proxy(root: Path) -> None:
    """Hand this machine's apt proxy on, where it has one."""
    told = run("apt-config", "dump", "--format", "%F %v%n", "Acquire::http::Proxy").strip()
    name, _, address = told.partition(" ")
    if address.strip():
        (root / "etc/apt/apt.conf.d/90proxy").write_text(f'{name} "{address.strip()}";\n')
