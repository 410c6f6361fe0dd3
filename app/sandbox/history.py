"""What happened in a world, in order, with ids that only grow."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """A person at the vendor."""

    id: int
    username: str
    first_name: str
    last_name: str
    email: str
    password: str = "sandbox"
    is_admin: bool = False

    @property
    def full_name(self) -> str:
        """The name as the vendor's pages print it."""
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and through what; `client_id` is empty for the vendor's own clients."""

    user: User
    source: str = "WebUI"
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ref:
    """A file or folder as it was when something happened to it; only files have versions."""

    path: str
    id: str
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history."""

    id: int
    at: datetime
    actor: Actor
    action: str
    target: Ref
    origin: Ref | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether the target is a folder."""
        return self.target.version_id is None


def _id_of(change: Change) -> int:
    return change.id


# Every n-th id leaves a hole, as if the events between were about files that nobody here may see.
_GAP_EVERY = 7
_GAP = 2


class History:
    """The last `keep` changes. Dropped ones are gone, and `lost_id` tells up to where."""

    def __init__(self, first_id: int, keep: int) -> None:
        self.keep = keep
        self.latest_id = first_id
        self.lost_id = 0
        self.latest_at = datetime.now(UTC)
        self.listeners: list[Callable[[Change], None]] = []
        self._changes: list[Change] = []
        # Dropping from the front of a list costs its length, so it happens in blocks.
        self._start = 0

    def record(
        self,
        action: str,
        actor: Actor,
        target: Ref,
        *,
        origin: Ref | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Change:
        """Appends a change and forgets the oldest if there are too many."""
        self.latest_at = datetime.now(UTC)
        self.latest_id += 1 if self.latest_id % _GAP_EVERY else 1 + _GAP
        change = Change(self.latest_id, self.latest_at, actor, action, target, origin, detail or {})
        self._changes.append(change)
        self.trim()
        for listener in self.listeners:
            listener(change)
        return change

    @property
    def oldest_id(self) -> int:
        """The id of the oldest change that is left; the latest id when none is."""
        return self._changes[self._start].id if len(self) else self.latest_id

    def __len__(self) -> int:
        return len(self._changes) - self._start

    def after(self, cursor: int) -> Iterator[Change]:
        """Changes with a higher id than `cursor`, oldest first."""
        start = max(self._start, bisect_right(self._changes, cursor, key=_id_of))
        for index in range(start, len(self._changes)):
            yield self._changes[index]

    def up_to(self, cursor: int) -> Iterator[Change]:
        """Changes up to and with `cursor`, newest first."""
        end = bisect_right(self._changes, cursor, key=_id_of)
        for index in range(end - 1, self._start - 1, -1):
            yield self._changes[index]

    def trim(self) -> None:
        """Forgets what is over `keep`."""
        self._forget(len(self) - self.keep)

    def drop_before(self, cursor: int) -> int:
        """Forgets the changes with a lower id than `cursor` and answers how many those were."""
        count = bisect_right(self._changes, cursor - 1, key=_id_of) - self._start
        self._forget(count)
        return max(count, 0)

    def _forget(self, count: int) -> None:
        if count <= 0:
            return
        self._start += count
        self.lost_id = self._changes[self._start - 1].id
        if self._start * 2 > len(self._changes):
            del self._changes[: self._start]
            self._start = 0
