"""Calls of the vendors: whose they are, whether the vendor made them, and the changes that they tell of."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app import intake, vendor_webhooks
from app.errors import NotFound, Unauthorized
from app.events import EVENTS_PER_NOTIFICATION, Origin
from app.hubs.documents import Announcement, Call, Power
from app.ids import LARGEST_ID
from app.registry import Provider
from app.runtime import Runtime
from app.store import pollers, wakeups
from app.store import vendor_webhooks as rows
from app.store.tables import Poller, VendorWebhook, Via
from app.store.vendor_webhooks import Called

_INSTANCES = 20  # that one call may be for; bounds the work of a call that nobody has authenticated
_CHANGES = 200  # of one call that are taken from it; each 20 of them repeat its whole body

_HEADER = "element-instances"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Addressed:
    """The instances that a call is for. `loosely` says that only its body names them, by their user."""

    called: Sequence[Called]
    loosely: bool = False


async def receive(runtime: Runtime, provider: Provider, call: Call) -> None:
    """Takes in what a vendor says, for every instance that the call is for; it is stored when this returns.

    Raises NotFound where no instance of the element expects this call, Unauthorized where the vendor did not
    make it, and BadRequest for a body that makes no sense. A call of the oldest form, which can name a user
    and prove nothing, tells of no change; it wakes the pollers.
    """
    addressed = await _addressed(runtime, provider, call)
    found = [(item, _is_genuine(runtime, provider, call, item)) for item in addressed.called]
    refused = [item for item, genuine in found if not genuine]
    for item in refused:
        await _refuse(runtime, item, hint=addressed.loosely)
    if refused and not addressed.loosely:
        raise Unauthorized("This call cannot be verified")
    if len(refused) < len(found):
        said = provider.announced(call)
        for item, genuine in found:
            if genuine:
                await _take_in(runtime, item, said)


async def _addressed(runtime: Runtime, provider: Provider, call: Call) -> _Addressed:
    if Power.WEBHOOKS not in provider.powers:
        raise _nobody()
    ids = _named(call)
    owner = provider.owner_of(call) if ids is None else None
    async with runtime.database.read() as connection:
        if owner is not None and owner[0] == vendor_webhooks.OWNER_KEY:
            owned = await rows.of_owner(connection, provider.key, owner[1], limit=_INSTANCES)
        else:
            owned = []
        found = await rows.called(connection, provider.key, owned if ids is None else ids)
    called = [item for item in found if vendor_webhooks.is_wanted(item.instance)]
    if not called or (ids is not None and len(called) < len(ids)):
        raise _nobody()
    return _Addressed(called, loosely=ids is None)


def _named(call: Call) -> list[int] | None:
    """The ids that the URL or a header names, each once; None where neither does."""
    text = call.query.get("instance") or call.headers.get(_HEADER)
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",", _INSTANCES)]
    if len(parts) > _INSTANCES or not all(re.fullmatch(r"\d{1,19}", part, re.ASCII) for part in parts):
        raise _nobody()
    ids = sorted({int(part) for part in parts})
    if ids[-1] > LARGEST_ID:
        raise _nobody()
    return ids


def _nobody() -> NotFound:
    """The same for whatever is missing or wrong: who is not the vendor learns nothing from it."""
    return NotFound("No instance found")


def _is_genuine(runtime: Runtime, provider: Provider, call: Call, item: Called) -> bool:
    secret = vendor_webhooks.secret(runtime, item.webhook)
    values = item.instance.configuration | dict(runtime.credentials.unseal(item.credential).values)
    return provider.is_genuine(call, secret, values)


async def _refuse(runtime: Runtime, item: Called, *, hint: bool) -> None:
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        hinted = hint and await _hint(connection, runtime, item.webhook, now)
        await rows.count_refused(connection, item.webhook.id, now=now, hinted=hinted)
    if hinted:
        runtime.wakeups.hint(item.instance.id)
    log.warning("vendor call refused", extra={"instance": item.instance.id, "hint": hinted})


async def _take_in(runtime: Runtime, item: Called, said: Announcement) -> None:
    """The transaction of a call: its count, its changes with their notifications and deliveries, and the hint
    that lets the pollers find what the vendor did not say."""
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        hinted = await _hint(connection, runtime, item.webhook, now)
        if not await rows.count_received(connection, item.webhook.id, now=now, hinted=hinted):
            raise _nobody()
        if said.note or said.ended:
            words = said.note or "the vendor has ended its webhook"
            await rows.note(connection, item.webhook.id, words, now=now, ended=said.ended)
            await wakeups.notify(connection, VendorWebhook)
        stored = await _store(connection, item, said, now)
    _wake(runtime, item.instance.id, hinted=hinted, stored=stored, ended=said.ended)
    log.info("vendor call taken in", extra={"instance": item.instance.id, "events": stored})


async def _store(connection: AsyncConnection, item: Called, said: Announcement, now: datetime) -> int:
    """A call that tells of more than can be taken from it is a hint and nothing else: the pollers find all
    of that."""
    if not said.changes or len(said.changes) > _CHANGES:
        return 0
    origin = Origin(Via.WEBHOOK, "events", EVENTS_PER_NOTIFICATION[Via.WEBHOOK], raw=said.raw)
    return await intake.take_in(
        connection, item.instance, item.organization_id, said.changes, origin, now=now
    )


async def _hint(connection: AsyncConnection, runtime: Runtime, webhook: VendorWebhook, now: datetime) -> bool:
    """Wakes the pollers of an instance, unless a call has done so just now."""
    pause = runtime.settings.poll_interval_floor
    last = await rows.last_hint(connection, webhook.id)
    if last is not None and now - last < pause:
        return False
    await pollers.hint(connection, webhook.instance_id, now=now)
    await wakeups.notify(connection, Poller)
    return True


def _wake(runtime: Runtime, instance_id: int, *, hinted: bool, stored: int, ended: bool) -> None:
    if hinted:
        runtime.wakeups.hint(instance_id)
    if stored:
        runtime.wakeups.callbacks.set()
    if ended:
        runtime.wakeups.vendor_webhooks.set()
