"""/native: the vendor's own API for an instance, for programs and SDKs that were written for the vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app import native
from app.api.deps import NativeInstanceDep, PublicUrlDep, RuntimeDep
from app.api.problems import responses
from app.errors import VendorUnavailable
from app.native import Answer, Call

router = APIRouter(tags=["native"], responses=responses(400, 401, 403, 408, 429, 502))

_PREFIX = "/native/"
_HELD = 2**20  # bytes; a body up to this size is held, so that it can be sent again
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


class Passed(StreamingResponse):
    """The vendor's answer, status and headers and bytes as they are."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        super().__init__(self._body(answer), answer.response.status_code)
        self.raw_headers = list(answer.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.response.aclose()

    @staticmethod
    async def _body(answer: Answer) -> AsyncIterator[bytes]:
        if answer.body is not None:
            yield answer.body
            return
        async for chunk in answer.response.aiter_raw():
            yield chunk


async def pass_through(
    request: Request,
    runtime: RuntimeDep,
    instance: NativeInstanceDep,
    public_url: PublicUrlDep,
    rest: Annotated[str, Path(description="Path at the vendor, e.g. `2.0/users/me`.")],
) -> Response:
    """Passes a request on to the vendor's own API, with fresh tokens, and answers the vendor's words.

    `Authorization: Bearer <Element token>` does as well as the usual header.
    """
    failures: list[Exception] = []
    before, _, path = request.scope["raw_path"].decode("latin-1").partition(_PREFIX)
    call = Call(
        method=request.method,
        path=path,
        query=request.url.query,
        headers=request.headers.raw,
        body=await _body(request, failures),
        base=f"{public_url}{before}{_PREFIX.rstrip('/')}",
    )
    try:
        return Passed(await native.pass_through(runtime, instance, call))
    except VendorUnavailable:
        if failures:
            raise failures[0] from None
        raise


async def _body(request: Request, failures: list[Exception]) -> bytes | AsyncIterator[bytes] | None:
    """A small body whole, a large one as it comes."""
    length = request.headers.get("content-length")
    if length is None and "transfer-encoding" not in request.headers:
        return None
    if length is not None and length.isdecimal() and int(length) <= _HELD:
        return await request.body()
    return _pieces(request, failures)


async def _pieces(request: Request, failures: list[Exception]) -> AsyncIterator[bytes]:
    """What ends them early is kept, because an HTTP client in between hides it."""
    try:
        async for piece in request.stream():
            yield piece
    except Exception as failure:
        failures.append(failure)
        raise


for _method in _METHODS:
    router.add_api_route(
        _PREFIX + "{rest:path}",
        pass_through,
        methods=[_method],
        name=f"pass_through_{_method.lower()}",
        response_class=Response,
    )
