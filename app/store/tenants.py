"""Organizations, accounts and users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Account, Organization, User, table

_organizations, _accounts, _users = table(Organization), table(Account), table(User)


@dataclass(frozen=True)
class Caller:
    """The user behind a request, with the hashes that his secrets must match."""

    user_id: int
    account_id: int
    organization_id: int
    email: str
    first_name: str
    last_name: str
    user_hash: str
    organization_hash: str


async def lock_if_empty(connection: AsyncConnection) -> bool:
    """True before the first organization exists; no other process can then write one in between."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("LOCK TABLE organization IN SHARE ROW EXCLUSIVE MODE"))
    return not await connection.scalar(select(func.count()).select_from(_organizations))


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    email: str,
    organization_hash: str,
    user_hash: str,
    now: datetime,
) -> None:
    """Writes an organization with one account and one user."""
    organization_id = await _insert(
        connection, _organizations, name=name, secret_hash=organization_hash, created_at=now
    )
    account_id = await _insert(
        connection, _accounts, organization_id=organization_id, name=name, created_at=now
    )
    await _insert(
        connection,
        _users,
        account_id=account_id,
        email=email,
        first_name="Account",
        last_name="Owner",
        secret_hash=user_hash,
        created_at=now,
    )


async def caller_by_user_hash(connection: AsyncConnection, user_hash: str) -> Caller | None:
    """The user whose secret has this hash."""
    statement = (
        select(
            _users.c.id,
            _users.c.account_id,
            _accounts.c.organization_id,
            _users.c.email,
            _users.c.first_name,
            _users.c.last_name,
            _users.c.secret_hash,
            _organizations.c.secret_hash,
        )
        .join(_accounts, _accounts.c.id == _users.c.account_id)
        .join(_organizations, _organizations.c.id == _accounts.c.organization_id)
        .where(_users.c.secret_hash == user_hash)
    )
    row = (await connection.execute(statement)).first()
    return Caller(*row) if row else None


async def _insert(connection: AsyncConnection, rows: object, **values: object) -> int:
    done = await connection.execute(insert(rows).values(**values))  # type: ignore[arg-type]
    return int(done.inserted_primary_key[0])  # type: ignore[index]
