"""Rows of `GET /hubs/documents/events`."""

from __future__ import annotations

from typing import Any

from app.hubs.documents import Change
from app.wire import dates


def row(change: Change, *, raw: bool) -> dict[str, Any]:
    """One change under the names that Cloud Elements' poller configurations expect; unknown ones left out."""
    actor = {"id": change.actor_id, "name": change.actor_name}
    values: dict[str, Any] = {
        "event_id": change.event_id,
        "event_type": change.event_type,
        "event_object_type": change.object_type,
        "event_object_id": change.object_id,
        "event_date": dates.milliseconds(change.date),
        "path": change.path,
        "previousPath": change.previous_path,
        "name": change.name,
        "parentObjectId": change.parent_object_id,
        "actor": {key: value for key, value in actor.items() if value is not None} or None,
        "change": change.change,
        "raw": dict(change.raw) if raw else None,
    }
    return {key: value for key, value in values.items() if value is not None}
