"""The body that is POSTed to a callback: Cloud Elements' `message` form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from app.hubs.documents import HUB_KEY, Change
from app.store.tables import Instance
from app.wire import dates


def topic(instance: Instance) -> str:
    """The topic of an instance's subscription and of its notifications."""
    return f"instance-{instance.id}-{instance.element_key}-events"


def body(
    *,
    notification_id: int,
    event_id: int,
    instance: Instance,
    organization_id: int,
    changes: Sequence[Change],
    resource: str,
    page: Sequence[Mapping[str, Any]],
    polled_at: datetime,
) -> bytes:
    """The bytes that are signed and sent, the same at every attempt.

    `changes` are the (at most 10) events of this notification; `page` are the full rows of the polled
    page that they came with, which each notification of that page repeats.
    """
    raw = {resource: page, "objectType": resource, "instance_id": str(instance.id), "eventId": str(event_id)}
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
        "raw": raw,
        "events": [_event(change, instance, polled_at) for change in changes],
    }
    return orjson.dumps(
        {
            "id": str(notification_id),
            "severity": "low",
            "createdDate": dates.seconds(polled_at),
            "topic": topic(instance),
            "action": "notify",
            "user": str(instance.user_id),
            "message": message,
        }
    )


def _event(change: Change, instance: Instance, polled_at: datetime) -> dict[str, Any]:
    values = {
        "elementKey": instance.element_key,
        "hubKey": HUB_KEY,
        "eventType": change.event_type,
        "objectType": change.object_type,
        "objectId": change.object_id,
        "date": dates.seconds(change.date),
        "pollDate": dates.seconds(polled_at),
        "newPath": change.path,
        "parentObjectId": change.parent_object_id,
    }
    return {key: value for key, value in values.items() if value is not None}
