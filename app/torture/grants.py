"""Why a grant was lost: what the logs say of refreshes that began and were not stored. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_LINES = re.compile(
    r"refresh asked client=(?P<asked>\S+)"
    r"|refresh failed client=(?P<failed>\S+) answered=(?P<answered>\w+)"
    r"|token refreshed instance=(?P<stored>\d+)"
)


@dataclass(frozen=True)
class Grants:
    """The refreshes of a run by the names of their apps: those that were stored, those in which a process was
    killed, and those whose answer never came."""

    stored: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)

    def unexplained(self, ended: Iterable[str]) -> list[str]:
        """Of the grants that ended, those that neither a kill nor a lost answer explains: with tokens that
        work once nobody can help it where one of the two is."""
        excuses = self.killed + self.unanswered
        found: list[str] = []
        for client in ended:
            if not excuses[client]:
                found.append(client)
            excuses[client] -= excuses[client] > 0
        return found


def read(logs: Iterable[tuple[str, bool]], clients: Mapping[int, str]) -> Grants:
    """What the logs of all lives say; each comes with whether its process was killed. `clients` are the apps
    of the instances by their ids."""
    found = Grants()
    for text, was_killed in logs:
        under_way = _under_way(text.splitlines(), clients, found)
        found.killed.update(under_way if was_killed else ())
    return found


def _under_way(lines: Sequence[str], clients: Mapping[int, str], found: Grants) -> set[str]:
    """The apps whose refresh was neither refused nor stored when the log ends."""
    under_way: set[str] = set()
    for match in filter(None, map(_LINES.search, lines)):
        if asked := match["asked"]:
            under_way.add(asked)
        elif failed := match["failed"]:
            under_way.discard(failed)
            found.unanswered[failed] += match["answered"] == "False"
        elif client := clients.get(int(match["stored"])):
            under_way.discard(client)
            found.stored[client] += 1
    return under_way
