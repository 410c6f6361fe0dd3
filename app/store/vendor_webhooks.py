"""Webhooks of vendors: which accounts they call for, how that fares, and when it is renewed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import leases
from app.store.encryption_keys import VENDOR_WEBHOOKS
from app.store.leases import Lease, lease_of
from app.store.tables import Account, Credential, Instance, VendorWebhook, table
from app.store.tables.columns import UtcDateTime

_webhooks, _instances = table(VendorWebhook), table(Instance)
_accounts, _credentials = table(Account), table(Credential)

ERROR_LIMIT = 1000  # characters of an error or a note that are kept

row_name = VENDOR_WEBHOOKS.row_name
"""The name that the secret of a webhook is sealed for."""


@dataclass(frozen=True)
class Called:
    """An instance that a vendor may call for, with what tells its calls from those of others."""

    instance: Instance
    organization_id: int
    webhook: VendorWebhook
    credential: Credential


async def order(
    connection: AsyncConnection, *, account_id: int, instance_id: int, owner: str | None, now: datetime
) -> VendorWebhook:
    """Lets the webhook of an instance be made, or be looked after at once where there is one. `owner` is the
    vendor's id of its user, if it is known."""
    found = await connection.execute(
        update(_webhooks)
        .where(_webhooks.c.instance_id == instance_id)
        .values(owner=owner, due_at=now, failures=0)
        .returning(_webhooks)
    )
    row = found.mappings().first()
    if row is None:
        new: dict[str, Any] = {"account_id": account_id, "instance_id": instance_id, "owner": owner}
        counts = {"failures": 0, "received": 0, "refused": 0}
        made = insert(_webhooks).values(hooks=[], due_at=now, **counts, **new).returning(_webhooks)
        row = (await connection.execute(made)).mappings().one()
    return VendorWebhook(**row)


async def begin_anew(connection: AsyncConnection, webhook_id: int, *, sealed: bytes) -> None:
    """Gives a webhook a secret of its own; what the vendor knew of it before is forgotten."""
    await connection.execute(
        update(_webhooks).where(_webhooks.c.id == webhook_id).values(sealed=sealed, hooks=[], expires_at=None)
    )


async def make_due(connection: AsyncConnection, instance_id: int, *, now: datetime) -> bool:
    """Lets somebody look at once at what an instance's webhook should be. False where there is none."""
    done = await connection.execute(
        update(_webhooks).where(_webhooks.c.instance_id == instance_id).values(due_at=now, failures=0)
    )
    return done.rowcount == 1


async def claim_due(
    connection: AsyncConnection,
    *,
    limit: int,
    now: datetime,
    lease: timedelta,
    instance_id: int | None = None,
) -> list[VendorWebhook]:
    """Takes at most `limit` due webhooks, or that of one instance, for as long as `lease`; see
    `leases.claim`."""
    where = [] if instance_id is None else [_webhooks.c.instance_id == instance_id]
    rows = await leases.claim(connection, VendorWebhook, limit=limit, now=now, lease=lease, where=where)
    return [VendorWebhook(**row) for row in rows]


async def of_instances(connection: AsyncConnection, instance_ids: Sequence[int]) -> dict[int, VendorWebhook]:
    """The webhooks of these instances, also of deleted ones as long as the vendor has not been told."""
    if not instance_ids:
        return {}
    rows = await connection.execute(select(_webhooks).where(_webhooks.c.instance_id.in_(instance_ids)))
    return {row["instance_id"]: VendorWebhook(**row) for row in rows.mappings()}


async def subject(connection: AsyncConnection, instance_id: int) -> Instance:
    """The instance of a webhook, also after its deletion."""
    rows = await connection.execute(select(_instances).where(_instances.c.id == instance_id))
    return Instance(**rows.mappings().one())


async def called(connection: AsyncConnection, element_key: str, instance_ids: Sequence[int]) -> list[Called]:
    """Those of these instances that are of the element, in use, and have a webhook; by id."""
    statement = (
        select(_instances, _accounts.c.organization_id)
        .join(_accounts, _accounts.c.id == _instances.c.account_id)
        .where(
            _instances.c.id.in_(instance_ids),
            _instances.c.element_key == element_key,
            _instances.c.deleted_at.is_(None),
            _instances.c.disabled.is_(False),
        )
        .order_by(_instances.c.id)
    )
    found = [dict(row) for row in (await connection.execute(statement)).mappings()]
    ids = [row["id"] for row in found]
    webhooks = await of_instances(connection, ids)
    rows = await connection.execute(select(_credentials).where(_credentials.c.instance_id.in_(ids)))
    sealed = {row["instance_id"]: Credential(**row) for row in rows.mappings()}
    return [
        Called(
            organization_id=row.pop("organization_id"),
            instance=Instance(**row),
            webhook=webhooks[row["id"]],
            credential=sealed[row["id"]],
        )
        for row in found
        if row["id"] in webhooks and row["id"] in sealed
    ]


async def of_owner(connection: AsyncConnection, element_key: str, owner: str, *, limit: int) -> list[int]:
    """At most `limit` instances of an element, in use, whose vendor knows their user by this id. One look
    into an index and one per instance found, however many instances there are."""
    statement = (
        select(_webhooks.c.instance_id)
        .join(_instances, _instances.c.id == _webhooks.c.instance_id)
        .where(
            _webhooks.c.owner == owner,
            _instances.c.element_key == element_key,
            _instances.c.deleted_at.is_(None),
            _instances.c.disabled.is_(False),
        )
        .order_by(_webhooks.c.instance_id)
        .limit(limit)
    )
    return list((await connection.scalars(statement)).all())


async def count_received(
    connection: AsyncConnection, webhook_id: int, *, now: datetime, hinted: bool
) -> bool:
    """Counts a genuine call, which may have `hinted` the pollers. False when the instance has ended or is
    out of use meanwhile."""
    used = and_(
        _instances.c.id == _webhooks.c.instance_id,
        _instances.c.deleted_at.is_(None),
        _instances.c.disabled.is_(False),
    )
    done = await connection.execute(
        update(_webhooks)
        .where(_webhooks.c.id == webhook_id, exists(select(_instances.c.id).where(used)))
        .values(received=_webhooks.c.received + 1, received_at=now, **_hint(hinted, now))
    )
    return done.rowcount == 1


async def count_refused(
    connection: AsyncConnection,
    webhook_ids: Sequence[int],
    words: str,
    *,
    now: datetime,
    hinted: Sequence[int] = (),
) -> None:
    """Counts a call that the vendor did not make, for each of these; it has `hinted` the pollers of some. The
    words never replace what else is wrong: anybody can call."""
    ordered = select(_webhooks.c.id).where(_webhooks.c.id.in_(webhook_ids)).order_by(_webhooks.c.id)
    hint = case((_webhooks.c.id.in_(hinted), literal(now, UtcDateTime())), else_=_webhooks.c.hinted_at)
    await connection.execute(
        update(_webhooks)
        .where(_webhooks.c.id.in_(ordered.with_for_update()))
        .values(
            refused=_webhooks.c.refused + 1,
            refused_at=now,
            hinted_at=hint,
            error=func.coalesce(_webhooks.c.error, words),
            error_at=func.coalesce(_webhooks.c.error_at, literal(now, UtcDateTime())),
        )
    )


async def unhinted(
    connection: AsyncConnection, webhook_ids: Sequence[int], *, since: datetime
) -> dict[int, int]:
    """The instances, by webhook, whose pollers no call has woken after `since`; in the order of their ids."""
    statement = (
        select(_webhooks.c.id, _webhooks.c.instance_id)
        .where(
            _webhooks.c.id.in_(webhook_ids),
            or_(_webhooks.c.hinted_at.is_(None), _webhooks.c.hinted_at <= since),
        )
        .order_by(_webhooks.c.instance_id)
    )
    return {row.id: row.instance_id for row in await connection.execute(statement)}


async def note(
    connection: AsyncConnection, webhook_id: int, words: str, *, now: datetime, ended: bool
) -> None:
    """Keeps what a vendor has said of its webhook; one that has `ended` is made again at once."""
    due = {"due_at": now} if ended else {}
    await connection.execute(
        update(_webhooks)
        .where(_webhooks.c.id == webhook_id)
        .values(error=words[:ERROR_LIMIT], error_at=now, **due)
    )


async def keep(
    connection: AsyncConnection,
    row: VendorWebhook,
    *,
    hooks: Sequence[str],
    expires_at: datetime | None,
    owner: str | None,
    due_at: datetime | None,
) -> bool:
    """Notes what the vendor has promised, and lets the row go; see `_settle`."""
    return await _settle(
        connection,
        row,
        due_at,
        hooks=list(hooks),
        expires_at=expires_at,
        owner=owner,
        failures=0,
        error=None,
        error_at=None,
    )


async def fail(
    connection: AsyncConnection,
    row: VendorWebhook,
    *,
    failures: int,
    error: str,
    now: datetime,
    due_at: datetime | None,
) -> bool:
    """Notes a failure; what the vendor promised before stays."""
    return await _settle(connection, row, due_at, failures=failures, error=error[:ERROR_LIMIT], error_at=now)


async def forget(connection: AsyncConnection, lease: Lease, instance_id: int) -> bool:
    """Removes a webhook that the vendor has ended, and the secrets of its instance if that was deleted: they
    were kept for this. False, and nothing removed, when the lease was lost."""
    mine = exists(select(_webhooks.c.id).where(leases.held(VendorWebhook, lease)))
    ended = exists(
        select(_instances.c.id).where(_instances.c.id == instance_id, _instances.c.deleted_at.is_not(None))
    )
    await connection.execute(
        delete(_credentials).where(_credentials.c.instance_id == instance_id, mine, ended)
    )
    done = await connection.execute(delete(_webhooks).where(leases.held(VendorWebhook, lease)))
    return done.rowcount == 1


async def end(connection: AsyncConnection, row: VendorWebhook) -> bool:
    """Removes the webhook of a living instance that the vendor has ended, unless it was asked for anew
    meanwhile: then it is looked after at once. False when the lease was lost."""
    mine = leases.held(VendorWebhook, lease_of(row))
    gone = await connection.execute(delete(_webhooks).where(mine, _webhooks.c.due_at == row.due_at))
    return gone.rowcount == 1 or await _settle(connection, row, row.due_at, hooks=[], expires_at=None)


async def release(connection: AsyncConnection, lease: Lease) -> bool:
    """Lets the row go as it is: it stays due."""
    return await leases.settle(connection, VendorWebhook, lease)


def _hint(hinted: bool, now: datetime) -> dict[str, datetime]:
    return {"hinted_at": now} if hinted else {}


async def _settle(
    connection: AsyncConnection, row: VendorWebhook, due_at: datetime | None, **values: object
) -> bool:
    """Lets a row go. What made it due anew while it was held counts: its ids must not be lost, so nobody
    takes it from its holder, and it is looked at again at once."""
    next_due = literal(due_at, UtcDateTime())
    settled_due = case((_webhooks.c.due_at == row.due_at, next_due), else_=_webhooks.c.due_at)
    return await leases.settle(connection, VendorWebhook, lease_of(row), due_at=settled_due, **values)
