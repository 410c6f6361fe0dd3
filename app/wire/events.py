"""Rows of `GET /hubs/documents/events`."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from app.hubs.documents import Change
from app.wire import dates

EVENT_TYPES = ("CREATED", "UPDATED", "DELETED", "UNKNOWN")


class ActorBody(BaseModel):
    """Who made a change, as far as the vendor tells."""

    id: str | None = None
    name: str | None = None


class EventBody(BaseModel):
    """One change. Fields that the vendor says nothing about are left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "event_id": "7735",
                "event_type": "CREATED",
                "event_object_type": "file",
                "event_object_id": "0d6c9f5a-2b1e-4d0c-8e57-5f6f3f1b9a11",
                "event_date": "2026-01-05T10:00:00.000Z",
                "path": "/Shared/report.pdf",
                "name": "report.pdf",
                "actor": {"id": "12", "name": "jsmith"},
                "change": "create",
            }
        }
    )

    event_id: str
    event_type: str
    event_object_type: str
    event_object_id: str
    event_date: str
    path: str | None = None
    previousPath: str | None = None
    name: str | None = None
    parentObjectId: str | None = None
    versionId: str | None = None
    copiedFrom: str | None = None
    actor: ActorBody | None = None
    change: str
    raw: dict[str, Any] | None = None


def row(change: Change, *, raw: bool) -> dict[str, Any]:
    """One change under the names that Cloud Elements' poller configurations expect; unknown ones left out."""
    if change.body is not None:
        return dict(change.body)
    values: dict[str, Any] = {
        "event_id": change.event_id,
        "event_type": change.event_type,
        "event_object_type": change.object_type,
        "event_object_id": change.object_id,
        "event_date": dates.milliseconds(change.date),
    }
    found = {
        "path": change.path,
        "previousPath": change.previous_path,
        "name": change.name,
        "parentObjectId": change.parent_object_id,
        "versionId": change.version_id,
        "copiedFrom": change.copied_from,
        "actor": _actor(change),
    }
    values |= {name: value for name, value in found.items() if value is not None}
    values["change"] = change.change
    if raw:
        values["raw"] = dict(change.raw)
    return values


def text(change: Change) -> bytes:
    """The row of a change as JSON, with what the vendor said."""
    return orjson.dumps(row(change, raw=True))


def _actor(change: Change) -> dict[str, str] | None:
    if change.actor_id is None:
        return None if change.actor_name is None else {"name": change.actor_name}
    if change.actor_name is None:
        return {"id": change.actor_id}
    return {"id": change.actor_id, "name": change.actor_name}
