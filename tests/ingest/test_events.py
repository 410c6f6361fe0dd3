"""From changes to notifications: sizes, ids, and the body field by field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.hubs.documents import Change
from app.ingest.events import Origin, Package, Recipient, pack
from app.store.tables import Instance, Subscription, Via

NOW = datetime(2026, 1, 5, 10, 0, 1, 250_000, tzinfo=UTC)
INSTANCE = Instance(
    id=31,
    account_id=2,
    user_id=3,
    element_key="egnyte",
    name="Acme files",
    tags=["Docs"],
    configuration={},
    external_authentication="none",
    token_hash="hash",
    valid=True,
    disabled=False,
    created_at=NOW,
    updated_at=NOW,
    deleted_at=None,
)


def change(number: int, **more: Any) -> Change:
    values: dict[str, Any] = {
        "event_id": str(number),
        "event_type": "UPDATED",
        "object_type": "file",
        "object_id": f"g-{number}",
        "date": datetime(2026, 1, 5, 10, tzinfo=UTC),
        "change": "move",
        "raw": {"id": number},
        "path": f"/Shared/{number}.txt",
        "name": f"{number}.txt",
    }
    return Change(**values | more)


def subscription(*, active: bool) -> Subscription:
    return Subscription(
        id=5,
        account_id=2,
        instance_id=31,
        callback_id=6,
        topic="t",
        active=active,
        created_at=NOW,
        sealed=None,
        shown_url=None,
    )


def packed(count: int, *, page_size: int = 20, active: bool = True) -> Package:
    recipient = Recipient(INSTANCE, 1, [subscription(active=active)])
    origin = Origin(Via.POLLING, "events", page_size)
    return pack(recipient, [change(n) for n in range(count)], origin, last=0, now=NOW)


@pytest.mark.parametrize(
    ("count", "page_size", "sizes", "raw_sizes"),
    [
        (0, 20, [], []),
        (1, 20, [1], [1]),
        (10, 20, [10], [10]),
        (11, 20, [10, 1], [11, 11]),
        (45, 20, [10, 10, 10, 10, 5], [20, 20, 20, 20, 5]),
        (7, 3, [3, 3, 1], [3, 3, 1]),
    ],
)
def test_pages_and_notifications_are_cut(
    count: int, page_size: int, sizes: list[int], raw_sizes: list[int]
) -> None:
    package = packed(count, page_size=page_size)
    messages = [json.loads(item.body)["message"] for item in package.notifications]
    assert [len(message["events"]) for message in messages] == sizes
    assert [len(message["raw"]["events"]) for message in messages] == raw_sizes
    assert [event.key for event in package.events] == [str(number) for number in range(count)]
    ids = [item.id for item in package.events]
    ids += [item.id for item in package.notifications]
    ids += [item.id for item in package.deliveries]
    assert len(ids) == len(set(ids))


def test_the_rows_that_every_notification_repeats_are_bounded() -> None:
    package = packed(250, page_size=1000)
    messages = [json.loads(item.body)["message"] for item in package.notifications]
    assert {len(message["raw"]["events"]) for message in messages} == {100, 50}
    large = [
        change(n, body={"id": n, "text": "x" * length}) for n, length in enumerate([100_000] * 7 + [400_000])
    ]
    origin = Origin(Via.POLLING, "events", 1000)
    package = pack(Recipient(INSTANCE, 1, []), large, origin, last=0, now=NOW)
    messages = [json.loads(item.body)["message"] for item in package.notifications]
    assert [len(message["raw"]["events"]) for message in messages] == [2, 2, 2, 1, 1]
    assert [event.sequence for event in package.events] == list(range(1, 9))


def test_the_body_has_the_form_of_cloud_elements() -> None:
    package = packed(1)
    (event,), (notification,) = package.events, package.notifications
    assert json.loads(notification.body) == {
        "id": str(notification.id),
        "severity": "low",
        "createdDate": "2026-01-05T10:00:01Z",
        "topic": "instance-31-egnyte-events",
        "action": "notify",
        "user": "3",
        "message": {
            "elementKey": "egnyte",
            "accountId": 2,
            "companyId": 1,
            "userId": 3,
            "eventId": str(event.id),
            "instanceId": 31,
            "instance_id": 31,
            "instanceName": "Acme files",
            "instanceTags": ["Docs"],
            "raw": {
                "objectType": "events",
                "instance_id": "31",
                "eventId": str(event.id),
                "events": [
                    {
                        "event_id": "0",
                        "event_type": "UPDATED",
                        "event_object_type": "file",
                        "event_object_id": "g-0",
                        "event_date": "2026-01-05T10:00:00.000Z",
                        "path": "/Shared/0.txt",
                        "name": "0.txt",
                        "change": "move",
                        "raw": {"id": 0},
                    }
                ],
            },
            "events": [
                {
                    "elementKey": "egnyte",
                    "hubKey": "documents",
                    "eventType": "UPDATED",
                    "objectType": "file",
                    "objectId": "g-0",
                    "date": "2026-01-05T10:00:00Z",
                    "pollDate": "2026-01-05T10:00:01Z",
                    "newPath": "/Shared/0.txt",
                    "sequence": 1,
                }
            ],
        },
    }
    assert event.notification_id == notification.id


def test_an_active_subscription_is_delivered_to_and_another_is_queued() -> None:
    (delivery,) = packed(1).deliveries
    assert (delivery.status, delivery.due_at, delivery.callback_id) == ("created", NOW, 6)
    (delivery,) = packed(1, active=False).deliveries
    assert (delivery.status, delivery.due_at) == ("queued", None)
