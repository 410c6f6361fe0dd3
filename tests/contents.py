"""Contents as tests make them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from app.upstream.content import Content


def cut_in(data: bytes, size: int) -> AsyncIterator[bytes]:
    """The data in pieces of `size` bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return pieces()


def of_bytes(data: bytes) -> Content:
    """Content that is in memory already."""
    return Content(cut_in(data, len(data) or 1), len(data))
