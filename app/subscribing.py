"""Subscriptions that are added to those of the configuration, each to a callback of its own."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, event_settings
from app.audit import Action
from app.delivery import carried
from app.delivery.carried import Carried
from app.errors import Conflict, NotFound
from app.runtime import Runtime
from app.store import async_requests, instances, outbox
from app.store.tables import NO_CALLBACK, Instance, Subscription
from app.wire import notifications as wire

MOST_SUBSCRIPTIONS = 20  # of one instance, each of which multiplies its deliveries


async def subscribe(
    connection: AsyncConnection, runtime: Runtime, instance: Instance, url: str, key: str | None
) -> int:
    """The instance is held, so that its last subscription cannot be written after its end."""
    if not await instances.hold(connection, instance.id):
        raise NotFound(f"No instance with the id {instance.id} found")
    instance = await instances.by_id(connection, instance.id, instance.account_id) or instance
    topic = wire.topic(instance)
    same = await async_requests.subscription_for(connection, instance.id, topic, url)
    if same is not None and same.inactive_reason != NO_CALLBACK:
        if await _subscribe_again(connection, runtime, same, key):
            await _record(connection, runtime, Action.SUBSCRIPTION_CHANGED, same.id, instance, url)
        return same.id
    if await async_requests.count_subscriptions(connection, instance.id, topic) >= MOST_SUBSCRIPTIONS:
        raise Conflict(f"The instance {instance.id} has {MOST_SUBSCRIPTIONS} subscriptions already")
    callback_id = await outbox.callback_id(connection, account_id=instance.account_id, url=url)
    subscription_id = await outbox.subscribe(
        connection,
        account_id=instance.account_id,
        instance_id=instance.id,
        callback_id=callback_id,
        topic=topic,
        configured=False,
        ordered=event_settings.ordered(instance.configuration),
        created_at=runtime.clock.now(),
    )
    await _sign(connection, runtime, subscription_id, key)
    await _record(connection, runtime, Action.SUBSCRIPTION_CREATED, subscription_id, instance, url)
    return subscription_id


async def _subscribe_again(
    connection: AsyncConnection, runtime: Runtime, found: Subscription, key: str | None
) -> bool:
    """Nothing is sent twice to who subscribes twice. One that was given up is called again, and one that was
    added is signed with a new key. False where nothing changes."""
    new_key = key is not None and key not in _keys(runtime, found)
    if new_key:
        if found.configured:
            raise Conflict("config.signatureKey: the instance's configuration names another one for this URL")
        await _sign(connection, runtime, found.id, key)
    if not found.active:
        await outbox.move(connection, found, found.callback_id, now=runtime.clock.now())
    return new_key or not found.active


def _keys(runtime: Runtime, found: Subscription) -> Sequence[str]:
    if found.sealed is None:
        return ()
    return carried.unpack(runtime.sealer.open(found.sealed, outbox.row_name(found.id))).keys


async def _sign(connection: AsyncConnection, runtime: Runtime, subscription_id: int, key: str | None) -> None:
    if plain := Carried((key,) if key else ()).pack():
        sealed = runtime.sealer.seal(plain, outbox.row_name(subscription_id))
        await outbox.seal_subscription(connection, subscription_id, sealed)


async def _record(
    connection: AsyncConnection,
    runtime: Runtime,
    action: Action,
    subscription_id: int,
    instance: Instance,
    url: str,
) -> None:
    """Of the URL only the host: the rest of it may be a secret."""
    await audit.record(
        connection,
        action,
        f"subscription {subscription_id}",
        at=runtime.clock.now(),
        account_id=instance.account_id,
        instance=instance.id,
        host=urlsplit(url).hostname,
    )
