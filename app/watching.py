"""What makes an instance watched: pollers that read its streams, and a subscription that its notifications
go to."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.event_settings import EventSettings
from app.hubs.documents import NEWEST, DocumentsProvider, Power
from app.polling import reading
from app.runtime import Runtime
from app.store import outbox, pollers, vendor_webhooks, wakeups
from app.store.tables import Instance, Poller, Subscription, VendorWebhook
from app.wire import notifications

LONGEST_OWNER = 200  # characters of a vendor's id of its user; it is in an index
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
    waits = _waits(runtime, instance, wanted)
    before = {poller.resource: poller.reading is None for poller in known}
    for resource, settings in resources.items():
        is_stream = settings.reading is None
        start = {"cursor": cursor or NEWEST if is_stream else reading.position(now)}
        how = {
            "page_size": settings.page_size,
            "reading": settings.reading,
            "interval_seconds": wanted.interval.total_seconds(),
            "due_at": due_at,
            "waits": waits and is_stream,
        }
        if resource in before:
            place = start if restart or before[resource] is not is_stream else {}
            await pollers.configure(connection, instance.id, resource, **how, **place)
        else:
            new: dict[str, Any] = (
                {"account_id": instance.account_id, "instance_id": instance.id} | how | start
            )
            await pollers.create(connection, resource=resource, **new)
    await _let_vendor_call(connection, runtime, instance, wanted, now, restart=restart)
    await _subscribe(connection, runtime, instance, wanted, now)
    await wakeups.notify(connection, Poller)


def _waits(runtime: Runtime, instance: Instance, wanted: EventSettings) -> bool:
    """Whether the vendor is to say when its stream has something new."""
    provider = runtime.registry.find(instance.element_key)
    return (
        wanted.long_poll and Power.LONG_POLL in provider.powers and provider.can_wait(instance.configuration)
    )


async def _let_vendor_call(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    wanted: EventSettings,
    now: datetime,
    *,
    restart: bool,
) -> None:
    """Has the vendor's webhooks made, renewed or ended by whoever looks after them. A `restart` is at another
    place of the vendor: what was made before may not call for the instance any more."""
    if wanted.webhooks:
        owner = instance.configuration.get("oauth.user.id") or None
        made = await vendor_webhooks.order(
            connection,
            account_id=instance.account_id,
            instance_id=instance.id,
            owner=owner if owner and len(owner) <= LONGEST_OWNER else None,
            now=now,
        )
        if made.sealed is None or restart:
            name, secret = vendor_webhooks.row_name(made.id), secrets.token_urlsafe(32)
            sealed = runtime.sealer.seal(secret.encode(), name)
            await vendor_webhooks.begin_anew(connection, made.id, sealed=sealed)
    else:
        await vendor_webhooks.make_due(connection, instance.id, now=now)
    await wakeups.notify(connection, VendorWebhook)
    runtime.wakeups.vendor_webhooks.set()


async def _subscribe(
    connection: AsyncConnection, runtime: Runtime, instance: Instance, wanted: EventSettings, now: datetime
) -> None:
    found = await outbox.subscriptions_of(connection, instance.id, lock="update")
    subscriptions = [item for item in found if item.configured]
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
            ordered=wanted.ordered,
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
    await outbox.keep_order(connection, subscription, ordered=wanted.ordered, now=now)
    await _sign(connection, runtime, subscription.id, wanted)


async def _sign(
    connection: AsyncConnection, runtime: Runtime, subscription_id: int, wanted: EventSettings
) -> None:
    plain = wanted.carried.pack()
    sealed = runtime.sealer.seal(plain, outbox.row_name(subscription_id)) if plain else None
    await outbox.seal_subscription(connection, subscription_id, sealed)
