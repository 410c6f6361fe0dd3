"""Accounts, and their end with their users."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Account, Secret, User, table

_accounts, _users, _secrets = table(Account), table(User), table(Secret)


async def insert_account(connection: AsyncConnection, **values: Any) -> int:
    """Writes an account and answers its id."""
    filled = {"settings": {}, "updated_at": values["created_at"]} | values
    done = await connection.execute(insert(_accounts).values(**filled))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def hold(connection: AsyncConnection, account_id: int) -> bool:
    """Keeps an account from being deleted until the end of the transaction. False when it is gone."""
    living = (_accounts.c.id == account_id, _accounts.c.deleted_at.is_(None))
    statement = select(_accounts.c.id).where(*living).with_for_update(read=True)
    return (await connection.execute(statement)).first() is not None


async def by_id(
    connection: AsyncConnection, account_id: int, organization_id: int, *, lock: bool = False
) -> Account | None:
    """The account if it exists in this organization and is not deleted. With `lock` it stays as it is until
    the end of the transaction."""
    statement = select(_accounts).where(_accounts.c.id == account_id, *_living(organization_id))
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = (await connection.execute(statement)).mappings().first()
    return Account(**row) if row else None


async def find(
    connection: AsyncConnection, organization_id: int, *, after_id: int, offset: int, limit: int
) -> list[Account]:
    """At most `limit` accounts of the organization with an id above `after_id`, by id, from `offset` on."""
    statement = select(_accounts).where(*_living(organization_id), _accounts.c.id > after_id)
    rows = await connection.execute(statement.order_by(_accounts.c.id).offset(offset).limit(limit))
    return [Account(**row) for row in rows.mappings()]


async def count(connection: AsyncConnection, organization_id: int) -> int:
    statement = select(func.count()).select_from(_accounts).where(*_living(organization_id))
    return await connection.scalar(statement) or 0


async def first(connection: AsyncConnection, organization_id: int) -> int | None:
    """The id of the organization's first account, its default one."""
    found: int | None = await connection.scalar(
        select(func.min(_accounts.c.id)).where(*_living(organization_id))
    )
    return found


async def change(connection: AsyncConnection, account_id: int, **values: Any) -> None:
    await connection.execute(update(_accounts).where(_accounts.c.id == account_id).values(**values))


async def remove(connection: AsyncConnection, account_id: int, *, now: datetime) -> None:
    """Ends an account with its users and their secrets. Its instances are ended by
    `instances.remove_of_account`."""
    ended = {"deleted_at": now, "updated_at": now}
    await change(connection, account_id, **ended)
    users = select(_users.c.id).where(_users.c.account_id == account_id)
    await connection.execute(delete(_secrets).where(_secrets.c.user_id.in_(users)))
    living = (_users.c.account_id == account_id, _users.c.deleted_at.is_(None))
    await connection.execute(update(_users).where(*living).values(**ended))


def _living(organization_id: int) -> tuple[ColumnElement[bool], ...]:
    return _accounts.c.organization_id == organization_id, _accounts.c.deleted_at.is_(None)
