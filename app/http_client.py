"""The one kind of HTTP client that goes out of this process."""

from __future__ import annotations

import ssl
import warnings
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
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


def pooled_transport(**pool: Any) -> AiohttpTransport:
    """Connections without cookies. `pool` are the arguments of aiohttp's TCPConnector.

    httpx over aiohttp, because httpx's own pool slows down with the square of its connections.
    """
    context = ssl.create_default_context()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, **pool)
        return _Session(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

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
