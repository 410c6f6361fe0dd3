"""Requests that a client does not wait for: what they are answered with, and what their callback is told."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from app.store.tables import Instance


class DispatchedBody(BaseModel):
    """A request that will be run; `eventId` is in the body that its callback gets."""

    model_config = ConfigDict(json_schema_extra={"example": {"eventId": 1028, "eventStatus": "dispatched"}})

    eventId: int
    eventStatus: str = "dispatched"


def topic(instance: Instance) -> str:
    """The topic of what is told of an instance's requests: another one than that of its events."""
    return f"instance-{instance.id}-{instance.element_key}-async"


def body(*, event_id: int, instance_id: int, notification_id: int, status: int, answer: Any | None) -> bytes:
    """The bytes that are signed and sent, in Cloud Elements' old form; `answer` is the body that the request
    was answered with, which is an error from status 400 on."""
    response = {"status": status} if answer is None else {"status": status, "body": answer}
    return orjson.dumps(
        {
            "eventId": event_id,
            "instanceId": instance_id,
            "notificationId": str(notification_id),
            "response": response,
        }
    )
