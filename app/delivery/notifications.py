"""Notifications that their owner pulls, the subscriptions that push them, and what is sent once more."""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, ceql, configuration, event_settings
from app.audit import Action
from app.ceql import Comparison, Condition
from app.delivery import callbacks, subscribing
from app.errors import BadRequest, Conflict, NotFound
from app.ids import LARGEST_ID, SLACK, first_id_at, new_id
from app.runtime import Runtime
from app.store import async_requests as requests
from app.store import instances, notifications, wakeups
from app.store.notifications import Subscribed
from app.store.tables import (
    NO_CALLBACK,
    Callback,
    Delivery,
    DeliveryStatus,
    Instance,
    Notification,
    Subscription,
)
from app.wire import async_requests, dates
from app.wire import notifications as wire

MOST_TOPICS = 20  # in one list; each is a look-up of its own
BATCH = 500  # deliveries in one transaction
LOOKED_AT = 5_000  # deliveries that one page examines, at most
LEAST = 20  # deliveries that are looked at as fast as none
PAGE_BYTES = 16 * 1024 * 1024  # of bodies in one list
_AT_ONCE = 200  # subscriptions that are read at once

_TOPIC = re.compile(r"instance-(\d{1,18})-.+-(?:events|async)", re.ASCII)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where among an account's deliveries somebody is: behind a notification, at a subscription."""

    subscription_id: int = 0
    notification_id: int = 0


@dataclass(frozen=True)
class Sent:
    """A delivery with what it is of and where it goes to."""

    delivery: Delivery
    subscribed: Subscribed


async def find(
    runtime: Runtime, account_id: int, topics: Sequence[str], *, below: int, limit: int
) -> tuple[list[Notification], int | None]:
    """At most `limit` notifications of these topics with an id below this one, the newest first, fewer if
    their bodies are large; and below which id to go on, if there are more. An unknown topic has none. Raises
    BadRequest for too many topics."""
    if len(topics) > MOST_TOPICS:
        raise BadRequest(f"topics[]: names over {MOST_TOPICS} topics")
    async with runtime.database.read() as connection:
        lists = [
            await notifications.find(
                connection, item.id, topic, requests=of_requests, below=below or LARGEST_ID, limit=limit + 1
            )
            for item in await notifications.reporters(connection, account_id, _instances_of(topics))
            for topic, of_requests in ((wire.topic(item), False), (async_requests.topic(item), True))
            if topic in topics
        ]
        newest = list(islice(heapq.merge(*lists, reverse=True), limit + 1))
        chosen = _small_enough(newest[:limit])
        found = await notifications.some(connection, chosen)
    return found, chosen[-1] if len(chosen) < len(newest) else None


def _small_enough(newest: Sequence[tuple[int, int]]) -> list[int]:
    """The first of these ids, as far as the sizes beside them are read into memory; one in any case."""
    sizes = accumulate(size for _, size in newest)
    fitting = sum(size <= PAGE_BYTES for size in sizes)
    return [found_id for found_id, _ in newest[: max(fitting, 1)]]


async def get(runtime: Runtime, account_id: int, notification_id: int) -> Notification:
    """Raises NotFound for a notification that the account does not have."""
    async with runtime.database.read() as connection:
        found = await notifications.one(connection, account_id, notification_id)
    if found is None:
        raise NotFound(f"No notification with the id {notification_id} found")
    return found


async def acknowledge(runtime: Runtime, account_id: int, notification_id: int) -> Notification:
    """Its owner has it: what is not delivered of it is sent no more. Raises NotFound as `get` does."""
    await get(runtime, account_id, notification_id)
    async with runtime.database.write() as connection:
        now = runtime.clock.now()
        await notifications.acknowledge(connection, notification_id, now=now)
        await wakeups.notify(connection, Callback)
        subject = f"notification {notification_id}"
        await audit.record(
            connection, Action.NOTIFICATION_ACKNOWLEDGED, subject, at=now, account_id=account_id
        )
    runtime.wakeups.callbacks.set()
    return await get(runtime, account_id, notification_id)


async def subscriptions(
    runtime: Runtime, account_id: int, *, after_id: int, offset: int, limit: int
) -> list[Subscribed]:
    """At most `limit` subscriptions of the account's instances, by id."""
    async with runtime.database.read() as connection:
        return await notifications.subscriptions(
            connection, account_id, after_id=after_id, offset=offset, limit=limit
        )


async def count_subscriptions(runtime: Runtime, account_id: int) -> int:
    async with runtime.database.read() as connection:
        return await notifications.count_subscriptions(connection, account_id)


async def subscription(
    runtime: Runtime, account_id: int, subscription_id: int, *, living: bool = True
) -> Subscribed:
    """Raises NotFound for a subscription that the account does not have."""
    async with runtime.database.read() as connection:
        found = await notifications.subscription(connection, account_id, subscription_id, living=living)
    if found is None:
        raise NotFound(f"No subscription with the id {subscription_id} found")
    return found


async def subscribe(
    runtime: Runtime, account_id: int, *, topic: str, url: str, signature_key: str | None
) -> Subscribed:
    """Sends an instance's notifications to one more callback from now on; one that they go to already stays
    the only one with its URL. Raises BadRequest for a topic that names no instance of the account, a URL that
    cannot be called and a key that cannot sign, and Conflict for too many."""
    checked = event_settings.callback_url(url, name="config.url")
    if checked is None:
        raise BadRequest("config.url: is required")
    _refuse_stars(url, signature_key)
    key = event_settings.signature_key(signature_key, name="config.signatureKey")
    await callbacks.check(runtime, checked.url, name="config.url")
    async with runtime.database.write() as connection:
        instance = await _instance(connection, account_id, topic)
        subscription_id = await subscribing.subscribe(connection, runtime, instance, checked, key)
    log.info("subscription made", extra={"subscription": subscription_id, "instance": instance.id})
    return await subscription(runtime, account_id, subscription_id)


async def unsubscribe(runtime: Runtime, account_id: int, subscription_id: int) -> None:
    """Deletes a subscription with what it has not delivered; what it has delivered stays in the log. Raises
    NotFound as `subscription` does, and Conflict while an async request answers to it."""
    found = await subscription(runtime, account_id, subscription_id)
    awaited = Conflict(f"The subscription {subscription_id} is told of an async request")
    async with runtime.database.write() as connection:
        now = runtime.clock.now()
        await notifications.end(connection, subscription_id, now=now)
        if await requests.is_awaited(connection, subscription_id):
            raise awaited
        await audit.record(
            connection,
            Action.SUBSCRIPTION_DELETED,
            f"subscription {subscription_id}",
            at=now,
            account_id=account_id,
            instance=found.subscription.instance_id,
        )
    dropped = BATCH
    while dropped == BATCH:
        async with runtime.database.write() as connection:
            dropped = await notifications.drop_queued(connection, subscription_id, limit=BATCH)
    try:
        while not await _remove(runtime, subscription_id):
            pass
    except IntegrityError:
        raise awaited from None
    log.info("subscription deleted", extra={"subscription": subscription_id})


async def deliveries(
    runtime: Runtime, account_id: int, notification_id: int, subscription_id: int
) -> tuple[list[Sent], Notification]:
    """How a notification has come to a subscription. Raises NotFound where the account lacks one of them."""
    notification = await get(runtime, account_id, notification_id)
    to = await subscription(runtime, account_id, subscription_id, living=False)
    async with runtime.database.read() as connection:
        rows = await notifications.deliveries(connection, account_id, notification_id, subscription_id)
    return [Sent(row, to) for row in rows], notification


async def find_deliveries(
    runtime: Runtime, account_id: int, condition: Condition, *, after: Place, limit: int
) -> tuple[list[Sent], Place | None]:
    """At most `limit` of the deliveries that a condition is true of, by subscription and in their order; and
    where to go on, if there may be more."""
    found: list[Sent] = []
    looked_at = 0
    async for part, place, read in _parts(runtime, account_id, condition, after):
        found += part
        looked_at += max(read, LEAST)
        if len(found) > limit:
            last = found[limit - 1]
            return found[:limit], Place(last.subscribed.subscription.id, last.delivery.notification_id)
        if looked_at >= LOOKED_AT:
            return found, place
    return found, None


async def redeliver(runtime: Runtime, account_id: int, condition: Condition) -> int:
    """Sends the deliveries that a condition is true of once more, from the first attempt on, and activates
    their subscriptions; answers how many. Unless the condition names a status, the queued ones are meant.
    Each batch is a transaction: who is interrupted asks again, and the rest is sent."""
    sent = 0
    async for part, *_ in _parts(runtime, account_id, condition, Place()):
        if not part:
            continue
        to, chosen = part[0].subscribed.subscription, [item.delivery for item in part]
        async with runtime.database.write() as connection:
            sent += await _redeliver(connection, runtime, to, chosen)
            await wakeups.notify(connection, Callback)
        runtime.wakeups.callbacks.set()
    await _activate(runtime, account_id, condition)
    log.info("deliveries sent again", extra={"account": account_id, "deliveries": sent})
    return sent


async def _redeliver(
    connection: AsyncConnection, runtime: Runtime, to: Subscription, chosen: Sequence[Delivery]
) -> int:
    now = runtime.clock.now()
    sent = await notifications.redeliver(connection, to.id, chosen, now=now)
    if sent or (not to.active and to.inactive_reason != NO_CALLBACK):
        await audit.record(
            connection,
            Action.SUBSCRIPTION_REDELIVERED,
            f"subscription {to.id}",
            at=now,
            account_id=to.account_id,
            instance=to.instance_id,
            deliveries=sent,
        )
    return sent


async def _activate(runtime: Runtime, account_id: int, condition: Condition) -> None:
    """Activates what was given up and would be asked for whatever it had queued."""
    async with runtime.database.read() as connection:
        found = await notifications.given_up(connection, account_id)
    for to in found:
        if condition(_row(to) | {"status": str(DeliveryStatus.QUEUED)}):
            async with runtime.database.write() as connection:
                await _redeliver(connection, runtime, to.subscription, [])


async def _parts(
    runtime: Runtime, account_id: int, condition: Condition, start: Place
) -> AsyncIterator[tuple[list[Sent], Place, int]]:
    """What a condition is true of, in parts of one subscription, with the place behind each, and how many
    were read for it. What is stored after the beginning is not looked at."""
    low, high = _bounds(condition.needs)
    read = notifications.queued if _only_queued(condition) else notifications.of_any_status
    async for to in _subscriptions(runtime, account_id, condition, start.subscription_id):
        here = start.notification_id if to.subscription.id == start.subscription_id else 0
        behind: int | None = max(here, low)
        while behind is not None:
            async with runtime.database.read() as connection:
                rows, behind = await read(connection, to.subscription, after=behind, until=high, limit=BATCH)
                part = await _true(connection, condition, [Sent(row, to) for row in rows])
            if behind is None:
                yield part, Place(to.subscription.id + 1), len(rows)
            else:
                yield part, Place(to.subscription.id, behind), BATCH


async def _subscriptions(
    runtime: Runtime, account_id: int, condition: Condition, first_id: int
) -> AsyncIterator[Subscribed]:
    """The subscriptions from this id on that can have what is asked for, those of deleted instances too."""
    after_id: int | None = max(first_id - 1, 0)
    while after_id is not None:
        async with runtime.database.read() as connection:
            page = await notifications.delivering(
                connection, account_id, queued=_only_queued(condition), after_id=after_id, limit=_AT_ONCE
            )
        for item in page:
            if _can_have(condition, item):
                yield item
        after_id = page[-1].subscription.id if len(page) == _AT_ONCE else None


def _can_have(condition: Condition, to: Subscribed) -> bool:
    asked = ((_asks_for(condition, key), value) for key, value in _row(to).items())
    return all(wanted is None or ceql.equals(value, wanted) for wanted, value in asked)


async def _true(connection: AsyncConnection, condition: Condition, sent: Sequence[Sent]) -> list[Sent]:
    """A notification of several types of events is each of them."""
    types = await notifications.event_types(connection, {item.delivery.notification_id for item in sent})
    found = []
    for item in sent:
        row = _row(item.subscribed) | _delivery_row(item.delivery)
        of_types: Sequence[str | None] = [*types.get(item.delivery.notification_id, ())] or [None]
        if any(condition(row | {"eventType": event_type}) for event_type in of_types):
            found.append(item)
    return found


def _row(to: Subscribed) -> dict[str, object]:
    return {
        "channel": "webhook",
        "config.url": configuration.without_password(to.url),
        "subscriptionId": to.subscription.id,
        "instanceId": to.subscription.instance_id,
    }


def _delivery_row(delivery: Delivery) -> dict[str, object]:
    return {
        "status": str(delivery.status),
        "notificationId": delivery.notification_id,
        "createdDate": dates.milliseconds(delivery.created_at),
    }


def _only_queued(condition: Condition) -> bool:
    return _asks_for(condition, "status") == DeliveryStatus.QUEUED


def _asks_for(condition: Condition, field: str) -> str | None:
    """The one value that a field must have, if the condition says so."""
    values = [need.value for need in condition.needs if need.field == field and need.sign == "="]
    return values[0] if values else None


def _bounds(needs: Sequence[Comparison]) -> tuple[int, int]:
    """Above which id, and up to which, the notifications lie that can have the wanted date or id; none is
    above what is drawn now."""
    low, high = 0, new_id()
    for need in needs:
        moment = ceql.time_of(need.value) if need.field == "createdDate" else None
        if moment and need.sign in {"=", ">", ">="}:
            low = max(low, first_id_at(moment) - SLACK)
        if moment and need.sign in {"=", "<", "<="}:
            high = min(high, first_id_at(moment) + SLACK)
        wanted = ceql.number(need.value) if need.field == "notificationId" else None
        if isinstance(wanted, int) and need.sign in {"=", ">", ">="}:
            low = max(low, min(wanted, high) - 1)
        if isinstance(wanted, int) and need.sign in {"=", "<", "<="}:
            high = max(min(high, wanted), 0)
    return low, high


async def _instance(connection: AsyncConnection, account_id: int, topic: str) -> Instance:
    instance_id = _instance_of(topic)
    found = await instances.by_id(connection, instance_id, account_id) if instance_id else None
    if found is None or wire.topic(found) != topic:
        raise BadRequest(f"topics: {topic[:200]!r} names no instance of this account")
    return found


async def _remove(runtime: Runtime, subscription_id: int) -> bool:
    async with runtime.database.write() as connection:
        return await notifications.remove(connection, subscription_id, limit=BATCH, now=runtime.clock.now())


def _refuse_stars(url: str, signature_key: str | None) -> None:
    """Raises BadRequest for what an answer shows instead of a secret: nobody means it."""
    for name, covered in (
        ("config.signatureKey", signature_key == configuration.MASK),
        ("config.url", f":{configuration.MASK}@" in url),
    ):
        if covered:
            raise BadRequest(f"{name}: is covered by stars; send the value itself")


def _instances_of(topics: Sequence[str]) -> set[int]:
    return {found for topic in topics if (found := _instance_of(topic)) is not None}


def _instance_of(topic: str) -> int | None:
    found = _TOPIC.fullmatch(topic)
    return int(found[1]) if found else None
