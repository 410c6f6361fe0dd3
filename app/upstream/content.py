"""Bytes on their way through: read once, in order, never all of them in memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from itertools import cycle
from typing import Protocol, Self, TypeVar

from app.errors import BadRequest


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


T = TypeVar("T")

HELD = 8 * 2**20
"""Bytes; every provider holds a file up to this size whole, so that its upload can be tried again."""

_SLICE = 2**20  # bytes that are handed on at once, at most


class Content:
    """What a client uploads. `size` is what was announced, None when nothing was.

    Raises BadRequest where the bytes turn out to be more or fewer than announced. Whatever ends the
    reading early is kept in `failure`, because an HTTP client in between hides it.
    """

    def __init__(self, chunks: AsyncIterator[bytes], size: int | None) -> None:
        self.size = size
        self.failure: Exception | None = None
        self._chunks = self._counted(chunks)
        self._spare = bytearray()

    async def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end."""
        while len(self._spare) < count:
            chunk = await anext(self._chunks, b"")
            if not chunk:
                break
            self._spare += chunk
        taken = bytes(memoryview(self._spare)[:count])
        del self._spare[:count]
        return taken

    def put_back(self, data: bytes) -> None:
        """Undoes a `take`."""
        self._spare[:0] = data

    async def some(self, most: int) -> bytes:
        """The next bytes as they come, at most `most` of them; none at the end."""
        chunk = bytes(self._spare) or await anext(self._chunks, b"")
        self._spare[:] = chunk[most:]
        return chunk[:most]

    async def ended(self) -> bool:
        """Whether nothing follows."""
        if not self._spare:
            self._spare += await anext(self._chunks, b"")
        return not self._spare

    async def rest(self, *hashes: Hash) -> AsyncIterator[bytes]:
        """Everything that was not taken, also put into the hashes."""
        while chunk := await self.some(_SLICE):
            for each in hashes:
                each.update(chunk)
            yield chunk

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Holds the last chunk back until nothing is wrong with the end: a vendor makes a file of what is
        complete by its Content-Length."""
        count, held = 0, b""
        try:
            async for chunk in chunks:
                count += len(chunk)
                if self.size is not None and count > self.size:
                    break
                if held:
                    yield held
                held = chunk
            if self.size is not None and count != self.size:
                came = "more" if count > self.size else count
                raise BadRequest(
                    f"file: {self.size} bytes were announced and {came} came; "
                    "send the file as the last part, or its length in the parameter 'size'"
                )
        except Exception as failure:
            self.failure = failure
            raise
        if held:
            yield held


class Chunk:
    """A piece of a content in a temporary file, from where it can be sent as often as it takes. `digest` is
    made of it by the hash that `new_hash` begins."""

    def __init__(self, new_hash: Callable[[], Hash]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._new_hash = new_hash
        self._length = 0
        self.digest = b""
        self.is_last = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    async def fill(self, content: Content, size: int, *hashes: Hash) -> None:
        """Forgets what it held and takes the next `size` bytes, fewer only at the end; they are also put
        into the hashes."""
        self._file.seek(0)
        self._file.truncate()
        self._length, own = 0, self._new_hash()
        while self._length < size and (piece := await content.some(size - self._length)):
            self._file.write(piece)
            self._length += len(piece)
            for each in (own, *hashes):
                each.update(piece)
        self.digest = own.digest()
        self.is_last = await content.ended()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What it holds, from the beginning."""
        self._file.seek(0)
        while piece := self._file.read(_SLICE):
            yield piece


async def chunks(
    content: Content, size: int, buffers: tuple[Chunk, Chunk], *hashes: Hash
) -> AsyncGenerator[Chunk]:
    """The content in pieces of `size` bytes, in two buffers by turns: one may be read ahead while the other
    is sent. Whoever brings the buffers closes them."""
    for chunk in cycle(buffers):
        await chunk.fill(content, size, *hashes)
        if not chunk:
            return
        yield chunk


async def ahead(items: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The items; the next one is read while the current one is worked on."""
    async with aclosing(items):
        reading = asyncio.ensure_future(anext(items, None))
        try:
            while (item := await reading) is not None:
                reading = asyncio.ensure_future(anext(items, None))
                yield item
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
