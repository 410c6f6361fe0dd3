"""Box's long polls: https://developer.box.com/guides/events/user-events/polling/."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.errors import NotSupported, VendorError, VendorUnavailable
from app.hubs.documents import Channel, Field, News
from app.upstream.client import Upstream, decode
from app.upstream.reading import mapping, rows, text

FIELDS: tuple[Field, ...] = (
    Field(
        "event.poller.long.poll",
        "Long poll",
        "Whether Box is to say when something has changed, so that it arrives in about a second: true (the "
        "default) or false. The streams of the enterprise are only polled.",
        "BOOLEAN",
        "true",
        pattern="true|false",
        example="false",
    ),
)

_RETRIES = 10  # where Box names no number
_TIMEOUT = 610  # seconds, likewise
_NOTHING = News(changed=False, channel=None)


async def news(upstream: Upstream, stream: str, position: str, channel: Channel | None) -> News:
    """One long poll behind a position. Whatever Box says but `new_change` sends the caller to a new realtime
    server, and so does silence; what an old server refuses is asked of a new one before it counts."""
    server = channel or await _server(upstream, stream)
    url = f"{server.url}{'&' if '?' in server.url else '?'}stream_position={position}"
    try:
        message = mapping(decode(await upstream.hold(url, patience=server.timeout))).get("message")
    except VendorUnavailable:
        return _NOTHING
    except VendorError:
        if channel is None:
            raise
        return _NOTHING
    if message != "new_change":
        return _NOTHING
    left = replace(server, retries=server.retries - 1)
    return News(changed=True, channel=left if left.retries > 0 else None)


async def _server(upstream: Upstream, stream: str) -> Channel:
    """Raises NotSupported where the account's token would leave Box."""
    answer = mapping(decode(await upstream.call("OPTIONS", "/2.0/events", params={"stream_type": stream})))
    found = rows(answer.get("entries"))
    url = text(found[0].get("url")) if found else None
    if url is None:
        raise VendorUnavailable("the vendor's answer names no realtime server")
    if not upstream.owns(url):
        raise NotSupported("The vendor's realtime server is not on one of its own hosts")
    seconds = _number(found[0].get("retry_timeout"), _TIMEOUT)
    return Channel(url, timedelta(seconds=seconds), _number(found[0].get("max_retries"), _RETRIES))


def _number(value: Any, usual: int) -> int:
    """Box's documents have these as numbers and as texts."""
    written = str(value)
    return int(written) if re.fullmatch(r"\d{1,6}", written, re.ASCII) and int(written) else usual
