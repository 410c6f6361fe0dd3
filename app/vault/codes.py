"""Codes that were used up by a request which failed afterwards: who repeats it gets what they brought."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson

from app.tasks import to_its_end
from app.tenancy.tenants import digest
from app.upstream.oauth import Tokens

_LIMIT = 1000  # of the newest, each of which somebody has paid with a consent


def key(*parts: str | int | None) -> str:
    """Tells requests apart by all of these; nothing can be read from it."""
    return digest(orjson.dumps(parts).decode())


class Codes:
    """Keeps the tokens of failed requests in this process for `lifetime`."""

    def __init__(
        self, lifetime: timedelta = timedelta(minutes=10), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lifetime, self._clock = lifetime.total_seconds(), clock
        self._kept: OrderedDict[str, tuple[Tokens, float]] = OrderedDict()

    @asynccontextmanager
    async def traded(self, key: str, trade: Callable[[], Awaitable[Tokens]]) -> AsyncIterator[Tokens]:
        """The tokens that `trade` gives, or gave before to a request with the same key. They are kept if the
        body fails or nobody waits for `trade` any more, and only then. Raises what `trade` raises."""
        brought = self._take(key)

        async def traded() -> None:
            brought.append(await trade())

        try:
            if not brought:
                await to_its_end(traded())
            yield brought[0]
        except BaseException:
            for tokens in brought:
                self._keep(key, tokens)
            raise

    def _take(self, key: str) -> list[Tokens]:
        self._forget_old()
        found = self._kept.pop(key, None)
        return [found[0]] if found else []

    def _keep(self, key: str, tokens: Tokens) -> None:
        self._forget_old()
        self._kept[key] = tokens, self._clock() + self._lifetime
        if len(self._kept) > _LIMIT:
            self._kept.popitem(last=False)

    def _forget_old(self) -> None:
        while self._kept and next(iter(self._kept.values()))[1] <= self._clock():
            self._kept.popitem(last=False)
