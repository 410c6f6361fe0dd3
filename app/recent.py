"""What was done a short time ago and need not be done again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Recent:
    """Keys that were noted within `lifetime`, the newest `limit` of them. Of what is `admitted`, at most
    `most` keys are new in one lifetime. The clock of the machine may be set meanwhile; this one is not."""

    def __init__(
        self,
        lifetime: timedelta,
        *,
        limit: int,
        most: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime, self._limit, self._most = lifetime.total_seconds(), limit, most
        self._clock = clock
        self._known: OrderedDict[Hashable, float] = OrderedDict()
        self._began, self._admitted = clock(), 0

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

    def admits(self, key: Hashable) -> bool:
        """Whether a key is new and there is a place for it, which it then takes."""
        if not self.new([key]) or not self._has_place():
            return False
        self.note([key])
        return True

    def _has_place(self) -> bool:
        if self._most is None:
            return True
        if self._clock() - self._began >= self._lifetime:
            self._began, self._admitted = self._clock(), 0
        self._admitted += 1
        return self._admitted <= self._most
