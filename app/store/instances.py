"""Instances and their sealed credentials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Account, Credential, FileLink, Instance, Poller, table

_instances, _credentials = table(Instance), table(Credential)
_pollers, _accounts, _links = table(Poller), table(Account), table(FileLink)


async def insert_instance(connection: AsyncConnection, **values: Any) -> int:
    """Writes an instance and answers its id."""
    done = await connection.execute(insert(_instances).values(**values))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def insert_credential(
    connection: AsyncConnection, *, instance_id: int, account_id: int, sealed: bytes
) -> None:
    await connection.execute(
        insert(_credentials).values(instance_id=instance_id, account_id=account_id, sealed=sealed, version=1)
    )


async def save_credential(
    connection: AsyncConnection, instance_id: int, *, version: int, sealed: bytes
) -> bool:
    """Replaces version `version` of the secrets by the next one, and ends whoever's right to refresh it.
    False when another process was first."""
    done = await connection.execute(
        update(_credentials)
        .where(_credentials.c.instance_id == instance_id, _credentials.c.version == version)
        .values(sealed=sealed, version=version + 1, leased_until=None, fence=None)
    )
    return done.rowcount == 1


async def claim_refresh(
    connection: AsyncConnection, instance_id: int, *, version: int, fence: int, now: datetime, until: datetime
) -> bool:
    """Takes the right to refresh version `version` of the secrets until `until`. False while somebody else
    has it, or when there is a newer version already."""
    free = _credentials.c.leased_until.is_(None) | (_credentials.c.leased_until <= now)
    done = await connection.execute(
        update(_credentials)
        .where(_credentials.c.instance_id == instance_id, _credentials.c.version == version, free)
        .values(leased_until=until, fence=fence)
    )
    return done.rowcount == 1


async def release_refresh(connection: AsyncConnection, instance_id: int, *, fence: int) -> bool:
    """Gives the right back. False when it is no longer this one: somebody else has refreshed or tries to."""
    done = await connection.execute(
        update(_credentials)
        .where(_credentials.c.instance_id == instance_id, _credentials.c.fence == fence)
        .values(leased_until=None, fence=None)
    )
    return done.rowcount == 1


async def credentials(connection: AsyncConnection, instance_ids: Sequence[int]) -> dict[int, Credential]:
    """The sealed secrets of these instances; a deleted one has none."""
    rows = await connection.execute(select(_credentials).where(_credentials.c.instance_id.in_(instance_ids)))
    return {row["instance_id"]: Credential(**row) for row in rows.mappings()}


async def by_id(connection: AsyncConnection, instance_id: int, account_id: int) -> Instance | None:
    """The instance if it exists in this account and is not deleted."""
    return await _one(connection, _instances.c.id == instance_id, _instances.c.account_id == account_id)


async def by_token_hash(connection: AsyncConnection, token_hash: str) -> Instance | None:
    """The instance whose Element token has this hash; None after its deletion."""
    return await _one(connection, _instances.c.token_hash == token_hash)


async def for_worker(connection: AsyncConnection, instance_id: int) -> tuple[Instance, int] | None:
    """The instance whatever its account, and its organization's id, for a worker that holds its poller."""
    statement = (
        select(_instances, _accounts.c.organization_id)
        .join(_accounts, _accounts.c.id == _instances.c.account_id)
        .where(_instances.c.id == instance_id, _instances.c.deleted_at.is_(None))
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        return None
    values = dict(row)
    organization_id = values.pop("organization_id")
    return Instance(**values), organization_id


async def of_account(
    connection: AsyncConnection, account_id: int, *, after_id: int, limit: int
) -> list[Instance]:
    """At most `limit` instances of the account with an id above `after_id`, by id."""
    statement = _living().where(_instances.c.account_id == account_id, _instances.c.id > after_id)
    rows = await connection.execute(statement.order_by(_instances.c.id).limit(limit))
    return [Instance(**row) for row in rows.mappings()]


async def update_instance(connection: AsyncConnection, instance_id: int, **values: Any) -> None:
    await connection.execute(update(_instances).where(_instances.c.id == instance_id).values(**values))


async def remove(connection: AsyncConnection, instance_id: int, *, now: datetime) -> None:
    """Ends an instance: its secrets, its links and its polling are gone, what it reported stays and is
    delivered."""
    await connection.execute(delete(_credentials).where(_credentials.c.instance_id == instance_id))
    await connection.execute(delete(_pollers).where(_pollers.c.instance_id == instance_id))
    await connection.execute(delete(_links).where(_links.c.instance_id == instance_id))
    await update_instance(connection, instance_id, deleted_at=now, updated_at=now)


def _living() -> Select[Any]:
    return select(_instances).where(_instances.c.deleted_at.is_(None))


async def _one(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> Instance | None:
    row = (await connection.execute(_living().where(*conditions))).mappings().first()
    return Instance(**row) if row else None
