"""The form of an upload, read as it arrives: nothing is copied twice, and a GiB is as fine as a byte."""

import hashlib
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.sandbox.box.errors import BoxError, bad_request

# Box has no number for it; nobody needs more for a name and two times.
_MOST_ATTRIBUTES = 64 * 1024


@dataclass(slots=True)
class Upload:
    """What the form held; the parser hands in the pieces."""

    attributes: bytes
    content: bytearray
    sha1: str


class _Reader:
    """The callbacks of the parser, which calls them for every piece of every part."""

    def __init__(self) -> None:
        self.attributes: bytearray | None = None
        self.content: bytearray | None = None
        self.hash = hashlib.sha1(usedforsecurity=False)
        self.done = False
        self.refusal: BoxError | None = None
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._part = ""

    def part_begin(self) -> None:
        self._part = ""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            options = parse_options_header(bytes(self._header_value))[1]
            self._part = options.get(b"name", b"").decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def headers_finished(self) -> None:
        match self._part:
            case "attributes":
                self.attributes = bytearray()
            case "file" if self.attributes is None:
                message = "The attributes have to come before the file"
                self.refusal = BoxError(400, "metadata_after_file_contents", message)
            case "file":
                self.content = bytearray()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._part == "file" and self.content is not None:
            self.content += piece
            self.hash.update(piece)
        elif self._part == "attributes" and self.attributes is not None:
            self.attributes += piece[:_MOST_ATTRIBUTES]
            if len(self.attributes) > _MOST_ATTRIBUTES:
                self.refusal = bad_request("The attributes are too long", "attributes")

    def end(self) -> None:
        self.done = True


async def read_upload(request: Request) -> Upload:
    """The two parts of an upload."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise BoxError(415, "unsupported_media_type", "An upload is multipart/form-data")
    reader = _Reader()
    parser = _parser(options[b"boundary"], reader)
    # Whatever is wrong, the rest is read: a client that is still sending does not hear an answer.
    async for piece in request.stream():
        if reader.refusal is None:
            _feed(parser, piece, reader)
    if reader.refusal is not None:
        raise reader.refusal
    if not reader.done or reader.attributes is None or reader.content is None:
        missing = "attributes" if reader.attributes is None else "file"
        raise bad_request(f"'{missing}' is required", missing, "missing_parameter")
    return Upload(bytes(reader.attributes), reader.content, reader.hash.hexdigest())


def _feed(parser: MultipartParser, piece: bytes, reader: _Reader) -> None:
    try:
        parser.write(piece)
    except FormParserError:
        reader.refusal = bad_request("The body is no multipart/form-data")


def _parser(boundary: bytes, reader: _Reader) -> MultipartParser:
    return MultipartParser(
        boundary,
        {
            "on_part_begin": reader.part_begin,
            "on_part_data": reader.part_data,
            "on_header_field": reader.header_field,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_headers_finished": reader.headers_finished,
            "on_end": reader.end,
        },
    )
