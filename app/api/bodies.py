"""JSON bodies, read with care: bounded in size and depth, each key once, only text that can be stored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from app.api import problems
from app.errors import BadRequest, ContentTooLarge, GatewayError, NotAcceptable, UnsupportedMediaType
from app.wire import storable

_MOST_PARAMETERS = 1000


class JsonRoute(APIRoute):
    """A route that takes JSON and nothing else; unless it answers bytes, it answers JSON and nothing else."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: dict[int | str, Any] | None = None,
        **options: Any,
    ) -> None:
        taking = {"POST", "PUT", "PATCH"} & set(options.get("methods") or ())
        errors = problems.responses(406, 408, 413, 415) if taking else problems.responses(406)
        super().__init__(path, endpoint, responses={**errors, **(responses or {})}, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler, has_body = super().get_route_handler(), self.body_field is not None
        answers_json = self.response_class is not Response

        async def careful(request: Request) -> Response:
            if answers_json and not _admits_json(request.headers.get("accept")):
                raise NotAcceptable
            if request.scope["query_string"].count(b"&") >= _MOST_PARAMETERS:
                raise BadRequest(f"The query has more than {_MOST_PARAMETERS} parameters")
            if has_body:
                _check_media_type(request.headers.get("content-type"))
                request = _JsonRequest(request.scope, request.receive)
            return await handler(request)

        return careful


class _JsonRequest(Request):
    async def body(self) -> bytes:
        """Raises HTTPException, before more than GATEWAY_BODY_LIMIT was read."""
        if not hasattr(self, "_body"):
            self._body = await bounded(self)
        return self._body

    async def json(self) -> Any:
        """Raises HTTPException that says what is wrong."""
        try:
            value = json.loads(
                await self.body(), object_pairs_hook=_distinct, parse_constant=_refuse_constant
            )
            storable.check(value)
        except (BadRequest, RecursionError, ValueError) as error:
            raise _refusal(BadRequest(f"The body is not valid JSON: {_words(error)}")) from None
        return value


async def bounded(request: Request) -> bytes:
    """The body as it comes. Raises HTTPException, before more than GATEWAY_BODY_LIMIT was read."""
    limit = int(request.app.state.runtime.settings.body_limit)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _refusal(ContentTooLarge(f"The body is larger than {limit} bytes"))
        pieces.append(piece)
    return b"".join(pieces)


def _refusal(error: GatewayError) -> HTTPException:
    """The only kind of error that the framework lets through while it reads a body."""
    return HTTPException(error.status, error.message)


def _words(error: Exception) -> str:
    match error:
        case BadRequest():
            return error.message
        case json.JSONDecodeError():
            return f"{error.msg} at line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is too deep"
        case _:
            return "a number in it has too many digits"


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once: of two values nobody knows which one was meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counted.items() if count > 1)
        raise BadRequest(f"the key {twice[:100]!r} is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise BadRequest(f"{name} is not JSON")


def _check_media_type(given: str | None) -> None:
    """Without a media type a body is taken for JSON, as Cloud Elements took it."""
    main, _, sub = (given or "application/json").partition(";")[0].strip().lower().partition("/")
    if main != "application" or not (sub == "json" or sub.endswith("+json")):
        raise UnsupportedMediaType(
            f"The content type '{main[:50]}/{sub[:50]}' is not supported; send application/json"
        )


@lru_cache(256)  # a client sends the same one with each request
def _admits_json(accept: str | None) -> bool:
    if not accept or not accept.strip():
        return True
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        wanted = not any(
            item.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for item in parameters
        )
        if wanted and name in {"*/*", "*", "application/*", "application/json", "text/json"}:
            return True
    return False
