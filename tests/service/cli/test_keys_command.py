import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from service.cli import build_cli
from service.identity import KeyFile, Scope

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(build_cli(), [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    monkeypatch.setenv("DEEPMEDIX_KEYS_FILE", str(path))
    return path


def test_a_key_is_shown_alone_on_standard_output_and_works(path):
    result = run("keys", "add", "ward-3")
    assert result.exit_code == 0, result.output
    principal = KeyFile(path).load().identify(result.stdout.strip(), datetime.now(UTC))
    assert (principal.name, principal.scopes) == ("ward-3", {Scope.READ})
    assert "not shown again" in result.stderr
    assert "SIGHUP" in result.stderr


def test_scopes_and_expiry_are_given(path):
    result = run(
        "keys", "add", "ops", "--scope", "admin", "--scope", "read", "--expires", "90d", "--json"
    )
    shown = json.loads(result.stdout)
    assert shown["scopes"] == ["admin", "read"]
    left = datetime.fromisoformat(shown["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert "sha256" not in shown


@pytest.mark.parametrize("expires", ["soon", "0d", "2001-01-01", "9999999d", "-1d"])
def test_an_expiry_that_is_none_is_refused(path, expires):
    assert run("keys", "add", "x", f"--expires={expires}").exit_code == 2
    assert not path.exists()


def test_the_list_tells_status_and_never_a_hash(path):
    run("keys", "add", "one")
    run("keys", "add", "two", "--expires", "2099-01-31")
    assert run("keys", "revoke", "one").exit_code == 0
    shown = json.loads(run("keys", "list", "--json").stdout)
    assert [(key["name"], key["status"]) for key in shown] == [
        ("one", "revoked"),
        ("two", "active"),
    ]
    text = run("keys", "list").stdout
    assert "2099-01-31" in text
    assert KeyFile(path).read()[0].sha256[:8] not in text


def test_a_key_is_revoked_by_its_id_too(path):
    key_id = json.loads(run("keys", "add", "one", "--json").stdout)["id"]
    assert json.loads(run("keys", "revoke", key_id, "--json").stdout)["status"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "Mrs Smith"], "letters"),
        (["list"], "keys add"),
        (["revoke", "nobody"], "keys add"),
    ],
)
def test_what_goes_wrong_is_told_with_the_mend(path, arguments, said):
    result = run("keys", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_the_file_must_be_named(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPMEDIX_KEYS_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    result = run("keys", "list")
    assert result.exit_code == 1
    assert "DEEPMEDIX_KEYS_FILE" in result.stderr
