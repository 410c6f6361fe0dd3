"""Organizations, accounts, users, and the secrets that prove them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Account, Organization, Role, Secret, SecretKind, User, table

_organizations, _accounts, _users = table(Organization), table(Account), table(User)
_secrets = table(Secret)


@dataclass(frozen=True)
class Caller:
    """The user behind a request."""

    user_id: int
    account_id: int
    organization_id: int
    email: str
    first_name: str
    last_name: str
    role: Role


async def lock_if_empty(connection: AsyncConnection) -> bool:
    """True before the first organization exists; no other process can then write one in between."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("LOCK TABLE organization IN SHARE ROW EXCLUSIVE MODE"))
    return not await connection.scalar(select(func.count()).select_from(_organizations))


async def insert_organization(connection: AsyncConnection, **values: Any) -> int:
    """Writes an organization and answers its id."""
    return await _insert(connection, _organizations, values)


async def insert_account(connection: AsyncConnection, **values: Any) -> int:
    """Writes an account and answers its id."""
    return await _insert(connection, _accounts, {"settings": {}, "updated_at": values["created_at"]} | values)


async def insert_user(connection: AsyncConnection, **values: Any) -> int:
    """Writes a user and answers his id."""
    return await _insert(connection, _users, {"active": True, "updated_at": values["created_at"]} | values)


async def insert_secret(connection: AsyncConnection, **values: Any) -> None:
    await _insert(connection, _secrets, values)


async def caller_by_secret(
    connection: AsyncConnection, kind: SecretKind, secret_hash: str, *, now: datetime
) -> Caller | None:
    """The active user whose secret of this kind has this hash; None after its end, and after his."""
    statement = (
        select(
            _users.c.id,
            _users.c.account_id,
            _users.c.organization_id,
            _users.c.email,
            _users.c.first_name,
            _users.c.last_name,
            _users.c.role,
        )
        .join(_secrets, _secrets.c.user_id == _users.c.id)
        .where(*_valid(kind, secret_hash, now), _users.c.active, _users.c.deleted_at.is_(None))
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        return None
    values = dict(row)
    return Caller(user_id=values.pop("id"), role=Role(values.pop("role")), **values)


async def organization_by_secret(
    connection: AsyncConnection, secret_hash: str, *, now: datetime
) -> int | None:
    """The id of the organization whose secret has this hash."""
    conditions = _valid(SecretKind.ORGANIZATION, secret_hash, now)
    found: int | None = await connection.scalar(select(_secrets.c.organization_id).where(*conditions))
    return found


def _valid(kind: SecretKind, secret_hash: str, now: datetime) -> list[ColumnElement[bool]]:
    living = or_(_secrets.c.expires_at.is_(None), _secrets.c.expires_at > now)
    return [_secrets.c.hash == secret_hash, _secrets.c.kind == kind, living]


async def _insert(connection: AsyncConnection, rows: Any, values: dict[str, Any]) -> int:
    done = await connection.execute(insert(rows).values(**values))
    return int(done.inserted_primary_key[0])  # type: ignore[index]
