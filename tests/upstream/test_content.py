"""Bytes on their way through: no byte is lost or doubled, however they come and are asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing

import pytest
from contents import of_bytes
from hypothesis import given
from hypothesis import strategies as st
from processes import until

from app.errors import BadRequest, VendorUnavailable
from app.upstream.content import Chunk, Content, ahead, chunks

SLICE = 2**20


async def coming(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def content(*pieces: bytes, size: int | None = None) -> Content:
    return Content(coming(pieces), size)


async def collected(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def filled(upload: Content, size: int) -> bytes:
    with Chunk(hashlib.sha512) as chunk:
        await chunk.fill(upload, size)
        return await collected(chunk.pieces())


@pytest.fixture
def buffers() -> Iterator[tuple[Chunk, Chunk]]:
    with Chunk(hashlib.sha512) as one, Chunk(hashlib.sha512) as other:
        yield one, other


READS = st.lists(st.tuples(st.sampled_from(["take", "some", "ended", "put_back"]), st.integers(1, 7)))


@given(st.lists(st.binary(max_size=6)), READS, st.booleans())
async def test_any_cutting_and_any_reading_give_the_same_bytes(
    pieces: list[bytes], reads: list[tuple[str, int]], announced: bool
) -> None:
    whole = b"".join(pieces)
    upload = content(*pieces, size=len(whole) if announced else None)
    read = b""
    for way, count in reads:
        left = len(whole) - len(read)
        if way == "take":
            taken = await upload.take(count)
            assert len(taken) == min(count, left)
            read += taken
        elif way == "some":
            some = await upload.some(count)
            assert min(1, left) <= len(some) <= count
            read += some
        elif way == "put_back":
            upload.put_back(await upload.take(count))
        else:
            assert await upload.ended() is (left == 0)
    digest = hashlib.sha256()
    rest = await collected(upload.rest(digest))
    assert read + rest == whole
    assert digest.digest() == hashlib.sha256(rest).digest()
    assert await upload.ended()
    assert await upload.take(1) == await upload.some(1) == b""
    assert upload.failure is None


async def test_a_rest_is_put_into_each_of_the_hashes() -> None:
    upload = content(b"abc", b"def")
    await upload.take(2)
    digests = hashlib.sha1(usedforsecurity=False), hashlib.sha512()
    assert await collected(upload.rest(*digests)) == b"cdef"
    assert digests[0].digest() == hashlib.sha1(b"cdef", usedforsecurity=False).digest()
    assert digests[1].digest() == hashlib.sha512(b"cdef").digest()


async def test_a_rest_comes_in_pieces_of_bounded_size() -> None:
    pieces = [piece async for piece in content(b"x" * (2 * SLICE + 1), b"y").rest()]
    assert [len(piece) for piece in pieces] == [SLICE, SLICE, 1, 1]


async def test_what_was_put_back_comes_first_also_at_the_end() -> None:
    upload = content(b"abc", size=3)
    upload.put_back(await upload.take(3))
    assert not await upload.ended()
    assert await collected(upload.rest()) == b"abc"


async def test_no_more_is_read_than_is_asked_for() -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"ab"

    upload = Content(pieces(), None)
    # One piece is held back until it is known that the end is right.
    assert (await upload.take(3), read) == (b"aba", 3)
    assert (await upload.some(9), read) == (b"b", 3)
    assert (await upload.ended(), read) == (False, 4)


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes were announced and more came"), (5, "and more came"), (7, "7 bytes were announced and 6")],
)
async def test_a_wrong_size_is_refused(size: int, words: str) -> None:
    upload = content(b"abc", b"def", size=size)
    with pytest.raises(BadRequest) as caught:
        await collected(upload.rest())
    assert caught.value.message.startswith("file: ")
    assert words in caught.value.message
    assert upload.failure is caught.value


@given(st.lists(st.binary(min_size=1, max_size=4)), st.integers(-3, 3).filter(bool))
async def test_never_more_than_announced_goes_through(pieces: list[bytes], difference: int) -> None:
    whole = b"".join(pieces)
    size = max(len(whole) + difference, 0)
    upload, passed = content(*pieces, size=size), b""
    try:
        async for piece in upload.rest():
            passed += piece
    except BadRequest:
        assert size != len(whole)
    else:
        assert size == len(whole)
    assert len(passed) <= size
    assert whole.startswith(passed)


async def test_a_missing_end_is_noticed_by_every_way_to_read() -> None:
    for read in (
        lambda upload: upload.take(9),
        lambda upload: collected(upload.rest()),
        lambda upload: filled(upload, 9),
    ):
        with pytest.raises(BadRequest, match="file: "):
            await read(content(b"abc", size=4))
    upload = content(b"abc", b"d", size=5)
    assert await upload.take(3) == b"abc"
    with pytest.raises(BadRequest, match="file: "):
        await upload.ended()


async def test_not_even_a_complete_content_is_handed_on_before_its_end_is_right() -> None:
    """A vendor that has got as many bytes as were announced makes a file of them."""
    upload = content(b"abc", b"def", size=3)
    with pytest.raises(BadRequest, match="more came"):
        await upload.some(9)


async def test_what_ends_the_reading_is_kept() -> None:
    failure = VendorUnavailable("gone")

    async def failing() -> AsyncIterator[bytes]:
        yield b"abc"
        raise failure

    upload = Content(failing(), 3)
    assert upload.failure is None
    with pytest.raises(VendorUnavailable):
        await upload.some(9)
    assert upload.failure is failure


async def test_bytes_in_memory_are_a_content() -> None:
    assert await of_bytes(b"abc").take(9) == b"abc"
    empty = of_bytes(b"")
    assert empty.size == 0
    assert await empty.ended()
    assert empty.failure is None


@given(st.lists(st.binary(max_size=9)), st.integers(1, 5))
async def test_chunks_are_the_content_in_equal_pieces(pieces: list[bytes], size: int) -> None:
    whole, found, digest = b"".join(pieces), [], hashlib.sha1(usedforsecurity=False)
    with Chunk(hashlib.sha512) as one, Chunk(hashlib.sha512) as other:
        async for chunk in chunks(content(*pieces, size=len(whole)), size, (one, other), digest):
            data = await collected(chunk.pieces())
            assert len(chunk) == len(data)
            assert chunk.digest == hashlib.sha512(data).digest()
            found.append((data, chunk.is_last))
    datas = [whole[start : start + size] for start in range(0, len(whole), size)]
    lasts = [number == len(datas) for number in range(1, len(datas) + 1)]
    assert found == list(zip(datas, lasts, strict=True))
    assert digest.digest() == hashlib.sha1(whole, usedforsecurity=False).digest()


async def test_a_chunk_can_be_sent_again_while_the_next_one_is_read(buffers: tuple[Chunk, Chunk]) -> None:
    sent = []
    async with aclosing(ahead(chunks(content(b"abcdefg"), 3, buffers))) as reading:
        async for chunk in reading:
            first = await anext(chunk.pieces())  # a connection that breaks
            await asyncio.sleep(0.01)  # time for the next chunk to be read
            again = await collected(chunk.pieces()), await collected(chunk.pieces())
            assert again == (first, first)
            sent.append(first)
    assert sent == [b"abc", b"def", b"g"]


async def test_a_large_chunk_is_sent_in_pieces() -> None:
    with Chunk(hashlib.sha512) as chunk:
        await chunk.fill(content(b"x" * (SLICE + 2)), SLICE + 1)
        assert [len(piece) async for piece in chunk.pieces()] == [SLICE, 1]
        assert not chunk.is_last


async def test_a_chunk_holds_only_what_it_was_filled_with_last() -> None:
    upload = content(b"abcdefgh")
    with Chunk(hashlib.sha512) as chunk:
        await chunk.fill(upload, 6)
        await chunk.fill(upload, 6)
        assert await collected(chunk.pieces()) == b"gh"
        assert (len(chunk), chunk.is_last) == (2, True)
        await chunk.fill(upload, 6)
        assert not chunk
        assert await collected(chunk.pieces()) == b""


async def test_a_chunk_closes_its_file() -> None:
    with Chunk(hashlib.sha512) as chunk:
        await chunk.fill(content(b"abc"), 3)
    with pytest.raises(ValueError, match="closed"):
        await collected(chunk.pieces())


async def test_a_content_that_is_too_short_makes_no_last_chunk(buffers: tuple[Chunk, Chunk]) -> None:
    reading = chunks(content(b"ab", b"cd", b"e", size=6), 2, buffers)
    assert not (await anext(reading)).is_last
    with pytest.raises(BadRequest, match="file: "):
        await anext(reading)


class Numbers:
    """Counts from 1 to `last`, or up to where it fails; knows how far it was read and how it ended."""

    def __init__(self, last: int, *, fails: bool = False, slow_from: int = 1000) -> None:
        self.last = last
        self.fails = fails
        self.slow_from = slow_from
        self.begun = 0
        self.ending = ""

    async def until_begun(self, number: int) -> None:
        await until(lambda: self.begun >= number, f"the reading of {number}")

    async def until_failed(self) -> None:
        await until(lambda: self.ending == VendorUnavailable.__name__, "the failure")

    async def read(self) -> AsyncGenerator[int]:
        try:
            for number in range(1, self.last + 1):
                self.begun = number
                if number >= self.slow_from:
                    await asyncio.sleep(60)
                yield number
            if self.fails:
                raise VendorUnavailable("no more")
            self.ending = "end"
        except BaseException as error:
            self.ending = type(error).__name__
            raise


@pytest.mark.parametrize("count", [0, 1, 2, 5])
async def test_reading_ahead_changes_nothing_of_the_items(count: int) -> None:
    numbers = Numbers(count)
    assert [number async for number in ahead(numbers.read())] == list(range(1, count + 1))
    assert numbers.ending == "end"


async def test_one_item_is_read_ahead_while_the_consumer_works() -> None:
    numbers = Numbers(5)
    async for number in ahead(numbers.read()):
        await numbers.until_begun(min(number + 1, 5))
        await asyncio.sleep(0.001)
        assert numbers.begun == min(number + 1, 5)


async def test_a_consumer_that_stops_closes_the_items() -> None:
    numbers = Numbers(5)
    async with aclosing(ahead(numbers.read())) as reading:
        assert await anext(reading) == 1
    assert numbers.begun == 1
    assert numbers.ending in {"GeneratorExit", "CancelledError"}


async def test_a_reading_under_way_is_cancelled_when_the_consumer_fails() -> None:
    numbers = Numbers(5, slow_from=2)

    async def consume() -> None:
        async with aclosing(ahead(numbers.read())) as reading:
            async for _ in reading:
                await numbers.until_begun(2)
                raise VendorUnavailable

    with pytest.raises(VendorUnavailable):
        await consume()
    assert (numbers.begun, numbers.ending) == (2, "CancelledError")
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancelled_consumer_leaves_nothing_behind() -> None:
    numbers = Numbers(5, slow_from=2)

    async def consume() -> None:
        async with aclosing(ahead(numbers.read())) as reading:
            async for _ in reading:
                pass

    task = asyncio.create_task(consume())
    await numbers.until_begun(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (numbers.begun, numbers.ending) == (2, "CancelledError")
    assert len(asyncio.all_tasks()) == 1


async def test_what_goes_wrong_with_an_item_is_raised_behind_those_before_it() -> None:
    numbers = Numbers(2, fails=True)
    reading = ahead(numbers.read())
    assert [await anext(reading), await anext(reading)] == [1, 2]
    await numbers.until_failed()
    with pytest.raises(VendorUnavailable, match="no more"):
        await anext(reading)


async def test_a_failure_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    numbers = Numbers(1, fails=True)
    async with aclosing(ahead(numbers.read())) as reading:
        assert await anext(reading) == 1
        await numbers.until_failed()
    assert not caplog.records
