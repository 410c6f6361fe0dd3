"""The way out to vendors: one shared client, and a binding of it to one account. Knows no vendor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

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

from app import backoff, covering
from app.errors import VendorError, VendorThrottled, VendorUnauthorized, VendorUnavailable
from app.http_client import pooled_client
from app.upstream import answers
from app.upstream.content import Content
from app.upstream.failures import named
from app.upstream.hosts import Hosts
from app.upstream.progress import Progress
from app.upstream.reading import parse

_KEEPALIVE = 30.0  # seconds for which an idle connection to a vendor is kept
_ATTEMPTS = 5  # of one call that may be repeated; the time budget usually ends it before
_NEWER_TOKENS = (
    2  # that are tried after a rejected one: another process may have stored one that has ended too
)
_NOT_DONE: tuple[type[VendorError], ...] = (VendorThrottled,)  # the vendor has done nothing yet
_ALWAYS = (*_NOT_DONE, VendorUnavailable)
_REPEATABLE = dict.fromkeys(("GET", "HEAD", "OPTIONS", "PUT"), _ALWAYS)
_MAY_BE_MENDED = frozenset({401, 403, 429})  # Egnyte throttles with 403
_READY = frozenset({200, 206})
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
    request that may be repeated waits out throttling and tries again while the budget lasts. `hosts` are
    the vendor's other hosts by their names, `domains` those below which it may name more. `elsewhere` is the
    client for what a vendor keeps at others'; without it nothing is got from there. `hints` are what a
    provider may remember of this account between calls; each of them may vanish or be out of date. `waits`
    is the client whose connections are held until a vendor has news. `patience` is how long one call may
    take, if that is not the client's time.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        token: TokenSource,
        interpret: Interpreter,
        budget: timedelta | None = None,
        hosts: Mapping[str, str] | None = None,
        hints: MutableMapping[str, str] | None = None,
        transfer_timeout: timedelta = timedelta(minutes=2),
        waits: httpx.AsyncClient | None = None,
        patience: timedelta | None = None,
        domains: Sequence[str] = (),
        elsewhere: httpx.AsyncClient | None = None,
    ) -> None:
        self._client = client
        self._elsewhere = elsewhere
        self._patience = patience.total_seconds() if patience else client.timeout.read
        self._waits = waits or client
        self._hosts = Hosts({"": base_url, **(hosts or {})}, domains)
        self._token = token
        self._interpret = interpret
        self._budget = budget
        self._transfer_timeout = transfer_timeout.total_seconds()
        self.hints = hints if hints is not None else {}

    async def get(self, path: str, **parameters: str | int) -> httpx.Response:
        """GETs a path of the vendor. Raises the VendorError that the provider's interpreter finds."""
        return await self.call("GET", path, params=parameters)

    async def call(
        self,
        method: str,
        path: str,
        *,
        host: str = "",
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        """Any call whose body and answer fit into memory. Raises as `get` does.

        Throttling is always waited out; a request without an answer is repeated only where its method
        makes that harmless.
        """
        request = self._client.build_request(
            method,
            self.url(path, host),
            params=params,
            json=json,
            content=content,
            headers=headers,
            timeout=httpx.Timeout(self._client.timeout.connect, read=self._patience),
        )
        errors = _REPEATABLE.get(method, _NOT_DONE)
        return await self._repeated(errors, lambda: self._authorized(partial(self._send, request)))

    async def open(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        """GETs bytes: the answer is open, its body unread, and whoever asked closes it. A redirection is
        followed once and without the account's token: to the vendor's own hosts, or by https to a public
        address. Raises VendorUnavailable for one that leads elsewhere."""
        headers = {"Accept-Encoding": "identity", **(headers or {})}  # a file is what the vendor stored
        request = self._client.build_request("GET", self.url(path), params=params, headers=headers)
        response = await self._repeated(_ALWAYS, lambda: self._authorized(partial(self._open, request)))
        if not response.has_redirect_location:
            return response
        await response.aclose()
        client, url = self._led_to(request.url, response.headers["location"])
        target = client.build_request("GET", url, headers=headers)
        return await self._repeated(_ALWAYS, lambda: start(client, target, self._interpret))

    async def hold(self, url: str, *, patience: timedelta) -> httpx.Response:
        """GETs an answer that the vendor gives when it has something to say, once. Raises as `get` does, and
        VendorUnavailable where there is no answer within `patience`."""
        seconds = patience.total_seconds()
        timeout = httpx.Timeout(self._waits.timeout.connect, read=seconds)

        async def attempt(token: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            request = self._waits.build_request("GET", self.url(url), headers=headers, timeout=timeout)
            return await send(self._waits, request, self._interpret, total=seconds)

        return await self._authorized(attempt)

    async def stream(
        self,
        method: str,
        path: str,
        body: Callable[[], AsyncIterator[bytes]],
        source: Content | None = None,
        *,
        host: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Sends bytes as they come. A body that comes from a `source` can be had only once: where it ends
        early, the vendor gets half a request, which makes no file, and the reason is raised here.
        Without one it is sent until the vendor has it."""

        async def attempt(token: str) -> httpx.Response:
            try:
                async with Progress(self._transfer_timeout) as progress:
                    request = self._client.build_request(
                        method,
                        self.url(path, host),
                        content=progress.of(body()),
                        headers={**(headers or {}), "Authorization": f"Bearer {token}"},
                        timeout=httpx.Timeout(self._client.timeout.connect, read=self._transfer_timeout),
                    )
                    return await send(self._client, request, self._interpret, total=None)
            except VendorUnavailable:
                if source is not None and source.failure is not None:
                    raise source.failure from None
                raise

        if source is None:
            return await self._repeated(_ALWAYS, lambda: self._authorized(attempt))
        token = await self._token()
        try:
            return await attempt(token)
        except VendorUnauthorized:
            await self._token(rejected=token)  # these bytes are gone, but the client's next try will work
            raise

    async def relay(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes] | None,
        *,
        silence: timedelta | None = None,
    ) -> httpx.Response:
        """Passes a request on and answers what the vendor answered, whatever it is, unread where it can be.

        A body that is bytes can be sent again: a token that has ended is replaced then, and throttling is
        waited out while the budget lasts. `silence` is how long the vendor may say nothing, if that is not
        the usual time. Raises VendorUnavailable where there is no answer.
        """
        refused: list[httpx.Response] = []
        patience = silence.total_seconds() if silence else self._transfer_timeout

        async def attempt(token: str) -> httpx.Response:
            async with Progress(patience) as progress:
                request = self._client.build_request(
                    method,
                    url,
                    content=body if isinstance(body, bytes | None) else progress.of(body),
                    headers=[*headers, (b"Authorization", f"Bearer {token}".encode())],
                    timeout=httpx.Timeout(self._client.timeout.connect, read=patience),
                )
                with named(request):
                    response = await self._client.send(request, stream=True)
                    if response.status_code not in _MAY_BE_MENDED or not isinstance(body, bytes | None):
                        return response
                    response = await answers.whole(response)
            refused.append(response)
            error = self._interpret(Refusal(response.status_code, response.headers, response.content))
            if isinstance(error, VendorUnauthorized | VendorThrottled):
                raise error
            return response

        try:
            return await self._repeated(_NOT_DONE, lambda: self._authorized(attempt))
        except (VendorUnauthorized, VendorThrottled):
            if refused:
                return refused[-1]
            raise

    def url(self, path: str, host: str = "") -> str:
        """The whole URL of a path on one of the vendor's hosts. One that the vendor has named stays as it is;
        raises VendorUnavailable where it is not its own."""
        return self._hosts.url(path, host)

    def owns(self, url: str) -> bool:
        """Whether a URL is on one of the vendor's own hosts."""
        return self._hosts.own(url)

    def _led_to(self, asked: httpx.URL, location: str) -> tuple[httpx.AsyncClient, httpx.URL]:
        """The client for what a vendor has redirected to, and the URL of it."""
        try:
            url = asked.join(location)
        except httpx.InvalidURL:
            raise VendorUnavailable("the vendor's redirection is not a URL") from None
        if self._hosts.own(str(url)):
            return self._client, url
        if url.scheme != "https" or self._elsewhere is None:
            raise VendorUnavailable("the vendor's redirection leads to a host that is not one of its own")
        return self._elsewhere, url

    async def _repeated(
        self, errors: tuple[type[VendorError], ...], attempt: Callable[[], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        try:
            return await attempt()
        except errors as error:
            if self._budget is None:
                raise
            failed: list[VendorError] = [error]

        async def again() -> httpx.Response:
            if failed:  # what has just happened counts as the first attempt
                raise failed.pop()
            return await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(errors),
            stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(self._budget),
            wait=_wait,
            reraise=True,
        )
        return await retrying(again)

    async def _authorized(self, attempt: Callable[[str], Awaitable[httpx.Response]]) -> httpx.Response:
        token = await self._token()
        try:
            return await attempt(token)
        except VendorUnauthorized:
            return await attempt(await self._token(rejected=token))

    async def _send(self, request: httpx.Request, token: str) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token}"
        return await send(self._client, request, self._interpret, total=self._patience)

    async def _open(self, request: httpx.Request, token: str) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token}"
        return await start(self._client, request, self._interpret, redirects=True)


async def send(
    client: httpx.AsyncClient, request: httpx.Request, interpret: Interpreter, *, total: float | None
) -> httpx.Response:
    """Sends one request and reads the whole answer, within `total` seconds.

    Raises VendorUnavailable where there is none that can be read, and what `interpret` says of a status of
    300 or above.
    Neither the query nor a header of the request stands in the error.
    """
    with named(request):
        async with asyncio.timeout(total):
            response = await answers.whole(await client.send(request, stream=True))
    return _accepted(response, interpret)


async def start(
    client: httpx.AsyncClient, request: httpx.Request, interpret: Interpreter, *, redirects: bool = False
) -> httpx.Response:
    """As `send`, but the body of a good answer is left unread; a refusal is read and closed. The time-out
    of the client counts until the head of the answer has come, and between two reads of its body."""
    with named(request):
        async with asyncio.timeout(client.timeout.read):
            response = await client.send(request, stream=True)
            if response.status_code in _READY or (redirects and response.has_redirect_location):
                return response
            response = await answers.whole(response)
    return _accepted(response, interpret)


def _accepted(response: httpx.Response, interpret: Interpreter) -> httpx.Response:
    refusal = Refusal(response.status_code, response.headers, _covered(response).encode("latin-1"))
    if response.status_code == 202 and refusal.retry_after is not None:
        raise VendorThrottled("The vendor is still preparing its answer", retry_after=refusal.retry_after)
    if response.status_code < 300:
        return response
    raise interpret(refusal)


def _covered(response: httpx.Response) -> str:
    """An answer's bytes as text, without the secrets that it was asked with: some vendors repeat them."""
    if response.status_code < 300:
        return ""
    return covering.covered(response.content.decode("latin-1"), covering.sent_with(response.request))


def decode(response: httpx.Response) -> Any:
    """The JSON of an answer. Raises VendorUnavailable when a proxy or a fault put something else there."""
    try:
        return parse(response.content)
    except ValueError:
        words = covering.covered(
            response.text[: answers.LONGEST_REFUSAL], covering.sent_with(response.request)
        )
        raise VendorUnavailable(
            f"{response.request.method} {response.request.url.path}: the vendor's answer is not JSON",
            provider_message=words,
            vendor_status=response.status_code,
        ) from None


def open_client(*, connections: int, timeout: timedelta, agent: str, **pool: Any) -> httpx.AsyncClient:
    """The one client of a process for all vendors. `pool` is as in `pooled_transport`."""
    return pooled_client(
        timeout=timeout, agent=agent, limit=connections, keepalive_timeout=_KEEPALIVE, **pool
    )


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, VendorError) and failure.retry_after is not None:
        return failure.retry_after
    return _jitter(state)
