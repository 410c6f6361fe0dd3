"""Secrets in the words of others: covered before anybody keeps what a vendor or a receiver has said."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus

import httpx

MASK = "********"

_SHORTEST = 6  # characters; what is shorter stands in many words that are no secret
_FORM = "application/x-www-form-urlencoded"
_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_FIELDS = frozenset({"client_secret", "code", "refresh_token", "token", "password", "assertion"})


def covered(text: str, secrets: Iterable[str]) -> str:
    """The text with stars where a secret stands, as it is or in the forms that a URL and Basic auth have."""
    forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def sent_with(request: httpx.Request) -> set[str]:
    """The secrets that a request carries: its credentials, and those of the form that it sends."""
    headers = request.headers
    found = {secret for name in _HEADERS & headers.keys() for secret in _credentials(headers[name])}
    if headers.get("content-type", "").startswith(_FORM):
        form = parse_qsl(request.content.decode("latin-1"))
        found |= {value for name, value in form if name in _FIELDS}
    return found


def _credentials(header: str) -> list[str]:
    """What follows the scheme; of Basic auth the password too."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return [value or scheme]
    try:
        return [value, base64.b64decode(value).decode().partition(":")[2]]
    except ValueError:
        return [value]


def _forms(secret: str) -> set[str]:
    """The secret as it is, in a URL, in a form, in JSON that spells its slashes out, and in base64."""
    encoded = base64.b64encode(secret.encode(errors="replace")).decode()
    in_urls = {quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    return {secret, secret.replace("/", "\\/"), encoded, *in_urls}
