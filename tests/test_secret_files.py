"""Settings in files: read like variables, later than them, and named when something is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from app.settings import load


def loaded(**values: Any) -> Any:
    return load(_env_file=None, **values)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of secrets as an orchestrator mounts it, and the variable that names it."""
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(made))
    return made


def test_a_file_is_read_like_its_variable(secrets: Path) -> None:
    (secrets / "GATEWAY_DATABASE_URL").write_text("postgresql://u:hidden@h/d\n")
    (secrets / "GATEWAY_ENCRYPTION_KEYS").write_text("hidden-too\n")
    (secrets / "GATEWAY_OAUTH_APPS").write_text('{"box": {"key": "k", "secret": "s"}}')
    (secrets / "postgres_password").write_text("of another service")
    found = loaded()
    assert found.database.password == "hidden"
    assert found.encryption_keys.get_secret_value() == "hidden-too"
    assert found.oauth_apps["box"].key.get_secret_value() == "k"
    assert "hidden" not in repr(found)


def test_what_the_environment_says_comes_before_the_file(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "GATEWAY_PORT").write_text("1111")
    monkeypatch.setenv("GATEWAY_PORT", "2222")
    assert loaded().port == 2222


def test_the_directory_may_be_named_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/GATEWAY_PORT").write_text("1111")
    (tmp_path / ".env").write_text("GATEWAY_SECRETS_DIR=secrets\n")
    assert load().port == 1111


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_SECRETS_DIR: not a directory that can be read"):
        loaded(secrets_dir=tmp_path / "missing")


def test_what_docker_makes_of_a_missing_source_is_no_reason_for_a_new_key(secrets: Path) -> None:
    (secrets / "GATEWAY_ENCRYPTION_KEYS").mkdir()
    with pytest.raises(SettingsError, match="GATEWAY_ENCRYPTION_KEYS: not a file"):
        loaded()


def test_a_link_to_elsewhere_is_not_passed_over(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hidden")
    (secrets / "GATEWAY_ENCRYPTION_KEYS").symlink_to(tmp_path / "key")
    with pytest.raises(SettingsError, match="GATEWAY_ENCRYPTION_KEYS: leads out of GATEWAY_SECRETS_DIR"):
        loaded()


def test_files_are_read_where_kubernetes_has_them(secrets: Path) -> None:
    (secrets / "..2026_01_01").mkdir()
    (secrets / "..2026_01_01/gateway_port").write_text("1111")
    (secrets / "..data").symlink_to("..2026_01_01")
    (secrets / "gateway_port").symlink_to("..data/gateway_port")
    assert loaded().port == 1111


def test_a_file_that_is_called_as_no_setting_is_named(secrets: Path) -> None:
    (secrets / "GATEWAY_ENCRYPTION_KEY").write_text("hidden")
    with pytest.raises(SettingsError, match=r"GATEWAY_ENCRYPTION_KEY: .* no setting is called so") as caught:
        loaded()
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("GATEWAY_OAUTH_APPS", b"{hidden", "GATEWAY_OAUTH_APPS: not valid JSON"),
        ("GATEWAY_ENCRYPTION_KEYS", b"hidden\xff", "GATEWAY_ENCRYPTION_KEYS: its file cannot be read"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named_and_not_shown(
    secrets: Path, name: str, content: bytes, message: str
) -> None:
    (secrets / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        loaded()
    assert caught.value.message == message
