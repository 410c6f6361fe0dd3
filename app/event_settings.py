"""What the `event.` keys of an instance's configuration ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from app import configuration
from app.delivery import signing
from app.delivery.carried import Carried, parse_headers
from app.errors import BadRequest
from app.hubs.documents import Power
from app.polling import resources as polled
from app.registry import Provider
from app.settings import Settings
from app.wire import storable

ENABLED = "event.notification.enabled"
CALLBACK_URL = "event.notification.callback.url"
VENDOR_TYPE = "event.vendor.type"
_SIGNATURE_KEYS = ("event.notification.signature.key", "event.notification.signature.secondary.key")
POLLING = "polling"
WEBHOOKS = frozenset({"webhook", "webhooks"})  # Cloud Elements' table has the one, its examples the other
LONGEST_INTERVAL_MINUTES = 60 * 24 * 365
LONGEST_RESOURCE_NAME = 200  # characters
MOST_RESOURCES = 20  # of one instance; each is polled by itself
_LOGIN = re.compile(r"(?i)(https?://)([^/?#]*)@")


@dataclass(frozen=True)
class Resource:
    """One resource to poll. `reading` is what the configuration says of it; without, it is the vendor's own
    stream of events."""

    page_size: int = polled.PAGE_SIZE
    reading: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Receiver:
    """Where calls go. `login` is the user and password that stood in the URL, and `shown_url` how it stood
    there, with the password covered; both are None where it had none."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)
    shown_url: str | None = None


@dataclass(frozen=True)
class EventSettings:
    """What the `event.` keys of a configuration ask for. `resources` are those to poll, by their names."""

    enabled: bool
    webhooks: bool
    receiver: Receiver | None
    carried: Carried
    ordered: bool
    interval: timedelta
    long_poll: bool
    resources: Mapping[str, Resource]

    @property
    def callback_url(self) -> str | None:
        return self.receiver.url if self.receiver else None


def read(values: Mapping[str, str | None], settings: Settings) -> EventSettings:
    """Reads the `event.` keys. Raises BadRequest naming the key that cannot be used."""
    to = callback_url(values.get(CALLBACK_URL))
    return EventSettings(
        enabled=enabled(values),
        webhooks=wants_webhooks(values),
        receiver=to,
        carried=_carried(values).with_login(to.login if to else None),
        ordered=ordered(values),
        interval=_interval(values.get("event.poller.refresh_interval"), settings),
        long_poll=_long_poll(values),
        resources=_resources(values),
    )


def wants_webhooks(values: Mapping[str, str | None]) -> bool:
    """Whether the vendor is to call when something changes."""
    return enabled(values) and _vendor_type(values) in WEBHOOKS


def check_vendor_type(provider: Provider, values: Mapping[str, str | None], settings: Settings) -> None:
    """Raises BadRequest for a way to be told of changes that there is not, that the vendor does not offer, or
    that cannot work while nobody has said where the vendor reaches this gateway or what proves its calls."""
    kind, key = _vendor_type(values), f"configuration.{VENDOR_TYPE}"
    if kind == POLLING:
        return
    if kind not in WEBHOOKS:
        raise BadRequest(f"{key}: {kind[:40]!r} is neither 'polling' nor 'webhook'")
    if Power.WEBHOOKS not in provider.powers:
        raise BadRequest(f"{key}: the element '{provider.key}' has no webhooks; use 'polling'")
    if enabled(values) and settings.public_url is None:
        raise BadRequest(f"{key}: {kind!r} needs GATEWAY_PUBLIC_URL, where the vendor reaches this gateway")
    keys = provider.webhook_keys
    if enabled(values) and keys and not any(values.get(item) for item in keys):
        raise BadRequest(f"configuration.{keys[0]}: is required: without it a webhook's calls are refused")


def enabled(values: Mapping[str, str | None]) -> bool:
    """Whether the account is to be watched at all."""
    return _word(values, ENABLED) == "true"


def ordered(values: Mapping[str, str | None]) -> bool:
    """Whether what concerns one object is to leave in the order of its events."""
    return _word(values, "event.notification.ordered") == "true"


def _vendor_type(values: Mapping[str, str | None]) -> str:
    return _word(values, VENDOR_TYPE) or POLLING


def _word(values: Mapping[str, str | None], key: str) -> str:
    return (values.get(key) or "").strip().lower()


def callback_url(value: str | None, *, name: str = f"configuration.{CALLBACK_URL}") -> Receiver | None:
    """Where notifications can be sent to; None where no URL is. Raises BadRequest with `name`."""
    if not value or not value.strip():
        return None
    url = value.strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or len(url) > configuration.LONGEST_URL:
        raise BadRequest(
            f"{name}: {configuration.without_password(url)[:200]!r} "
            f"is not an http or https URL of at most {configuration.LONGEST_URL} characters"
        )
    return receiver(url)


def receiver(url: str) -> Receiver:
    """The URL and the login in it, taken apart. Of a password that is covered, because the key that it was
    sealed with is lost, nothing is sent."""
    found = _LOGIN.match(url)
    if found is None:
        return Receiver(url)
    bare = found[1] + url[found.end() :]
    name, _, password = found[2].partition(":")
    login = (unquote(name), unquote(password)) if found[2] and password != configuration.MASK else None
    return Receiver(bare, login, configuration.without_password(url) if found[2] else None)


def signature_key(value: str | None, *, name: str) -> str | None:
    """A key that signs; None where there is none. Raises BadRequest with `name` for one that cannot be."""
    try:
        signing.check_key(value or "")
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None
    return value or None


def carried_as_stored(values: Mapping[str, str | None]) -> Carried:
    """What calls carry whatever their URL says, of a configuration that is stored already: older versions let
    in headers and users that cannot be sent, and sent the signatures alone."""
    try:
        return _carried(values)
    except BadRequest:
        return Carried(tuple(key for name in _SIGNATURE_KEYS if (key := values.get(name))))


def _carried(values: Mapping[str, str | None]) -> Carried:
    keys = [signature_key(values.get(name), name=f"configuration.{name}") for name in _SIGNATURE_KEYS]
    basic = _basic(values)
    try:
        headers = parse_headers(
            values.get("event.notification.callback.headers") or "", with_basic=basic is not None
        )
    except ValueError as error:
        raise BadRequest(f"configuration.event.notification.callback.headers: {error}") from None
    return Carried(tuple(key for key in keys if key), basic, headers)


def _basic(values: Mapping[str, str | None]) -> tuple[str, str] | None:
    name, password = (
        values.get(f"event.notification.basic.{part}") or "" for part in ("username", "password")
    )
    if not name and not password:
        return None
    for part, value, forbidden in (("username", name, ":"), ("password", password, "")):
        if not value.isprintable() or (forbidden and forbidden in value):
            raise BadRequest(
                f"configuration.event.notification.basic.{part}: has a character that Basic auth cannot carry"
            )
    return name, password


def _long_poll(values: Mapping[str, str | None]) -> bool:
    """Whether a vendor that can say when there is something new is to do so, as it is unless somebody asks
    for less."""
    return _vendor_type(values) == POLLING and _word(values, "event.poller.long.poll") != "false"


def _interval(value: str | None, settings: Settings) -> timedelta:
    if not value or not value.strip():
        return settings.poll_interval
    try:
        minutes = float(value)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes <= LONGEST_INTERVAL_MINUTES:
        raise BadRequest(
            f"configuration.event.poller.refresh_interval: {value[:40]!r} is not a number of minutes"
        )
    return max(timedelta(minutes=minutes), settings.poll_interval_floor)


def _resources(values: Mapping[str, str | None]) -> Mapping[str, Resource]:
    """The resources to poll: those of `event.poller.configuration`, or of the older `event.poller.urls`, or
    the vendor's stream of events."""
    key, found = "event.poller.configuration", _poller_configuration(values.get("event.poller.configuration"))
    if not found:
        key, lines = "event.poller.urls", values.get("event.poller.urls") or ""
        found = polled.legacy(lines)
        if twice := polled.named_twice(lines):
            raise BadRequest(f"configuration.{key}: two lines are named {twice[:60]!r}")
    if len(found) > MOST_RESOURCES:
        raise BadRequest(f"configuration.{key}: has more than {MOST_RESOURCES} resources")
    read = {name: _resource(f"configuration.{key}", name, resource) for name, resource in found.items()}
    return read or {"events": Resource()}


def _poller_configuration(text: str | None) -> Mapping[str, Any]:
    key = "configuration.event.poller.configuration"
    try:
        found = orjson.loads(text) if text and text.strip() else {}
        storable.check(found)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{key}: not valid JSON: {error}") from None
    except BadRequest as error:
        raise BadRequest(f"{key}: {error.message}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{key}: must be an object of resources")
    return found


def _resource(key: str, name: str, resource: Any) -> Resource:
    if not name.strip() or len(name) > LONGEST_RESOURCE_NAME:
        raise BadRequest(f"{key}: a resource name is empty or longer than {LONGEST_RESOURCE_NAME} letters")
    label = f"{key}.{name}"
    if not isinstance(resource, dict):
        raise BadRequest(f"{label}.url: is required")
    size = polled.page_size(label, resource)
    if polled.is_stream(resource.get("url")):
        return Resource(size)
    polled.parse(label, resource)
    polled.check(label, resource)
    return Resource(size, polled.known(resource))
