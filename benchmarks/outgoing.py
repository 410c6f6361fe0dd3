"""What the delivery benchmarks send: subscriptions with keys, and notifications of ten events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.delivery.carried import Carried
from app.ids import new_id
from app.runtime import Runtime, open_runtime
from app.settings import load
from app.store import migrations, outbox
from app.store.tables import Delivery, DeliveryStatus, Notification, Subscription
from app.vault.sealing import new_key

KEY = "a key of some length"
BODY = json.dumps(
    {
        "message": {
            "raw": {},
            "events": [{"objectId": f"{number:036}", "x": "y" * 150} for number in range(10)],
        }
    }
).encode()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Runtime]:
    """A runtime on a database with the newest schema."""
    settings = load(
        _env_file=None,
        database_url=url,
        encryption_keys=new_key(),
        callback_allowed_networks=["127.0.0.0/8"],
        worker_idle=timedelta(seconds=1),
    )
    async with open_runtime(settings) as runtime:
        await migrations.upgrade(runtime.database)
        yield runtime


async def subscribe(runtime: Runtime, urls: Sequence[str]) -> list[Subscription]:
    """One subscription per URL, each with a key that signs."""
    found = []
    async with runtime.database.write() as connection:
        for number, url in enumerate(urls, start=1):
            callback_id = await outbox.callback_id(connection, account_id=1, url=url)
            subscription_id = await outbox.subscribe(
                connection,
                account_id=1,
                instance_id=number,
                callback_id=callback_id,
                topic="t",
                created_at=runtime.clock.now(),
            )
            plain = Carried((KEY,)).pack() or b""
            sealed = runtime.sealer.seal(plain, outbox.row_name(subscription_id))
            await outbox.seal_subscription(connection, subscription_id, sealed)
            found += await outbox.subscriptions_of(connection, number)
    return found


async def store(runtime: Runtime, subscriptions: Sequence[Subscription]) -> list[int]:
    """Stores one notification for each of these (one subscription may stand there often) in one
    transaction, as a poll does, and answers their ids."""
    now = Clock().now()
    notifications, deliveries = [], []
    for subscription in subscriptions:
        common: dict[str, Any] = {"account_id": 1, "instance_id": subscription.instance_id, "created_at": now}
        notification = Notification(
            id=new_id(), topic="t", body=BODY, resource="events", via="polling", **common
        )
        notifications.append(notification)
        deliveries.append(
            Delivery(
                id=new_id(),
                notification_id=notification.id,
                subscription_id=subscription.id,
                callback_id=subscription.callback_id,
                status=DeliveryStatus.CREATED,
                due_at=now,
                last_error=None,
                updated_at=now,
                **common,
            )
        )
    async with runtime.database.write() as connection:
        await outbox.append(connection, notifications, deliveries, now=now)
    runtime.wakeups.callbacks.set()
    return [item.id for item in notifications]
