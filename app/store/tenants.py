"""Organizations, callers, and the secrets that prove them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Organization, Role, Secret, SecretKind, User, table

_organizations, _users, _secrets = table(Organization), table(User), table(Secret)

_PROOFS = {
    SecretKind.ORGANIZATION: (SecretKind.ORGANIZATION, SecretKind.ORGANIZATION_BY_LOGIN),
    SecretKind.USER: (SecretKind.USER, SecretKind.USER_BY_LOGIN),
    SecretKind.LOGIN: (SecretKind.LOGIN,),
}
"""The kinds of secrets that prove as much as one of this kind."""

_BY_LOGIN = (SecretKind.LOGIN, SecretKind.USER_BY_LOGIN, SecretKind.ORGANIZATION_BY_LOGIN)
"""What somebody has who knew the password."""


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
    done = await connection.execute(insert(_organizations).values(**values))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def organization(connection: AsyncConnection, organization_id: int) -> Organization:
    """The organization of a caller, which is always there."""
    rows = await connection.execute(select(_organizations).where(_organizations.c.id == organization_id))
    return Organization(**rows.mappings().one())


async def exists(connection: AsyncConnection, organization_id: int) -> bool:
    """Whether there is such an organization; nobody deletes one."""
    found = select(_organizations.c.id).where(_organizations.c.id == organization_id)
    return (await connection.execute(found)).first() is not None


async def lock_organization(connection: AsyncConnection, organization_id: int) -> None:
    """Lets changes to the users and accounts of an organization take turns: what one of them has checked
    holds until it is written."""
    statement = select(_organizations.c.id).where(_organizations.c.id == organization_id)
    await connection.execute(statement.with_for_update(key_share=True))


async def insert_secret(connection: AsyncConnection, **values: Any) -> None:
    await connection.execute(insert(_secrets).values(**values))


async def end_organization_secrets(
    connection: AsyncConnection, organization_id: int, *, at: datetime, now: datetime
) -> None:
    """Lets no secret of the organization work after `at`."""
    of_organization = _secrets.c.organization_id == organization_id
    await _end(connection, SecretKind.ORGANIZATION, of_organization, at=at, now=now)


async def end_user_secrets(connection: AsyncConnection, user_id: int, *, at: datetime, now: datetime) -> None:
    """Lets no secret of the user work after `at`; his logins are not meant."""
    await _end(connection, SecretKind.USER, _secrets.c.user_id == user_id, at=at, now=now)


async def end_logins(connection: AsyncConnection, user_id: int) -> None:
    """Ends every login of a user, and the pairs of secrets that his logins were given."""
    of_user = (_secrets.c.user_id == user_id, _secrets.c.kind.in_(_BY_LOGIN))
    await connection.execute(delete(_secrets).where(*of_user))


async def end_login(connection: AsyncConnection, secret_hash: str) -> None:
    """Ends the login whose token has this hash."""
    same = (_secrets.c.hash == secret_hash, _secrets.c.kind == SecretKind.LOGIN)
    await connection.execute(delete(_secrets).where(*same))


async def forget_ended(connection: AsyncConnection, user_id: int, *, now: datetime) -> None:
    """Deletes what no longer works of a user's secrets and logins."""
    ended = (_secrets.c.user_id == user_id, _secrets.c.expires_at <= now)
    await connection.execute(delete(_secrets).where(*ended))


async def keep_newest(connection: AsyncConnection, user_id: int, kind: SecretKind, *, count: int) -> None:
    """Deletes a user's secrets of this kind, but for the newest `count`."""
    same = (_secrets.c.user_id == user_id, _secrets.c.kind == kind)
    newest = select(_secrets.c.id).where(*same).order_by(_secrets.c.id.desc()).limit(count)
    await connection.execute(delete(_secrets).where(*same, _secrets.c.id.not_in(newest)))


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
    return [_secrets.c.hash == secret_hash, _secrets.c.kind.in_(_PROOFS[kind]), living]


async def _end(
    connection: AsyncConnection, kind: SecretKind, owned: ColumnElement[bool], *, at: datetime, now: datetime
) -> None:
    """Shortens lives and never lengthens one; what ends now is gone."""
    meant = (owned, _secrets.c.kind.in_(_PROOFS[kind]))
    later = or_(_secrets.c.expires_at.is_(None), _secrets.c.expires_at > at)
    await connection.execute(update(_secrets).where(*meant, later).values(expires_at=at))
    await connection.execute(delete(_secrets).where(*meant, _secrets.c.expires_at <= now))
