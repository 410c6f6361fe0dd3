"""The vendor's own API, passed through: its words in both directions, our credentials and our patience."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import orjson

from app import documents
from app.errors import Forbidden, NotFound, SettingsError
from app.hubs.documents import Native
from app.registry import Provider
from app.runtime import Runtime
from app.store.tables import Instance

_SEALED = "-/"
"""Begins a path that the vendor named and that this gateway has sealed."""

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_ASKED = _HOP_BY_HOP | {"authorization", "cookie", "host", "content-length", "expect"}
_NOT_ANSWERED = _HOP_BY_HOP | {"set-cookie"}
_OURS = ("elements-", "x-forwarded-")


@dataclass(frozen=True)
class Call:
    """A request as it came: `path` and `query` as they were written, `base` the URL that paths are under."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
    base: str


@dataclass(frozen=True)
class Answer:
    """What goes back. The body is either here or still to be read from `response`."""

    response: httpx.Response
    headers: list[tuple[str, str]]
    body: bytes | None


async def pass_through(runtime: Runtime, instance: Instance, call: Call) -> Answer:
    """Asks the vendor in the name of the instance's account.

    Raises Forbidden for what is not passed on, its token endpoints above all, and VendorUnavailable
    where the vendor does not answer. Whoever gets the answer closes its response.
    """
    provider = runtime.registry.find(instance.element_key)
    way = documents.upstream(
        runtime,
        provider,
        instance.configuration,
        runtime.credentials.token_source(instance, provider),
        budget=runtime.settings.vendor_budget,
        account=instance.id,
    )
    line = f"{call.method} {unquote(call.path)}"
    url = _sealed_url(runtime, instance, call.path) or way.url(*_place(provider, call, line))
    response = await way.relay(
        call.method, f"{url}?{call.query}" if call.query else url, list(_asked(call)), call.body
    )
    headers = [(key, value) for key, value in response.headers.multi_items() if key not in _dropped(response)]
    if response.is_success and re.fullmatch(provider.native.links, line):
        await response.aread()
        return Answer(response, _plain(headers), _led_back(runtime, instance, call.base, response.content))
    if response.is_stream_consumed:
        return Answer(response, _plain(headers), response.content)
    return Answer(response, headers, None)


def _place(provider: Provider, call: Call, line: str) -> tuple[str, str]:
    """The path at the vendor, and the host of it."""
    native: Native = provider.native
    segments = re.split(r"[/\\\\]", unquote(unquote(call.path)))
    if not re.fullmatch(native.allowed, line) or {".", ".."} & set(segments) or not line.isprintable():
        raise Forbidden(f"The gateway does not pass this path on to '{provider.key}'")
    for pattern, host, template in native.hosts:
        found = re.fullmatch(pattern, f"{call.method} {call.path}")
        if found:
            return found.expand(template), host
    return f"/{call.path}", ""


def _asked(call: Call) -> Iterator[tuple[str, str]]:
    """What the vendor gets to see: no credentials, nothing between two machines, nothing of ours."""
    sent = [(key.lower(), value) for key, value in call.headers]
    named = {name.strip().lower() for key, value in sent if key == "connection" for name in value.split(",")}
    dropped = _NOT_ASKED | named
    if isinstance(call.body, AsyncIterator):  # of bytes in memory the client sets the length itself
        dropped -= {"content-length"}
    for key, value in sent:
        if key not in dropped and not key.startswith(_OURS):
            yield key, value
    if all(key != "accept-encoding" for key, _ in sent):
        yield "accept-encoding", "identity"  # the client would add what this client did not ask for


def _dropped(response: httpx.Response) -> frozenset[str]:
    named = response.headers.get("connection", "").split(",")
    return _NOT_ANSWERED | {name.strip().lower() for name in named}


def _plain(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a body that was read and decoded here."""
    return [(key, value) for key, value in headers if key not in {"content-encoding", "content-length"}]


def _led_back(runtime: Runtime, instance: Instance, base: str, body: bytes) -> bytes:
    """The body with its URLs pointing at this gateway. Their queries stay readable: clients add to them."""

    def rewritten(value: Any) -> Any:
        match value:
            case dict():
                return {key: rewritten(item) for key, item in value.items()}
            case list():
                return [rewritten(item) for item in value]
            case str() if value.startswith(("http://", "https://")):
                url, _, query = value.partition("?")
                sealed = runtime.sealer.seal(url.encode(), _row_name(instance))
                token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
                return f"{base}/{_SEALED}{token}{'?' + query if query else ''}"
            case _:
                return value

    return orjson.dumps(rewritten(orjson.loads(body))) if body else body


def _sealed_url(runtime: Runtime, instance: Instance, path: str) -> str | None:
    """The URL that the vendor had named; None for any other path."""
    if not path.startswith(_SEALED):
        return None
    token = path.removeprefix(_SEALED)
    try:
        sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        url = runtime.sealer.open(sealed, _row_name(instance)).decode()
    except (binascii.Error, ValueError, SettingsError):
        raise NotFound("No such path of the vendor found") from None
    return url if urlsplit(url).hostname else None


def _row_name(instance: Instance) -> str:
    return f"native/{instance.id}"
