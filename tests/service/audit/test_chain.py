"""The law of the trail: any change, removal, insertion or swap of lines is found."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.audit import AuditFile, AuditUnavailableError, verification, verify
from service.audit.chain import RecordKind, decode, encode, line_hash
from service.audit.head import head_file, read_head

EVENTS = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("trail") / "audit.jsonl"
    file = AuditFile(path, fsync=False)
    file.open()
    for number in range(EVENTS):
        file.append(RecordKind.EVENT, {"resourceType": "AuditEvent", "n": number, "é": '"}\n'})
    file.close()
    return path.read_bytes()


def check(folder, data: bytes, **how):
    path = folder / "copy.jsonl"
    path.write_bytes(data)
    head_file(path).unlink(missing_ok=True)  # of a test before
    return verify([path], **how)


def test_a_trail_as_written_is_intact(whole, tmp_path):
    found = check(tmp_path, whole)
    assert (found.intact, found.lines, found.events) == (True, EVENTS + 1, EVENTS)
    assert found.head == line_hash(whole.splitlines()[-1])


def test_each_line_holds_the_hash_of_the_one_before(whole):
    lines = whole.splitlines()
    for before, line in pairwise(lines):
        assert json.loads(line)["previous"] == line_hash(before)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found_in_the_last_line_too(whole, tmp_path_factory, data):
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    found = check(tmp_path_factory.getbasetemp(), changed)
    assert not found.intact
    line = whole[:place].count(b"\n") + 1
    assert found.fault.line in (line, line + 1)


@given(line=st.integers(0, EVENTS - 1))
def test_a_removed_line_is_found(whole, tmp_path_factory, line):
    lines = whole.splitlines(keepends=True)
    del lines[line]
    found = check(tmp_path_factory.getbasetemp(), b"".join(lines))
    assert not found.intact
    assert found.fault.line == line + 1


@given(places=st.lists(st.integers(0, EVENTS), min_size=2, max_size=2, unique=True))
def test_swapped_lines_are_found(whole, tmp_path_factory, places):
    lines = whole.splitlines(keepends=True)
    one, other = places
    lines[one], lines[other] = lines[other], lines[one]
    found = check(tmp_path_factory.getbasetemp(), b"".join(lines))
    assert not found.intact
    assert found.fault.line == min(places) + 1


@given(
    at=st.integers(0, EVENTS),
    source=st.integers(0, EVENTS),
    other=st.one_of(st.none(), st.binary(max_size=40)),
)
def test_an_inserted_line_is_found(whole, tmp_path_factory, at, source, other):
    lines = whole.splitlines(keepends=True)
    inserted = lines[source] if other is None else other.replace(b"\n", b"") + b"\n"
    lines.insert(at, inserted)
    assert not check(tmp_path_factory.getbasetemp(), b"".join(lines)).intact


@given(at=st.integers(1, EVENTS - 1))
def test_a_line_made_anew_with_a_right_hash_of_its_own_is_found_by_the_next(
    whole, tmp_path_factory, at
):
    lines = whole.splitlines()
    record = decode(lines[at])
    lines[at] = encode(record.sequence, record.previous, record.kind, {"n": "other"})
    found = check(tmp_path_factory.getbasetemp(), b"\n".join(lines) + b"\n")
    assert (found.fault.kind, found.fault.line) == ("broken-chain", at + 2)


@given(kept=st.integers(1, EVENTS))
def test_a_tail_cut_off_is_found_only_with_the_head_kept_elsewhere(whole, tmp_path_factory, kept):
    lines = whole.splitlines(keepends=True)
    head = line_hash(lines[-1].rstrip(b"\n"))
    cut = b"".join(lines[:kept])
    folder = tmp_path_factory.getbasetemp()
    assert check(folder, cut).intact
    assert check(folder, cut, expected_head=head).fault.kind == "other-head"
    assert check(folder, whole, expected_head=head.upper()).intact


@pytest.mark.parametrize("after", range(1, EVENTS + 1))
@pytest.mark.parametrize("more", [0, 7])
def test_something_too_long_for_a_line_is_no_torn_end_in_the_middle(whole, tmp_path, after, more):
    lines = whole.splitlines(keepends=True)
    inserted = b"x" * (verification._MAX_LINE + more)
    found = check(tmp_path, b"".join([*lines[:after], inserted, *lines[after:]]))
    assert (found.fault.kind, found.fault.line) == ("changed-line", after + 1)


def test_no_line_and_no_genesis_are_found(whole, tmp_path):
    assert check(tmp_path, b"").fault.kind == "empty-file"
    beheaded = b"".join(whole.splitlines(keepends=True)[1:])
    assert check(tmp_path, beheaded).fault.kind == "no-genesis"


@settings(max_examples=60, deadline=None)
@given(kept=st.integers(1, 400))
@example(kept=148)  # the piece ends with a brace, as whole lines do
def test_a_torn_last_line_is_kept_marked_and_told(whole, tmp_path_factory, kept):
    folder = tmp_path_factory.getbasetemp()
    lines = whole.splitlines(keepends=True)
    kept = min(kept, len(lines[-1]) - 2)
    torn = b"".join(lines[:-1]) + lines[-1][:kept]
    found = check(folder, torn)
    assert (found.fault.kind, found.fault.line) == ("torn-end", EVENTS + 1)
    assert found.torn_end
    path = folder / "copy.jsonl"
    head_file(path).unlink(missing_ok=True)  # of the example before
    file = AuditFile(path, fsync=False)
    file.open()
    file.append(RecordKind.EVENT, {"n": "after"})
    file.close()
    assert path.read_bytes().startswith(torn)
    again = verify([path])
    assert again.intact
    assert [line for _, line in again.torn] == [EVENTS + 1]
    without = path.read_bytes().splitlines(keepends=True)
    del without[EVENTS]
    path.write_bytes(b"".join(without))
    assert not verify([path]).intact
    head_file(path).unlink()


def test_a_crash_between_a_line_and_its_break_loses_nothing(whole, tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(whole[:-1])
    file = AuditFile(path)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    found = verify([path])
    assert (found.intact, found.events, found.torn) == (True, EVENTS + 1, [])


def test_the_chain_goes_on_over_a_restart(tmp_path):
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        file = AuditFile(path)
        file.open()
        file.append(RecordKind.EVENT, {"text": "x" * 100_000})
        file.close()
    assert verify([path]).events == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("told", [True, False])
def test_the_chain_goes_on_over_a_rotation_told_or_not(tmp_path, told):
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    file = AuditFile(path)
    file.open()
    file.append(RecordKind.EVENT, {})
    path.rename(old)
    if told:
        file.reopen()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([old, path]).intact
    alone = verify([path])
    assert alone.intact
    assert alone.continues == verify([old]).head
    assert verify([path, old]).fault is not None


def test_lines_taken_away_while_it_runs_are_found(tmp_path):
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.open()
    for _ in range(3):
        file.append(RecordKind.EVENT, {})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    file.append(RecordKind.EVENT, {})
    file.reopen()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([path]).fault.kind == "broken-chain"


def test_one_process_at_a_time_writes_a_file(tmp_path):
    one, other = AuditFile(tmp_path / "audit.jsonl"), AuditFile(tmp_path / "audit.jsonl")
    one.open()
    with pytest.raises(AuditUnavailableError, match="another process"):
        other.open()
    one.close()
    other.open()
    other.close()


@pytest.mark.parametrize("content", [b"notes", b"notes\n", b"{}\n{}\n", b'{"a": 1}'])
def test_a_file_that_is_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(AuditUnavailableError, match="not an audit file"):
        AuditFile(path).open()
    assert path.read_bytes() == content


def test_a_large_file_that_is_something_else_is_left_alone(tmp_path):
    path = tmp_path / "other.log"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # sparse
    with pytest.raises(AuditUnavailableError, match="move it away"):
        AuditFile(path).open()
    assert path.stat().st_size == 1 << 30


def test_a_crash_amid_the_very_first_line_starts_anew(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"sequence":0,"prev')
    file = AuditFile(path)
    file.open()
    file.close()
    assert verify([path]).intact


@pytest.mark.skipif(not __import__("os").path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_is_no_file():
    from pathlib import Path

    with pytest.raises(AuditUnavailableError, match="not a plain file"):
        AuditFile(Path("/dev/full")).open()


def test_a_full_disk_takes_back_what_it_began(tmp_path, monkeypatch):
    import os

    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.open()
    file.append(RecordKind.EVENT, {"n": 1})
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    with pytest.raises(AuditUnavailableError, match="20 of"):
        file.append(RecordKind.EVENT, {"n": 2})
    monkeypatch.undo()
    file.append(RecordKind.EVENT, {"n": 3})
    file.close()
    found = verify([path])
    assert (found.intact, found.events, found.torn) == (True, 2, [])


def test_what_cannot_be_taken_back_is_marked_as_torn(tmp_path, monkeypatch):
    import os

    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.open()
    write = os.write

    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(AuditUnavailableError):
        file.append(RecordKind.EVENT, {"n": 2})
    monkeypatch.setattr(os, "write", write)
    file.append(RecordKind.EVENT, {"n": 3})
    file.close()
    found = verify([path])
    assert (found.intact, found.events, len(found.torn)) == (True, 1, 1)


def test_a_limit_of_the_system_itself_is_told_and_recovered_from(tmp_path):
    import resource

    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        for _ in range(2):
            with pytest.raises(AuditUnavailableError):
                file.append(RecordKind.EVENT, {"n": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.append(RecordKind.EVENT, {"n": 2})
    file.close()
    found = verify([path])
    assert (found.intact, found.events, found.torn) == (True, 1, [])


@pytest.fixture
def written(tmp_path):
    """A trail of its own, with its head file."""
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, fsync=False)
    file.open()
    for number in range(EVENTS):
        file.append(RecordKind.EVENT, {"n": number, "who": "mallory"})
    file.close()
    return path


def test_the_head_file_names_the_last_line(written):
    found = verify([written])
    head = read_head(written)
    assert (head.sequence, head.hash) == (found.head_sequence, found.head) == (EVENTS, found.head)
    assert found.head_file == str(head_file(written))
    assert head_file(written).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", range(1, EVENTS + 1))
def test_lines_cut_off_at_the_end_are_found_by_the_head_file(written, kept):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:kept]))
    assert verify([written]).fault.kind == "missing-end"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda last: last[:-1].replace(b"mallory", b"nobody").replace(b'"sha256"', b'"sha25"'),
        lambda last: last[:-40],
        lambda last: b"notes",
        lambda last: last[:-1].replace(b"mallory", b"nobody"),
    ],
)
def test_a_last_line_that_was_changed_is_found_by_the_head_file(written, spoil):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:-1]) + spoil(lines[-1]))
    assert verify([written]).fault.kind in ("missing-end", "changed-line")
    head_file(written).unlink()
    assert verify([written]).fault.kind in ("torn-end", "changed-line")


def test_something_after_the_last_line_is_found(written):
    with written.open("ab") as file:
        file.write(b"hello")
    found = verify([written])
    assert (found.fault.kind, found.fault.line) == ("torn-end", EVENTS + 2)


def test_a_chain_made_anew_is_found_by_the_head_file(written, tmp_path):
    other = tmp_path / "other.jsonl"
    file = AuditFile(other)
    file.open()
    for number in range(EVENTS + 1):
        file.append(RecordKind.EVENT, {"n": number, "who": "nobody"})
    file.close()
    written.write_bytes(other.read_bytes())
    assert verify([written]).fault.kind == "other-line"


@pytest.mark.parametrize("removed", [1, 3, EVENTS])
def test_lines_cut_off_while_nothing_ran_show_ever_after(written, removed, caplog):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:-removed]))
    file = AuditFile(written)
    file.open()
    assert "lines were removed" in caplog.text
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([written]).fault.kind == "broken-chain"


def test_a_last_line_that_was_replaced_while_nothing_ran_shows_ever_after(written):
    lines = written.read_bytes().splitlines()
    record = decode(lines[-1])
    lines[-1] = encode(record.sequence, record.previous, record.kind, {"n": "other"})
    written.write_bytes(b"\n".join(lines) + b"\n")
    file = AuditFile(written)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert not verify([written]).intact


def test_a_file_moved_away_while_nothing_ran_is_gone_on_from(written, tmp_path):
    old = written.rename(tmp_path / "audit.jsonl.1")
    file = AuditFile(written)
    file.open()
    file.close()
    assert verify([old, written]).intact
    assert verify([old]).head_file is None


def test_a_head_file_behind_the_file_is_no_fault(written):
    """As after a power cut: the line is put onto the disk, the head file is not waited for."""
    older = head_file(written).read_bytes()
    file = AuditFile(written)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    head_file(written).write_bytes(older)
    assert verify([written]).intact
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([written]).intact


def test_lines_added_behind_the_head_are_found_and_told_at_the_next_start(written, caplog):
    before = head_file(written).read_bytes()
    file = AuditFile(written)
    file.open()
    for number in range(3):
        file.append(RecordKind.EVENT, {"n": number, "who": "somebody else"})
    file.close()
    head_file(written).write_bytes(before)
    found = verify([written])
    assert (found.fault.kind, found.fault.line) == ("beyond-head", EVENTS + 4)
    AuditFile(written).open()
    assert "goes on beyond" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"x" * 192])
def test_a_damaged_head_file_is_found_and_made_anew(written, content):
    head_file(written).write_bytes(content)
    assert verify([written]).fault.kind == "damaged-head"
    file = AuditFile(written)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([written]).intact


def test_a_head_file_that_cannot_be_written_is_told_and_stops_nothing(written, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", refuse)
    file = AuditFile(written)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.append(RecordKind.EVENT, {})
    file.close()
    assert "head cannot be written: No space left" in caplog.text
    monkeypatch.undo()
    file = AuditFile(written)
    file.open()
    file.append(RecordKind.EVENT, {})
    file.close()
    assert verify([written]).intact


def test_no_file_at_all_is_no_intact_trail():
    with pytest.raises(ValueError, match="no file"):
        verify([])
