"""Why a grant was lost: what the logs say of refreshes that began and were not stored. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

_LINES = re.compile(
    r"^(?P<at>\S+) .*?(?:refresh asked client=(?P<asked>\S+)"
    r"|refresh failed client=(?P<failed>\S+) answered=(?P<answered>\w+)"
    r"|token refreshed instance=(?P<stored>\d+) saved=True)"
)

Times = Mapping[str, list[datetime]]


def _none() -> Times:
    return defaultdict(list)


@dataclass(frozen=True)
class Grants:
    """The refreshes of a run by the names of their apps: when those were asked for that were stored, and
    those that may have cost the grant, because a process was killed in them or their answer never came."""

    stored: Times = field(default_factory=_none)
    excuses: Times = field(default_factory=_none)

    def unexplained(self, ended: Iterable[tuple[str, datetime]]) -> list[str]:
        """Of the grants that ended, those that neither a kill nor a lost answer explains: with tokens that
        work once nobody can help it where one of the two is. A refresh that was asked for later and stored
        shows that the grant had survived. Each ending comes with when it was noticed, the first one first."""
        found: list[str] = []
        begun: dict[str, datetime] = defaultdict(lambda: datetime.min.replace(tzinfo=UTC))
        for client, at in ended:
            alive = max([begun[client], *(asked for asked in self.stored[client] if asked < at)])
            if not any(alive <= excuse < at for excuse in self.excuses[client]):
                found.append(client)
            begun[client] = at
        return found


def read(logs: Iterable[tuple[str, bool]], clients: Mapping[int, str]) -> Grants:
    """What the logs of all lives say; each comes with whether its process was killed. `clients` are the apps
    of the instances by their ids."""
    found = Grants()
    for text, was_killed in logs:
        under_way = _under_way(text.splitlines(), clients, found)
        for client, asked in under_way.items() if was_killed else ():
            found.excuses[client].append(asked)
    return found


def _under_way(lines: Sequence[str], clients: Mapping[int, str], found: Grants) -> dict[str, datetime]:
    """The apps whose refresh was neither refused nor stored when the log ends, and when it was asked for."""
    under_way: dict[str, datetime] = {}
    for match in filter(None, map(_LINES.match, lines)):
        at = datetime.fromisoformat(match["at"])
        if client := match["asked"]:
            under_way[client] = at
        elif client := match["failed"]:
            asked = under_way.pop(client, at)
            found.excuses[client].extend([asked] * (match["answered"] == "False"))
        elif client := clients.get(int(match["stored"])):
            found.stored[client].append(under_way.pop(client, at))
    return under_way
