"""The file of a form, however the request was cut on its way and whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.api import multipart
from app.api.multipart import UploadedFile, open_file
from app.errors import BadRequest, UnsupportedMediaType
from app.upstream.content import Content

BOUNDARY = b"cut-here"
FIRST = b"--" + BOUNDARY + b"\r\n"
NEXT = b"\r\n" + FIRST
LAST = b"\r\n--" + BOUNDARY + b"--\r\n"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


def field(name: bytes, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value


def form(*parts: bytes, last: bytes = LAST) -> bytes:
    return FIRST + NEXT.join(parts) + last


def request(
    body: bytes,
    cuts: Sequence[int] = (),
    *,
    content_type: bytes | None = b"multipart/form-data; boundary=" + BOUNDARY,
    length: int | None = -1,
    leaves: bool = False,
) -> Request:
    """A request whose body comes in pieces; `length` -1 is the true one. Who leaves sends no end."""
    ends = sorted({cut for cut in cuts if 0 < cut < len(body)})
    pieces = [body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True)]
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""})
    headers = [(b"content-type", content_type)] if content_type is not None else []
    if length is not None:
        headers.append((b"content-length", str(len(body) if length == -1 else length).encode()))

    async def receive() -> Message:
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def everything(content: Content) -> bytes:
    return b"".join([piece async for piece in content.rest()])


async def outcome(content: Content) -> bytes | str:
    """The whole content, or why it is refused."""
    try:
        return await everything(content)
    except BadRequest as error:
        return error.message


async def opened(body: bytes, cuts: Sequence[int] = (), *, size: int | None = None) -> UploadedFile:
    return await open_file(request(body, cuts), size=size)


BITS = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"-",
        b"--",
        BOUNDARY,
        BOUNDARY[:4],
        NEXT[:-2],
        NEXT[:-3],
        LAST[2:],
        b"",
        b"a",
        b":",
    ]
)


@pytest.fixture(autouse=True, scope="module")
def guess_every_size() -> Iterator[None]:
    """The size of a small file is not worth a guess; here it is, so that the guess can be looked at."""
    usual = multipart._GUESSED_FROM
    multipart._GUESSED_FROM = 0
    yield
    multipart._GUESSED_FROM = usual


CONTENTS = (
    (st.lists(BITS, max_size=8).map(b"".join) | st.binary(max_size=40))
    .map(lambda data: data.replace(NEXT[:-2], NEXT[:-3]))
    .filter(lambda data: NEXT[:-2] not in data)
)
CUTS = st.lists(st.integers(1, 400), max_size=12) | st.just(list(range(1, 400)))


@given(CONTENTS, CUTS)
@example(b"\r\n--cut-her", list(range(1, 400)))
@example(b"\r\r\n--cut-here"[:-1], [len(FIRST + FILE) + 1, len(FIRST + FILE) + 4])
@example(b"--cut-here--\r\n", [])
@example(b"", list(range(1, 400)))
@settings(max_examples=500, deadline=None)
async def test_any_content_comes_through_any_cutting(data: bytes, cuts: list[int]) -> None:
    file = await opened(form(FILE + data), cuts)
    assert (file.file_name, file.content.size) == ("a.txt", len(data) or None)
    assert await everything(file.content) == data


@given(CONTENTS, CONTENTS, CUTS)
@settings(deadline=None)
async def test_fields_in_front_of_the_file_are_read(data: bytes, value: bytes, cuts: list[int]) -> None:
    file = await opened(form(field(b"x", value), field(b"empty", b""), FILE + data), cuts)
    assert file.content.size == (len(data) or None)
    assert await everything(file.content) == data


@given(CONTENTS, CONTENTS, CUTS)
@settings(deadline=None)
async def test_what_follows_the_file_is_ignored_where_the_size_is_said(
    data: bytes, value: bytes, cuts: list[int]
) -> None:
    file = await opened(form(FILE + data, field(b"x", value), FILE + b"other"), cuts, size=len(data))
    assert file.content.size == len(data)
    assert await everything(file.content) == data


@given(CONTENTS, CONTENTS, CUTS)
@settings(deadline=None)
async def test_what_follows_the_file_is_never_taken_for_its_content(
    data: bytes, value: bytes, cuts: list[int]
) -> None:
    file = await opened(form(FILE + data, field(b"x", value)), cuts)
    found = await outcome(file.content)
    assert found == data or (isinstance(found, str) and "'size'" in found)


@pytest.mark.parametrize("cuts", [(), range(1, 400), (200,)])
async def test_a_file_that_is_not_last_needs_its_size(cuts: Sequence[int]) -> None:
    body = form(FILE + b"content", field(b"x", b"y"))
    with pytest.raises(BadRequest, match=r"send the file as the last part, or its length in .*'size'"):
        await everything((await opened(body, cuts)).content)


async def test_the_whole_request_is_read_with_the_file() -> None:
    body = form(FILE + b"content", field(b"x", b"y"))
    asked = request(body, range(1, len(body)))
    await everything((await open_file(asked, size=7)).content)
    with pytest.raises(RuntimeError, match="consumed"):
        await asked.body()


async def test_the_file_is_not_read_before_it_is_asked_for() -> None:
    came = 0
    head = FIRST + FILE

    async def receive() -> Message:
        nonlocal came
        came += 1
        return {"type": "http.request", "body": head if came == 1 else b"x" * 1000, "more_body": True}

    asked = request(b"")
    asked = Request(asked.scope, receive)
    file = await open_file(asked, size=10**9)
    assert came <= 2
    assert await file.content.take(2500) == b"x" * 2500
    assert came <= 5


@pytest.mark.parametrize("size", [0, 2, 4, -1])
async def test_a_wrong_size_parameter_is_refused(size: int) -> None:
    file = await opened(form(FILE + b"abc"), size=size)
    with pytest.raises(BadRequest, match="file: "):
        await everything(file.content)


@pytest.mark.parametrize(("length", "size"), [(None, None), (None, 3), (-1, 3)])
async def test_a_form_without_a_length_has_the_size_that_was_said(
    length: int | None, size: int | None
) -> None:
    file = await open_file(request(form(FILE + b"abc"), length=length), size=size)
    assert file.content.size == size
    assert await everything(file.content) == b"abc"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (b'Content-Disposition: form-data; name="file"; filename="a b;c.txt"', "a b;c.txt"),
        ('Content-Disposition: form-data; name="file"; filename="ä 文.txt"'.encode(), "ä 文.txt"),
        (b'Content-Disposition: form-data; name="file"; filename="a\xff.txt"', "a\ufffd.txt"),
        (b'Content-Disposition: form-data; name="file"; filename="a\\"b.txt"', 'a"b.txt'),
        (b'Content-Disposition: form-data; name="file"; filename=""', None),
        (b'Content-Disposition: form-data; name="file"', None),
        (b'Content-Disposition: form-data; name="other"; filename="a.txt"', "a.txt"),
        (b"Content-Disposition: form-data; name=file; filename=a.txt", "a.txt"),
        (
            b'content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename="a.txt"; name="file"',
            "a.txt",
        ),
        (b'Content-Type: \r\nContent-Disposition: form-data; name="file"; filename="a.txt"', "a.txt"),
    ],
)
@pytest.mark.parametrize("cuts", [(), range(1, 400)])
async def test_a_file_is_known_by_its_headers(headers: bytes, name: str | None, cuts: Sequence[int]) -> None:
    file = await opened(form(headers + b"\r\n\r\nabc"), cuts)
    assert (file.file_name, file.content.size) == (name, 3)
    assert await everything(file.content) == b"abc"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/mixed; boundary=cut-here",
        b"application/x-www-form-urlencoded; boundary=cut-here",
    ],
)
async def test_only_a_form_with_a_boundary_can_be_read(content_type: bytes | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        await open_file(request(form(FILE + b"abc"), content_type=content_type), size=None)


@pytest.mark.parametrize(
    "content_type",
    [
        b'Multipart/Form-Data; boundary="cut-here"',
        b"multipart/form-data; charset=utf-8; Boundary=cut-here",
        b"multipart/form-data;boundary=cut-here",
    ],
)
async def test_a_content_type_can_be_written_in_many_ways(content_type: bytes) -> None:
    file = await open_file(request(form(FILE + b"abc"), content_type=content_type), size=None)
    assert await everything(file.content) == b"abc"


@pytest.mark.parametrize("length", [70, 256])
async def test_a_long_boundary_is_taken(length: int) -> None:
    boundary = b"b" * length
    body = form(FILE + b"abc").replace(BOUNDARY, boundary)
    asked = request(body, range(1, len(body)), content_type=b"multipart/form-data; boundary=" + boundary)
    file = await open_file(asked, size=None)
    assert await everything(file.content) == b"abc"
    assert file.content.size == 3


async def test_a_boundary_of_any_length_is_refused() -> None:
    asked = request(b"", content_type=b"multipart/form-data; boundary=" + b"b" * 5000)
    with pytest.raises(BadRequest, match="not multipart/form-data"):
        await open_file(asked, size=None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"--cut-here--\r\n",
        form(field(b"x", b"y")),
        form(b'Content-Disposition: form-data; name="files"\r\n\r\nabc'),
        form(b"\r\nabc"),
        form(b'X: name="file"; filename="a"\r\n\r\nabc'),
    ],
)
async def test_a_form_without_a_file_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"no part 'file'|not multipart/form-data"):
        await opened(body)


@pytest.mark.parametrize(
    "body",
    [
        b"something else",
        b"--another\r\n" + FILE,
        form(b"a header without a colon\r\n\r\nabc"),
        form(b"X: " + b"y" * 10_000 + b"\r\n" + FILE + b"abc"),
        form(b"X: y\r\n" * 1000 + FILE + b"abc"),
    ],
)
@pytest.mark.parametrize("cuts", [(), range(1, 400)])
async def test_what_is_no_form_is_refused(body: bytes, cuts: Sequence[int]) -> None:
    with pytest.raises(BadRequest, match="not multipart/form-data"):
        await opened(body, cuts)


@given(st.integers(0, len(form(field(b"x", b"y"), FILE + b"abc")) - 3), CUTS, st.booleans())
@settings(deadline=None)
async def test_a_body_that_ends_early_is_refused(end: int, cuts: list[int], said: bool) -> None:
    body = form(field(b"x", b"y"), FILE + b"abc")
    asked = request(body[:end], cuts, length=len(body))
    with pytest.raises(BadRequest):
        await everything((await open_file(asked, size=3 if said else None)).content)


async def test_a_client_that_leaves_is_no_end_of_its_file() -> None:
    file = await open_file(request(FIRST + FILE + b"abc", length=500, leaves=True), size=None)
    with pytest.raises(ClientDisconnect):
        await everything(file.content)
    assert isinstance(file.content.failure, ClientDisconnect)


ENDS = [LAST[:-2], LAST + b"\r\n", LAST[:-2] + b" \r\n", LAST + b"an epilogue"]


@pytest.mark.parametrize("last", ENDS)
@pytest.mark.parametrize("cuts", [(), range(1, 400)])
@pytest.mark.parametrize("data", [b"", b"a", b"abc"])
async def test_another_end_of_the_form_needs_the_size(data: bytes, last: bytes, cuts: Sequence[int]) -> None:
    """Some clients send no CRLF behind the last boundary, others two; the standard allows any text."""
    body = form(FILE + data, last=last)
    assert await everything((await opened(body, cuts, size=len(data))).content) == data
    file = await opened(body, cuts)
    found = await outcome(file.content)
    assert found == data or (isinstance(found, str) and "'size'" in found)


@pytest.mark.parametrize("data", [b"", b"a", b"abc"])
async def test_a_size_is_never_negative(data: bytes) -> None:
    file = await opened(form(FILE + data, last=LAST[:-2]))
    assert (file.content.size or 0) >= 0


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r\n\r\n"])
async def test_empty_lines_before_the_form_do_not_count(before: bytes) -> None:
    file = await opened(before + form(FILE + b"abc"))
    assert file.content.size == 3
    assert await everything(file.content) == b"abc"


async def test_a_long_field_in_front_of_the_file_is_left_out() -> None:
    body = form(field(b"x", b"y" * 100_000), FILE + b"abc")
    file = await opened(body, range(1000, len(body), 1000))
    assert await everything(file.content) == b"abc"
