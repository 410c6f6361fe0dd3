"""Rows of the event log, and what it is analysed to."""

from __future__ import annotations

import orjson
from pydantic import BaseModel, ConfigDict

from app import configuration
from app.event_log import Bucket, Logged
from app.store.event_log import Way
from app.store.tables import DeliveryStatus
from app.wire import dates


class ObjectIdBody(BaseModel):
    """The vendor's id of what an event is about."""

    value: str


class NotifiedBody(BaseModel):
    """An event as its notification tells of it."""

    eventType: str
    objectType: str
    objectId: str
    date: str
    newPath: str | None = None
    sequence: int


class EventElementInstanceBody(BaseModel):
    """The instance that an event belongs to, and its notification."""

    eventId: str
    elementInstanceId: int
    notificationId: str
    notifiedData: list[NotifiedBody]
    objectIds: list[ObjectIdBody]
    createdDate: str
    updatedDate: str


class LoggedEventBody(BaseModel):
    """One event. `providerData` is its row of the events resource as JSON text, the vendor's own body in it;
    `notifiedData` is empty until a receiver, or the owner, has it. `sequence` counts the events of the
    instance without a gap."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "2839477190262784",
                "eventDate": "2026-01-05T10:00:00Z",
                "createdDate": "2026-01-05T10:00:12Z",
                "status": "NOTIFIED",
                "eventType": "CREATED",
                "objectType": "file",
                "objectId": "0d6c9f5a-2b1e-4d0c-8e57-5f6f3f1b9a11",
                "sequence": 17,
                "providerData": '{"event_id":"7735","event_type":"CREATED"}',
                "notifiedData": [],
                "eventElementInstances": [],
            }
        }
    )

    id: str
    eventDate: str
    createdDate: str
    status: str
    eventType: str
    objectType: str
    objectId: str
    sequence: int
    providerData: str
    notifiedData: list[NotifiedBody]
    eventElementInstances: list[EventElementInstanceBody]


class CountBody(BaseModel):
    """How many events there were from `timestamp` on, until the next one."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"count": 3, "timestamp": "2026-01-05T10:00:00Z"}}
    )

    count: int
    timestamp: str


class InstanceRecordBody(BaseModel):
    """How many of them were of one instance."""

    elementInstanceId: int
    count: int


class InstanceCountsBody(BaseModel):
    """The events from `timestamp` on, by instance."""

    records: list[InstanceRecordBody]
    total: int
    timestamp: str


class AccountRecordBody(BaseModel):
    """How many of them were of one account."""

    accountId: int
    count: int


class AccountCountsBody(BaseModel):
    """The events from `timestamp` on, by account."""

    records: list[AccountRecordBody]
    total: int
    timestamp: str


class MessageBody(BaseModel):
    """What happened to the notification of an event on its way to one subscription."""

    message: str
    status: str
    date: str


class DispositionBody(BaseModel):
    """What became of an event, in words."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "eventId": "2839477190262784",
                "elementInstanceId": 427236,
                "eventDate": "2026-01-05T10:00:00Z",
                "notificationData": [
                    {
                        "message": "Error delivering event to https://example.com/callback: 502",
                        "status": "retry",
                        "date": "2026-01-05T10:00:16Z",
                    }
                ],
            }
        }
    )

    eventId: str
    elementInstanceId: int
    eventDate: str
    notificationData: list[MessageBody]


def logged(found: Logged) -> LoggedEventBody:
    event = found.event
    return LoggedEventBody(
        id=str(event.id),
        eventDate=dates.seconds(event.event_date),
        createdDate=dates.seconds(event.created_at),
        status=found.status,
        eventType=event.event_type,
        objectType=event.object_type,
        objectId=event.object_id,
        sequence=event.sequence,
        providerData=orjson.dumps(event.row).decode(),
        notifiedData=_notified(found),
        eventElementInstances=[_element_instance(found)],
    )


def counts(bucket: Bucket) -> CountBody:
    return CountBody(count=sum(bucket.counts.values()), timestamp=dates.seconds(bucket.start))


def instance_counts(bucket: Bucket) -> InstanceCountsBody:
    records = [InstanceRecordBody(elementInstanceId=key, count=count) for key, count in _records(bucket)]
    total = sum(bucket.counts.values())
    return InstanceCountsBody(records=records, total=total, timestamp=dates.seconds(bucket.start))


def account_counts(bucket: Bucket) -> AccountCountsBody:
    records = [AccountRecordBody(accountId=key, count=count) for key, count in _records(bucket)]
    total = sum(bucket.counts.values())
    return AccountCountsBody(records=records, total=total, timestamp=dates.seconds(bucket.start))


def disposition(found: Logged) -> DispositionBody:
    return DispositionBody(
        eventId=str(found.event.id),
        elementInstanceId=found.event.instance_id,
        eventDate=dates.seconds(found.event.event_date),
        notificationData=[
            MessageBody(
                message=_message(way), status=way.delivery.status, date=dates.seconds(way.delivery.updated_at)
            )
            for way in found.fate.ways
        ],
    )


def _notified(found: Logged) -> list[NotifiedBody]:
    event = found.event
    over = {DeliveryStatus.DELIVERED, DeliveryStatus.NOTIFIED}
    if not found.fate.acknowledged_at and not over & {way.delivery.status for way in found.fate.ways}:
        return []
    told = NotifiedBody(
        eventType=event.event_type,
        objectType=event.object_type,
        objectId=event.object_id,
        date=dates.seconds(event.event_date),
        newPath=event.row.get("path"),
        sequence=event.sequence,
    )
    return [told]


def _element_instance(found: Logged) -> EventElementInstanceBody:
    event = found.event
    changes = [way.delivery.updated_at for way in found.fate.ways]
    if found.fate.acknowledged_at:
        changes.append(found.fate.acknowledged_at)
    return EventElementInstanceBody(
        eventId=str(event.id),
        elementInstanceId=event.instance_id,
        notificationId=str(event.notification_id),
        notifiedData=_notified(found),
        objectIds=[ObjectIdBody(value=event.object_id)],
        createdDate=dates.seconds(event.created_at),
        updatedDate=dates.seconds(max(changes, default=event.created_at)),
    )


def _records(bucket: Bucket) -> list[tuple[int, int]]:
    return sorted((key, count) for key, count in bucket.counts.items() if key is not None)


def _message(way: Way) -> str:
    delivery, url = way.delivery, configuration.without_password(way.url)
    reason = delivery.last_error or delivery.last_status
    match delivery.status:
        case DeliveryStatus.DELIVERED:
            return f"Delivered event to {url}"
        case DeliveryStatus.NOTIFIED:
            return "Acknowledged event"
        case _ if reason is not None:
            return f"Error delivering event to {url}: {reason}"
        case DeliveryStatus.QUEUED:
            return f"Queued event for {url}"
        case _:
            return f"Delivering event to {url}"
