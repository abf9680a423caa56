import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from service.identity import CredentialsRefusedError, KeyFile, KeyFileError, Scope
from service.identity import api_keys as module
from service.identity.api_keys import KeySet, digest, new_key

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def made(**how):
    return new_key("ward-3", [Scope.READ], now=NOW, **how)


def test_a_key_stands_for_its_name_and_scopes():
    record, key = made()
    principal = KeySet([record]).identify(key, NOW)
    assert (principal.name, principal.scopes) == ("ward-3", frozenset({Scope.READ}))


def test_a_key_has_a_recognisable_prefix_and_256_random_bits():
    record, key = made()
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("dmx", record.id, 43)
    assert made()[1] != key


def test_what_is_kept_does_not_hold_the_key():
    record, key = made()
    assert key.split("_", 2)[2] not in record.model_dump_json()
    assert record.sha256 == digest(key)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda key: key[:-1], "key-malformed"),
        (lambda key: key + "A", "key-malformed"),
        (lambda key: key.upper(), "key-malformed"),
        (lambda key: "dmx_" + "0" * 12 + key[16:], "key-unknown"),
        (lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), "key-wrong"),
        (lambda key: "", "key-malformed"),
        (lambda key: key + "\n", "key-malformed"),
    ],
)
def test_any_other_key_is_refused(change, reason):
    record, key = made()
    with pytest.raises(CredentialsRefusedError) as refused:
        KeySet([record]).identify(change(key), NOW)
    assert refused.value.reason == reason


def test_a_key_expires_at_its_moment():
    record, key = made(expires=NOW + timedelta(hours=1))
    keys = KeySet([record])
    assert keys.identify(key, NOW + timedelta(minutes=59))
    with pytest.raises(CredentialsRefusedError, match="key-expired"):
        keys.identify(key, NOW + timedelta(hours=1))


def test_digests_are_compared_in_constant_time_for_unknown_ids_too(monkeypatch):
    record, key = made()
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    KeySet([record]).identify(key, NOW)
    with pytest.raises(CredentialsRefusedError):
        KeySet([]).identify(key, NOW)
    assert compared == [(digest(key), record.sha256), (digest(key), "0" * 64)]


def test_keys_survive_the_file(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("ward-3", [Scope.READ, Scope.ADMIN])
    principal = KeyFile(tmp_path / "keys.json").load().identify(key, datetime.now(UTC))
    assert principal.scopes == {Scope.READ, Scope.ADMIN}
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert key not in (tmp_path / "keys.json").read_text()


def test_a_revoked_key_is_refused_and_its_record_stays(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    record, key = file.add("ward-3", [Scope.READ])
    file.revoke("ward-3")
    with pytest.raises(CredentialsRefusedError, match="key-revoked"):
        file.load().identify(key, datetime.now(UTC))
    assert [kept.id for kept in file.read()] == [record.id]
    with pytest.raises(KeyFileError, match="list"):
        file.revoke("ward-3")


def test_a_name_is_used_by_one_active_key(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    with pytest.raises(KeyFileError, match="revoke"):
        file.add("ward-3", [Scope.READ])
    file.revoke("ward-3")
    file.add("ward-3", [Scope.READ])


@pytest.mark.parametrize("name", ["", "Mrs Smith", "a:b", "-x", "x" * 65, "x\n"])
def test_a_name_is_short_and_plain(tmp_path, name):
    with pytest.raises(KeyFileError, match="name"):
        KeyFile(tmp_path / "keys.json").add(name, [Scope.READ])


@pytest.mark.parametrize("name", ["anonymous", "Anonymous"])
def test_no_key_bears_the_name_of_those_without_one(tmp_path, name):
    with pytest.raises(KeyFileError, match="audit trail"):
        KeyFile(tmp_path / "keys.json").add(name, {Scope.READ})


def test_a_file_that_others_write_to_is_refused_with_the_mend(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    file.path.chmod(0o620)
    with pytest.raises(KeyFileError, match="chmod 600"):
        file.read()


@pytest.mark.parametrize(("owner", "taken"), [(0, True), (10001, True), (10002, False)])
def test_a_service_takes_the_file_of_root_and_of_its_own_user_alone(
    tmp_path, monkeypatch, owner, taken
):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    state = os.fstat

    def owned(descriptor):
        found = list(state(descriptor))
        found[4] = owner
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", owned)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    if taken:
        assert len(file.load()) == 1
    else:
        with pytest.raises(KeyFileError, match=r"uid 10002.*chown 10001"):
            file.load()
    assert len(file.read()) == 1  # `deepmedix keys`, which root may run for another's file


@pytest.mark.parametrize(("mode", "taken"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_a_folder_in_which_anybody_may_put_another_file_is_refused(tmp_path, mode, taken):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    tmp_path.chmod(mode)
    if taken:
        assert len(file.read()) == 1
    else:
        with pytest.raises(KeyFileError, match="chmod o-w"):
            file.read()


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"version": 1}', '{"keys": []}'),
        *('{"version": 2, "keys": []}', '{"version":1,"keys":[{}]}'),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeyFileError, match="not a key file"):
        KeyFile(path).read()


def test_two_records_of_one_id_are_refused(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    content = json.loads(file.path.read_text())
    content["keys"] *= 2
    file.path.write_text(json.dumps(content))
    with pytest.raises(KeyFileError, match="not a key file"):
        file.read()


def test_a_file_that_is_missing_or_no_file_is_told(tmp_path):
    with pytest.raises(KeyFileError, match="keys add"):
        KeyFile(tmp_path / "nowhere.json").read()
    with pytest.raises(KeyFileError):
        KeyFile(tmp_path).read()
    with pytest.raises(KeyFileError, match="cannot be written"):
        KeyFile(tmp_path / "no" / "folder" / "keys.json").add("x", [Scope.READ])


def test_changes_side_by_side_lose_nothing(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: KeyFile(path).add(f"key-{n}", [Scope.READ]), range(16)))
    assert {key.name for key in KeyFile(path).read()} == {f"key-{n}" for n in range(16)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("act", ["add", "revoke"])
def test_the_service_can_still_read_what_root_has_changed(tmp_path, act):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    os.chown(file.path, 10001, 10002)
    file.path.chmod(0o640)
    if act == "add":
        file.add("ward-4", [Scope.READ])
    else:
        file.revoke("ward-3")
    found = file.path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (10001, 10002, 0o640)
    lock = (tmp_path / "keys.json.lock").stat()
    assert (lock.st_uid, lock.st_gid) == (10001, 10002)


def test_the_mode_of_the_file_is_kept(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    file.path.chmod(0o440)
    file.revoke("ward-3")
    assert file.path.stat().st_mode & 0o777 == 0o440


def test_a_file_that_would_change_hands_is_left_as_it_is(tmp_path, monkeypatch):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    before = file.path.read_bytes()
    stat = os.stat

    def anothers(path, **how):
        found = list(stat(path, **how))
        found[4] = found[4] + 1  # the owner
        return os.stat_result(found)

    def refuse(descriptor, owner, group):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "stat", anothers)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(KeyFileError, match="runuser"):
        file.revoke("ward-3")
    monkeypatch.undo()
    assert file.path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize("revoked", [None, "one", "other"])
def test_a_word_that_is_ones_id_and_anothers_name_revokes_neither(tmp_path, revoked):
    file = KeyFile(tmp_path / "keys.json")
    one, _ = file.add("one", [Scope.READ])
    other, _ = file.add("other", [Scope.READ])
    content = json.loads(file.path.read_text())
    content["keys"][1]["name"] = one.id
    if revoked is not None:
        content["keys"][revoked == "other"]["revoked"] = NOW.isoformat()
    file.path.write_text(json.dumps(content))
    before = file.read()
    with pytest.raises(KeyFileError, match="name of another"):
        file.revoke(one.id)
    assert file.read() == before
    if revoked is None:
        assert file.revoke("one").id == one.id
        assert file.revoke(other.id).id == other.id


def test_a_key_that_bears_its_own_id_is_revoked_by_it(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    one, _ = file.add("one", [Scope.READ])
    content = json.loads(file.path.read_text())
    content["keys"][0]["name"] = one.id
    file.path.write_text(json.dumps(content))
    assert file.revoke(one.id).id == one.id


def test_another_keys_id_is_taken_as_no_name(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    one, _ = file.add("one", [Scope.READ])
    with pytest.raises(KeyFileError, match="another key's id"):
        file.add(one.id, [Scope.READ])


def test_behind_a_link_the_file_itself_is_changed(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link" / "keys.json"
    KeyFile(real).add("ward-3", [Scope.READ])
    link.parent.mkdir()
    link.symlink_to(real)
    KeyFile(link).revoke("ward-3")
    assert link.is_symlink()
    (kept,) = KeyFile(real).read()
    assert kept.revoked is not None
    assert list(link.parent.iterdir()) == [link]  # one lock for both names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_first_key_made_by_root_locks_nobody_out(tmp_path):
    os.chown(tmp_path, 10001, 10002)
    KeyFile(tmp_path / "keys.json").add("ward-3", [Scope.READ])
    lock = (tmp_path / "keys.json.lock").stat()
    assert (lock.st_uid, lock.st_gid) == (10001, 10002)
