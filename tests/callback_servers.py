"""The way out to callbacks, opened for a test, and servers that answer as nobody should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network

import gateway
from processes import PATIENCE

from app.delivery.egress import Egress
from app.http_client import LookUp

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def opened(
    *,
    allowed: tuple[str, ...] = ("127.0.0.0/8",),
    seconds: float = PATIENCE,
    look_up: LookUp = gateway.look_up,
) -> AsyncIterator[Egress]:
    egress = Egress(
        timeout=timedelta(seconds=seconds),
        allowed=[ip_network(item) for item in allowed],
        connections=100,
        agent="test",
        look_up=look_up,
    )
    try:
        yield egress
    finally:
        await egress.close()


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(handled, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/changes"
    finally:
        listening.close()
        await listening.wait_closed()


def answering(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return handler
