"""How changes come in, whoever tells of them: what is new is stored with its outbox, once and numbered."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.documents import Change
from app.hubs.entries import object_key
from app.ingest import memory
from app.ingest.events import Origin, Package, Recipient, pack
from app.store import events, outbox
from app.store.tables import DeliveryObject, Instance, Subscription
from app.wire import notifications

_LONGEST_KEY = 200  # characters of a vendor's id of a change; PostgreSQL's index takes 2,704 bytes


async def take_in(
    connection: AsyncConnection,
    instance: Instance,
    organization_id: int,
    changes: Sequence[Change],
    origin: Origin,
    *,
    now: datetime,
) -> int:
    """Stores the changes that are new with their notifications and deliveries, and answers how many they are.
    The caller's transaction is the step: with its cursor, if it has one."""
    changes = [_keyed(change) for change in changes]
    owner = {"instance_id": instance.id, "account_id": instance.account_id}
    last = await events.last_sequence(connection, **owner)
    known = await events.known_keys(connection, instance.id, [item.event_id for item in changes])
    fresh = _unseen(changes, known)
    if not fresh:
        return 0
    fresh = await memory.interpret(connection, instance, fresh, origin, now=now)
    topic = notifications.topic(instance)
    subscriptions = await outbox.subscriptions_of(connection, instance.id, topic=topic, lock="share")
    recipient = Recipient(instance, organization_id, subscriptions)
    package = pack(recipient, fresh, origin, last=last, now=now)
    await events.append(connection, package.events)
    objects = _objects(package, subscriptions)
    await outbox.append(connection, package.notifications, package.deliveries, objects, now=now)
    return len(fresh)


def _keyed(change: Change) -> Change:
    """The change with an id that an index takes: what is longer has its hash for it."""
    if len(change.event_id) <= _LONGEST_KEY:
        return change
    return replace(change, event_id=hashlib.sha256(change.event_id.encode(errors="replace")).hexdigest())


def _unseen(changes: Sequence[Change], known: set[str]) -> list[Change]:
    """The changes that are neither stored nor twice among these, in their order."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.event_id not in known:
            found.setdefault(change.event_id, change)
    return list(found.values())


def _objects(package: Package, subscriptions: Sequence[Subscription]) -> list[DeliveryObject]:
    """What the deliveries of ordered subscriptions are about; its place in the order is a delivery's first
    number."""
    ordered = {item.id for item in subscriptions if item.ordered}
    if not ordered:
        return []
    keys: dict[int, dict[str, None]] = defaultdict(dict)
    positions: dict[int, int] = {}
    for event in package.events:
        positions.setdefault(event.notification_id, event.sequence)
        keys[event.notification_id][object_key(event.object_type, event.object_id)] = None
    return [
        DeliveryObject(
            subscription_id=delivery.subscription_id,
            object_key=key,
            position=positions[delivery.notification_id],
            delivery_id=delivery.id,
            account_id=delivery.account_id,
        )
        for delivery in package.deliveries
        if delivery.subscription_id in ordered
        for key in keys[delivery.notification_id]
    ]
