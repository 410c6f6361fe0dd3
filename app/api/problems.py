"""Errors as Cloud Elements answers them: `{requestId, message, providerMessage}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.api.requests import make_safe, request_id
from app.errors import DatabaseUnavailable, GatewayError, TooManyRequests, VendorError

_MAY_WAIT = (VendorError, TooManyRequests, DatabaseUnavailable)  # these say when to come again

log = logging.getLogger(__name__)


class ErrorBody(BaseModel):
    """What every answer of 400 and above carries. `providerMessage` is the vendor's own text, and
    `providerRequestId` what its support asks for."""

    requestId: str
    message: str
    providerMessage: str | None = None
    providerRequestId: str | None = None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its documentation."""
    return {status: {"model": ErrorBody} for status in sorted({*statuses, 500, 503})}


def install(app: FastAPI) -> None:
    """Makes every error of the application leave in this one form."""
    app.exception_handler(GatewayError)(_gateway_error)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(ClientDisconnect)(_left)
    app.exception_handler(Exception)(_unexpected)


async def _gateway_error(request: Request, error: GatewayError) -> Response:
    request.state.refusal = error  # for whoever calls from within (api/inside.py)
    if error.status == 500:
        log.error("request failed", extra={"requestId": request_id(request), "error": error.message})
        return _answer(request, 500, GatewayError().message)
    if isinstance(error, DatabaseUnavailable):
        log.warning("database away", extra={"requestId": request_id(request), "error": error.in_full})
    vendor = error if isinstance(error, VendorError) else None
    wait = error.retry_after if isinstance(error, _MAY_WAIT) else None
    return _answer(
        request,
        error.status,
        error.message,
        vendor=vendor,
        headers={"Retry-After": str(math.ceil(wait))} if wait is not None else None,
    )


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    return _answer(request, 400, "; ".join(_sentence(item) for item in error.errors()))


async def _http_error(request: Request, error: HTTPException) -> Response:
    """What the framework itself refuses: unknown paths, wrong verbs, bodies that are not JSON."""
    return _answer(request, error.status_code, str(error.detail), headers=error.headers)


async def _left(request: Request, error: ClientDisconnect) -> Response:
    """Nobody reads this; 499 is what the log line says of a client that went in the middle of its upload."""
    return Response(status_code=499)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed unexpectedly", exc_info=error, extra={"requestId": request_id(request)})
    # This answer leaves outside of the middleware that names all others.
    named = {"Elements-Request-Id": request_id(request)}
    answer = _answer(request, 500, GatewayError().message, headers=named)
    make_safe(answer.headers)
    return answer


def _answer(
    request: Request,
    status: int,
    message: str,
    *,
    vendor: VendorError | None = None,
    headers: Any = None,
) -> Response:
    body = ErrorBody(
        requestId=request_id(request),
        message=message,
        providerMessage=vendor.provider_message if vendor else None,
        providerRequestId=vendor.request_id if vendor else None,
    )
    return Response(
        body.model_dump_json(exclude_none=True),
        status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def _sentence(item: dict[str, Any]) -> str:
    """`configuration.subdomain: Field required`, without the value, which may be a secret."""
    location: Sequence[Any] = item["loc"]
    names = [str(part) for part in location[1:]]  # the first one is where it was: body, query, path
    return f"{'.'.join(names) or location[0]}: {_words(item)}"


def _words(item: dict[str, Any]) -> str:
    """What is wrong, in words that say nothing of how it was found."""
    context = item.get("ctx") or {}
    match item["type"], context:
        case (("too_short" | "string_too_short"), {"min_length": least}):
            return f"must have at least {_counted(least, item)}"
        case (("too_long" | "string_too_long"), {"max_length": most}):
            return f"must have at most {_counted(most, item)}"
        case (("literal_error" | "enum"), {"expected": words}):
            return f"must be {words}"
    return str(item["msg"]).removeprefix("Value error, ")


def _counted(number: int, item: dict[str, Any]) -> str:
    unit = "character" if isinstance(item.get("input"), str) else "item"
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
