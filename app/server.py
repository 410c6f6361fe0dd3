"""The HTTP server: uvicorn's, with an end to its patience with slow clients, and refusals in our form."""

from __future__ import annotations

import fcntl
import secrets
import struct
import termios
from asyncio import BaseTransport, Protocol, TimerHandle
from contextlib import suppress
from typing import Any, ClassVar, Literal

import httptools
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.problems import ErrorBody
from app.settings import Settings

_HEAD = 64 * 1024  # bytes of the first line and the headers
_HEADERS = 100
_INT = struct.Struct("i")
_ALWAYS_ANSWERED = (b"/health", b"/ready")

_BAD = (400, "This is not a request of HTTP")
_NO_PROXY = (405, "CONNECT is for proxies")
_TOO_LARGE = (
    431,
    f"The request has more than {_HEAD} bytes before its body, or more than {_HEADERS} headers",
)
_TOO_MANY = (503, "Too many connections; try again in a moment")


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
        self._begun: Literal["", "head", "body"] = ""  # what of a request has not come to its end
        self._read = 0  # bytes since the last one that was good for something
        self._refusal = _BAD

    # How a request comes
    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > 2 * self.most:
            self.transport.abort()
        self._wait(self._patience())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._read += len(data)
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
        if self._read > _HEAD:
            self._refuse(*_TOO_LARGE)
        self._wait_for_more()

    def _parse(self, data: memoryview) -> None:
        """Reads a request that asks for another protocol once more, without that wish: their parser skips
        its body, and takes it for the next request. Raises HttpParserError."""
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)  # theirs may be done with the connection
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _should_upgrade(self) -> bool:
        return True  # what it leaves alone then, `_parse` reads again

    def on_message_begin(self) -> None:
        self._stop_waiting()
        self._begun, self._read = "head", 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._begun == "head":  # what follows a body in chunks is no header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._begun, self._read = "body", 0
        if refusal := self._objection():
            self._refusal = refusal
            raise ValueError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._read = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        self._begun, self._read = "", 0
        super().on_message_complete()

    def _objection(self) -> tuple[int, str] | None:
        """What is to be answered instead of what the request asks for."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > _HEAD or len(self.headers) > _HEADERS:
            return _TOO_LARGE
        if self.parser.get_method() == b"CONNECT":
            return _NO_PROXY
        too_many = len(self.connections) > self.most and self.url not in _ALWAYS_ANSWERED
        return _TOO_MANY if too_many and self._is_answered() else None

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_more(self) -> None:
        """Also for what is left of a body that nobody reads."""
        if self._late is None and self._is_answered() and not self.transport.is_closing():
            self._wait(self._patience() if self._begun else self.timeout_keep_alive)

    def _patience(self) -> float:
        """In seconds; there is little of it while there are too many."""
        return self.timeout / 10 if len(self.connections) > self.most else self.timeout

    def _wait(self, seconds: float) -> None:
        self._late = self.loop.call_later(seconds, self._did_not_come)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _did_not_come(self) -> None:
        self._late = None
        if self._begun == "head":
            self._refuse(408, "The headers did not come in time")
        else:
            self.transport.close()
            self._watch()

    def _refuse(self, status: int, message: str) -> None:
        """Answers without the application, unless it is answering, and ends the connection."""
        if self._is_answered() and not self.transport.is_closing():
            error = ErrorBody(requestId=secrets.token_hex(12), message=message)
            body = error.model_dump_json(exclude_none=True).encode()
            lines = [b"content-type: application/json", b"content-length: %d" % len(body)]
            lines += [b"cache-control: no-store", b"connection: close"]
            lines += [b"retry-after: 1"] if status == 503 else []
            self.transport.write(STATUS_LINE[status] + b"\r\n".join([*lines, b"", body]))
        self.transport.close()
        self._watch()

    # How an answer goes
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()
        if self._begun:
            self._wait_for_more()

    def _watch(self) -> None:
        """From now on: whoever was watched for an earlier answer owes nothing of it to this one."""
        self._stop_watching()
        if self.transport.get_write_buffer_size():
            self._untaken = self._still_untaken()
            self._stuck = self.loop.call_later(self.timeout, self._look)

    def _stop_watching(self) -> None:
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
