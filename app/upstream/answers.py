"""Whole answers of a vendor: read into memory up to a bound, and closed whatever happens."""

from __future__ import annotations

import zlib
from contextlib import aclosing

import httpx

from app.errors import VendorUnavailable
from app.upstream.failures import named, where

LONGEST_REFUSAL = 2**18
"""Bytes of an answer that is an error; all are looked through for secrets, and some words kept."""

_LONGEST = 32 * 2**20  # bytes of any other answer, unpacked
_GZIP = 16 + zlib.MAX_WBITS


async def whole(response: httpx.Response) -> httpx.Response:
    """The answer with its body, unpacked. The open one is closed, also where it breaks off or a time is over.

    Raises VendorUnavailable for half an answer, for one that is too long, and for one that is packed as
    nobody has asked for.
    """
    async with aclosing(response):
        with named(response.request):
            body = await _body(response)
    headers = [(key, value) for key, value in response.headers.raw if key.lower() != b"content-encoding"]
    return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)


async def _body(response: httpx.Response) -> bytes:
    longest = _LONGEST if response.is_success else LONGEST_REFUSAL
    unpack, body = _unpacking(response), bytearray()
    async for piece in response.aiter_raw():
        try:
            body += unpack.decompress(piece, longest + 1 - len(body)) if unpack else piece
        except zlib.error:
            raise _unreadable(response, "is not packed as it says") from None
        if len(body) > longest:
            raise _unreadable(response, f"is longer than {longest} bytes")
    return bytes(body)


def _unpacking(response: httpx.Response) -> zlib._Decompress | None:
    match response.headers.get("content-encoding", "").strip().lower():
        case "" | "identity":
            return None
        case "gzip":
            return zlib.decompressobj(_GZIP)
        case _:
            raise _unreadable(response, "is packed as nobody asked for")


def _unreadable(response: httpx.Response, why: str) -> VendorUnavailable:
    return VendorUnavailable(
        f"{where(response.request)}: the answer {why}", vendor_status=response.status_code
    )
