"""What the calls of a subscription carry beside the notification: signatures, Basic auth, headers. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson

from app.delivery import signing

_VERSIONED = b"\0"  # begins what is JSON; without it the bytes are one signature key, as they once were
_MOST_HEADERS = 20
_LARGEST = 8192  # characters in all headers; servers take about as much for a whole request
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BETWEEN = re.compile(rf"[\r\n]+|[;,](?=\s*{_NAME}\s*:(?!//))")
_OURS = re.compile(
    r"(?i:host|content-.*|transfer-encoding|connection|keep-alive|upgrade|http2-settings|te|trailer|expect"
    r"|accept-encoding|proxy-.*|forwarded|via|x-forwarded-.*|x-real-ip|elements-.*|webhook-.*)"
)
"""What frames a request, says whom it is from, or what is in it."""

_SPELLED = {name.lower(): name for name in ("Accept", "Authorization", "User-Agent")}
"""Headers that take the place of the gateway's own, which are spelled like this."""


@dataclass(frozen=True)
class Carried:
    """The first of `keys` makes Elements-Webhook-Signature, the second one the Secondary beside it."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything in it that nobody else may read."""
        basic = (self.basic[1], ":".join(self.basic)) if self.basic else ()
        return (*self.keys, *basic, *self.headers.values())

    def pack(self) -> bytes | None:
        """The bytes to seal; None where there is nothing to carry."""
        if not (self.keys or self.basic or self.headers):
            return None
        return _VERSIONED + orjson.dumps({"keys": self.keys, "basic": self.basic, "headers": self.headers})

    def with_login(self, login: tuple[str, str] | None) -> Carried:
        """The same with a user and password that stood in the URL. Basic auth and a header that were named
        apart from it take their place."""
        if login is None or self.basic or "Authorization" in self.headers:
            return self
        return replace(self, basic=login)

    def call(self, body: bytes, *, notification_id: int, timestamp: int) -> dict[str, str]:
        """All headers of one attempt; `timestamp` is seconds since 1970."""
        found = dict(self.headers)
        if self.basic:
            found["Authorization"] = "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()
        signed = signing.headers(body, notification_id=notification_id, keys=self.keys, timestamp=timestamp)
        return found | signed


NOTHING = Carried()


def unpack(plain: bytes) -> Carried:
    """What `pack` has packed, or the one key that older versions sealed."""
    if not plain.startswith(_VERSIONED):
        return Carried((plain.decode(),))
    values = orjson.loads(plain[len(_VERSIONED) :])
    basic = values["basic"]
    return Carried(tuple(values["keys"]), (basic[0], basic[1]) if basic else None, values["headers"])


def parse_headers(text: str, *, with_basic: bool = False) -> dict[str, str]:
    """Headers from a JSON object, or from `Name: value` pairs on lines of their own or behind `;` or `,`.

    Raises ValueError that names the header, never its value: one that the gateway sets itself, one that is
    none, or more than a request holds.
    """
    found: dict[str, str] = {}
    for given, value in _pairs(text.strip()):
        name = _SPELLED.get(given.lower(), given)
        _check(name, value, with_basic=with_basic)
        if name.lower() in map(str.lower, found):
            raise ValueError(f"{name[:40]} stands there twice")
        found[name] = value
    if len(found) > _MOST_HEADERS or sum(map(len, (*found, *found.values()))) > _LARGEST:
        raise ValueError(f"holds more than {_MOST_HEADERS} headers or {_LARGEST} characters")
    return found


def _check(name: str, value: str, *, with_basic: bool) -> None:
    if not re.fullmatch(_NAME, name):
        raise ValueError("a header is written as `Name: value`")
    if _OURS.fullmatch(name.replace("_", "-")):  # many receivers take the one for the other
        raise ValueError(f"{name[:40]} is set by the gateway")
    if with_basic and name.lower() == "authorization":
        raise ValueError(f"{name} is set already by event.notification.basic.username")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"the value of {name[:40]} has characters that no header has")


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith("{"):
        return _json_pairs(text)
    parts = [part.partition(":") for part in _BETWEEN.split(text) if part.strip()]
    if not all(colon for _, colon, _ in parts):
        raise ValueError("a header is written as `Name: value`")
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _json_pairs(text: str) -> list[tuple[str, str]]:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("is not valid JSON") from None
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError("must be an object of texts")
    return [(name, value.strip()) for name, value in values.items()]
