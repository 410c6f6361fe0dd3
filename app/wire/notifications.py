"""The body that is POSTed to a callback: Cloud Elements' `message` form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from app.hubs.documents import HUB_KEY, Change
from app.store.tables import Instance
from app.wire import dates


def topic(instance: Instance) -> str:
    """The topic of an instance's subscription and of its notifications."""
    return f"instance-{instance.id}-{instance.element_key}-events"


def listed(texts: Sequence[bytes]) -> orjson.Fragment:
    """Rows that are JSON already, as the list of them."""
    return orjson.Fragment(b"[" + b",".join(texts) + b"]")


def body(
    *,
    notification_id: int,
    event_id: int,
    instance: Instance,
    organization_id: int,
    changes: Sequence[tuple[Change, int]],
    raw: Any,
    resource: str,
    polled_at: datetime | None,
    now: datetime,
) -> bytes:
    """The bytes that are signed and sent, the same at every attempt.

    `changes` are the events of this notification with their numbers; `raw` is what they came in: the rows of
    the polled page, or the body that the vendor sent. Each notification of that page repeats it.
    """
    polled = dates.seconds(polled_at) if polled_at else None
    marks = {"objectType": resource, "instance_id": str(instance.id), "eventId": str(event_id)}
    message = {
        "elementKey": instance.element_key,
        "accountId": instance.account_id,
        "companyId": organization_id,
        "userId": instance.user_id,
        "eventId": str(event_id),
        "instanceId": instance.id,
        "instance_id": instance.id,
        "instanceName": instance.name,
        "instanceTags": instance.tags,
        "raw": raw | marks if isinstance(raw, dict) else {"body": raw} | marks,
        "events": [_event(change, number, instance, polled) for change, number in changes],
    }
    return orjson.dumps(
        {
            "id": str(notification_id),
            "severity": "low",
            "createdDate": dates.seconds(now),
            "topic": topic(instance),
            "action": "notify",
            "user": str(instance.user_id),
            "message": message,
        }
    )


def _event(change: Change, number: int, instance: Instance, polled_at: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "elementKey": instance.element_key,
        "hubKey": HUB_KEY,
        "eventType": change.event_type,
        "objectType": change.object_type,
        "objectId": change.object_id,
        "date": dates.seconds(change.date),
    }
    if polled_at is not None:
        values["pollDate"] = polled_at
    if change.path is not None:
        values["newPath"] = change.path
    if change.parent_object_id is not None:
        values["parentObjectId"] = change.parent_object_id
    values["sequence"] = number
    return values
