"""``make audit`` fails on a finding, and never calls silence an all-clear."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from docker import audit

FINE = {"name": "idna", "version": "3.20", "vulns": []}
BAD = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [{"id": "PYSEC-2022-10", "fix_versions": ["9.0.1"]}],
}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found"}


def test_a_finding_is_named_with_its_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report("lock", [FINE, BAD]) is False
    said = capsys.readouterr().out
    assert "2 packages audited, 1 findings" in said
    assert "pillow 9.0.0: PYSEC-2022-10, mended in 9.0.1" in said


def test_packages_that_the_source_does_not_know_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit.report("lock", [FINE, UNKNOWN]) is True
    assert "1 packages audited, 0 findings, 1 not known" in capsys.readouterr().out


@pytest.mark.parametrize("silent", [None, [], [UNKNOWN]])
def test_silence_is_said_and_does_not_stop_a_build(
    silent: list[dict[str, Any]] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.report("lock", silent) is True
    assert "NOT AUDITED" in capsys.readouterr().out


def test_silence_stops_what_is_to_be_released(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(audit, "audited", lambda *of: asked.append(of))
    assert audit.main(["--strict", "-s", "osv"]) == 1
    assert [options for _, *options in asked] == [["-s", "osv"]] * len(audit.LOCKS)
    assert audit.main([]) == 0


def test_an_auditor_that_hangs_or_writes_nothing_is_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hangs(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip-audit", 1)

    monkeypatch.setattr(audit.subprocess, "run", hangs)
    assert audit.audited(tmp_path / "requirements.txt") is None
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: None)
    assert audit.audited(tmp_path / "requirements.txt") is None


def test_one_finding_among_the_locks_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = iter([[BAD], [FINE]])
    monkeypatch.setattr(audit, "audited", lambda *_: next(verdicts))
    assert len(audit.LOCKS) == 2
    assert audit.main([]) == 1
    assert next(verdicts, None) is None  # the second lock was still audited
