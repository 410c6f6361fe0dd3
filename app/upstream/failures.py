"""What went wrong on the way to a vendor, in words that say what was asked of whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx

from app.addresses import ForbiddenAddress
from app.errors import VendorUnavailable


@contextmanager
def named(request: httpx.Request) -> Iterator[None]:
    """Makes whatever the transport raises a VendorUnavailable with the request's method, host and path."""
    try:
        yield
    except (TimeoutError, httpx.HTTPError, aiohttp.ClientError) as error:
        # The transport lets some of aiohttp's errors through.
        raise VendorUnavailable(f"{where(request)}: {_what_failed(error)}") from error


def where(request: httpx.Request) -> str:
    """What was asked of whom, without its query: secrets stand there."""
    return f"{request.method} {request.url.host}{request.url.path}"


def _what_failed(error: Exception) -> str:
    """The transport reports a refused connection as a time-out, so the words come from its cause."""
    match error if isinstance(error, TimeoutError) else error.__cause__ or error:
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorError(os_error=ForbiddenAddress()):
            return "the address is not public"
        case aiohttp.ClientConnectorError():
            return "the connection failed"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "the connection ended before the answer did"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case _:
            return type(error).__name__
