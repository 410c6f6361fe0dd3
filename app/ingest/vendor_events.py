"""Calls of the vendors: whose they are, whether the vendor made them, and the changes that they tell of."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app import configuration
from app.errors import BadRequest, Unauthorized
from app.hubs.documents import Announcement, Call, Power
from app.ids import LARGEST_ID
from app.ingest import intake, vendor_webhooks
from app.ingest.events import EVENTS_PER_NOTIFICATION, Origin
from app.registry import Provider
from app.runtime import Runtime
from app.store import pollers, wakeups
from app.store import vendor_webhooks as rows
from app.store.tables import Poller, VendorWebhook, Via
from app.store.vendor_webhooks import Called

_INSTANCES = 20  # that one call may be for; bounds the work of a call that nobody has authenticated
_CHANGES = 200  # of one call that are taken from it; each 20 of them repeat its whole body

HEADER = "element-instances"
"""Names instances, where the URL of a call does not."""

_NOT_GENUINE = "a call was refused: its signature or secret is not that of this instance"
_UNPROVED = "a call that proves nothing only had the account polled"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Addressed:
    """The instances that a call is for. `loosely` says that only its body names them, by their user."""

    called: Sequence[Called]
    loosely: bool = False


async def receive(runtime: Runtime, provider: Provider, call: Call) -> None:
    """Takes in what a vendor says, for every instance that the call is for; it is stored when this returns.

    Raises Unauthorized where no instance of the element expects this call or the vendor did not make it, and
    BadRequest for a body that makes no sense, which wakes the pollers. So does a call of the oldest form,
    which can name a user and prove nothing: it tells of no change, and is never refused.
    """
    addressed = await _addressed(runtime, provider, call)
    genuine: list[Called] = []
    refused: list[Called] = []
    for item in addressed.called:
        (genuine if _is_genuine(runtime, provider, call, item) else refused).append(item)
        if refused and not addressed.loosely:
            break
    if refused:
        await _refuse(runtime, refused, hint=addressed.loosely)
        if not addressed.loosely:
            raise _nobody()
    if genuine:
        await _hear(runtime, provider, call, genuine)


async def _hear(runtime: Runtime, provider: Provider, call: Call, genuine: Sequence[Called]) -> None:
    """Takes in what the vendor has said. Raises BadRequest where that cannot be read, and only then: the
    pollers find it."""
    unreadable: BadRequest | None = None
    try:
        said = provider.announced(call)
    except BadRequest as error:
        unreadable = error
        said = Announcement([], None, note=f"a call of the vendor could not be read: {error.message}")
    for item in genuine:
        await _take_in(runtime, item, said)
    if unreadable is not None:
        raise unreadable


async def _addressed(runtime: Runtime, provider: Provider, call: Call) -> _Addressed:
    if Power.WEBHOOKS not in provider.powers:
        raise _nobody()
    ids = _named(call)
    owner = provider.owner_of(call) if ids is None else None
    async with runtime.database.read() as connection:
        if owner is not None and owner[0] == configuration.OWNER:
            owned = await rows.of_owner(connection, provider.key, owner[1], limit=_INSTANCES)
        else:
            owned = []
        found = await rows.called(connection, provider.key, owned if ids is None else ids)
    called = [item for item in found if vendor_webhooks.is_wanted(item.instance)]
    if (ids is None and owner is None) or (ids is not None and len(called) < len(ids)):
        raise _nobody()
    return _Addressed(called, loosely=ids is None)


def _named(call: Call) -> list[int] | None:
    """The ids that the URL or a header names, each once; None where neither does."""
    text = call.query.get("instance") or call.headers.get(HEADER)
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",", _INSTANCES)]
    if len(parts) > _INSTANCES or not all(re.fullmatch(r"\d{1,19}", part, re.ASCII) for part in parts):
        raise _nobody()
    ids = sorted({int(part) for part in parts})
    if ids[-1] > LARGEST_ID:
        raise _nobody()
    return ids


def _nobody() -> Unauthorized:
    """The same for whatever is missing or wrong: who is not the vendor learns nothing from it."""
    return Unauthorized("This call cannot be verified")


def _is_genuine(runtime: Runtime, provider: Provider, call: Call, item: Called) -> bool:
    secret = vendor_webhooks.secret(runtime, item.webhook)
    values = item.instance.configuration | dict(runtime.credentials.unseal(item.credential).values)
    return provider.is_genuine(call, secret, values)


async def _refuse(runtime: Runtime, refused: Sequence[Called], *, hint: bool) -> None:
    """One transaction, however many the call names; and one line of the log per minute, lest strangers fill
    it."""
    now = runtime.clock.now()
    ids = [item.webhook.id for item in refused]
    async with runtime.database.write() as connection:
        hinted = await _hint(connection, runtime, ids, now) if hint else {}
        await rows.count_refused(
            connection, ids, _UNPROVED if hint else _NOT_GENUINE, now=now, hinted=list(hinted)
        )
    for instance_id in hinted.values():
        runtime.wakeups.hint(instance_id)
    for item in refused:
        if _minute(item.webhook.refused_at) != _minute(now):
            log.warning("vendor call refused", extra={"instance": item.instance.id, "hint": hint})


def _minute(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(second=0, microsecond=0)


async def _take_in(runtime: Runtime, item: Called, said: Announcement) -> None:
    """The transaction of a call: its count, its changes with their notifications and deliveries, and the hint
    that lets the pollers find what the vendor did not say."""
    now, said = runtime.clock.now(), _for(item, said)
    async with runtime.database.write() as connection:
        hinted = bool(await _hint(connection, runtime, [item.webhook.id], now))
        if not await rows.count_received(connection, item.webhook.id, now=now, hinted=hinted):
            raise _nobody()
        if said.note or said.ended:
            words = said.note or "the vendor has ended its webhook"
            await rows.note(connection, item.webhook.id, words, now=now, ended=said.ended)
            await wakeups.notify(connection, VendorWebhook)
        stored = await _store(connection, item, said, now)
    _wake(runtime, item.instance.id, hinted=hinted, stored=stored, ended=said.ended)
    log.info("vendor call taken in", extra={"instance": item.instance.id, "events": stored})


def _for(item: Called, said: Announcement) -> Announcement:
    """What a call says to an instance. One that was made for another webhook, as far as its vendor tells,
    was made for another instance, or for what is not wanted any more: it is a hint and nothing else."""
    hooks = item.webhook.hooks
    return said if said.hook is None or not hooks or said.hook in hooks else Announcement([], None)


async def _store(connection: AsyncConnection, item: Called, said: Announcement, now: datetime) -> int:
    """A call that tells of more than can be taken from it is a hint and nothing else: the pollers find all
    of that."""
    if not said.changes or len(said.changes) > _CHANGES:
        return 0
    origin = Origin(Via.WEBHOOK, "events", EVENTS_PER_NOTIFICATION[Via.WEBHOOK], raw=said.raw)
    return await intake.take_in(
        connection, item.instance, item.organization_id, said.changes, origin, now=now
    )


async def _hint(
    connection: AsyncConnection, runtime: Runtime, webhook_ids: Sequence[int], now: datetime
) -> dict[int, int]:
    """Wakes the pollers of the instances of these webhooks, unless a call has done so just now. Answers
    those woken, by their webhooks."""
    since = now - runtime.settings.poll_interval_floor
    found = await rows.unhinted(connection, webhook_ids, since=since)
    for instance_id in found.values():
        await pollers.hint(connection, instance_id, now=now)
    if found:
        await wakeups.notify(connection, Poller)
    return found


def _wake(runtime: Runtime, instance_id: int, *, hinted: bool, stored: int, ended: bool) -> None:
    if hinted:
        runtime.wakeups.hint(instance_id)
    if stored:
        runtime.wakeups.callbacks.set()
    if ended:
        runtime.wakeups.vendor_webhooks.set()
