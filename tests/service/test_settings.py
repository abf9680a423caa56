from pathlib import Path

import pytest

from service.settings import (
    EMBEDDED_CHECKPOINT,
    Settings,
    SettingsError,
    load_settings,
    unknown_environment,
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    import os

    for name in list(os.environ):
        if name.startswith("DEEPMEDIX_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_serve_the_embedded_checkpoint_to_this_machine_only():
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.model == str(EMBEDDED_CHECKPOINT)


def test_command_comes_before_environment_before_file(monkeypatch, tmp_path):
    (tmp_path / "deepmedix.toml").write_text('port = 1\nhost = "file"\nmodel = "file"\n')
    monkeypatch.setenv("DEEPMEDIX_PORT", "2")
    monkeypatch.setenv("DEEPMEDIX_HOST", "environment")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.model) == (3, "environment", "file")


def test_the_file_may_be_named(monkeypatch, tmp_path):
    path = tmp_path / "elsewhere.toml"
    path.write_text("port = 4\n[engine_args]\nenforce_eager = true\n")
    monkeypatch.setenv("DEEPMEDIX_CONFIG", str(path))
    settings = load_settings()
    assert settings.port == 4
    assert settings.engine_args == {"enforce_eager": True}


def test_engine_arguments_come_as_json(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_ENGINE_ARGS", '{"gpu_memory_utilization": 0.8}')
    assert load_settings().engine_args == {"gpu_memory_utilization": 0.8}


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_CONFIG", "missing.toml")
    with pytest.raises(SettingsError, match=r"does not exist"):
        load_settings()


def test_an_unknown_key_of_the_file_is_an_error_that_lists_the_known(tmp_path):
    (tmp_path / "deepmedix.toml").write_text("prot = 1\n")
    with pytest.raises(SettingsError, match=r"prot: there is no such setting.*port"):
        load_settings()


def test_a_file_that_is_not_toml_is_an_error(tmp_path):
    (tmp_path / "deepmedix.toml").write_text("port: 1\n")
    with pytest.raises(SettingsError, match=r"not valid TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DEEPMEDIX_PORT", "eighty", "port"),
        ("DEEPMEDIX_PORT", "70000", "port"),
        ("DEEPMEDIX_ENGINE_ARGS", "{", "engine_args"),
        ("DEEPMEDIX_LIMIT_IMAGES", "5", "limit_images"),
        ("DEEPMEDIX_MODEL", " ", "model"),
        ("DEEPMEDIX_LOG_LEVEL", "loud", "log_level"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_that_names_it(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def floats():
    return [
        name for name, field in Settings.model_fields.items() if "float" in str(field.annotation)
    ]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_number_that_is_not_finite_is_an_error_in_every_setting(monkeypatch, value):
    assert {"request_timeout", "engine_stall_timeout", "caller_share"} <= set(floats())
    for name in floats():
        monkeypatch.setenv(f"DEEPMEDIX_{name.upper()}", value)
        with pytest.raises(SettingsError, match=rf"{name} .*finite"):
            load_settings()
        monkeypatch.delenv(f"DEEPMEDIX_{name.upper()}")


def test_variables_that_mean_nothing_are_found(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_PROT", "1")
    monkeypatch.setenv("DEEPMEDIX_PORT", "1")
    monkeypatch.setenv("DEEPMEDIX_CONFIG", "x")
    assert unknown_environment() == ["DEEPMEDIX_PROT"]


def test_every_setting_is_described_here_and_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"`DEEPMEDIX_{name.upper()}`" in page, name


def test_the_largest_body_must_fit_into_what_is_admitted():
    with pytest.raises(SettingsError, match="MAX_ADMITTED_BYTES"):
        load_settings(max_body_bytes=2_000_000, max_admitted_bytes=1_000_000)


def test_a_file_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "deepmedix.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings()


@pytest.mark.parametrize("name", ["oidc_audience", "oidc_jwks_url"])
def test_a_part_of_the_providers_settings_does_not_leave_the_door_open(name):
    with pytest.raises(SettingsError, match="DEEPMEDIX_OIDC_ISSUER"):
        load_settings(**{name: "https://idp.example/keys"})


def test_metrics_that_nobody_could_read_are_an_error(tmp_path):
    with pytest.raises(SettingsError, match="DEEPMEDIX_METRICS_PUBLIC=false needs"):
        load_settings(metrics_public=False)
    assert not load_settings(metrics_public=False, keys_file=tmp_path / "keys.json").metrics_public
