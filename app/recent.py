"""What was done a short time ago and need not be done again, and how often something may be done."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Recent:
    """Keys that were noted within `lifetime`, the newest `limit` of them. The clock of the machine may be set
    meanwhile; this one is not."""

    def __init__(
        self, lifetime: timedelta, *, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lifetime, self._limit = lifetime.total_seconds(), limit
        self._clock = clock
        self._known: OrderedDict[Hashable, float] = OrderedDict()

    def new(self, keys: Iterable[KeyT]) -> list[KeyT]:
        """Those of the keys that were not noted within a lifetime."""
        oldest = self._clock() - self._lifetime
        return [key for key in keys if self._known.get(key, oldest) <= oldest]

    def note(self, keys: Iterable[Hashable]) -> None:
        """Remembers keys from now on."""
        for key in keys:
            self._known[key] = self._clock()
            self._known.move_to_end(key)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)


class Budget:
    """So many places, all of them free again when `lifetime` has passed since the first one was taken."""

    def __init__(
        self, lifetime: timedelta, *, places: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lifetime, self._places = lifetime.total_seconds(), places
        self._clock = clock
        self._began, self._taken = clock(), 0

    @property
    def is_spent(self) -> bool:
        return self._taken >= self._places and self._clock() - self._began < self._lifetime

    def take(self, count: int) -> None:
        """Takes places, more than there are where somebody else was quicker."""
        if not self._taken or self._clock() - self._began >= self._lifetime:
            self._began, self._taken = self._clock(), 0
        self._taken += count
