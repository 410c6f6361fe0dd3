"""The way out to callbacks: which addresses may be reached, for how long, and how much is read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import aiohttp
import httpx

from app import backoff
from app.http_client import pooled_client

Network = IPv4Network | IPv6Network

_KEEPALIVE = 3.0  # seconds; servers close an idle connection after 5 (uvicorn, Node) or more
_READ_LIMIT = 64 * 1024  # bytes of an answer that are read so that its connection can be used again


@dataclass(frozen=True)
class Answer:
    """What a callback answered. `status` is None, and `error` says why, when it did not."""

    status: int | None
    error: str | None = None
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class ForbiddenAddress(OSError):
    """A callback's name leads to an address that is not public."""


class Egress:
    """One client for all callbacks. The address is checked at the socket, after DNS, every time."""

    def __init__(
        self, *, timeout: timedelta, allowed: Sequence[Network], connections: int, agent: str
    ) -> None:
        self._timeout = timeout.total_seconds()

        def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
            family, kind, protocol, _, endpoint = address
            _refuse_private(str(endpoint[0]), allowed)
            return socket.socket(family, kind, protocol)

        self._client = pooled_client(
            timeout=timeout,
            agent=agent,
            limit=connections,
            keepalive_timeout=_KEEPALIVE,
            socket_factory=open_socket,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POSTs once and never raises: what went wrong stands in the answer."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, body, headers)
        except TimeoutError:
            return Answer(None, f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _reason(error))

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > _READ_LIMIT:
                    break
            error = None if 200 <= response.status_code < 300 else f"HTTP {response.status_code}"
            wait = backoff.retry_after(response.headers.get("retry-after"), datetime.now(UTC))
            return Answer(response.status_code, error, wait)


def _refuse_private(host: str, allowed: Sequence[Network]) -> None:
    address = ip_address(host.split("%")[0])
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if (address.is_global and not address.is_multicast) or any(address in network for network in allowed):
        return
    raise ForbiddenAddress(
        f"{address} is not a public address; GATEWAY_CALLBACK_ALLOWED_NETWORKS can allow its network"
    )


def _reason(error: BaseException) -> str:
    """The words of the cause: the transport itself calls every failed connection a time-out."""
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None:
        links.append(cause)
    forbidden = next((link for link in links if isinstance(link, ForbiddenAddress)), None)
    if forbidden is not None:
        return str(forbidden)
    return f"{type(links[-1]).__name__}: {links[-1]}"[:300]
