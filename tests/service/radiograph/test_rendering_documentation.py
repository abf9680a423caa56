"""``docs/rendering.md`` lists every code and every transfer syntax, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from service.radiograph.transfer_syntaxes import ACCEPTED

PROGRAM_ROOT = Path(__file__).resolve().parents[3]
SOURCE = "\n".join(
    path.read_text() for path in sorted((PROGRAM_ROOT / "service" / "radiograph").glob("*.py"))
)
DOCUMENT = (PROGRAM_ROOT / "docs" / "rendering.md").read_text()


def section(title: str) -> str:
    return DOCUMENT.split(f"## {title}\n")[1].split("\n## ")[0]


def listed(title: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z0-9-]+)`", section(title), re.MULTILINE))


def test_every_notice_is_listed() -> None:
    assert listed("Notices") == set(re.findall(r'Notice\(\s*"([a-z0-9-]+)"', SOURCE))


def test_every_refusal_is_listed_with_its_status() -> None:
    in_code = set(re.findall(r'Problem\(\s*"([a-z0-9-]+)",\s*(\d+)', SOURCE))
    in_document = set(re.findall(r"^\| `([a-z0-9-]+)` \| (\d+)", section("Refusals"), re.MULTILINE))
    assert in_document == in_code


def test_every_accepted_transfer_syntax_is_listed() -> None:
    assert set(re.findall(r"\| (1\.2\.[0-9.]+) \|", DOCUMENT)) == set(ACCEPTED)
