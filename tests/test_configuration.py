"""What a configuration key holds, and what becomes of its value."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import configuration, event_settings
from app.configuration import as_text, as_texts, is_secret
from app.errors import BadRequest
from app.event_settings import EventSettings
from app.providers.egnyte import Egnyte
from app.settings import load
from app.wire import instances as wire

SETTINGS = load(_env_file=None)
COMPLETE = {
    "oauth.api.key": "key",
    "oauth.api.secret": "of the app",
    "oauth.callback.url": "https://app.example.com/oauth",
    "subdomain": "acme",
}
URL = "event.notification.callback.url"
INTERVAL = "event.poller.refresh_interval"
POLLER = "event.poller.configuration"


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
        "oauth.basic.header",
        "event.notification.callback.headers",
        "apikey",
        "APIKEY",
        "oauth.apikey",
        "pwd",
        "passphrase",
        "credentials",
        "authorization",
        "private.key.pem",
    ],
)
def test_a_secret_is_known_by_its_last_word(key: str) -> None:
    assert is_secret(key)


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
    assert not is_secret(key)


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
    assert as_text(value) == text


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
    assert read(**{INTERVAL: minutes}).interval == interval


def read(**values: str | None) -> EventSettings:
    return event_settings.read(values, SETTINGS)


def resources(poller: object) -> dict[str, int]:
    text = poller if isinstance(poller, str) else json.dumps(poller)
    found = event_settings.read({POLLER: text}, SETTINGS).resources
    return {name: resource.page_size for name, resource in found.items()}


@given(
    st.recursive(
        st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_was_an_object_can_be_read_back_from_its_text(value: object) -> None:
    assert json.loads(as_text(value) or "") == value


def test_every_secret_of_an_element_is_shown_as_a_password_field() -> None:
    for field in configuration.fields(Egnyte):
        assert is_secret(field.key) is (field.kind == "PASSWORD"), field.key


@pytest.mark.parametrize("empty", ["", None])
def test_all_missing_keys_are_named_at_once_and_an_empty_value_is_missing(empty: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        configuration.check(Egnyte, dict.fromkeys(COMPLETE, empty), missing=["providerData.code"])
    assert all(key in caught.value.message for key in (*COMPLETE, "providerData.code"))


@pytest.mark.parametrize("missing", COMPLETE)
def test_what_is_there_is_not_named_as_missing(missing: str) -> None:
    given_values = {key: value for key, value in COMPLETE.items() if key != missing}
    with pytest.raises(BadRequest) as caught:
        configuration.check(Egnyte, given_values)
    assert caught.value.message.endswith(f": {missing}")
    configuration.check(Egnyte, given_values, optional={missing})


def test_a_masked_secret_is_no_secret() -> None:
    with pytest.raises(BadRequest, match=r"configuration\.oauth\.api\.secret: is covered"):
        configuration.check(Egnyte, COMPLETE | {"oauth.api.secret": configuration.MASK})


def test_what_is_as_it_was_shown_is_unchanged() -> None:
    before = {"a": "1", "password": "p", "x.url": "https://u:p@host/", "oauth.user.refresh_time": "5"}
    shown = {key: configuration.shown(key, value) for key, value in before.items()}
    assert shown == {
        "a": "1", "password": "********", "x.url": "https://u:********@host/", "oauth.user.refresh_time": "5"
    }  # fmt: skip
    assert configuration.changed(before, shown) == {}
    assert configuration.changed(before, shown | {"a": "2", "b": None}) == {"a": "2"}
    assert configuration.changed({}, shown) == {"a": "1", "x.url": shown["x.url"]}


def test_what_the_gateway_keeps_up_to_date_is_taken_only_with_a_token() -> None:
    stale = {"oauth.user.refresh_time": "4", "oauth.user.refresh_interval": "60"}
    assert configuration.changed({"oauth.user.refresh_time": "5"}, stale) == {}
    whole = stale | {"oauth.user.refresh_token": "r"}
    assert configuration.changed({"oauth.user.refresh_time": "5"}, whole) == whole


@pytest.mark.parametrize("key", ["oauth.user.refresh_time", "oauth.user.refresh_interval"])
def test_a_time_of_tokens_is_a_number(key: str) -> None:
    with pytest.raises(BadRequest, match=key):
        configuration.check(Egnyte, COMPLETE | {key: "soon"})
    with pytest.raises(BadRequest, match=key):
        configuration.check(Egnyte, COMPLETE | {key: "9" * 14})
    configuration.check(Egnyte, COMPLETE | {key: "9" * 10})


@pytest.mark.parametrize("subdomain", ["acme", "a", "ACME-2", "a" * 63])
def test_a_subdomain_is_one_label_of_a_host(subdomain: str) -> None:
    configuration.check(Egnyte, COMPLETE | {"subdomain": subdomain})


@pytest.mark.parametrize(
    "subdomain", ["a.b", "a/b", "a@b", "a:1", "-a", "a-", "a b", "acme\n", "ä", "a" * 64, "{x}", "%2e"]
)
def test_a_subdomain_cannot_lead_to_another_host(subdomain: str) -> None:
    with pytest.raises(BadRequest, match=r"configuration\.subdomain.*'acme'"):
        configuration.check(Egnyte, COMPLETE | {"subdomain": subdomain})


@pytest.mark.parametrize(
    ("value", "enabled"),
    [
        ("true", True),
        ("TRUE", True),
        (" true ", True),
        ("false", False),
        ("1", False),
        ("", False),
        (None, False),
    ],
)
def test_events_are_enabled_by_the_word_true(value: str | None, enabled: bool) -> None:
    assert read(**{"event.notification.enabled": value}).enabled is enabled


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "1e999", "525601", "often", "true", "[]"])
def test_what_is_no_number_of_minutes_is_refused(minutes: str) -> None:
    with pytest.raises(BadRequest, match=INTERVAL):
        read(**{INTERVAL: minutes})


@pytest.mark.parametrize("url", [None, "", "  "])
def test_without_a_callback_there_is_none(url: str | None) -> None:
    assert read(**{URL: url}).callback_url is None


@pytest.mark.parametrize("url", ["http://a", "https://a.example.com:8443/x?y=z", " http://[::1]/ "])
def test_a_callback_is_an_http_url(url: str) -> None:
    assert read(**{URL: url}).callback_url == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        "a",
        "/x",
        "ftp://a",
        "http://",
        "http://[",
        "http://a:0/",
        "http://a:70000/",
        "http://a/\nb",
        "http://a/" + "x" * 2000,
    ],
)
def test_what_cannot_be_called_back_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match=URL):
        read(**{URL: url})


@pytest.mark.parametrize("text", ["", "{}", "  "])
def test_without_a_poller_configuration_events_are_polled(text: str) -> None:
    assert resources(text) == {"events": 20}


def test_resources_have_names_and_page_sizes() -> None:
    assert resources(
        {
            "events": {"url": "/hubs/documents/events", "pageSize": 50, "datesConfiguration": "ignored"},
            "a/b": {
                "url": "/events?where=event_date>='${gmtDate:yyyy-MM-dd\\'T\\'HH:mm:ss}'",
                "pageSize": "5",
            },
            "c": {"url": "events", "idField": ""},
        }
    ) == {"events": 50, "a/b": 5, "c": 20}


@pytest.mark.parametrize(
    ("poller", "named"),
    [
        ("{", "not valid JSON"),
        ("null", "must be an object"),
        ("[]", "must be an object"),
        ({"events": None}, "events.url"),
        ({"events": "x"}, "events.url"),
        ({"events": {"url": 5}}, "events.url"),
        ({"events": {"url": "/hubs/documents/files"}}, "events.url"),
        ({"events": {"url": "http://[/events"}}, "events.url"),
        ({"events": {"url": "//[::1/events"}}, "events.url"),
        ({"events": {"url": "/events", "pageSize": 0}}, "events.pageSize"),
        ({"events": {"url": "/events", "pageSize": 1001}}, "events.pageSize"),
        ({"events": {"url": "/events", "pageSize": True}}, "events.pageSize"),
        ({"x" * 201: {"url": "/events"}}, "longer than 200"),
    ],
)
def test_a_poller_configuration_that_cannot_be_followed_is_refused_with_its_key(
    poller: Any, named: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        resources(poller)
    assert caught.value.message.startswith(f"configuration.{POLLER}")
    assert named in caught.value.message


@given(st.text(max_size=40) | st.from_regex(r'\{"e":\{"url":"[a-z:/\[\]?#@%]{0,12}"\}\}', fullmatch=True))
def test_any_text_is_resources_or_a_bad_request(text: str) -> None:
    try:
        found = resources(text)
    except BadRequest:
        return
    assert found
    assert all(1 <= size <= 1000 for size in found.values())


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("event.notification.enabled", True, "true"),
        ("event.notification.enabled", " True ", "true"),
        ("event.notification.ordered", "FALSE", "false"),
        ("event.notification.ordered", " ", ""),
        ("event.notification.enabled", None, None),
        ("event.notification.type", "Webhook", "webhook"),
        ("filter.response.nulls", "False", "false"),
    ],
)
def test_a_choice_is_kept_as_its_word(key: str, value: Any, kept: str | None) -> None:
    assert wire.given({key: value}) == {key: kept}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("event.notification.enabled", 1, "true, false"),
        ("event.notification.enabled", "yes", "true, false"),
        ("event.notification.enabled", [True], "true, false"),
        ("event.notification.enabled", {}, "true, false"),
        ("event.notification.ordered", "sure", "true, false"),
        ("filter.response.nulls", "x", "true, false"),
        ("event.notification.type", "email", "webhook"),
    ],
)
def test_what_is_no_choice_is_refused_with_all_words_and_taken_from_an_export(
    key: str, value: Any, words: str
) -> None:
    with pytest.raises(BadRequest, match=rf"^configuration\.{key}: .* is not valid; one of {words}$"):
        wire.given({key: value})
    assert as_texts({key: value}) == {key: as_text(value)}


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(BadRequest, match="configuration: a key is empty"):
        wire.given({"": "x"})


def test_a_value_of_an_element_names_all_words_too() -> None:
    with pytest.raises(BadRequest, match="'v3' is not valid; one of v1, v2"):
        configuration.check(Egnyte, COMPLETE | {"egnyte.events.version": "v3"})
