"""Settings: contradictions are refused by name, and secrets never show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.errors import SettingsError
from app.settings import load


def loaded(**values: Any) -> Any:
    return load(_env_file=None, **values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"poll_lease": 60, "poll_timeout": 60}, ("GATEWAY_POLL_LEASE", "GATEWAY_POLL_TIMEOUT")),
        ({"poll_timeout": 10, "vendor_timeout": 10}, ("GATEWAY_POLL_TIMEOUT", "GATEWAY_VENDOR_TIMEOUT")),
        ({"vendor_budget": 5}, ("GATEWAY_VENDOR_BUDGET", "GATEWAY_VENDOR_TIMEOUT")),
        ({"drain_timeout": 15}, ("GATEWAY_DRAIN_TIMEOUT", "GATEWAY_CALLBACK_TIMEOUT")),
        (
            {"callback_lease": 20},
            ("GATEWAY_CALLBACK_LEASE", "GATEWAY_CALLBACK_TURN", "GATEWAY_CALLBACK_TIMEOUT"),
        ),
        ({"unclaimed_retention": 9}, ("GATEWAY_UNCLAIMED_RETENTION", "GATEWAY_EVENT_RETENTION")),
        ({"memory_retention": 9}, ("GATEWAY_MEMORY_RETENTION", "GATEWAY_EVENT_RETENTION")),
        ({"poll_interval": 59}, ("GATEWAY_POLL_INTERVAL", "GATEWAY_POLL_INTERVAL_FLOOR")),
        (
            {"database_url": "postgresql://u:hidden@h/d"},
            ("GATEWAY_ENCRYPTION_KEYS", "GATEWAY_DATABASE_URL"),
        ),
    ],
)
def test_a_contradiction_names_both_settings(values: dict[str, Any], named: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(**values)
    assert all(name in caught.value.message for name in named)
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"port": 70000}, "GATEWAY_PORT"),
        ({"poll_lease": "long"}, "GATEWAY_POLL_LEASE"),
        ({"poll_lease": "nan"}, "GATEWAY_POLL_LEASE"),
        ({"poll_lease": "1e300"}, "GATEWAY_POLL_LEASE"),
        ({"worker_idle": 0}, "GATEWAY_WORKER_IDLE"),
        ({"callback_turn": -20}, "GATEWAY_CALLBACK_TURN"),
        ({"vendor_timeout": "-PT5S"}, "GATEWAY_VENDOR_TIMEOUT"),
        ({"callback_retry": "3x3"}, "GATEWAY_CALLBACK_RETRY"),
        ({"callback_allowed_networks": ["10.0.0.1/8"]}, "GATEWAY_CALLBACK_ALLOWED_NETWORKS"),
        ({"database_url": "mysql://u:hidden@h/d"}, "GATEWAY_DATABASE_URL"),
        ({"database_url": "hidden"}, "GATEWAY_DATABASE_URL"),
        ({"database_url": "sqlite://"}, "GATEWAY_DATABASE_URL"),
        ({"database_url": "sqlite:///:memory:"}, "GATEWAY_DATABASE_URL"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(values: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(**values)
    assert named in caught.value.message
    assert "hidden" not in caught.value.message


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GATEWAY_POLL_LEASE": "90.5",
        "GATEWAY_POLL_INTERVAL": "PT5M",
        "GATEWAY_PROVIDER_BASE_URLS": '{"egnyte": "https://{subdomain}.egnytegov.com"}',
        "GATEWAY_CALLBACK_ALLOWED_NETWORKS": '["10.0.0.0/8", "fd00::/8"]',
    }.items():
        monkeypatch.setenv(name, value)
    found = loaded()
    assert (found.poll_lease, found.poll_interval) == (timedelta(seconds=90.5), timedelta(minutes=5))
    assert found.provider_base_urls["egnyte"].endswith("egnytegov.com")
    assert len(found.callback_allowed_networks) == 2


def test_the_usual_spellings_of_a_postgresql_url_are_understood() -> None:
    url = loaded(database_url="postgres://u:p@h/d?sslmode=require", encryption_keys="k").database
    assert url.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h/d?ssl=require"


@pytest.mark.parametrize("name", ["GATEWAY_PROVIDER_BASE_URLS", "GATEWAY_CALLBACK_ALLOWED_NETWORKS"])
def test_an_environment_variable_that_is_not_json_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "{hidden")
    with pytest.raises(SettingsError) as caught:
        loaded()
    assert caught.value.message == f"{name}: not valid JSON"


def test_secrets_do_not_show() -> None:
    found = loaded(database_url="postgresql://u:hidden@h/d", encryption_keys="hidden-too")
    assert "hidden" not in repr(found)
    assert "hidden" not in str(found.model_dump())
    assert found.database.drivername == "postgresql+asyncpg"
