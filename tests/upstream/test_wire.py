"""What really leaves for a vendor, looked at from a server that was not told what to expect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from gateway import Gateway
from processes import PATIENCE
from serving import served
from starlette.types import Receive, Scope, Send

from app.errors import VendorUnavailable
from app.providers.egnyte import Egnyte
from app.upstream.client import Upstream, open_client
from app.upstream.content import Content


async def token(rejected: str | None = None) -> str:
    return "t"


async def test_a_url_leaves_as_it_was_written() -> None:
    """To some vendors `;` begins a parameter and `%3B` is a part of a name."""
    seen: list[bytes] = []

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["raw_path"] + b"?" + scope["query_string"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    written = "/a%3Bb%2F%40%7E/%2e%2e/c?sig=a%2Fb%3A%2B"
    with served(echo) as url:
        async with open_client(connections=1, timeout=timedelta(seconds=PATIENCE), agent="test") as client:
            await client.get(url + written)
    assert seen == [written.encode()]


async def test_bytes_are_asked_for_as_they_are_stored() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"bytes"})

    with served(echo) as url:
        async with open_client(connections=1, timeout=timedelta(seconds=PATIENCE), agent="test") as client:
            way = Upstream(client, base_url=url, token=token, interpret=Egnyte.refusal)
            response = await way.open("/file")
            assert await response.aread() == b"bytes"
            await response.aclose()
            await way.get("/words")
    assert [headers[b"accept-encoding"] for headers in seen] == [b"identity", b"gzip"]


async def test_an_upload_that_stands_still_is_given_up() -> None:
    over = threading.Event()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        while not over.is_set():
            await asyncio.sleep(0.01)

    async def much() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 2**20

    with served(deaf) as url:
        async with open_client(connections=1, timeout=timedelta(seconds=PATIENCE), agent="test") as client:
            patience = timedelta(milliseconds=300)
            way = Upstream(client, base_url=url, token=token, interpret=Egnyte.refusal,
                           transfer_timeout=patience)  # fmt: skip
            with pytest.raises(VendorUnavailable, match="stood still"):
                await way.stream("POST", "/file", much, Content(much(), None))
            over.set()


async def test_a_download_does_not_lead_to_an_address_that_is_not_public(gateway: Gateway) -> None:
    async def lead_on(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"location", b"https://10.0.0.1/latest/meta-data")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    runtime = gateway.runtime
    with served(lead_on) as url:
        way = Upstream(
            runtime.vendors,
            base_url=url,
            token=token,
            interpret=Egnyte.refusal,
            elsewhere=runtime.elsewhere,
        )
        with pytest.raises(VendorUnavailable, match=r"GET 10\.0\.0\.1/.*: the address is not public"):
            await way.open("/file")
