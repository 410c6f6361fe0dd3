"""The receivers of a torture: paths of one process, which fail on command, and what arrived there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import httpx

from app.torture.ledger import Arrival, Told

_OF_POLLED = 10  # events in a notification of what was polled
_AT_ONCE = 2000


class Receivers:
    """Reads what has arrived, bit by bit, and keeps of it what the reconciliation needs."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.arrivals: list[Arrival] = []

    async def behave(self, path: str, **behaviour: Any) -> None:
        """How this path answers from now on; without more words, well."""
        answer = await self._http.post("/control", json={"path": path, **behaviour})
        answer.raise_for_status()

    async def heal(self, paths: Iterable[str]) -> None:
        """Every path answers well."""
        for path in paths:
            await self.behave(path)

    def gone(self) -> set[tuple[int, str]]:
        """The instances and paths of subscriptions that were ended with 410."""
        return {(item.instance_id, item.path) for item in self.arrivals if item.gone}

    async def read(self) -> int:
        """Takes in what has arrived since the last look, and answers how much."""
        before = len(self.arrivals)
        while True:
            since = self.arrivals[-1].number if self.arrivals else 0
            params = {"since": since, "limit": _AT_ONCE}
            rows = (await self._http.get("/deliveries", params=params)).raise_for_status().json()
            self.arrivals += [_arrival(row) for row in rows]
            if not rows:
                return len(self.arrivals) - before


def _arrival(row: dict[str, Any]) -> Arrival:
    message = row["json"]["message"]
    answered = row["answered"]
    return Arrival(
        number=row["id"],
        at=datetime.fromisoformat(row["received_at"]),
        path=row["path"],
        notification_id=row["headers"]["elements-webhook-id"],
        instance_id=message["instanceId"],
        accepted=answered is not None and 200 <= answered < 300,
        signed=row["signature"] == "ok",
        digest=hashlib.sha256(row["body"].encode()).hexdigest()[:16],
        told=tuple(told(message)),
        gone=answered == 410,
    )


def told(message: dict[str, Any]) -> list[Told]:
    """The events of a notification. The rows of its page, which it repeats, name the vendor's ids; what the
    gateway tells of itself (a grant that has ended, a gap) has an id that begins with its name."""
    events, rows = message["events"], message["raw"].get("events")
    keys = [None] * len(events) if rows is None else _keys(events, rows)
    return [
        Told(event["sequence"], event["objectId"], event["eventType"] == "DELETED", key)
        for event, key in zip(events, keys, strict=True)
    ]


def _keys(events: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[str | None]:
    """A page is cut into tens, so a notification is one of these; raises ValueError where it is none."""
    objects = [event["objectId"] for event in events]
    for start in range(0, len(rows), _OF_POLLED):
        part = rows[start : start + _OF_POLLED]
        if [row["event_object_id"] for row in part] == objects:
            return [row["event_id"] for row in part]
    raise ValueError(f"the events of a notification are not among the rows of its page: {objects}")
