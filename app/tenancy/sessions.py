"""Who called just now: the instances of the last second's requests, so that a busy client is not looked up
in the database for each of its calls."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from app.wire.authorization import Authorization

_LIMIT = 10_000  # callers

FoundT = TypeVar("FoundT")


class Sessions(Generic[FoundT]):
    """Remembers whom an Authorization header stood for, for `lifetime`; only hashes of secrets are kept.

    A change made in this process is seen at once (`clear`), one made in another after `lifetime`.
    """

    def __init__(self, lifetime: timedelta = timedelta(seconds=1)) -> None:
        self._lifetime = lifetime.total_seconds()
        self._known: OrderedDict[bytes, tuple[asyncio.Task[FoundT], float]] = OrderedDict()

    async def find(
        self,
        authorization: Authorization,
        find: Callable[[Authorization], Coroutine[Any, Any, FoundT]],
        *,
        way: str,
        guard: AbstractContextManager[None],
    ) -> FoundT:
        """What a header stands for, found by `find` within `guard`, unless that was just done or is being
        done. Raises what these raise. What proves enough in one `way` does not in another: they are
        remembered apart."""
        key, now = _key(way, authorization), time.monotonic()
        known = self._known.get(key)
        if known is None or now - known[1] >= self._lifetime:
            known = self._known[key] = asyncio.create_task(_within(guard, find, authorization)), now
            known[0].add_done_callback(partial(self._forget_refusal, key))
            self._known.move_to_end(key)
            if len(self._known) > _LIMIT:
                self._known.popitem(last=False)
        return await asyncio.shield(known[0])

    def _forget_refusal(self, key: bytes, done: asyncio.Task[FoundT]) -> None:
        """Whether anybody still waits for it or not."""
        known = self._known.get(key)
        if (done.cancelled() or done.exception()) and known is not None and known[0] is done:
            del self._known[key]

    def clear(self) -> None:
        """Forgets everybody."""
        self._known.clear()


async def _within(
    guard: AbstractContextManager[None],
    find: Callable[[Authorization], Coroutine[Any, Any, FoundT]],
    authorization: Authorization,
) -> FoundT:
    with guard:
        return await find(authorization)


def _key(way: str, authorization: Authorization) -> bytes:
    parts = (way, authorization.user, authorization.organization, authorization.element, authorization.bearer)
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).digest()
