"""The way out: addresses are checked at the socket, time and size are bounded, redirects not followed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from app import backoff
from app.delivery import egress as module
from app.delivery.egress import Egress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def opened(*, allowed: tuple[str, ...] = ("127.0.0.0/8",), seconds: float = 5) -> AsyncIterator[Egress]:
    egress = Egress(
        timeout=timedelta(seconds=seconds),
        allowed=[ip_network(item) for item in allowed],
        connections=100,
        agent="test",
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


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",  # noqa: S104
        "169.254.169.254",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "0x7f.1",
    ],
)
async def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    async with opened(allowed=()) as egress:
        answer = await egress.post(f"http://{host}:9/x", b"", {})
    assert answer.status is None
    assert not answer.accepted
    assert "not a public address" in (answer.error or "")


async def test_a_network_can_be_allowed() -> None:
    async with server(answering(b"HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n")) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).accepted
        refused = await egress.post("http://10.0.0.1/", b"", {})
        assert "10.0.0.1 is not a public address" in (refused.error or "")


async def test_a_name_is_checked_by_the_address_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    def check(host: str, _: object) -> None:
        checked.append(host)
        raise module.ForbiddenAddress("no")

    monkeypatch.setattr(module, "_refuse_private", check)
    async with opened(allowed=()) as egress:
        assert (await egress.post("http://localhost:9/", b"", {})).error == "no"
    assert checked
    assert set(checked) <= {"127.0.0.1", "::1"}


async def test_a_redirect_is_not_followed() -> None:
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with server(answering(reply)) as url, opened() as egress:
        answer = await egress.post(url, b"{}", {})
    assert (answer.status, answer.accepted, answer.error) == (302, False, "HTTP 302")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("soon", None),
        ("Mon, 05 Jan 2015 10:00:00 GMT", 0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999999999999999999", None),
    ],
)
async def test_retry_after_is_read(header: str, seconds: float | None) -> None:
    reply = f"HTTP/1.1 503 x\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()
    async with server(answering(reply)) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).retry_after == seconds


async def test_a_reason_phrase_in_any_encoding_is_one() -> None:
    reply = b"HTTP/1.1 200 Erf\xfcllt\r\nContent-Length: 0\r\n\r\n"
    async with server(answering(reply)) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).accepted


async def test_an_error_that_nobody_expects_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(backoff, "retry_after", fail)
    reply = b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"
    async with server(answering(reply)) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).error == "RuntimeError: odd"


async def test_names_that_hang_do_not_delay_another(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, answered = socket.getaddrinfo, threading.Event()

    def hanging(host: str, *rest: Any, **more: Any) -> Any:
        if host.startswith("hang"):
            answered.wait(30)
        return look_up("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    reply = b"HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n"
    async with server(answering(reply)) as url, opened() as egress:
        port = url.split(":")[2]
        names = [f"http://hang-{number}.example.com:{port}" for number in range(50)]
        hung = [asyncio.create_task(egress.post(name, b"{}", {})) for name in names]
        await asyncio.sleep(0.05)
        try:
            answer = await egress.post(f"http://fine.example.com:{port}", b"{}", {})
        finally:
            answered.set()
            await asyncio.gather(*hung)
    assert (answer.status, answer.error) == (202, None)


async def test_a_dribbling_answer_ends_with_the_total_time() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(dribble) as url, opened(seconds=0.2) as egress:
        answer = await egress.post(url, b"{}", {})
    assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            sent += 65536
            try:
                await writer.drain()
            except ConnectionError:
                return

    async with server(flood) as url, opened() as egress:
        assert (await egress.post(url, b"{}", {})).accepted
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"]
)
async def test_an_answer_that_is_none_has_a_reason(reply: bytes) -> None:
    async with server(answering(reply)) as url, opened() as egress:
        answer = await egress.post(url, b"{}", {})
    assert answer.status is None
    assert answer.error


async def test_a_refused_connection_and_a_bad_url_have_a_reason() -> None:
    async with opened() as egress:
        for url in ("http://127.0.0.1:9/", "http://", "nothing", "http://nowhere.invalid/"):
            answer = await egress.post(url, b"{}", {})
            assert answer.status is None
            assert answer.error


async def test_a_connection_is_used_again_and_cookies_are_not_kept() -> None:
    connections, cookies = 0, []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            cookies.append(b"cookie" in head.lower())
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    async with server(keep) as url, opened() as egress:
        for _ in range(3):
            assert (await egress.post(url, b"{}", {})).accepted
    assert connections == 1
    assert cookies == [False] * 3


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"fine", "fine"),
        (b"", None),
        (b"a\x00b\x1b[31m", "a\ufffdb\ufffd[31m"),
        (b"\xff\xc3", "\ufffd\ufffd"),
        ("ü".encode() * 5000, "ü" * 500),
    ],
)
async def test_the_beginning_of_an_answer_is_kept_and_can_be_shown(body: bytes, kept: str | None) -> None:
    answer = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with opened() as egress, server(answer) as url:
        found = await egress.post(url, b"{}", {})
    assert (found.accepted, found.text) == (True, kept)
    assert found.started_at is not None


async def test_a_user_in_the_url_is_sent_as_basic_auth_and_a_header_takes_its_place() -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with opened() as egress, server(handler) as url:
        with_user = url.replace("http://", "http://ann:p%40ss@")
        assert (await egress.post(with_user, b"{}", {})).accepted
        assert (await egress.post(with_user, b"{}", {"Authorization": "Bearer x"})).accepted
    assert b"authorization: basic yw5uonbac3m=" in seen[0].lower()
    assert b"authorization: bearer x" in seen[1].lower()
    assert b"ann" not in seen[0].partition(b"\r\n")[0]
