"""The file in a multipart/form-data body, read as it comes: it is never on disk and never whole in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum, auto

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadRequest, ContentTooLarge, UnsupportedMediaType
from app.upstream.content import HELD, Content

_FILE = b"file"
_MOST_FIELDS = 100  # in front of the file; the headers of each are looked at
_GUESSED_FROM = HELD  # a smaller file needs no size


@dataclass
class UploadedFile:
    """The file of a form, not read yet."""

    content: Content
    file_name: str | None


@dataclass
class _Part:
    """A part of the form whose headers have been read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)

    def option(self, name: bytes) -> bytes | None:
        return parse_options_header(self.headers.get(b"content-disposition"))[1].get(name)

    @property
    def is_file(self) -> bool:
        return self.option(b"name") == _FILE or self.option(b"filename") is not None


class _Mark(Enum):
    PART_END = auto()
    FORM_END = auto()


_Event = _Part | bytes | _Mark
"""Headers of a part, a piece of its data, or an end."""


async def open_file(request: Request, *, size: int | None, limit: int | None = None) -> UploadedFile:
    """Reads a request up to the first byte of its file. `size` is what the client says of the file's length;
    without it, the length of the request tells it, if the file is the last part.

    Raises UnsupportedMediaType for another content type, BadRequest for a form without a file, and
    ContentTooLarge for a request of more than `limit` bytes, wherever it stands then.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise UnsupportedMediaType("Send the file as multipart/form-data, in the part 'file'")
    form, fields = _Form(request, options[b"boundary"], limit), 0
    while (event := await form.next()) is not _Mark.FORM_END and fields < _MOST_FIELDS:
        if isinstance(event, _Part) and event.is_file:
            name = event.option(b"filename") or b""
            return UploadedFile(await form.content(size), name.decode(errors="replace") or None)
        fields += isinstance(event, _Part)
    raise BadRequest("file: the form has no part 'file'")


class _Form:
    """A form as a row of events; knows where in the request it stands."""

    def __init__(self, request: Request, boundary: bytes, limit: int | None) -> None:
        self._length = _length(request)
        self._limit = limit
        self._check_size(self._length or 0)
        self._boundary = boundary
        self._stream = request.stream()
        self._waiting: deque[_Event] = deque()
        self._chunk = b""
        self._before = 0  # bytes of the request in front of the current chunk
        self._data_at: int | None = None  # where the data of the current part begins
        self._part = _Part()
        self._name, self._value = bytearray(), bytearray()
        self._parser = self._open(boundary)

    def _open(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": lambda: self._waiting.append(_Mark.PART_END),
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": lambda: self._waiting.append(self._part),
                },
            )
        except FormParserError as error:
            raise BadRequest(f"The body is not multipart/form-data: {error}") from None

    async def next(self) -> _Event:
        while not self._waiting:
            self._before += len(self._chunk)
            self._chunk = await anext(self._stream, b"")
            if not self._chunk:
                return _Mark.FORM_END
            self._check_size(self._before + len(self._chunk))
            try:
                self._parser.write(self._chunk)
            except FormParserError as error:
                raise BadRequest(f"The body is not multipart/form-data: {error}") from None
        return self._waiting.popleft()

    def _check_size(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise ContentTooLarge(f"The request is larger than {self._limit} bytes")

    async def data(self) -> AsyncIterator[bytes]:
        """The data of the current part. Raises BadRequest where the form ends within it."""
        while isinstance(event := await self.next(), bytes):
            yield event
        if event is not _Mark.PART_END:
            raise BadRequest("The body ends before its last boundary")

    async def content(self, size: int | None) -> Content:
        """The data of the current part; what follows in the request is read after it."""
        pieces = self.data()
        first = await anext(pieces, b"")
        if size is None and self._length is not None:
            ending = b"\r\n--" + self._boundary + b"--\r\n"
            size = self._length - (self._data_at or self._length) - len(ending)
            size = size if size > _GUESSED_FROM else None
        return Content(self._to_the_end(first, pieces), size)

    async def _to_the_end(self, first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece
        while await self.next() is not _Mark.FORM_END:  # says nothing that is needed
            pass

    def _on_part_begin(self) -> None:
        self._part, self._data_at = _Part(), None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._data_at is None:
            # What looked like a boundary at the end of the last chunk is handed over from another buffer.
            self._data_at = self._before + start if data is self._chunk else self._before - (end - start)
        self._waiting.append(data[start:end])

    def _on_header_end(self) -> None:
        self._part.headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None
