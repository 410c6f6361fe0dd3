"""The reconciliation: every change at the vendors against every body that arrived. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import pairwise

Thing = tuple[str, bool]
"""An object, and whether it was deleted: what a call of a vendor tells of a change without its number."""


@dataclass(frozen=True)
class Happened:
    """One change at a vendor; `key` is the vendor's own id of it."""

    key: str
    object_id: str
    deletes: bool
    at: datetime

    @property
    def thing(self) -> Thing:
        return self.object_id, self.deletes


@dataclass(frozen=True)
class Told:
    """One event in a body that arrived; `key` is None where the vendor has called: a call has its own ids.
    What the gateway tells of itself has a key that begins with its name."""

    sequence: int
    object_id: str
    deletes: bool
    key: str | None = None

    @property
    def thing(self) -> Thing:
        return self.object_id, self.deletes

    @property
    def is_change(self) -> bool:
        return self.key is None or not self.key.startswith("gateway:")


@dataclass(frozen=True)
class Arrival:
    """One POST at a receiver, in the order in which they came. `accepted` says that it was answered with
    2xx; `digest` stands for the bytes of the body."""

    number: int
    at: datetime
    path: str
    notification_id: str
    instance_id: int
    accepted: bool
    signed: bool
    digest: str
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Expected:
    """What one account's callbacks must have got: each of the paths all of its changes."""

    instance_id: int
    paths: Sequence[str]
    ordered: frozenset[str]
    called: bool
    changes: Sequence[Happened]


@dataclass
class Tally:
    """What came of it. `changes` and `received` count each change once per callback that it is for."""

    changes: int = 0
    received: int = 0
    lost: int = 0
    under_two_ids: int = 0
    order_broken: int = 0
    numbers_missing: int = 0
    bodies_changed: int = 0
    wrong_signatures: int = 0
    arrivals: int = 0
    duplicated: int = 0
    refused: int = 0
    longest_gap: timedelta = timedelta(0)
    defects: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.defects)

    def blame(self, count: str, sentence: str) -> None:
        """Counts a defect and keeps a sentence about it."""
        setattr(self, count, getattr(self, count) + 1)
        self.defects.append(f"{count.replace('_', ' ')}: {sentence}")

    def add(self, other: Tally) -> None:
        """Takes in what was counted elsewhere."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            both = max(mine, theirs) if item.name == "longest_gap" else mine + theirs
            setattr(self, item.name, both)


def reconcile(expected: Iterable[Expected], arrivals: Sequence[Arrival]) -> Tally:
    """Compares what happened with what arrived, path by path."""
    tally = Tally(arrivals=len(arrivals), refused=sum(not item.accepted for item in arrivals))
    _check_bodies(arrivals, tally)
    here: dict[tuple[str, int], list[Arrival]] = defaultdict(list)
    for item in arrivals:
        here[item.path, item.instance_id].append(item)
    for account in expected:
        of_account = [item for path in account.paths for item in here[path, account.instance_id]]
        _check_ids(account, of_account, tally)
        for path in account.paths:
            tally.add(_at_path(account, path, here[path, account.instance_id]))
    return tally


def lost(account: Expected, arrivals: Iterable[Arrival]) -> list[Happened]:
    """The changes of an account that are in no accepted body of one path."""
    told = [event for item in arrivals if item.accepted for event in item.told]
    if not account.called:
        keys = {event.key for event in told}
        return [change for change in account.changes if change.key not in keys]
    counts = Counter(event.thing for event in {event.sequence: event for event in told}.values())
    missing: list[Happened] = []
    for change in account.changes:
        if not counts[change.thing]:
            missing.append(change)
        counts[change.thing] -= counts[change.thing] > 0
    return missing


def _check_bodies(arrivals: Sequence[Arrival], tally: Tally) -> None:
    """Every body is signed, and one notification has the same bytes each time."""
    digests: dict[str, str] = {}
    for item in arrivals:
        if not item.signed:
            tally.blame("wrong_signatures", f"notification {item.notification_id} at {item.path}")
        if digests.setdefault(item.notification_id, item.digest) != item.digest:
            tally.blame("bodies_changed", f"notification {item.notification_id} came with other bytes")


def _check_ids(account: Expected, arrivals: Sequence[Arrival], tally: Tally) -> None:
    """No change is told by two notifications. Of what was called, no more is told than has happened."""
    ids: dict[str, set[str]] = defaultdict(set)
    things: dict[Thing, set[int]] = defaultdict(set)
    for item in arrivals:
        for event in filter(lambda told: told.is_change, item.told):
            things[event.thing].add(event.sequence)
            if event.key is not None:
                ids[event.key].add(item.notification_id)
    for key, found in ids.items():
        if len(found) > 1:
            tally.blame("under_two_ids", f"change {key} of instance {account.instance_id}: {sorted(found)}")
    happened = Counter(change.thing for change in account.changes)
    for thing, numbers in things.items() if account.called else ():
        for number in sorted(numbers)[happened[thing] :]:
            what = f"object {thing[0]} of instance {account.instance_id}: {happened[thing]} changes"
            tally.blame("under_two_ids", f"{what}, told {len(numbers)} times, the last as number {number}")


def _at_path(account: Expected, path: str, arrivals: Sequence[Arrival]) -> Tally:
    """What one callback of one account got."""
    accepted = [item for item in arrivals if item.accepted]
    distinct = {item.notification_id for item in accepted}
    tally = Tally(changes=len(account.changes), duplicated=len(accepted) - len(distinct))
    missing = lost(account, arrivals)
    tally.received = tally.changes - len(missing)
    where = f"of instance {account.instance_id} at {path}"
    for change in missing:
        tally.blame("lost", f"change {change.key} {where}, made {change.at:%H:%M:%S}")
    for number in _missing_numbers(accepted):
        tally.blame("numbers_missing", f"{number} {where}")
    if path in account.ordered:
        for sentence in _out_of_order(arrivals):
            tally.blame("order_broken", f"{sentence} {where}")
    tally.longest_gap = max(_gaps(account.changes, accepted, by_key=not account.called), default=timedelta(0))
    return tally


def _missing_numbers(accepted: Sequence[Arrival]) -> list[int]:
    """Events of an instance are numbered from 1 without a gap."""
    numbers = {event.sequence for item in accepted for event in item.told}
    return sorted(set(range(1, max(numbers, default=0) + 1)) - numbers)


def _out_of_order(arrivals: Sequence[Arrival]) -> Iterator[str]:
    """Per object, a notification may come only when the one before it was accepted. Arrivals are looked at in
    the order in which they came."""
    first: dict[str, int] = {}
    taken: dict[str, int] = {}
    about: dict[str, dict[str, int]] = defaultdict(dict)
    for item in arrivals:
        first.setdefault(item.notification_id, item.number)
        if item.accepted:
            taken.setdefault(item.notification_id, item.number)
        for event in item.told:
            before = about[event.object_id].get(item.notification_id, event.sequence)
            about[event.object_id][item.notification_id] = min(event.sequence, before)
    for object_id, positions in about.items():
        in_order = sorted(positions, key=positions.__getitem__)
        for one, other in pairwise(in_order):
            if one not in taken or first[other] < taken[one]:
                yield f"object {object_id}: {other} came before {one} was taken"


def _gaps(changes: Sequence[Happened], accepted: Sequence[Arrival], *, by_key: bool) -> Iterator[timedelta]:
    """From each change that arrived to its first arrival."""
    waiting: Mapping[str | Thing | None, list[datetime]] = defaultdict(list)
    for change in changes:
        waiting[change.key if by_key else change.thing].append(change.at)
    seen: set[int] = set()
    for item in accepted:
        for event in item.told:
            times = waiting.get(event.key if by_key else event.thing)
            if times and event.sequence not in seen:
                yield item.at - times.pop(0)
            seen.add(event.sequence)
