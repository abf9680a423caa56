"""``make sbom``: a CycloneDX bill of materials of the serving environment, on standard output.

The environment may hold more than serving needs (tests, training); what the service is made of
is told by ``service.cli.distributions``, as for ``deepmedix licences``. Where the engine for GPUs
is not installed, its image's bill is written from what the image is locked to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from packaging.utils import canonicalize_name

from service.cli.distributions import PROGRAM, EngineMissingError, components

LOCK = "docker/requirements-gpu.txt"
"""The packages of the GPU image. ninja, a tool to build with, is in it, and not in the image."""


def bill(accelerator: str) -> dict[str, Any]:
    """Return the bill of the service with the engine for an accelerator.

    Of what is installed, if the engine is; that for ``gpu`` else from the lock: names, versions,
    digests, and the licences of what is installed here in the same version.

    Raises
    ------
    EngineMissingError
        When the engine for ``cpu`` is not installed.
    """
    whole = _cyclonedx("environment", sys.executable)
    try:
        names = {component.name for component in components(accelerator)} - {PROGRAM}
    except EngineMissingError:
        if accelerator != "gpu":
            raise
        return _locked(whole["components"])
    kept = [part for part in whole["components"] if canonicalize_name(part["name"]) in names]
    references = {part["bom-ref"] for part in kept} | {whole["metadata"]["component"]["bom-ref"]}
    whole["components"] = kept
    whole["dependencies"] = [
        {**edge, "dependsOn": sorted(references & set(edge["dependsOn"]))}
        if "dependsOn" in edge
        else edge
        for edge in whole["dependencies"]
        if edge["ref"] in references
    ]
    return whole


def _locked(installed: list[dict[str, Any]]) -> dict[str, Any]:
    whole = _cyclonedx("requirements", LOCK)
    known = {part["purl"]: part["licenses"] for part in installed if "licenses" in part}
    for part in whole["components"]:
        part.pop("description", None)  # the line of the lock, digests and all, once more
        if part["purl"] in known:
            part["licenses"] = known[part["purl"]]
    return whole


def _cyclonedx(kind: str, source: str) -> dict[str, Any]:
    command = ["-m", "cyclonedx_py", kind, "--pyproject", "pyproject.toml",
               "--output-reproducible", "--of", "JSON", source]  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    content: dict[str, Any] = json.loads(done.stdout)
    return content


if __name__ == "__main__":
    json.dump(bill(sys.argv[1] if len(sys.argv) > 1 else "cpu"), sys.stdout, indent=2)
    print()
