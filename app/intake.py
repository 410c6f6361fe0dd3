"""How changes come in, whoever tells of them: what is new is stored with its outbox, once and numbered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app import memory
from app.events import Origin, Recipient, pack
from app.hubs.documents import Change
from app.store import events, outbox
from app.store.tables import Instance


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
    known = await events.known_keys(connection, instance.id, [item.event_id for item in changes])
    fresh = _unseen(changes, known)
    if not fresh:
        return 0
    owner = {"instance_id": instance.id, "account_id": instance.account_id}
    last = await events.last_sequence(connection, **owner)
    fresh = await memory.interpret(connection, instance, fresh, origin, now=now)
    subscriptions = await outbox.subscriptions_of(connection, instance.id, lock="share")
    recipient = Recipient(instance, organization_id, subscriptions)
    package = pack(recipient, fresh, origin, last=last, now=now)
    await events.append(connection, package.events)
    await outbox.append(connection, package.notifications, package.deliveries, now=now)
    return len(fresh)


def _unseen(changes: Sequence[Change], known: set[str]) -> list[Change]:
    """The changes that are neither stored nor twice among these, in their order."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.event_id not in known:
            found.setdefault(change.event_id, change)
    return list(found.values())
