"""``make sbom``: a CycloneDX bill of materials of the serving environment, on standard output.

The environment may hold more than serving needs (tests, training); what the service is made of
is told by ``service.cli.distributions``, as for ``deepmedix licences``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from packaging.utils import canonicalize_name

from service.cli.distributions import PROGRAM, components


def bill(accelerator: str) -> dict[str, Any]:
    """Return the bill of what is installed of the service with the engine for an accelerator."""
    command = ["-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml",
               "--output-reproducible", "--of", "JSON", sys.executable]  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    whole: dict[str, Any] = json.loads(done.stdout)
    names = {component.name for component in components(accelerator)} - {PROGRAM}
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


if __name__ == "__main__":
    json.dump(bill(sys.argv[1] if len(sys.argv) > 1 else "cpu"), sys.stdout, indent=2)
    print()
