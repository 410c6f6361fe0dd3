"""The way out to vendors: one shared client, and a binding of it to one account. Knows no vendor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import aiohttp
import httpx
import orjson
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from app import backoff
from app.errors import VendorError, VendorThrottled, VendorUnauthorized, VendorUnavailable
from app.http_client import pooled_client

_KEEPALIVE = 30.0  # seconds for which an idle connection to a vendor is kept
_ATTEMPTS = 5  # of one call that may be repeated; the time budget usually ends it before
_jitter = wait_random_exponential(multiplier=0.5, max=8)


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error: what a provider needs to tell which."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """The seconds that the vendor asked us to wait."""
        return backoff.retry_after(self.headers.get("retry-after"), datetime.now(UTC))

    def json(self) -> Any:
        """The body, or None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def text(self) -> str:
        return self.body.decode(errors="replace").strip()


Interpreter = Callable[[Refusal], Exception]


class TokenSource(Protocol):
    """Gives the account's access token; told which one the vendor rejected, it gives a newer one."""

    async def __call__(self, rejected: str | None = None) -> str: ...


class Upstream:
    """The shared client, bound to one account's base URL, token and time budget.

    Without a budget a call is made once, which suits a worker that comes back later anyway. With one, a
    request that may be repeated waits out throttling and tries again while the budget lasts.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        token: TokenSource,
        interpret: Interpreter,
        budget: timedelta | None = None,
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._interpret = interpret
        self._budget = budget

    async def get(self, path: str, **parameters: str | int) -> httpx.Response:
        """GETs a path of the vendor. Raises the VendorError that the provider's interpreter finds."""
        request = self._client.build_request("GET", self._base_url + path, params=parameters)
        if self._budget is None:
            return await self._authorized(request)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((VendorThrottled, VendorUnavailable)),
            stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(self._budget),
            wait=_wait,
            reraise=True,
        )
        return await retrying(self._authorized, request)

    async def _authorized(self, request: httpx.Request) -> httpx.Response:
        token = await self._token()
        try:
            return await self._send(request, token)
        except VendorUnauthorized:
            return await self._send(request, await self._token(rejected=token))

    async def _send(self, request: httpx.Request, token: str) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token}"
        return await send(self._client, request, self._interpret)


async def send(client: httpx.AsyncClient, request: httpx.Request, interpret: Interpreter) -> httpx.Response:
    """Sends one request and reads the whole answer, within the client's time-out in total.

    Raises VendorUnavailable when there is none, and what `interpret` says of a status of 300 or above.
    Neither the query nor a header of the request stands in the error.
    """
    try:
        async with asyncio.timeout(client.timeout.read):
            response = await client.send(request)
    except (TimeoutError, httpx.HTTPError, aiohttp.ClientError) as error:
        # The transport lets some of aiohttp's errors through.
        where = f"{request.method} {request.url.host}{request.url.path}"
        raise VendorUnavailable(f"{where}: {_what_failed(error)}") from error
    if response.status_code < 300:
        return response
    raise interpret(Refusal(response.status_code, response.headers, response.content))


def decode(response: httpx.Response) -> Any:
    """The JSON of an answer. Raises VendorUnavailable when a proxy or a fault put something else there.

    A NUL in a text, which PostgreSQL cannot store, is replaced: it must not end the reading of a stream.
    """
    try:
        return orjson.loads(response.content.replace(b"\\u0000", b"\\ufffd"))
    except orjson.JSONDecodeError:
        raise VendorUnavailable(
            f"{response.request.method} {response.request.url.path}: the vendor's answer is not JSON",
            provider_message=response.text,
            vendor_status=response.status_code,
        ) from None


def open_client(*, connections: int, timeout: timedelta, agent: str) -> httpx.AsyncClient:
    """The one client of a process for all vendors."""
    return pooled_client(timeout=timeout, agent=agent, limit=connections, keepalive_timeout=_KEEPALIVE)


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, VendorError) and failure.retry_after is not None:
        return failure.retry_after
    return _jitter(state)


def _what_failed(error: Exception) -> str:
    """The transport reports a refused connection as a time-out, so the words come from its cause."""
    match error if isinstance(error, TimeoutError) else error.__cause__ or error:
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorError():
            return "the connection failed"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "the connection ended before the answer did"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case _:
            return type(error).__name__
