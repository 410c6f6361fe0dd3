"""One connection of the server without sockets and clocks: what it makes of bytes, and how long it waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app import server
from app.settings import load

TIMEOUT, KEEP_ALIVE = 30, 65


class Client(asyncio.Transport):
    """Keeps what is said to it, of which it has taken all but so many bytes."""

    def __init__(self, held: socket.socket) -> None:
        super().__init__({"socket": held})
        self.waiting = 0
        self.heard = b""
        self.closing = self.aborted = False

    def write(self, data: Any) -> None:
        self.heard += data

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass
class Timer:
    seconds: float
    callback: Callable[[], None]
    running: bool = True

    def cancel(self) -> None:
        self.running = False


class Loop:
    """Timers that end when a test says so."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def create_task(self, coroutine: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(coroutine)

    def waits(self) -> list[float]:
        """For how long anything is waited for, in seconds."""
        return [timer.seconds for timer in self.timers if timer.running]


class App:
    """Answers each request at once, or `/slow` when it is told to and `/early` before its body has come."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await self.go_on.wait()
        body, more = b"", scope["path"] != "/early"
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.asked.append((scope["method"], scope["path"], body))
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})


class Server:
    """At most two connections, of which this is one."""

    def __init__(self, held: socket.socket) -> None:
        settings = load(_env_file=None, client_timeout=timedelta(seconds=TIMEOUT), client_connections=2)
        self._kind: Any = server.connections(settings)
        self._state = ServerState()
        self._held = held
        self.app = App()
        self.config = uvicorn.Config(
            self.app, http="httptools", log_config=None, timeout_keep_alive=KEEP_ALIVE, lifespan="off"
        )
        self.loop = Loop()
        self.client, self.connection = self.dialled()

    def dialled(self) -> tuple[Client, Any]:
        client = Client(self._held)
        connection = self._kind(self.config, self._state, {}, self.loop)
        connection.connection_made(client)
        return client, connection

    async def told(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
        for _ in range(10):  # until everything is answered that will be
            await asyncio.sleep(0)


@pytest.fixture
async def served() -> Any:
    with socket.socket() as held:
        made = Server(held)
        yield made
        made.app.go_on.set()
        await made.told()


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: gateway", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("size", [1, 70, 10_000], ids=["bytes", "pieces", "at once"])
@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade, HTTP2-Settings"])
async def test_the_wish_for_another_protocol_is_ignored(served: Server, size: int, connection: str) -> None:
    """Java's HttpClient has it with every request that is not encrypted."""
    hidden = request("GET /hidden")
    wish = (f"Connection: {connection}", "Upgrade: h2c")
    said = request("POST /first", *wish, body=hidden) + request("GET /second", *wish)
    said += request("GET /third", "Connection: close, Upgrade", "Upgrade: websocket")
    await served.told(*(said[at : at + size] for at in range(0, len(said), size)))
    assert served.app.asked == [("POST", "/first", hidden), ("GET", "/second", b""), ("GET", "/third", b"")]
    assert served.client.closing


async def test_a_body_in_chunks_behind_such_a_wish_is_read(served: Server) -> None:
    wish = ("Connection: close, Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked")
    await served.told(request("POST /first", *wish) + b"2\r\n{}\r\n", b"0\r\n\r\n")
    assert served.app.asked == [("POST", "/first", b"{}")]


@pytest.mark.parametrize("second", ["Content-Length: 6", "Transfer-Encoding: chunked"])
async def test_a_body_has_one_length(served: Server, second: str) -> None:
    await served.told(request("POST /first", "Content-Length: 5", second) + b"0\r\n\r\n")
    assert served.client.heard.startswith(b"HTTP/1.1 400 ")
    assert (served.client.closing, served.app.asked) == (True, [])


async def test_connect_is_refused(served: Server) -> None:
    await served.told(request("CONNECT gateway:443") + b"GET /tunnel HTTP/1.1\r\n\r\n")
    assert served.client.heard.startswith(b"HTTP/1.1 405 ")
    assert (served.client.closing, served.app.asked) == (True, [])


@pytest.mark.parametrize(
    ("piece", "most"), [(b"x" * 1000, 66), (b"y\r\nX-Short: ", 6000)], ids=["one", "many"]
)
async def test_headers_without_end_are_refused(served: Server, piece: bytes, most: int) -> None:
    served.connection.data_received(b"GET / HTTP/1.1\r\nX-Long: ")
    count = 0
    while not served.client.closing and count <= most:
        served.connection.data_received(piece)
        count += 1
    assert served.client.heard.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("value", "status"), [(60_000, 200), (65_536, 431)])
async def test_headers_that_come_at_once_have_the_same_limit(served: Server, value: int, status: int) -> None:
    await served.told(request("GET /", f"X-Long: {'x' * value}"))
    assert served.client.heard.startswith(b"HTTP/1.1 %d " % status)


async def test_half_a_head_behind_a_running_request_is_waited_for_as_any(served: Server) -> None:
    await served.told(request("GET /slow") + b"GET /next HTTP/1.1\r\nX-Half")
    assert served.loop.waits() == []
    served.app.go_on.set()
    await served.told()
    late = served.connection._late
    assert late in served.loop.timers
    assert (late.seconds, late.running) == (TIMEOUT, True)
    late.callback()
    assert b"HTTP/1.1 408 " in served.client.heard
    assert served.client.closing


async def test_a_body_that_comes_after_its_answer_leaves_the_connection_idle(served: Server) -> None:
    first = request("POST /early", body=b"1234567890")
    await served.told(first[:-5])
    assert served.client.heard.startswith(b"HTTP/1.1 200 ")
    assert min(served.loop.waits()) == TIMEOUT
    await served.told(b"67890")
    assert served.loop.waits() == [KEEP_ALIVE]
    await served.told(b"GET /next HTT")
    assert served.loop.waits() == [TIMEOUT]
    await served.told(b"P/1.1\r\n\r\n")
    assert served.app.asked[1:] == [("GET", "/next", b"")]
    assert served.loop.waits() == [KEEP_ALIVE]


async def test_who_dials_too_often_is_not_waited_for_and_then_not_heard(served: Server) -> None:
    assert served.loop.waits() == [TIMEOUT]
    others = [served.dialled()[0] for _ in range(4)]
    assert served.loop.waits()[:4] == [TIMEOUT, TIMEOUT, TIMEOUT / 10, TIMEOUT / 10]
    assert [other.aborted for other in others] == [False, False, False, True]


async def test_one_connection_too_many_is_refused_and_no_answer_cut_for_it(served: Server) -> None:
    await served.told(request("GET /slow"))
    served.dialled(), served.dialled()
    await served.told(request("GET /next"))
    assert not served.client.closing
    served.app.go_on.set()
    await served.told()
    assert [path for _, path, _ in served.app.asked] == ["/slow", "/next"]
    await served.told(request("GET /health"))
    await served.told(request("GET /last"))
    assert served.client.heard.count(b"HTTP/1.1 200 ") == 3
    assert served.client.heard.count(b"HTTP/1.1 503 ") == 1
    assert b"\r\nretry-after: 1\r\n" in served.client.heard


@pytest.fixture
def watched(served: Server) -> Iterator[Server]:
    """Its client has been given 100 bytes, and taken none of them."""
    served.client.waiting = 100
    served.connection.pause_writing()
    yield served
    served.connection.connection_lost(OSError())


@pytest.mark.parametrize(("later", "aborted"), [(100, True), (150, True), (99, False), (0, False)])
async def test_who_takes_any_byte_of_an_answer_goes_on(watched: Server, later: int, aborted: bool) -> None:
    watched.client.waiting = later
    watched.connection._look()
    assert watched.client.aborted is aborted
    assert (watched.connection._stuck is not None) is (later == 99)


async def test_what_was_left_of_an_earlier_answer_does_not_count_against_the_next(watched: Server) -> None:
    earlier = watched.connection._stuck
    watched.client.waiting = 1000
    watched.connection.pause_writing()
    assert not earlier.running
    watched.client.waiting = 400
    watched.connection._look()
    assert not watched.client.aborted
