"""The vendor's own API, passed through: its words in both directions, our credentials and our patience."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import httpx
import orjson

from app import base64url, documents
from app.errors import Forbidden, NotFound, SettingsError
from app.hubs import paths
from app.hubs.documents import Native
from app.registry import Provider
from app.runtime import Runtime
from app.store.tables import Instance
from app.upstream import answers
from app.upstream.client import Upstream

_SEALED = "-/"
"""Begins a path that the vendor named and that this gateway has sealed."""

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_LENGTH, _ENCODINGS = b"content-length", b"accept-encoding"
_NOT_ASKED = _HOP_BY_HOP | {b"authorization", b"cookie", b"host", b"expect", _LENGTH, _ENCODINGS}
_NOT_ANSWERED = _HOP_BY_HOP | {b"set-cookie", b"strict-transport-security", b"alt-svc", b"date", b"server"}
_OURS = (b"elements-", b"x-forwarded-")
_LONG_POLL = timedelta(minutes=11)  # Box lets its clients wait for 610 s
_BODILESS = frozenset({204, 304})

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Call:
    """A request as it came: `path` and `query` as they were written, `base` the URL that paths are under."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes | AsyncIterator[bytes] | None = field(repr=False)
    base: str

    @cached_property
    def line(self) -> str:
        """What patterns are matched with: decoded to its end, in one case, without parameters of segments.

        Raises Forbidden for a path that may mean another one to somebody behind us, BadRequest for one that
        is encoded too often to tell.
        """
        plain = paths.decoded(self.path)
        *above, last = [part.partition(";")[0].strip() for part in re.split(r"[/\\]", plain)]
        if {"", ".", ".."} & set(above) or last in {".", ".."} or "\\" in plain or not plain.isprintable():
            raise Forbidden("The gateway does not pass this path on")
        return f"{self.method} {'/'.join([*above, last]).lower()}"


@dataclass(frozen=True)
class Answer:
    """What goes back. The body is either here or still to be read from `response`."""

    response: httpx.Response
    headers: Headers
    body: bytes | None


async def pass_through(runtime: Runtime, instance: Instance, call: Call) -> Answer:
    """Asks the vendor in the name of the instance's account.

    Raises Forbidden for what is not passed on, its token endpoints above all, BadRequest for a path that
    cannot be read to its end, and VendorUnavailable where the vendor does not answer. Whoever gets the
    answer closes its response.
    """
    provider = runtime.registry.find(instance.element_key)
    way = documents.way(runtime, instance, provider, budget=runtime.settings.vendor_budget)
    sealed = _sealed_url(runtime, instance, call.path)
    url = way.url(sealed) if sealed else way.url(*_place(provider, call))
    response = await way.relay(
        call.method,
        f"{url}?{call.query}" if call.query else url,
        list(_asked(call)),
        call.body,
        silence=_LONG_POLL if sealed else None,
    )
    if not sealed and response.is_success and re.fullmatch(provider.native.links, call.line):
        response = await answers.whole(response)
        led_back = _led_back(runtime, instance, way, call.base, response.content)
        return Answer(response, _answered(response, led_back), led_back)
    if call.method == "HEAD":
        return Answer(response, _answered(response, None), b"")
    body = b"" if response.status_code in _BODILESS else None
    if response.is_stream_consumed:
        body = response.content
    return Answer(response, _answered(response, body), body)


def _place(provider: Provider, call: Call) -> tuple[str, str]:
    """The path at the vendor, and the host of it."""
    native: Native = provider.native
    if not re.fullmatch(native.allowed, call.line):
        raise Forbidden(f"The gateway does not pass this path on to '{provider.key}'")
    for pattern, host, template in native.hosts:
        found = re.fullmatch(pattern, f"{call.method} {call.path}")
        if found:
            return found.expand(template), host
    return f"/{call.path}", ""


def _asked(call: Call) -> Iterator[tuple[bytes, bytes]]:
    """What the vendor gets to see: no credentials, nothing between two machines, nothing of ours."""
    sent = [(key.lower(), value) for key, value in call.headers]
    dropped = _NOT_ASKED | _named(value for key, value in sent if key == b"connection")
    if isinstance(call.body, AsyncIterator):  # of bytes in memory the client sets the length itself
        dropped -= {_LENGTH}
    for key, value in sent:
        if key not in dropped and not key.startswith(_OURS):
            yield key, value
    yield _ENCODINGS, b"identity"  # some answers are read here


def _answered(response: httpx.Response, body: bytes | None) -> Headers:
    """The vendor's headers; of a body that was read here, with its own length."""
    sent = [(key.lower(), value) for key, value in response.headers.raw]
    dropped = _NOT_ANSWERED | _named(value for key, value in sent if key == b"connection")
    if body is not None:
        dropped |= {b"content-encoding", _LENGTH}
    kept = [(key, value) for key, value in sent if key not in dropped]
    if body is not None and response.status_code not in _BODILESS:
        kept.append((_LENGTH, str(len(body)).encode()))
    return kept


def _named(values: Iterable[bytes]) -> frozenset[bytes]:
    """The headers that a Connection header names."""
    return frozenset(name.strip().lower() for value in values for name in value.split(b","))


def _led_back(runtime: Runtime, instance: Instance, way: Upstream, base: str, body: bytes) -> bytes:
    """The body with the vendor's URLs pointing at this gateway. Their queries stay readable: clients add to
    them. What is not JSON, or leads elsewhere, stays as it is."""

    def rewritten(value: Any) -> Any:
        match value:
            case dict():
                return {key: rewritten(item) for key, item in value.items()}
            case list():
                return [rewritten(item) for item in value]
            case str() if value.startswith(("http://", "https://")):
                url, _, query = value.partition("?")
                if not way.owns(url):
                    return value
                token = base64url.encode(runtime.sealer.seal(url.encode(), _row_name(instance)))
                return f"{base}/{_SEALED}{token}{'?' + query if query else ''}"
            case _:
                return value

    try:
        return orjson.dumps(rewritten(orjson.loads(body)))
    except (orjson.JSONDecodeError, ValueError):
        return body


def _sealed_url(runtime: Runtime, instance: Instance, path: str) -> str | None:
    """The URL that the vendor had named; None for any other path."""
    if not path.startswith(_SEALED):
        return None
    try:
        sealed = base64url.decode(path.removeprefix(_SEALED))
        return runtime.sealer.open(sealed, _row_name(instance)).decode()
    except (ValueError, SettingsError):
        raise NotFound("No such path of the vendor found") from None


def _row_name(instance: Instance) -> str:
    return f"native/{instance.id}"
