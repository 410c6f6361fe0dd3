"""The way out to callbacks: which of them may be called, for how long, and how much is read."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import httpx

from app import addresses, backoff, covering
from app.addresses import ForbiddenAddress, Network
from app.http_client import LookUp, Resolver, checked_sockets, pooled_transport

_LOOK_UPS = 256  # names at once; one that hangs keeps its thread for about 20 s, longer than its POST
_LONGEST_LOOK_UP = 10.0  # seconds; libc asks a second time after 5
_CHECKS = 32  # look-ups at once for those who name callbacks, apart from those of deliveries
_LONGEST_CHECK = 2.0  # seconds
_KEEPALIVE = 3.0  # seconds; servers close an idle connection after 5 (uvicorn, Node) or more
_READ_LIMIT = 64 * 1024  # bytes of an answer that are read so that its connection can be used again
_KEPT = 500  # characters of an answer that its attempt shows
_KEPT_BYTES = 4096  # of an answer, in which secrets are covered before it is cut
_SPELLED = 6  # characters for one of a secret, as JSON has it: \u00e9
_LONGEST_REASON = 300  # characters
_UNSEEN = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"}


@dataclass(frozen=True)
class Answer:
    """What a callback answered. `status` is None, and `error` says why, when it did not; `text` is the
    beginning of its body. The secrets of the call are covered in both."""

    status: int | None
    error: str | None = None
    retry_after: float | None = None
    text: str | None = None
    started_at: datetime | None = None
    took_ms: int = 0

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Egress:
    """One pool for all callbacks. The address is checked at the socket, after DNS, every time: a connection
    that is used again leads to where it led.

    Requests go to httpx's transport without its client in between, which costs as much as all the rest of a
    delivery and does nothing that a callback needs (benchmarks/deliveries.py).
    """

    def __init__(
        self,
        *,
        timeout: timedelta,
        allowed: Sequence[Network],
        connections: int,
        agent: str,
        look_up: LookUp = socket.getaddrinfo,
    ) -> None:
        self._timeout = timeout.total_seconds()
        self._allowed = allowed
        self._agent = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": agent}
        self._names = Resolver(_LOOK_UPS, patience=_LONGEST_LOOK_UP, look_up=look_up)
        self._checks = Resolver(_CHECKS, patience=_LONGEST_CHECK, look_up=look_up)
        self._transport = pooled_transport(
            limit=connections,
            resolver=self._names,
            keepalive_timeout=_KEEPALIVE,
            socket_factory=checked_sockets(allowed),
        )

    async def refusal(self, url: str) -> str | None:
        """Why no callback could be called at this URL as things are, or None. A name that is not known, or
        not within 2 s, may be so later: what counts is the check at the socket. Of several addresses one
        that is allowed is enough."""
        try:
            target, _ = _target(url)
        except (ValueError, httpx.InvalidURL, ForbiddenAddress) as error:
            return str(error)
        refusals = [_refusal(found, self._allowed) for found in await self._found(target.raw_host.decode())]
        return None if None in refusals or not refusals else refusals[0]

    async def _found(self, host: str) -> list[str]:
        """The addresses of a host, as far as they are known now."""
        if ":" in host:
            return [host]
        try:
            return [answer["host"] for answer in await self._checks.resolve(host, family=socket.AF_UNSPEC)]
        except (OSError, ValueError):  # ValueError: no name is so long
            return []

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, secrets: Collection[str] = ()
    ) -> Answer:
        """POSTs once and never raises: what went wrong stands in the answer. `secrets` are what the call
        carries: some receivers repeat what they were sent."""
        started_at, started = datetime.now(UTC), time.perf_counter()
        answer = await self._try(url, body, headers, secrets)
        took = time.perf_counter() - started
        return replace(answer, started_at=started_at, took_ms=round(took * 1000))

    async def _try(
        self, url: str, body: bytes, headers: Mapping[str, str], secrets: Collection[str]
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, body, headers, secrets)
        except TimeoutError:
            return Answer(None, f"no answer within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - one odd answer must not end the turn of all others
            return Answer(None, covering.covered(_reason(error), secrets)[:_LONGEST_REASON])

    async def close(self) -> None:
        await self._transport.aclose()
        await self._names.close()
        await self._checks.close()

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str], secrets: Collection[str]
    ) -> Answer:
        target, login = _target(url)
        request = httpx.Request("POST", target, content=body, headers={**self._agent, **login, **headers})
        response = await self._transport.handle_async_request(request)
        try:
            shown = _beginning(await _read(response), secrets)
        finally:
            await response.aclose()
        if 200 <= response.status_code < 300:
            return Answer(response.status_code, text=shown)
        wait = backoff.retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        return Answer(response.status_code, f"HTTP {response.status_code}", wait, shown)


@lru_cache(1024)
def _target(url: str) -> tuple[httpx.URL, dict[str, str]]:
    """A callback's URL without the user and password that may stand in it, and the header that says them.
    Raises ValueError, httpx.InvalidURL or ForbiddenAddress for one that is never called."""
    target = httpx.URL(url)
    if target.scheme not in {"http", "https"} or not target.host:
        raise ValueError("not an http or https URL")
    addresses.check_port(target.port)
    if not target.userinfo:
        return target, {}
    login = base64.b64encode(f"{target.username}:{target.password}".encode()).decode()
    return target.copy_with(username=None, password=None), {"Authorization": f"Basic {login}"}


async def _read(response: httpx.Response) -> bytes:
    """The beginning of an answer; its rest is read, up to a limit, and forgotten."""
    read, kept = 0, b""
    async for chunk in response.aiter_raw():
        if read < _KEPT_BYTES:
            kept += chunk[: _KEPT_BYTES - read]
        read += len(chunk)
        if read > _READ_LIMIT:
            break
    return kept


def _beginning(body: bytes, secrets: Collection[str]) -> str | None:
    """The first characters of an answer, whatever it is. What no database and no terminal takes is shown as
    a replacement character."""
    if not body:
        return None
    text = covering.covered(body.decode(errors="replace").translate(_UNSEEN), secrets)
    if len(body) == _KEPT_BYTES:  # it goes on, and its end may be half a secret
        text = text[: max(len(text) - _SPELLED * max(map(len, secrets), default=0), 0)]
    return text[:_KEPT] or None


def _refusal(host: str, allowed: Sequence[Network]) -> str | None:
    try:
        addresses.check(host, allowed)
    except ForbiddenAddress as error:
        return str(error)
    return None


def _reason(error: BaseException) -> str:
    """The words of the cause: the transport itself calls every failed connection a time-out."""
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None:
        links.append(cause)
    forbidden = next((link for link in links if isinstance(link, ForbiddenAddress)), None)
    if forbidden is not None:
        return str(forbidden)
    return f"{type(links[-1]).__name__}: {links[-1]}"
