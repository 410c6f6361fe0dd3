"""Answers of the documents hub: JSON without nulls, lists with their headers, bytes as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import orjson
from fastapi import Depends, Header, Query, Response
from python_multipart.multipart import parse_options_header
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.deps import InstanceDep
from app.hubs.entries import Download
from app.store.tables import Instance
from app.wire import documents as wire

_PASSED_ON = ("content-length", "content-range", "etag", "last-modified")
_OCTETS = "application/octet-stream"


class Answers:
    """Writes bodies the way that the instance and the request want them."""

    def __init__(self, instance: Instance, *, raw: bool, fields: str) -> None:
        self.raw = raw
        self._fields = fields
        self._nulls = (instance.configuration.get("filter.response.nulls") or "").lower() == "false"

    def one(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        return _json(self._shaped(body), headers)

    def many(self, bodies: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None) -> Response:
        counted = {"Elements-Returned-Count": str(len(bodies)), **(headers or {})}
        return _json([self._shaped(body) for body in bodies], counted)

    def _shaped(self, body: Mapping[str, Any]) -> Any:
        chosen = wire.selected(body, self._fields)
        return chosen if self._nulls else wire.without_nulls(chosen)


async def _answers(
    instance: InstanceDep,
    raw: Annotated[bool, Query(description="Add the vendor's own body as `raw`.")] = False,
    fields: Annotated[
        str, Query(max_length=2000, description="Only these, e.g. `id,properties.mimeType`.")
    ] = "",
    iso_dates: Annotated[
        bool, Query(alias="isoDates", description="Dates are ISO 8601, with it and without it.")
    ] = True,
) -> Answers:
    return Answers(instance, raw=raw, fields=fields)


AnswersDep = Annotated[Answers, Depends(_answers)]


def done() -> Response:
    """Success without a body; it is 200 whatever was done."""
    return Response(status_code=200)


async def _byte_range(
    byte_range: Annotated[str | None, Header(alias="Range", max_length=200)] = None,
    if_range: Annotated[str | None, Header(alias="If-Range", max_length=200)] = None,
) -> str | None:
    """The part that is asked for. With a condition the whole file is right too, and the only safe answer."""
    return byte_range if if_range is None else None


RangeDep = Annotated[str | None, Depends(_byte_range)]


async def passed_on(download: Download) -> Response:
    """A file as an answer. Where it cannot be one, the vendor's response is closed."""
    try:
        return Bytes(download)
    except BaseException:
        await download.response.aclose()
        raise


class Bytes(StreamingResponse):
    """The bytes of a file, at the pace at which the client takes them; `passed_on` makes these."""

    def __init__(self, download: Download) -> None:
        self._response = download.response
        # Byte for byte as they came, whatever the vendor has written them in: so are ours sent.
        given = httpx.Headers(self._response.headers.raw, encoding="latin-1")
        known = {name: given[name] for name in _PASSED_ON if name in given}
        super().__init__(
            self._response.aiter_raw(),
            self._response.status_code,
            {
                **known,
                "accept-ranges": "bytes",
                "content-disposition": _disposition(
                    download.name, given.get("content-disposition") or "attachment"
                ),
                "cache-control": "private, no-cache",  # an ended link shows nothing, also where it was opened
            },
            media_type=given.get("content-type") or _OCTETS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._response.aclose()


def _disposition(name: str | None, given: str) -> str:
    """RFC 6266: the name for old clients, and the whole of it for all others."""
    attached = given.partition(";")[0].strip().lower() == "attachment"  # else a browser would run it here
    if name is None and attached and given.isascii():
        return given
    name = name or parse_options_header(given)[1].get(b"filename", b"file").decode(errors="replace")
    plain = "".join(letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _json(body: Any, headers: Mapping[str, str] | None) -> Response:
    return Response(orjson.dumps(body), headers=dict(headers or {}), media_type="application/json")
