"""Tokens that a vendor has given and that are not stored yet: they exist nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from app.upstream.oauth import Tokens

_AGAIN = 0.5  # seconds between two tries to store them

log = logging.getLogger(__name__)


class Unsaved:
    """Keeps the tokens of an instance until they are stored, and sees to it that this is tried again."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Mapping[str, str], Tokens]] = {}
        self._tries: dict[int, asyncio.Task[None]] = {}
        self._expected = 0
        self._all_here = asyncio.Event()

    def keep(self, instance_id: int, used: Mapping[str, str], tokens: Tokens) -> None:
        """`used` are the secret values that have brought them, the used refresh token among them."""
        self._kept[instance_id] = used, tokens

    def find(self, instance_id: int) -> tuple[Mapping[str, str], Tokens] | None:
        return self._kept.get(instance_id)

    def forget(self, instance_id: int) -> None:
        """They are stored, or nobody needs them."""
        self._kept.pop(instance_id, None)

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Somebody asks a vendor for tokens, or is about to: `close` waits for them."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            if not self._expected:
                self._all_here.set()

    def try_again(self, instance_id: int, store: Callable[[], Awaitable[None]]) -> None:
        """Calls `store` again and again until it has forgotten the tokens of this instance."""
        if instance_id not in self._tries:
            log.error("new tokens wait to be stored", extra={"instance": instance_id})
            task = asyncio.create_task(self._until_stored(instance_id, store))
            self._tries[instance_id] = task
            task.add_done_callback(lambda _: self._tries.pop(instance_id, None))

    async def _until_stored(self, instance_id: int, store: Callable[[], Awaitable[None]]) -> None:
        while instance_id in self._kept:
            await asyncio.sleep(_AGAIN)
            try:
                await store()
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing else has these tokens
                log.debug("tokens not stored", extra={"instance": instance_id, "error": repr(error)})

    async def close(self, *, patience: timedelta) -> None:
        """Waits for what is expected, and tries for that long to store what could not be stored yet."""
        while self._expected:
            self._all_here.clear()
            await self._all_here.wait()
        if self._tries:
            await asyncio.wait(tuple(self._tries.values()), timeout=patience.total_seconds())
        for task in tuple(self._tries.values()):
            task.cancel()
        if self._kept:
            log.critical("new tokens could not be stored", extra={"instances": sorted(self._kept)})
