import json
import os

import pytest
from typer.testing import CliRunner

from service.audit import AuditFile, StudyHasher
from service.audit.chain import RecordKind
from service.audit.head import head_file
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
    file = AuditFile(trail)
    file.open()
    file.append(RecordKind.EVENT, {"n": 9})
    file.close()
    assert run("audit", "verify", trail, "--expect-last", found["head"].upper()).exit_code == 0
    assert run("audit", "verify", trail, "--expect-last", "f" * 64).exit_code == 1


def test_what_cannot_be_read_is_told_by_its_own_name(trail, tmp_path):
    for path in (trail / "x", tmp_path / "none.jsonl"):
        result = run("audit", "verify", trail, path)
        assert result.exit_code == 2
        assert f"{path} cannot be read" in result.output


def test_a_trail_may_come_through_a_pipe(trail):
    reading, writing = os.pipe()
    os.write(writing, trail.read_bytes())
    os.close(writing)
    result = run("audit", "verify", f"/dev/fd/{reading}")
    os.close(reading)
    assert result.exit_code == 0, result.output
    assert "3 events" in result.stdout


def test_a_changed_line_exits_with_1_and_is_named(trail):
    trail.write_bytes(trail.read_bytes().replace(b'"n":1', b'"n":7'))
    result = run("audit", "verify", trail)
    assert result.exit_code == 1
    assert f"{trail}:3: changed-line" in result.stdout
    found = json.loads(run("audit", "verify", trail, "--json").stdout)
    assert (found["intact"], found["fault"]["line"]) == (False, 3)


def test_a_cut_tail_is_found_with_the_head_file_or_the_last_hash(trail):
    head = json.loads(run("audit", "verify", trail, "--json").stdout)["head"]
    trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:-1]))
    result = run("audit", "verify", trail)
    assert result.exit_code == 1
    assert "missing-end" in result.stdout
    head_file(trail).unlink()
    result = run("audit", "verify", trail)
    assert result.exit_code == 0
    assert "would not show" in result.stdout
    result = run("audit", "verify", trail, "--expect-last", head)
    assert result.exit_code == 1
    assert "other-head" in result.stdout


def test_a_torn_end_exits_with_3_until_the_service_has_noted_it(trail):
    with trail.open("ab") as file:
        file.write(b'{"sequence":4,"prev')
    result = run("audit", "verify", trail)
    assert result.exit_code == 3
    assert f"{trail}:5: torn-end" in result.stdout
    assert run("audit", "verify", trail, "--json").exit_code == 3
    file = AuditFile(trail)
    file.open()
    file.close()
    result = run("audit", "verify", trail)
    assert result.exit_code == 0, result.stdout
    assert f"{trail}:5: torn" in result.stdout


def test_no_file_at_all_is_a_fault_of_the_command(tmp_path):
    assert run("audit", "verify").exit_code == 2


def test_a_file_that_is_not_there_exits_with_2(tmp_path):
    result = run("audit", "verify", tmp_path / "nowhere.jsonl")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


@pytest.mark.parametrize("path", [".", "/", ""])
def test_a_folder_is_a_file_that_cannot_be_read(path):
    result = run("audit", "verify", path)
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_half_a_hash_is_no_alarm(trail):
    head = json.loads(run("audit", "verify", trail, "--json").stdout)["head"]
    result = run("audit", "verify", trail, "--expect-last", head[:12])
    assert result.exit_code == 2
    assert "64 hexadecimal digits" in result.stderr


def test_a_study_is_looked_up_by_its_uid(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_AUDIT_SITE_KEY", SITE_KEY)
    wanted = StudyHasher(SITE_KEY.encode()).of_uid("1.2.3").value
    assert run("audit", "study", "1.2.3").stdout.strip() == wanted
    assert run("audit", "study", "-", input="1.2.3\n").stdout.strip() == wanted
    monkeypatch.delenv("DEEPMEDIX_AUDIT_SITE_KEY")
    assert run("audit", "study", "1.2.3").exit_code == 1
