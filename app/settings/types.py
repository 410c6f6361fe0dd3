"""What the values of settings may be."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


def _plain_seconds(value: object) -> object:
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0 s")
    return value


def _beginning_of_urls(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or set(value) & set("@?#*\\ ") or not (value.isascii() and value.isprintable()):
        raise ValueError("must begin with http:// or https:// and a host, without a user, query or fragment")
    return value


Duration = Annotated[timedelta, BeforeValidator(_plain_seconds), AfterValidator(_some_time)]
"""A time above zero: seconds, or ISO 8601."""

LONGEST_OVERLAP = timedelta(days=30)

Overlap = Annotated[timedelta, BeforeValidator(_plain_seconds), Field(ge=timedelta(0), le=LONGEST_OVERLAP)]
"""The time for which a secret works beside the one that replaces it: seconds, or ISO 8601."""

UrlBeginning = Annotated[str, AfterValidator(_beginning_of_urls)]


class OAuthApp(BaseModel):
    """An app that the operator registered at a vendor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: SecretStr
    secret: SecretStr
    callback_url: str | None = None
