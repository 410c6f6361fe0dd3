"""What a configuration key holds, and what becomes of its value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app import configuration
from app.settings import load

SETTINGS = load(_env_file=None)


@pytest.mark.parametrize(
    "key",
    [
        "oauth.api.key",
        "oauth.api.secret",
        "oauth.user.token",
        "oauth.user.refresh_token",
        "event.notification.signature.key",
        "event.notification.basic.password",
        "password",
        "Password",
        "userPassword",
        "clientSecret",
        "apiKey",
        "api_key",
        "key",
        "accessToken",
    ],
)
def test_a_secret_is_known_by_its_last_word(key: str) -> None:
    assert configuration.is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "subdomain",
        "oauth.callback.url",
        "oauth.token.url",
        "oauth.user.refresh_time",
        "username",
        "monkey",
        "event.helper.key",
        "password.policy",
    ],
)
def test_anything_else_is_none(key: str) -> None:
    assert not configuration.is_secret(key)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (15, "15"),
        (0.5, "0.5"),
        ("x", "x"),
        ("", ""),
        (None, None),
        ({"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'),
        ([], "[]"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_every_json_type_becomes_text(value: Any, text: str | None) -> None:
    assert configuration.as_text(value) == text


@pytest.mark.parametrize(
    ("minutes", "interval"),
    [
        (None, timedelta(minutes=15)),
        ("", timedelta(minutes=15)),
        ("5", timedelta(minutes=5)),
        ("1.5", timedelta(seconds=90)),
        ("0.1", timedelta(minutes=1)),
    ],
)
def test_the_interval_is_in_minutes_and_has_a_floor(minutes: str | None, interval: timedelta) -> None:
    values = {"event.poller.refresh_interval": minutes}
    assert configuration.event_settings(values, SETTINGS).interval == interval


def test_resources_keep_their_names_and_page_sizes() -> None:
    text = '{"files": {"url": "/hubs/documents/events?where=x", "pageSize": "50"}, "b": {"url": "/events"}}'
    found = configuration.event_settings({"event.poller.configuration": text}, SETTINGS)
    assert found.resources == {"files": 50, "b": 20}
    assert not found.enabled
