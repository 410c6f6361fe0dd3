"""Whole answers: nothing that a vendor sends fills the memory or keeps a connection."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest

from app.errors import VendorError, VendorRefused, VendorUnavailable
from app.upstream import answers
from app.upstream.client import Refusal, Upstream, decode

URL = "https://vendor"


class Body(httpx.AsyncByteStream):
    """The same piece again and again, or once and then nothing more; whoever waits for more is noticed."""

    def __init__(self, *pieces: bytes, endless: bytes = b"") -> None:
        self._pieces = pieces
        self._endless = endless
        self.sent = 0
        self.closed = False
        self.waited_for = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        while self._endless:
            self.sent += len(self._endless)
            yield self._endless
        self.waited_for.set()
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


class Ended(Body):
    """Pieces with an end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def token(rejected: str | None = None) -> str:
    return "t"


def refused(answer: Refusal) -> Exception:
    return VendorRefused(vendor_status=answer.status)


def way(status: int, body: Body, **headers: str) -> Upstream:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=body)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), timeout=60)
    return Upstream(client, base_url=URL, token=token, interpret=refused)


@pytest.mark.parametrize(
    ("status", "ask"),
    [
        (200, lambda way: way.get("/x")),
        (503, lambda way: way.open("/x")),
        (401, lambda way: way.relay("GET", f"{URL}/x", [], None)),
    ],
    ids=["get", "open", "relay"],
)
async def test_an_answer_that_stops_coming_is_closed(
    status: int, ask: Callable[[Upstream], Coroutine[Any, Any, Any]]
) -> None:
    body = Body(b"half")
    asking = asyncio.create_task(ask(way(status, body)))
    await body.waited_for.wait()
    asking.cancel()  # as a time-out does
    await asyncio.wait({asking})
    assert body.closed


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_without_end_is_read_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(answers, "_LONGEST", 1000)
    monkeypatch.setattr(answers, "LONGEST_REFUSAL", 1000)
    body = Body(endless=b"x" * 300)
    with pytest.raises(VendorUnavailable, match=r"GET vendor/x: the answer is longer than 1000 bytes"):
        await way(status, body).get("/x", secret="known")
    assert body.closed
    assert body.sent == 1200


async def test_a_packed_answer_is_unpacked_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []
    whole = zlib.decompressobj

    class Counted:
        def __init__(self, form: int) -> None:
            self._own = whole(form)

        def decompress(self, piece: bytes, most: int) -> bytes:
            unpacked.append(self._own.decompress(piece, most))
            return unpacked[-1]

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    monkeypatch.setattr(answers, "_LONGEST", 1000)
    body = Body(gzip.compress(bytes(2**20)))
    with pytest.raises(VendorUnavailable, match="longer"):
        await way(200, body, **{"content-encoding": "gzip"}).get("/x")
    assert sum(map(len, unpacked)) == 1001


async def test_a_packed_answer_reads_as_another_does() -> None:
    packed = gzip.compress(b'{"a": 1}')
    body = Ended(*(packed[at : at + 3] for at in range(0, len(packed), 3)))
    assert decode(await way(200, body, **{"content-encoding": "GZIP"}).get("/x")) == {"a": 1}


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gzip", "is not packed as it says"),
        ("deflate", "is packed as nobody asked for"),
        ("gzip, gzip", "is packed as nobody asked for"),
    ],
)
async def test_an_answer_that_cannot_be_unpacked_is_none(encoding: str, words: str) -> None:
    body = Ended(b"{}")
    with pytest.raises(VendorError, match=f"GET vendor/x: the answer {words}"):
        await way(200, body, **{"content-encoding": encoding}).get("/x")
    assert body.closed
