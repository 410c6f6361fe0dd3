"""The HTTP server: uvicorn's, with an end to its patience with slow clients, and refusals in our form."""

from __future__ import annotations

import fcntl
import secrets
import struct
import termios
from asyncio import BaseTransport, Protocol, TimerHandle
from contextlib import suppress
from typing import Any, ClassVar

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.problems import ErrorBody
from app.settings import Settings

_HEAD = 64 * 1024  # bytes of the first line and the headers; beyond it, their parser refuses the first line
_HEADERS = 100
_INT = struct.Struct("i")
_ALWAYS_ANSWERED = (b"/health", b"/ready")

_BAD = (400, "This is not a request of HTTP")
_TOO_LARGE = (
    431,
    f"The request has more than {_HEAD} bytes before its body, or more than {_HEADERS} headers",
)


def run(app: FastAPI, settings: Settings) -> None:
    """Serves the application until it is told to stop."""
    proxies = [str(network) for network in settings.trusted_proxies]
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=connections(settings),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_keep_alive=int(settings.keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(settings.drain_timeout.total_seconds()),
    )


def connections(settings: Settings) -> type[Protocol]:
    """What the server makes of each connection."""
    values = {"timeout": settings.client_timeout.total_seconds(), "most": settings.client_connections}
    return type("Connection", (_Connection,), values)


class _Connection(HttpToolsProtocol):
    """A client. It has `timeout` seconds for the headers of a request, and to take any byte of an answer."""

    timeout: ClassVar[float]
    most: ClassVar[int]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._late: TimerHandle | None = None
        self._stuck: TimerHandle | None = None
        self._untaken = 0  # bytes, when the client was looked at last
        self._in_head = False
        self._read = 0  # bytes since the last one that was part of a body
        self._piece = 0  # bytes that are being read
        self._refusal = _BAD

    # How a request comes
    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        self._moved()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._piece = len(data)
        self._read += self._piece
        super().data_received(data)
        if self._read > _HEAD:
            self._refuse(*_TOO_LARGE)
        if self._late is None and self._is_answered() and not self.transport.is_closing():
            self._await_headers()  # also for what is left of a body that nobody reads

    def on_message_begin(self) -> None:
        self._in_head, self._read = True, self._piece
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows a body in chunks is no header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headers_came()
        self._in_head = False
        if self._is_too_large():
            self._refusal = _TOO_LARGE
            raise ValueError
        self._read = 0
        app = self.app
        if len(self.connections) > self.most and self.url not in _ALWAYS_ANSWERED:
            self.app = _unavailable
        super().on_headers_complete()
        self.app = app

    def on_body(self, body: bytes) -> None:
        self._read = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._read = 0
        super().on_message_complete()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_too_large(self) -> bool:
        if self._read <= _HEAD and len(self.headers) <= _HEADERS:
            return False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return size > _HEAD or len(self.headers) > _HEADERS

    def _await_headers(self) -> None:
        self._late = self.loop.call_later(self.timeout, self._did_not_come)

    def _headers_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _did_not_come(self) -> None:
        self._late = None
        if self._in_head:
            self._refuse(408, f"The headers did not come within {self.timeout:g} s")
        else:
            self.transport.close()
            self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _refuse(self, status: int, message: str) -> None:
        """Answers without the application, unless it is answering, and ends the connection."""
        if self._is_answered() and not self.transport.is_closing():
            body = _body(message)
            lines = [b"content-type: application/json", b"content-length: %d" % len(body)]
            lines += [b"cache-control: no-store", b"connection: close", b"", body]
            self.transport.write(STATUS_LINE[status] + b"\r\n".join(lines))
        self.transport.close()
        self._watch()

    # How an answer goes
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._moved()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        if self._stuck is None and self.transport.get_write_buffer_size():
            self._untaken = self._still_untaken()
            self._stuck = self.loop.call_later(self.timeout, self._look)

    def _moved(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _look(self) -> None:
        self._stuck = None
        if self._still_untaken() < self._untaken:
            self._watch()
        elif self.transport.get_write_buffer_size():
            self.transport.abort()

    def _still_untaken(self) -> int:
        """Bytes that the client has not acknowledged: ours, and those that the system holds for it, which can
        be megabytes and move long before ours do."""
        held = bytes(_INT.size)
        with suppress(OSError, ValueError):
            held = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
        waiting: int = _INT.unpack(held)[0]
        return waiting + self.transport.get_write_buffer_size()


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """What is answered while there are too many connections."""
    body = _body("Too many connections; try again in a moment")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _body(message: str) -> bytes:
    return (
        ErrorBody(requestId=secrets.token_hex(12), message=message)
        .model_dump_json(exclude_none=True)
        .encode()
    )
