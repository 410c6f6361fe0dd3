"""The one kind of HTTP client that goes out of this process."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
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


class Resolver(AbstractResolver):
    """Looks names up in threads of its own. Those of the event loop are few, and names that hang, which
    anybody can make, would take them from everybody."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        wanted = (host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, socket.getaddrinfo, *wanted)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


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
    its connections and not each other's sessions. `pool` is as in `pooled_transport`."""
    return httpx.AsyncClient(
        transport=pooled_transport(**pool),
        timeout=timeout.total_seconds(),
        headers={"User-Agent": agent},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )
