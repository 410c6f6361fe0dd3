"""What makes an instance watched: pollers that read its streams, and a subscription that its notifications
go to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.event_settings import EventSettings
from app.hubs.documents import NEWEST, DocumentsProvider
from app.runtime import Runtime
from app.store import outbox, pollers, wakeups
from app.store.tables import Instance, Poller, Subscription
from app.wire import notifications

NO_CALLBACK = "the instance has no callback URL"


async def end_of_stream(provider: DocumentsProvider) -> str:
    """The cursor to start from: an account reports what changes from now on."""
    return (await provider.changes(NEWEST, provider.page_limit)).cursor


async def watch(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    wanted: EventSettings,
    *,
    cursor: str | None,
    now: datetime,
    restart: bool = False,
) -> None:
    """Brings pollers and subscription to what the instance's configuration asks for, from whatever they are.

    New resources begin at `cursor`, or where the first poll finds the end of the stream; those that are
    polled already go on at once where they stand, unless they are to `restart` as well. A disabled instance,
    and one that the vendor does not let in, rests in its place.
    """
    resources = wanted.resources if wanted.enabled else {}
    known = (await pollers.of_instances(connection, [instance.id])).get(instance.id, [])
    await pollers.remove(connection, instance.id, keep=resources.keys())
    due_at = now if instance.valid and not instance.disabled else None
    start = {"cursor": cursor or NEWEST}
    for resource, page_size in resources.items():
        how = {
            "page_size": page_size,
            "interval_seconds": wanted.interval.total_seconds(),
            "due_at": due_at,
        }
        if resource in {poller.resource for poller in known}:
            place = start if restart else {}
            await pollers.configure(connection, instance.id, resource, **how, **place)
        else:
            new: dict[str, Any] = (
                {"account_id": instance.account_id, "instance_id": instance.id} | how | start
            )
            await pollers.create(connection, resource=resource, **new)
    await _subscribe(connection, runtime, instance, wanted, now)
    await wakeups.notify(connection, Poller)


async def _subscribe(
    connection: AsyncConnection, runtime: Runtime, instance: Instance, wanted: EventSettings, now: datetime
) -> None:
    subscriptions = await outbox.subscriptions_of(connection, instance.id, lock="update")
    if wanted.callback_url is None:
        for subscription in subscriptions:
            await outbox.deactivate(connection, subscription, NO_CALLBACK, now=now)
        return
    callback_id = await outbox.callback_id(
        connection, account_id=instance.account_id, url=wanted.callback_url
    )
    for subscription in subscriptions:
        await _redirect(connection, runtime, subscription, callback_id, wanted, now)
    if not subscriptions and wanted.enabled:
        subscription_id = await outbox.subscribe(
            connection,
            account_id=instance.account_id,
            instance_id=instance.id,
            callback_id=callback_id,
            topic=notifications.topic(instance),
            created_at=now,
        )
        await _sign(connection, runtime, subscription_id, wanted)


async def _redirect(
    connection: AsyncConnection,
    runtime: Runtime,
    subscription: Subscription,
    callback_id: int,
    wanted: EventSettings,
    now: datetime,
) -> None:
    """A new URL is a new receiver, which gets what the old one did not take. The same URL, named again,
    changes nothing: whoever was given up is called again on demand only."""
    if subscription.callback_id != callback_id or subscription.inactive_reason == NO_CALLBACK:
        await outbox.move(connection, subscription, callback_id, now=now)
        runtime.wakeups.callbacks.set()
    await _sign(connection, runtime, subscription.id, wanted)


async def _sign(
    connection: AsyncConnection, runtime: Runtime, subscription_id: int, wanted: EventSettings
) -> None:
    key = wanted.signature_key
    sealed = runtime.sealer.seal(key.encode(), outbox.row_name(subscription_id)) if key else None
    await outbox.seal_subscription(connection, subscription_id, sealed)
