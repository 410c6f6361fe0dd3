"""What the `event.` keys of an instance's configuration ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from app import configuration
from app.errors import BadRequest
from app.settings import Settings

LONGEST_INTERVAL_MINUTES = 60 * 24 * 365
LONGEST_RESOURCE_NAME = 200  # characters
POLL_PAGE_SIZE = 20  # rows per polled page where the configuration names none; Cloud Elements' own number
EVENT_RESOURCE_PATHS = frozenset({"/hubs/documents/events", "/events", "events"})


@dataclass(frozen=True)
class EventSettings:
    """What the `event.` keys of a configuration ask for. `resources` are names with their page sizes."""

    enabled: bool
    callback_url: str | None
    signature_key: str | None
    interval: timedelta
    resources: Mapping[str, int]


def read(values: Mapping[str, str | None], settings: Settings) -> EventSettings:
    """Reads the `event.` keys. Raises BadRequest naming the key that cannot be used."""
    return EventSettings(
        enabled=(values.get("event.notification.enabled") or "").strip().lower() == "true",
        callback_url=_callback_url(values.get("event.notification.callback.url")),
        signature_key=values.get("event.notification.signature.key") or None,
        interval=_interval(values.get("event.poller.refresh_interval"), settings),
        resources=_resources(values.get("event.poller.configuration")),
    )


def _callback_url(value: str | None) -> str | None:
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
            f"configuration.event.notification.callback.url: {configuration.without_password(url)[:200]!r} "
            f"is not an http or https URL of at most {configuration.LONGEST_URL} characters"
        )
    return url


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


def _resources(text: str | None) -> Mapping[str, int]:
    """Names of the resources to poll. The date formats beside them are kept and not needed: the rows of
    the events resource carry their dates in one known form."""
    if not text or not text.strip():
        return {"events": POLL_PAGE_SIZE}
    found = _poller_configuration(text)
    return {name: _page_size(name, resource) for name, resource in found.items()} or {
        "events": POLL_PAGE_SIZE
    }


def _poller_configuration(text: str) -> dict[str, Mapping[str, Any]]:
    key = "configuration.event.poller.configuration"
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{key}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{key}: must be an object of resources")
    for name, resource in found.items():
        if len(name) > LONGEST_RESOURCE_NAME:
            raise BadRequest(f"{key}: a resource name is longer than {LONGEST_RESOURCE_NAME} characters")
        url = resource.get("url") if isinstance(resource, dict) else None
        if not isinstance(url, str):
            raise BadRequest(f"{key}.{name}.url: is required")
        if _path(url) not in EVENT_RESOURCE_PATHS:
            raise BadRequest(
                f"{key}.{name}.url: {url[:200]!r} cannot be polled; use '/hubs/documents/events'"
            )
    return found


def _path(url: str) -> str | None:
    try:
        return urlsplit(url).path
    except ValueError:
        return None


def _page_size(name: str, resource: Mapping[str, Any]) -> int:
    size = resource.get("pageSize", POLL_PAGE_SIZE)
    if not re.fullmatch(r"\d{1,4}", str(size), re.ASCII) or not 1 <= int(size) <= 1000:
        raise BadRequest(f"configuration.event.poller.configuration.{name}.pageSize: must be 1 to 1000")
    return int(size)
