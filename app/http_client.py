"""The one kind of HTTP client that goes out of this process."""

from __future__ import annotations

import ssl
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport


def pooled_client(*, timeout: timedelta, agent: str, **pool: Any) -> httpx.AsyncClient:
    """A client that follows no redirects and keeps no cookies, neither httpx's nor aiohttp's: accounts share
    its connections and not each other's sessions. `pool` are the arguments of aiohttp's TCPConnector.

    httpx over aiohttp, because httpx's own pool slows down with the square of its connections.
    """
    context = ssl.create_default_context()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, **pool)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return httpx.AsyncClient(
        transport=AiohttpTransport(client=session, verify=context),
        timeout=timeout.total_seconds(),
        headers={"User-Agent": agent},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )
