"""``make audit``: the locked packages against the published advisories, through pip-audit.

Exit status 1 on a finding. Where the source of advisories does not answer, that is said and the
status is 0: an outage there must not stop a build, but it must not read as an all-clear either.
``--strict`` makes it 1, for what is released.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCKS = sorted(Path(__file__).parent.glob("requirements-*.txt"))
STRICT = "--strict"
_PATIENCE = 300.0


def audited(lock: Path, *options: str) -> list[dict[str, Any]] | None:
    """Return pip-audit's verdict on every package of a lock; ``None`` where it got no answer."""
    with tempfile.TemporaryDirectory() as folder:
        verdicts = Path(folder) / "verdicts.json"
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip",
            "--no-deps", "--progress-spinner", "off", "--timeout", "10", "--format", "json",
            "--output", str(verdicts), *options,
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
            told: dict[str, list[dict[str, Any]]] = json.loads(verdicts.read_bytes())
        except (subprocess.TimeoutExpired, OSError, ValueError):
            return None
    return told["dependencies"]


def report(name: str, verdicts: list[dict[str, Any]] | None, *, strict: bool = False) -> bool:
    """Print what was found; return whether there is no finding (``strict``: and an answer)."""
    known = [verdict for verdict in verdicts or [] if "vulns" in verdict]
    if not verdicts or not known:
        print(f"{name}: NOT AUDITED, the source of advisories did not answer or knows none of them")
        return not strict
    found = [(verdict, vulnerability) for verdict in known for vulnerability in verdict["vulns"]]
    print(
        f"{name}: {len(known)} packages audited, {len(found)} findings, "
        f"{len(verdicts) - len(known)} not known to the source"
    )
    for verdict, vulnerability in found:
        mended = ", ".join(vulnerability.get("fix_versions", [])) or "no release yet"
        print(
            f"  {verdict['name']} {verdict['version']}: {vulnerability['id']}, mended in {mended}"
        )
    return not found


def main(options: Sequence[str]) -> int:
    """Audit every lock; other options go to pip-audit (``--ignore-vuln ID``, ``-s osv``)."""
    others = [option for option in options if option != STRICT]
    strict = len(others) < len(options)
    fine = [report(lock.name, audited(lock, *others), strict=strict) for lock in LOCKS]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
