"""What every request gets: an id, headers, one log line, and a query without empty values."""

from __future__ import annotations

import logging
import re
import secrets
import time

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import acting

log = logging.getLogger("app.requests")

_LINK = re.compile(r"(/links/+)[^/]+")  # whoever reads the line could follow it

_PASSED_ON = re.compile(r"(?:^|/elements/api-v2)/(?:native/|oauth/proxy$)")  # queries in others' words


_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
"""Whatever a browser takes an answer for, it runs nothing of it in the name of this gateway."""

_UNKEPT = (b"cache-control", b"no-store")
_KEEPING = frozenset({b"cache-control", b"etag", b"expires", b"last-modified"})


def request_id(request: Request) -> str:
    """The id that the answer carries in `Elements-Request-Id` and errors in `requestId`."""
    found: str = request.state.request_id
    return found


def make_safe(headers: MutableHeaders) -> None:
    """Adds what keeps browsers and caches from harm, as far as the answer does not say otherwise itself."""
    named = {name for name, _ in headers.raw}
    headers.raw.extend(pair for pair in _SAFE if pair[0] not in named)
    if named.isdisjoint(_KEEPING):
        headers.raw.append(_UNKEPT)


class EmptyIsAbsent:
    """Takes parameters without a value out of a query: to clients of Cloud Elements `pageSize=` is null."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope.get("query_string", b"")
        if (query.endswith(b"=") or b"=&" in query) and not _PASSED_ON.search(scope["path"]):
            kept = [pair for pair in query.split(b"&") if b"=" not in pair or pair.partition(b"=")[2]]
            scope = {**scope, "query_string": b"&".join(kept)}
        await self._app(scope, receive, send)


class RequestLog:
    """Names each request and logs its end. The query is left out of the line: it may hold a secret."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = secrets.token_hex(12)
        started, status = time.perf_counter(), 500

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                make_safe(headers)
                headers["Elements-Request-Id"] = state["request_id"]
                if "instance_id" in state:
                    headers["Elements-Element-Instance-Id"] = str(state["instance_id"])
            await send(message)

        self._look_for_a_proxy(scope)
        sender = acting.asked(address=_address(scope), request_id=state["request_id"])
        try:
            with acting.acting(sender):
                await self._app(scope, receive, named)
        finally:
            log.info(
                "request",
                extra={
                    "method": scope["method"],
                    "path": _LINK.sub(r"\1********", scope["path"]),
                    "status": status,
                    "client": _address(scope),
                    "ms": round((time.perf_counter() - started) * 1000, 1),
                    "requestId": state["request_id"],
                },
            )

    def _look_for_a_proxy(self, scope: Scope) -> None:
        """Warns once of a proxy that nobody trusts: all of its clients count as one. In the place of one
        that is trusted stands its client by now, whom the header names."""
        address = _address(scope)
        if self._warned or address is None:
            return
        told = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if told and not any(address.encode() in value for value in told):
            self._warned = True
            log.warning(
                "X-Forwarded-For is not believed: GATEWAY_TRUSTED_PROXIES does not name who sent it",
                extra={"client": address},
            )


def _address(scope: Scope) -> str | None:
    """Where a request comes from; nowhere on a socket of the file system."""
    return scope["client"][0] if scope.get("client") else None
