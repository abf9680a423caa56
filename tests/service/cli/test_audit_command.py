import json

import pytest
from typer.testing import CliRunner

from service.audit import AuditFile, StudyHasher
from service.audit.chain import RecordKind
from service.cli import build_cli

RUNNER = CliRunner()
SITE_KEY = "0123456789abcdef" * 2


def run(*arguments, **how):
    return RUNNER.invoke(build_cli(), [str(argument) for argument in arguments], **how)


@pytest.fixture
def trail(tmp_path):
    file = AuditFile(tmp_path / "audit.jsonl")
    file.open()
    for number in range(3):
        file.append(RecordKind.EVENT, {"n": number})
    file.close()
    return file.path


def test_an_intact_trail_exits_with_0_and_tells_its_head(trail):
    result = run("audit", "verify", trail)
    assert result.exit_code == 0, result.output
    assert "4 lines, 3 events" in result.stdout
    found = json.loads(run("audit", "verify", trail, "--json").stdout)
    assert found["intact"] is True
    assert found["head"] in result.stdout
    assert run("audit", "verify", trail, "--expect-last", found["head"]).exit_code == 0


def test_a_changed_line_exits_with_1_and_is_named(trail):
    trail.write_bytes(trail.read_bytes().replace(b'"n":1', b'"n":7'))
    result = run("audit", "verify", trail)
    assert result.exit_code == 1
    assert f"{trail}:3: changed-line" in result.stdout
    found = json.loads(run("audit", "verify", trail, "--json").stdout)
    assert (found["intact"], found["fault"]["line"]) == (False, 3)


def test_a_cut_tail_is_found_with_the_last_hash(trail):
    head = json.loads(run("audit", "verify", trail, "--json").stdout)["head"]
    trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:-1]))
    assert run("audit", "verify", trail).exit_code == 0
    result = run("audit", "verify", trail, "--expect-last", head)
    assert result.exit_code == 1
    assert "other-head" in result.stdout


def test_a_file_that_is_not_there_exits_with_2(tmp_path):
    result = run("audit", "verify", tmp_path / "nowhere.jsonl")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_a_study_is_looked_up_by_its_uid(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_AUDIT_SITE_KEY", SITE_KEY)
    wanted = StudyHasher(SITE_KEY.encode()).of_uid("1.2.3").value
    assert run("audit", "study", "1.2.3").stdout.strip() == wanted
    assert run("audit", "study", "-", input="1.2.3\n").stdout.strip() == wanted
    monkeypatch.delenv("DEEPMEDIX_AUDIT_SITE_KEY")
    assert run("audit", "study", "1.2.3").exit_code == 1
