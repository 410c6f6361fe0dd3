"""The one kind of HTTP client that goes out of this process."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.typedefs import StrOrURL
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from yarl import URL

from app import addresses
from app.addresses import Network

Found = list[tuple[Any, Any, int, str, tuple[Any, ...]]]
LookUp = Callable[..., Found]
"""`socket.getaddrinfo`, or what stands in for it."""

# 16 KiB at once, its usual number, cost a large download half of its speed (benchmarks/transfers.py).
AiohttpResponseStream.CHUNK_SIZE = 2**18

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of subclassing; there is no other way to say it

    class _Session(aiohttp.ClientSession):
        """Sends URLs as they were written: `%3B` and `;` are not the same to every vendor."""

        def _build_url(self, str_or_url: StrOrURL) -> URL:
            return URL(str_or_url, encoded=True) if isinstance(str_or_url, str) else str_or_url


class _Response(aiohttp.ClientResponse):
    """Has a reason phrase that can be written as UTF-8, whatever the server has sent: nobody reads it, and
    httpx_aiohttp cannot pass on another one."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.reason = (self.reason or "").encode(errors="replace").decode()
        return self


@dataclass(frozen=True)
class _LookUp:
    """One that runs in a thread or waits for one, and until when anybody waits for it."""

    running: Future[Found]
    found: asyncio.Future[Found]
    until: float


class Resolver(AbstractResolver):
    """Looks names up in threads of its own. Those of the event loop are few, and names that hang, which
    anybody can make, would take them from everybody.

    libc cannot be told to stop. A name therefore has one thread, whoever asks for it; nobody waits for it
    longer than `patience`, and who comes later, while it still hangs, is refused at once.
    """

    def __init__(self, threads: int, *, patience: float, look_up: LookUp = socket.getaddrinfo) -> None:
        self._threads = ThreadPoolExecutor(threads, "names")
        self._patience = patience
        self._look_up = look_up
        self._running: dict[tuple[str, int], _LookUp] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError for a name that is not known, or not in time."""
        look_up = self._running.get((host, family))
        if look_up is None or look_up.found.done():
            look_up = self._begin(host, family)
        await asyncio.wait({look_up.found}, timeout=look_up.until - asyncio.get_running_loop().time())
        if not look_up.found.done() or look_up.found.cancelled():
            look_up.running.cancel()  # one that still waits for a thread needs none any more
            raise OSError(f"the name was not found within {self._patience:g} s")
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in look_up.found.result()
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for look_up in tuple(self._running.values()):
            look_up.found.cancel()

    def _begin(self, host: str, family: int) -> _LookUp:
        running = self._threads.submit(
            self._look_up, host, None, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        until = asyncio.get_running_loop().time() + self._patience
        begun = self._running[host, family] = _LookUp(running, asyncio.wrap_future(running), until)

        def ended(found: asyncio.Future[Found]) -> None:
            if self._running.get((host, family)) is begun:
                del self._running[host, family]
            if not found.cancelled():
                found.exception()  # nobody may be waiting for it any more

        begun.found.add_done_callback(ended)
        return begun


def checked_sockets(allowed: Sequence[Network]) -> aiohttp.SocketFactoryType:
    """Opens sockets to public and allowed addresses only: after DNS, every time, to the address that is
    connected to. Raises ForbiddenAddress for others."""

    def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, endpoint = address
        addresses.check(str(endpoint[0]), allowed)
        return socket.socket(family, kind, protocol)

    return open_socket


def pooled_transport(**pool: Any) -> AiohttpTransport:
    """Connections without cookies. `pool` are the arguments of aiohttp's TCPConnector.

    httpx over aiohttp, because httpx's own pool slows down with the square of its connections.
    """
    context = ssl.create_default_context()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, **pool)
        return _Session(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), response_class=_Response)

    return AiohttpTransport(client=session, verify=context)


def pooled_client(*, timeout: timedelta, agent: str, **pool: Any) -> httpx.AsyncClient:
    """A client that follows no redirects and keeps no cookies, neither httpx's nor aiohttp's: accounts share
    its connections and not each other's sessions. It asks for gzip at most, which can be unpacked up to a
    bound. `pool` is as in `pooled_transport`."""
    return httpx.AsyncClient(
        transport=pooled_transport(**pool),
        timeout=timeout.total_seconds(),
        headers={"User-Agent": agent, "Accept-Encoding": "gzip"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )
