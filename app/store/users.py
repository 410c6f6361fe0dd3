"""Users of accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Role, Secret, User, table

_users, _secrets = table(User), table(Secret)
_ABLE = (_users.c.active, _users.c.password_hash.is_not(None))
"""Of those who may log in."""


@dataclass(frozen=True)
class Wanted:
    """Which users are looked for: those of an organization, of one of its accounts, or one of them."""

    organization_id: int
    account_id: int | None = None
    user_id: int | None = None


async def insert_user(connection: AsyncConnection, **values: Any) -> int:
    """Writes a user and answers his id."""
    filled = {"active": True, "updated_at": values["created_at"]} | values
    done = await connection.execute(insert(_users).values(**filled))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def by_id(connection: AsyncConnection, user_id: int, organization_id: int) -> User | None:
    """The user if he exists in this organization and is not deleted."""
    return await _one(connection, _users.c.id == user_id, _users.c.organization_id == organization_id)


async def by_email(connection: AsyncConnection, email: str, organization_id: int) -> User | None:
    """The organization's user with this address, which is in lower case."""
    return await _one(connection, _users.c.email == email, _users.c.organization_id == organization_id)


async def anywhere(connection: AsyncConnection, email: str) -> list[User]:
    """The users with this address in all organizations, by id."""
    rows = await connection.execute(_living().where(_users.c.email == email).order_by(_users.c.id))
    return [User(**row) for row in rows.mappings()]


async def first_of_accounts(connection: AsyncConnection, account_id: int | None, *, limit: int) -> list[User]:
    """The first active user of each account, or of that one, for at most `limit` accounts."""
    firsts = select(func.min(_users.c.id)).where(_users.c.active, _users.c.deleted_at.is_(None))
    if account_id is not None:
        firsts = firsts.where(_users.c.account_id == account_id)
    statement = _living().where(_users.c.id.in_(firsts.group_by(_users.c.account_id)))
    rows = await connection.execute(statement.order_by(_users.c.id).limit(limit))
    return [User(**row) for row in rows.mappings()]


async def with_password(connection: AsyncConnection, email: str, *, limit: int) -> list[User]:
    """At most `limit` active users of all organizations who have this address and a password, by id."""
    rows = await connection.execute(
        _living().where(_users.c.email == email, *_ABLE).order_by(_users.c.id).limit(limit)
    )
    return [User(**row) for row in rows.mappings()]


async def most_with_password(connection: AsyncConnection) -> int:
    """How many such users the address has that has most of them; 0 where there is none."""
    number = func.count()
    statement = select(number).where(_users.c.deleted_at.is_(None), *_ABLE).group_by(_users.c.email)
    return await connection.scalar(statement.order_by(number.desc()).limit(1)) or 0


async def hold(connection: AsyncConnection, seen: User) -> bool:
    """Keeps a user as he is until the end of the transaction. False when he has another password by now, or
    may no longer log in."""
    same = (_users.c.id == seen.id, _users.c.active, _users.c.password_hash == seen.password_hash)
    statement = _living().where(*same).with_for_update(read=True)
    return (await connection.execute(statement)).first() is not None


async def find(
    connection: AsyncConnection, wanted: Wanted, *, after_id: int, offset: int, limit: int
) -> list[User]:
    """At most `limit` of the wanted users with an id above `after_id`, by id, from number `offset` on."""
    statement = _living().where(*_conditions(wanted), _users.c.id > after_id)
    rows = await connection.execute(statement.order_by(_users.c.id).offset(offset).limit(limit))
    return [User(**row) for row in rows.mappings()]


async def count(connection: AsyncConnection, wanted: Wanted) -> int:
    statement = select(func.count()).select_from(_users)
    return await connection.scalar(statement.where(*_conditions(wanted), _users.c.deleted_at.is_(None))) or 0


async def is_last_administrator(connection: AsyncConnection, user: User) -> bool:
    """Whether without this user nobody could manage the organization."""
    if not user.active or user.role != Role.ORGANIZATION:
        return False
    others = _living().where(
        _users.c.organization_id == user.organization_id,
        _users.c.role == Role.ORGANIZATION,
        _users.c.active,
        _users.c.id != user.id,
    )
    return not await connection.scalar(select(exists(others)))


async def change(connection: AsyncConnection, user_id: int, **values: Any) -> None:
    await connection.execute(update(_users).where(_users.c.id == user_id).values(**values))


async def remove(connection: AsyncConnection, user_id: int, *, now: datetime) -> None:
    """Ends a user and all his secrets. The instances that he connected are his account's and stay."""
    await change(connection, user_id, deleted_at=now, updated_at=now)
    await connection.execute(delete(_secrets).where(_secrets.c.user_id == user_id))


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    yield _users.c.organization_id == wanted.organization_id
    if wanted.account_id is not None:
        yield _users.c.account_id == wanted.account_id
    if wanted.user_id is not None:
        yield _users.c.id == wanted.user_id


def _living() -> Select[Any]:
    return select(_users).where(_users.c.deleted_at.is_(None))


async def _one(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> User | None:
    row = (await connection.execute(_living().where(*conditions))).mappings().first()
    return User(**row) if row else None
