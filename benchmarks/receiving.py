"""The other end of the delivery benchmarks: a server in a process of its own that answers POSTs at once.

`/ok` answers 200, `/bad` 500, `/hang` never. What arrives is told through a pipe as (id, time).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import uvloop

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"


class _Peer(asyncio.Protocol):
    """Just enough HTTP for requests with a Content-Length."""

    def __init__(self, seen: dict[int, float]) -> None:
        self._seen = seen
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            start = head.index(b"content-length:") + 15
            size = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if b"elements-webhook-id:" in head:
            start = head.index(b"elements-webhook-id:") + 20
            self._seen.setdefault(int(head[start:].split(b"\r\n", 1)[0]), time.time())
        path = head.split(b" ", 2)[1]
        if not path.startswith(b"/hang"):
            self._transport.write(_BAD if path.startswith(b"/bad") else _OK)


@dataclass(frozen=True)
class Receiver:
    """The parent's hold on the server."""

    url: str
    _pipe: Connection

    def take(self) -> dict[int, float]:
        """The times of first arrival by notification, since the last time this was asked."""
        self._pipe.send("take")
        found: dict[int, float] = self._pipe.recv()
        return found


async def _serve(pipe: Connection) -> None:
    seen: dict[int, float] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Peer(seen), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    ended = asyncio.Event()

    def asked() -> None:
        try:
            pipe.recv()
        except EOFError:
            ended.set()
            loop.remove_reader(pipe.fileno())
            return
        pipe.send(dict(seen))
        seen.clear()

    loop.add_reader(pipe.fileno(), asked)
    await ended.wait()


def _run(pipe: Connection, parent: Connection, core: int | None) -> None:
    parent.close()  # so that the end of the parent is seen
    if core is not None:
        os.sched_setaffinity(0, {core})
    uvloop.run(_serve(pipe))


@contextmanager
def receiving(core: int | None = None) -> Iterator[Receiver]:
    """Serves, on one core if it is named, until the body ends."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe()
    process = context.Process(target=_run, args=(its, mine, core), daemon=True)
    process.start()
    its.close()
    try:
        yield Receiver(f"http://127.0.0.1:{mine.recv()}", mine)
    finally:
        mine.close()
        process.join(5)
