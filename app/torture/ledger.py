"""The reconciliation: every change at the vendors against every body that arrived. Pure."""

from __future__ import annotations

from collections import defaultdict
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
    2xx, `gone` that it was 410; `digest` stands for the bytes of the body."""

    number: int
    at: datetime
    path: str
    notification_id: str
    instance_id: int
    accepted: bool
    signed: bool
    digest: str
    told: tuple[Told, ...]
    gone: bool = False


@dataclass(frozen=True)
class Expected:
    """What one account's callbacks must have got: each of the paths all of its changes."""

    instance_id: int
    paths: Sequence[str]
    ordered: frozenset[str]
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
    of_instance = by_instance(arrivals)
    for account in expected:
        here = of_instance[account.instance_id]
        match = matched(account, here)
        _check_ids(account, here, match, tally)
        for path in account.paths:
            tally.add(_at_path(account, path, [item for item in here if item.path == path], match))
    return tally


def by_instance(arrivals: Iterable[Arrival]) -> Mapping[int, list[Arrival]]:
    """What arrived, for each instance in the order in which it came."""
    found: dict[int, list[Arrival]] = defaultdict(list)
    for item in arrivals:
        found[item.instance_id].append(item)
    return found


def missing(account: Expected, arrivals: Sequence[Arrival]) -> int:
    """How many changes of an account were in no accepted body, each counted once for each of its paths; the
    arrivals are all of the account's."""
    match = matched(account, arrivals)
    at = {path: [item for item in arrivals if item.path == path] for path in account.paths}
    return sum(len(_lost(account, here, match)) for here in at.values())


def matched(account: Expected, arrivals: Iterable[Arrival]) -> Mapping[int, str]:
    """Which change each numbered event tells of, by the key of the change. An event that has a key tells of
    its own; one that has none of the earliest change of its object that nobody else tells of, and that had
    happened when the event first came. What tells of nothing is left out."""
    first = {event.sequence: (event, item.at) for item in reversed([*arrivals]) for event in item.told}
    keys = {change.key for change in account.changes}
    found = {number: event.key for number, (event, _) in first.items() if event.key in keys}
    told = set(found.values())
    free: dict[Thing, list[Happened]] = defaultdict(list)
    for change in account.changes:
        if change.key not in told:
            free[change.thing].append(change)
    without = ((at, number, event) for number, (event, at) in first.items() if event.key is None)
    for at, number, event in sorted(without, key=lambda one: one[:2]):
        waiting = free[event.thing]
        if waiting and waiting[0].at <= at:
            found[number] = waiting.pop(0).key
    return {number: key for number, key in found.items() if key is not None}


def _lost(account: Expected, arrivals: Iterable[Arrival], match: Mapping[int, str]) -> list[Happened]:
    """The changes of an account that are in no accepted body of one path."""
    told = {match.get(event.sequence) for item in arrivals if item.accepted for event in item.told}
    return [change for change in account.changes if change.key not in told]


def _check_bodies(arrivals: Sequence[Arrival], tally: Tally) -> None:
    """Every body is signed, and one notification has the same bytes each time."""
    digests: dict[str, str] = {}
    for item in arrivals:
        if not item.signed:
            tally.blame("wrong_signatures", f"notification {item.notification_id} at {item.path}")
        if digests.setdefault(item.notification_id, item.digest) != item.digest:
            tally.blame("bodies_changed", f"notification {item.notification_id} came with other bytes")


def _check_ids(
    account: Expected, arrivals: Sequence[Arrival], match: Mapping[int, str], tally: Tally
) -> None:
    """No change is told by two notifications, and nothing is told that has not happened, or has been told."""
    ids: dict[str, set[str]] = defaultdict(set)
    over: dict[int, Told] = {}
    for item in arrivals:
        for event in filter(lambda told: told.is_change, item.told):
            if (key := match.get(event.sequence)) is None:
                over[event.sequence] = event
            else:
                ids[key].add(item.notification_id)
    for key, found in ids.items():
        if len(found) > 1:
            tally.blame("under_two_ids", f"change {key} of instance {account.instance_id}: {sorted(found)}")
    for number, event in sorted(over.items()):
        what = f"object {event.object_id} of instance {account.instance_id}"
        tally.blame("under_two_ids", f"{what}: number {number} tells of no change that was left to tell")


def _at_path(account: Expected, path: str, arrivals: Sequence[Arrival], match: Mapping[int, str]) -> Tally:
    """What one callback of one account got."""
    accepted = [item for item in arrivals if item.accepted]
    distinct = {item.notification_id for item in accepted}
    tally = Tally(changes=len(account.changes), duplicated=len(accepted) - len(distinct))
    never = _lost(account, arrivals, match)
    tally.received = tally.changes - len(never)
    where = f"of instance {account.instance_id} at {path}"
    for change in never:
        tally.blame("lost", f"change {change.key} {where}, made {change.at:%H:%M:%S}")
    for number in _missing_numbers(accepted):
        tally.blame("numbers_missing", f"{number} {where}")
    if path in account.ordered:
        for sentence in _out_of_order(arrivals):
            tally.blame("order_broken", f"{sentence} {where}")
    tally.longest_gap = max(_gaps(account.changes, accepted, match), default=timedelta(0))
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


def _gaps(
    changes: Sequence[Happened], accepted: Sequence[Arrival], match: Mapping[int, str]
) -> Iterator[timedelta]:
    """From each change that arrived to its first arrival."""
    waiting = {change.key: change.at for change in changes}
    for item in accepted:
        for event in item.told:
            began = waiting.pop(match.get(event.sequence, ""), None)
            if began is not None:
                yield item.at - began
