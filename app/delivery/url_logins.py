"""Users and passwords that older versions have left in the URLs of callbacks: taken out and sealed when an
instance is saved, or one of its URLs is named again."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from app import event_settings
from app.delivery import carried
from app.delivery.carried import NOTHING, Carried
from app.event_settings import Receiver
from app.runtime import Runtime
from app.store import outbox, url_logins
from app.store.tables import Subscription


async def take_out(connection: AsyncConnection, runtime: Runtime, instance_id: int) -> None:
    """Calls go where they went with what they carried, and whoever was given up stays so."""
    found = [
        (subscription, receiver)
        for subscription, url in await url_logins.of_instance(connection, instance_id)
        if (receiver := event_settings.receiver(url)).login
    ]
    for subscription, receiver in found:
        await _take_out(connection, runtime, subscription, receiver)
    for subscription, receiver in found:
        await url_logins.cover(connection, subscription.callback_id, receiver.shown_url or receiver.url)


async def _take_out(
    connection: AsyncConnection, runtime: Runtime, subscription: Subscription, receiver: Receiver
) -> None:
    callback_id = await outbox.callback_id(
        connection,
        account_id=subscription.account_id,
        url=receiver.url,
        beside=[subscription.callback_id],
    )
    shown_url, now = receiver.shown_url, runtime.clock.now()
    await url_logins.carry_over(connection, subscription, callback_id, shown_url=shown_url, now=now)
    plain = carried_by(runtime, subscription).with_login(receiver.login).pack()
    sealed = runtime.sealer.seal(plain, outbox.row_name(subscription.id)) if plain else None
    await outbox.seal_subscription(connection, subscription.id, sealed)
    runtime.wakeups.callbacks.set()


def carried_by(runtime: Runtime, subscription: Subscription) -> Carried:
    """What the calls of a subscription carry."""
    if subscription.sealed is None:
        return NOTHING
    return carried.unpack(runtime.sealer.open(subscription.sealed, outbox.row_name(subscription.id)))
