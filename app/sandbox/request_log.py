"""Which requests a fake has seen. Headers and bodies are never kept: they hold secrets."""

import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the status is missing when no answer went out."""

    n: int
    time: datetime
    method: str
    path: str
    query: str
    status: int | None
    milliseconds: float


class RequestLog:
    """The last requests, numbered from 1, and those that wait for their answer."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[Request] = deque(maxlen=_KEPT)
        self._open: dict[int, Scope] = {}

    def came(self, scope: Scope) -> None:
        """Notes a request that has come in."""
        self._open[id(scope)] = scope

    def add(self, scope: Scope, status: int | None, began: float) -> None:
        """Notes a request that is over, unless it was forgotten meanwhile."""
        if self._open.pop(id(scope), None) is None:
            return
        self.count += 1
        took = time.perf_counter() - began
        query = scope["query_string"].decode("latin-1")
        now = datetime.now(UTC)
        self._kept.append(
            Request(self.count, now, scope["method"], scope["path"], query, status, round(took * 1000, 2))
        )

    def since(self, n: int, limit: int) -> list[dict[str, Any]]:
        """Requests with a higher number, oldest first."""
        return [asdict(request) for request in self._kept if request.n > n][:limit]

    def open(self) -> list[dict[str, str]]:
        """Requests that are not over, oldest first: a held one gets its number when it ends."""
        return [{"method": scope["method"], "path": scope["path"]} for scope in self._open.values()]

    def clear(self) -> None:
        """Forgets the requests, also those that are not over; their numbers go on."""
        self._kept.clear()
        self._open.clear()


class LogRequests:
    """Middleware that logs what goes to the fakes, and leaves out the control routes."""

    def __init__(self, app: ASGIApp, log: RequestLog, prefixes: tuple[str, ...]) -> None:
        self.app = app
        self._log = log
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefixes):
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None
        self._log.came(scope)

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            self._log.add(scope, status, began)
