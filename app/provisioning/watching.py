"""What makes an instance watched: pollers that read its streams, and a subscription that its notifications
go to."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import configuration
from app.delivery import url_logins
from app.event_settings import EventSettings
from app.hubs.documents import NEWEST, DocumentsProvider, Power
from app.polling import reading
from app.runtime import Runtime
from app.store import events, known_objects, outbox, pollers, vendor_webhooks, wakeups
from app.store import url_logins as stored_logins
from app.store.tables import NO_CALLBACK, Instance, Poller, Subscription, VendorWebhook
from app.wire import notifications

LONGEST_OWNER = 200  # characters of a vendor's id of its user; it is in an index


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
    moved: bool = False,
    other_stream: bool = False,
    other_login: bool = False,
) -> None:
    """Brings pollers and subscription to what the instance's configuration asks for, from whatever they are.

    What is polled already goes on at once where it stands, and so does the vendor's stream under another
    name. New resources begin now: a stream at `cursor`, or where the first poll finds its end. `other_stream`
    says that the positions in the one before mean nothing in this one; `moved` that the account is at another
    place of the vendor, where nothing means what it did; `other_login` that the same callback is called as
    somebody else. A disabled instance, and one that the vendor does not let in, rests in its place.
    """
    resources = wanted.resources if wanted.enabled else {}
    known = {poller.resource: poller for poller in await pollers.hold(connection, instance.id)}
    await pollers.remove(connection, instance.id, keep=resources.keys())
    place = None if moved or other_stream else _place(known.values())
    starts = {True: place or cursor or NEWEST, False: reading.position(now)}
    due_at = now if instance.valid and not instance.disabled else None
    waits = _waits(runtime, instance, wanted)
    for resource, settings in resources.items():
        is_stream, before = settings.reading is None, known.get(resource)
        start = {"cursor": starts[is_stream]}
        how: dict[str, Any] = {
            "page_size": settings.page_size,
            "reading": settings.reading,
            "interval_seconds": wanted.interval.total_seconds(),
            "due_at": due_at,
            "waits": waits and is_stream,
        }
        if before is None:
            how |= {"account_id": instance.account_id, "instance_id": instance.id, "resource": resource}
            await pollers.create(connection, **(how | start))
            continue
        anew = moved or (other_stream and is_stream) or (before.reading is None) is not is_stream
        await pollers.configure(connection, instance.id, resource, **how, **(start if anew else {}))
    await _let_vendor_call(connection, runtime, instance, wanted, now, moved=moved)
    if moved:
        await _set_apart(connection, instance, now)
    await _subscribe(connection, runtime, instance, wanted, now, other_login=other_login)
    await wakeups.notify(connection, Poller)


def _place(known: Iterable[Poller]) -> str | None:
    """Where an instance stands in its vendor's stream: what is read twice is known by its keys."""
    streams = [poller for poller in known if poller.reading is None and poller.cursor != NEWEST]
    streams.sort(key=lambda poller: poller.polled_at.timestamp() if poller.polled_at else 0)
    return streams[0].cursor if streams else None


async def _set_apart(connection: AsyncConnection, instance: Instance, now: datetime) -> None:
    """What is stored stays as it was at another place; what comes in just now, by a poll that had begun
    there, is waited for."""
    await events.last_sequence(connection, instance_id=instance.id, account_id=instance.account_id)
    await events.rename_keys(connection, instance.id, prefix=f"until {now:%FT%TZ}: ")
    await known_objects.forget(connection, instance.id)


async def watch_as_before(
    connection: AsyncConnection, instance: Instance, *, enabled: bool, now: datetime
) -> None:
    """Lets an instance whose configuration cannot be read go on as it did, or end. Its subscription stays."""
    if not enabled:
        await pollers.remove(connection, instance.id, keep=())
    elif instance.valid and not instance.disabled:
        await pollers.resume(connection, instance.id, now=now)
    await vendor_webhooks.make_due(connection, instance.id, now=now)
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
    moved: bool,
) -> None:
    """Has the vendor's webhooks made, renewed or ended by whoever looks after them. Where the account has
    `moved`, what was made before may not call for the instance any more."""
    if wanted.webhooks:
        owner = instance.configuration.get(configuration.OWNER) or None
        made = await vendor_webhooks.order(
            connection,
            account_id=instance.account_id,
            instance_id=instance.id,
            owner=owner if owner and len(owner) <= LONGEST_OWNER else None,
            now=now,
        )
        if made.sealed is None or moved:
            name, secret = vendor_webhooks.row_name(made.id), secrets.token_urlsafe(32)
            sealed = runtime.sealer.seal(secret.encode(), name)
            await vendor_webhooks.begin_anew(connection, made.id, sealed=sealed)
    else:
        await vendor_webhooks.make_due(connection, instance.id, now=now)
    await wakeups.notify(connection, VendorWebhook)
    runtime.wakeups.vendor_webhooks.set()


async def _subscribe(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    wanted: EventSettings,
    now: datetime,
    *,
    other_login: bool,
) -> None:
    await url_logins.take_out(connection, runtime, instance.id)
    topic = notifications.topic(instance)
    found = await outbox.subscriptions_of(connection, instance.id, lock="update")
    found = [item for item in found if item.configured or item.topic == topic]
    callback_ids = {item.callback_id for item in found}
    configured = [item for item in found if item.configured]
    if wanted.callback_url is None:
        await outbox.hold_callbacks(connection, callback_ids)
        for subscription in configured:
            await outbox.deactivate(connection, subscription, NO_CALLBACK, now=now)
    else:
        callback_id = await outbox.callback_id(
            connection, account_id=instance.account_id, url=wanted.callback_url, beside=callback_ids
        )
        for subscription in configured:
            if other_login or not _leads_to(subscription, callback_id):
                await outbox.move(connection, subscription, callback_id, now=now)
                runtime.wakeups.callbacks.set()
            await _sign(connection, runtime, subscription.id, wanted)
        if not configured and wanted.enabled:
            await _begin(connection, runtime, instance, callback_id, wanted, now)
    for subscription in found:
        await outbox.keep_order(connection, subscription, ordered=wanted.ordered, now=now)


async def _begin(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    callback_id: int,
    wanted: EventSettings,
    now: datetime,
) -> None:
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


def _leads_to(subscription: Subscription, callback_id: int) -> bool:
    """A new URL is a new receiver, which gets what the old one did not take. The same URL, named again,
    changes nothing: whoever was given up is called again on demand only."""
    return subscription.callback_id == callback_id and subscription.inactive_reason != NO_CALLBACK


async def _sign(
    connection: AsyncConnection, runtime: Runtime, subscription_id: int, wanted: EventSettings
) -> None:
    plain = wanted.carried.pack()
    sealed = runtime.sealer.seal(plain, outbox.row_name(subscription_id)) if plain else None
    await outbox.seal_subscription(connection, subscription_id, sealed)
    shown_url = wanted.receiver.shown_url if wanted.receiver else None
    await stored_logins.show(connection, subscription_id, shown_url)
