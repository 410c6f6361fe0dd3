"""What goes wrong during a torture, and when: a schedule that a seed decides. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.torture.accounts import Place


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    STOP = "stop"
    RESTART = "restart"
    CUT = "cut"
    STEP = "step"
    EXPIRE = "expire"
    VENDOR = "vendor"
    RECEIVER = "receiver"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, `at` so many seconds after the beginning. `target` is a process, a place, a
    path; `seconds` is how long it lasts, or by how much a clock is stepped; `share` is of all connections."""

    at: float
    kind: Kind
    target: str = ""
    seconds: float = 0
    share: float = 0
    order: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = [f"{self.at:7.2f} s", f"{self.kind:8}", self.target]
        facts += [f"{self.seconds:.1f} s"] * bool(self.seconds) + [f"{self.share:.0%}"] * bool(self.share)
        return "  ".join([*facts, *(f"{name}={value}" for name, value in self.order.items())])


@dataclass(frozen=True)
class Stage:
    """What there is to break. `lease` is the longest of those that a run is to hold many of, `long_lease` the
    one of a refresh; both, and the longest step of a clock, in seconds."""

    processes: Sequence[str]
    places: Sequence[Place]
    paths: Sequence[str]
    lease: float
    long_lease: float
    longest_step: float
    has_server: bool


def schedule(seed: int, stage: Stage, seconds: float) -> list[Fault]:
    """All faults of a run, the first one first; the same for the same arguments."""
    kinds: list[tuple[float, Callable[[Stage, random.Random, float], Fault]]] = [
        (5 if len(stage.processes) > 1 else 12, _kill),
        (17, _stop),
        (60, _long_stop),
        (7, _step),
        (8, _expire),
        (1.2, _vendor),
        (1.5, _receiver),
    ]
    kinds += [(25, _restart), (9, _cut)] if stage.has_server else []
    found: list[Fault] = []
    for every, make in kinds:
        chance = random.Random(f"faults {seed} {make.__name__}")
        if make is not _long_stop or seconds > 3 * stage.long_lease:
            found += [make(stage, chance, at) for at in _times(chance, every, seconds)]
    return sorted(found, key=lambda fault: fault.at)


def _times(chance: random.Random, every: float, seconds: float) -> Iterator[float]:
    """About so often, and in a short run at least once."""
    every = min(every, seconds / 2)
    at = chance.uniform(0.1, 0.9) * every
    while at < seconds:
        yield at
        at += chance.uniform(0.5, 1.5) * every


def _kill(stage: Stage, chance: random.Random, at: float) -> Fault:
    """Started again at once, or after a while; every third one while tokens are refreshed."""
    order = _refreshing(stage, chance) if chance.random() < 1 / 3 else {}
    seconds = chance.choice((0.0, 0.0, 1.0, 3.0))
    return Fault(at, Kind.KILL, chance.choice(stage.processes), seconds, order=order)


def _stop(stage: Stage, chance: random.Random, at: float) -> Fault:
    return Fault(at, Kind.STOP, chance.choice(stage.processes), stage.lease * chance.uniform(1.1, 1.6))


def _long_stop(stage: Stage, chance: random.Random, at: float) -> Fault:
    """Whoever refreshes meanwhile uses tokens that the stopped process has used already."""
    order = _refreshing(stage, chance)
    return Fault(at, Kind.STOP, chance.choice(stage.processes), stage.long_lease * 1.1, order=order)


def _refreshing(stage: Stage, chance: random.Random) -> dict[str, Any]:
    """The place whose tokens all end just before, and are slow to be given anew."""
    return {"refreshing": _named(chance.choice(stage.places))}


def _restart(_: Stage, chance: random.Random, at: float) -> Fault:
    return Fault(at, Kind.RESTART, "database", chance.choice((0.0, 0.5, 2.0)))


def _cut(_: Stage, chance: random.Random, at: float) -> Fault:
    return Fault(at, Kind.CUT, "database", share=chance.choice((0.2, 0.5, 1.0)))


def _step(stage: Stage, chance: random.Random, at: float) -> Fault:
    """Forwards or backwards, mostly by seconds, or to the right time again. What was due by a clock that is
    far ahead is due again when the others get there, so a short run has no long steps."""
    sizes = {0.0: 6, 2.5: 6, 7.0: 4, 45.0: 2, 150.0: 1}
    chosen = [size for size in sizes if size <= stage.longest_step]
    [seconds] = chance.choices(chosen, [sizes[size] for size in chosen])
    return Fault(at, Kind.STEP, chance.choice(stage.processes), seconds * chance.choice((1, -1)))


def _expire(stage: Stage, chance: random.Random, at: float) -> Fault:
    """All access tokens of a place end at once: every process that has one needs a new one."""
    return Fault(at, Kind.EXPIRE, _named(chance.choice(stage.places)))


_NOT_TOKENS = r"/(?!(puboauth|oauth2|api/oauth2)\b)"
"""A fault that loses an answer which the vendor has made would lose a grant that works once."""
SLOW_TOKENS = {"kind": "slow", "seconds": 1.2, "times": 4, "path": "/(puboauth|oauth2)/token"}
_EVENTS = r"/(pubapi/v\d/events|2\.0/events)(?!/cursor)"


def _vendor(stage: Stage, chance: random.Random, at: float) -> Fault:
    place = chance.choice(stage.places)
    common: list[dict[str, Any]] = [
        {"kind": "429", "retry_after": 1},
        {"kind": chance.choice(("500", "502", "503", "504"))},
        {"kind": "slow", "seconds": 0.4},
        {"kind": "slow", "seconds": 4, "path": _EVENTS},
        {"kind": "cut", "path": _NOT_TOKENS},
        {"kind": "cut_midway", "path": _EVENTS},
        {"kind": chance.choice(("html", "bad_json")), "path": _NOT_TOKENS},
        {"kind": "duplicate_events"},
        {"kind": "reorder_events"},
    ]
    egnyte: list[dict[str, Any]] = [
        {"kind": "mashery_qps", "retry_after": 1},
        {"kind": "mashery_rate", "retry_after": 2},
        {"kind": "drop_webhook"},
        {"kind": "duplicate_webhook"},
    ]
    box: list[dict[str, Any]] = [
        {"kind": "hang", "seconds": 0},
        {"kind": "max_retries"},
        {"kind": "new_change"},
        {"webhook": "drop"},
        {"webhook": "duplicate"},
    ]
    order = chance.choice(common + (egnyte if place.element == "egnyte" else box))
    return Fault(at, Kind.VENDOR, _named(place), order=order | {"times": chance.choice((1, 1, 2, 5))})


def _receiver(stage: Stage, chance: random.Random, at: float) -> Fault:
    """One path behaves badly for a while; 410 ends its subscription, so it comes once."""
    order = chance.choice(
        (
            {"status": 500},
            {"status": 503, "delay": 0.3},
            {"status": 429, "retry_after": 2},
            {"status": 302},
            {"hang": True},
            {"cut": True},
            {"delay": 0.4},
            {"delay": 1.3},
            {"status": 410, "times": 1},
        )
    )
    return Fault(at, Kind.RECEIVER, chance.choice(stage.paths), chance.uniform(1, 6), order=dict(order))


def _named(place: Place) -> str:
    return place.name or place.element
