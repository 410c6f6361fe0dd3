"""What somebody else does at the vendors during a torture: files made, changed, renamed and deleted, when and
in which order a seed decides. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.torture.accounts import Place

_PER_SECOND = 1.5  # orders at one place
_BURST = (15, 45)  # files of one order, so that a change comes on a page with many others
_KEPT = 12  # files that are changed again and again, because an order is about changes of the same one


@dataclass(frozen=True)
class Order:
    """One order to a sandbox's control route, so many seconds after the beginning."""

    at: float
    place: Place
    body: dict[str, Any]


def plan(seed: int, places: Sequence[Place], seconds: float) -> list[Order]:
    """The orders for all places, the first one first; the same for the same arguments."""
    found: list[Order] = []
    for number, place in enumerate(places):
        chance = random.Random(f"changes {seed} {number}")
        found += _at_place(place, seconds, chance)
    return sorted(found, key=lambda order: order.at)


def _at_place(place: Place, seconds: float, chance: random.Random) -> Iterator[Order]:
    desk, at = _Desk(place, chance), 0.0
    while (at := at + chance.expovariate(_PER_SECOND)) < seconds:
        yield Order(at, place, desk.next())


@dataclass
class _Desk:
    """Somebody who remembers which files there are."""

    place: Place
    chance: random.Random
    files: list[str] = field(default_factory=list)
    made: int = 0

    def next(self) -> dict[str, Any]:
        if len(self.files) < 2:
            return self._new()
        kinds = (self._version, self._new, self._rename, self._delete, self._burst, self._folder)
        [kind] = self.chance.choices(kinds, (50, 15, 15, 10, 6, 4))
        return kind()

    def _name(self, kind: str) -> str:
        self.made += 1
        return f"{self.place.home}/{kind}-{self.made}"

    def _new(self) -> dict[str, Any]:
        if len(self.files) >= _KEPT:
            return self._delete()
        self.files.append(self._name("file"))
        return {"action": "upload", "path": self.files[-1], "content": "first"}

    def _version(self) -> dict[str, Any]:
        return {"action": "upload", "path": self.chance.choice(self.files), "content": "next"}

    def _rename(self) -> dict[str, Any]:
        number = self.chance.randrange(len(self.files))
        before, self.files[number] = self.files[number], self._name("renamed")
        return {"action": "rename", "path": before, "destination": self.files[number]}

    def _delete(self) -> dict[str, Any]:
        return {"action": "delete", "path": self.files.pop(self.chance.randrange(len(self.files)))}

    def _burst(self) -> dict[str, Any]:
        path = self._name("many") + "-{n}"
        return {"action": "upload", "path": path, "content": "x", "count": self.chance.randint(*_BURST)}

    def _folder(self) -> dict[str, Any]:
        return {"action": "folder", "path": self._name("folder")}
