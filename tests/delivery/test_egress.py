"""The way out: time and size are bounded, redirects not followed, and whatever comes has a reason."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress

import pytest
from callback_servers import answering, opened, server

from app import backoff


async def test_a_redirect_is_not_followed() -> None:
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:2/\r\nContent-Length: 0\r\n\r\n"
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


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: "], ids=["status", "header"])
async def test_a_dribbling_head_ends_with_the_total_time(beginning: bytes) -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning)
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with server(dribble) as url, opened(seconds=0.2) as egress:
        answer = await egress.post(url, b"{}", {})
    assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


@pytest.mark.parametrize(
    "endless",
    [b"X: " + b"x" * 1000 + b"\r\n", b"X-Y: " + b"x" * 65536, b"X: 1\r\n" * 1000],
    ids=["many large headers", "one header", "many headers"],
)
async def test_endless_headers_are_not_read_to_their_end(endless: bytes) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(endless)
                sent += len(endless)
                await writer.drain()

    async with server(flood) as url, opened(seconds=60) as egress:
        answer = await egress.post(url, b"{}", {})
    assert answer.status is None
    assert "no answer within" not in (answer.error or "no answer within")
    assert sent < 20_000_000


async def test_endless_announcements_end_with_the_total_time() -> None:
    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with server(announce) as url, opened(seconds=0.2) as egress:
        answer = await egress.post(url, b"{}", {})
    assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


async def test_a_compressed_answer_is_neither_asked_for_nor_unpacked() -> None:
    asked: list[bytes] = []
    bomb = gzip.compress(b"x" * 50_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).lower())
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        writer.write(head + bomb)
        await writer.drain()

    async with server(answer) as url, opened() as egress:
        found = await egress.post(url, b"{}", {})
    assert found.accepted
    assert "xxx" not in (found.text or "")
    assert b"accept-encoding: identity\r\n" in asked[0]
    assert asked[0].count(b"accept-encoding") == 1


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
        for url in ("http://127.0.0.1:2/", "http://", "nothing", "http://nowhere.invalid/"):
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


@pytest.mark.parametrize("before", range(480, 505, 4))
async def test_no_half_of_a_secret_is_left_where_an_answer_is_cut(before: int) -> None:
    body = b"x" * before + b"known-secret" * 100
    answer = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with opened() as egress, server(answer) as url:
        found = await egress.post(url, b"{}", {}, secrets={"known-secret"})
    assert found.text == ("x" * before + "*" * 800)[:500]


@pytest.mark.parametrize("before", [0, 1, 5, 16])
async def test_no_half_of_a_secret_is_left_where_reading_ends(before: int) -> None:
    secret = "k" + "nown-" * 100
    body = b"x" * before + secret.encode() * 100
    answer = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with opened() as egress, server(answer) as url:
        found = await egress.post(url, b"{}", {}, secrets={secret})
    assert not (found.text or "").strip("x*")


async def test_no_half_of_a_secret_is_left_where_a_reason_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as egress:

        async def odd(*_: object) -> None:
            raise RuntimeError("x" * 277 + "known-secret")

        monkeypatch.setattr(egress._transport, "handle_async_request", odd)
        found = await egress.post("http://127.0.0.1:2", b"{}", {}, secrets={"known-secret"})
    assert found.error == "RuntimeError: " + "x" * 277 + "*" * 8


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
