"""Secrets in the words of others: covered before anybody keeps what a vendor or a receiver has said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import httpx

MASK = "********"

_SHORTEST = 6  # characters; what is shorter stands in many words that are no secret
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_PERCENT = "%(?:25){0,4}"
_BACKSLASH = rf"(?i:\\|{_PERCENT}5c)"
_FIELDS = frozenset(
    {"client_secret", "code", "refresh_token", "token", "password", "assertion", "authHeaderValue"}
)


def covered(text: str, secrets: Iterable[str]) -> str:
    """The text with stars where a secret stands, in any spelling, or in the form of Basic auth."""
    forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in (secret, _base64(secret))}
    for form in sorted(forms, key=len, reverse=True):
        if _least(form) <= len(text):
            text = _pattern(form).sub(MASK, text)
    return text


def sent_with(request: httpx.Request) -> set[str]:
    """The secrets that a request carries: its credentials, and those of a form or of JSON that it sends."""
    headers = request.headers
    found = {secret for name in _HEADERS & headers.keys() for secret in _credentials(headers[name])}
    pairs: list[tuple[str, Any]] = []
    kind = headers.get("content-type", "").partition(";")[0]
    if kind == _FORM:
        pairs += parse_qsl(request.content.decode("latin-1"))
    elif kind == _JSON:
        json.loads(request.content, object_pairs_hook=pairs.extend)
    return found | {value for name, value in pairs if name in _FIELDS and isinstance(value, str)}


def _credentials(header: str) -> list[str]:
    """What follows the scheme; of Basic auth the password too."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return [value or scheme]
    try:
        return [value, base64.b64decode(value).decode().partition(":")[2]]
    except ValueError:
        return [value]


def _base64(secret: str) -> str:
    return base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")


def _least(secret: str) -> int:
    """Characters of its shortest spelling: a run of backslashes may have become one. Most answers are shorter
    than any secret, and each delivery has one."""
    return len(secret) - secret.count("\\")


@lru_cache(512)
def _pattern(secret: str) -> re.Pattern[str]:
    return re.compile("".join(_spelled(letters) for letters in re.findall(r"\\+|.", secret, re.DOTALL)))


def _spelled(letters: str) -> str:
    """A pattern of a letter, or of a run of backslashes, in any spelling: as it is, in a URL or a form, in
    JSON, in UTF-8 that was taken for Latin-1, and in these within each other."""
    if letters.isascii() and letters.isalnum():
        return letters
    if letters.startswith("\\"):  # there is one way to read a run: nobody may count all the others
        return f"{_BACKSLASH}{{1,{4 * len(letters)}}}+"
    in_utf8, in_utf16 = letters.encode(errors="replace"), letters.encode("utf-16-be", "surrogatepass").hex()
    in_url = "".join(f"{_PERCENT}{byte:02x}" for byte in in_utf8)
    found = [
        f"{_BACKSLASH}{{0,4}}(?:{re.escape(letters)}|{in_url})",
        "".join(f"{_BACKSLASH}{{1,4}}u{unit}" for unit in re.findall("....", in_utf16)),
    ]
    if not letters.isascii():
        found.append(re.escape(in_utf8.decode("latin-1")))
    if letters == " ":
        found += [r"\+", f"{_PERCENT}2b"]
    return f"(?i:{'|'.join(found)})"
