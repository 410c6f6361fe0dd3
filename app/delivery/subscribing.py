"""Subscriptions that are added to those of the configuration, each to a callback of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, event_settings
from app.audit import Action
from app.delivery import url_logins
from app.delivery.carried import Carried
from app.errors import Conflict, NotFound
from app.event_settings import Receiver
from app.runtime import Runtime
from app.store import async_requests, instances, outbox
from app.store.tables import NO_CALLBACK, Instance, Subscription
from app.wire import notifications as wire

MOST_SUBSCRIPTIONS = 20  # of one instance, each of which multiplies its deliveries


async def subscribe(
    connection: AsyncConnection, runtime: Runtime, instance: Instance, to: Receiver, key: str | None
) -> int:
    """The instance is held, so that its last subscription cannot be written after its end."""
    if not await instances.hold(connection, instance.id):
        raise NotFound(f"No instance with the id {instance.id} found")
    instance = await instances.by_id(connection, instance.id, instance.account_id) or instance
    topic = wire.topic(instance)
    await url_logins.take_out(connection, runtime, instance.id)
    same = await async_requests.subscription_for(connection, instance.id, topic, to.url, to.shown_url)
    if same is not None and same.inactive_reason != NO_CALLBACK:
        if await _subscribe_again(connection, runtime, same, to, key):
            await _record(connection, runtime, Action.SUBSCRIPTION_CHANGED, same.id, instance, to.url)
        return same.id
    if await async_requests.count_subscriptions(connection, instance.id, topic) >= MOST_SUBSCRIPTIONS:
        raise Conflict(f"The instance {instance.id} has {MOST_SUBSCRIPTIONS} subscriptions already")
    callback_id = await outbox.callback_id(connection, account_id=instance.account_id, url=to.url)
    subscription_id = await outbox.subscribe(
        connection,
        account_id=instance.account_id,
        instance_id=instance.id,
        callback_id=callback_id,
        topic=topic,
        shown_url=to.shown_url,
        configured=False,
        ordered=event_settings.ordered(instance.configuration),
        created_at=runtime.clock.now(),
    )
    await _seal(connection, runtime, subscription_id, Carried((key,) if key else (), to.login))
    await _record(connection, runtime, Action.SUBSCRIPTION_CREATED, subscription_id, instance, to.url)
    return subscription_id


async def _subscribe_again(
    connection: AsyncConnection, runtime: Runtime, found: Subscription, to: Receiver, key: str | None
) -> bool:
    """Nothing is sent twice to who subscribes twice. One that was given up, or has a new password, is called
    again; one that was added is signed with a new key. False where nothing changes."""
    before = url_logins.carried_by(runtime, found)
    new_key = key is not None and key not in before.keys
    new_login = to.login is not None and to.login != before.basic
    for new, name in ((new_key, "signatureKey"), (new_login, "url")):
        if new and found.configured:
            raise Conflict(f"config.{name}: the instance's configuration has another secret for this URL")
    if new_key or new_login:
        keys = (key,) if key and new_key else before.keys
        await _seal(connection, runtime, found.id, Carried(keys, to.login))
    if new_login or not found.active:
        await outbox.move(connection, found, found.callback_id, now=runtime.clock.now())
    return new_key or new_login or not found.active


async def _seal(
    connection: AsyncConnection, runtime: Runtime, subscription_id: int, carries: Carried
) -> None:
    if plain := carries.pack():
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
