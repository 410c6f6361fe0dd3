"""Users: who calls, what he may do, and the change of his password and of his secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit
from app.audit import Action
from app.errors import BadRequest, Conflict, Forbidden, NotFound
from app.ids import LARGEST_ID
from app.runtime import Runtime
from app.store import accounts, tenants, users
from app.store.engine import Database
from app.store.tables import Role, SecretKind, User
from app.store.tenants import Caller
from app.store.users import Wanted
from app.tenancy import passwords, roles
from app.tenancy.tenants import digest, new_token

_SHOWN_AS = {
    "email": "emailAddress",
    "first_name": "firstName",
    "last_name": "lastName",
    "role": "roles",
    "active": "active",
}
PASSWORD_LENGTHS = (8, 1000)  # characters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What a user is to be. None stays as it is."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    role: Role | None = None
    active: bool | None = None
    password: str | None = field(default=None, repr=False)

    def values(self, password_hash: str | None) -> dict[str, Any]:
        """The columns that it writes."""
        named = {
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "role": self.role,
            "active": self.active,
            "password_hash": password_hash,
        }
        return {key: value for key, value in named.items() if value is not None}


def visible(caller: Caller) -> Wanted:
    """The users that a caller may see: himself, those of his account, or those of his organization."""
    match caller.role:
        case Role.ORGANIZATION:
            return Wanted(caller.organization_id)
        case Role.ACCOUNT:
            return Wanted(caller.organization_id, caller.account_id)
        case Role.USER:
            return Wanted(caller.organization_id, caller.account_id, caller.user_id)


async def find(runtime: Runtime, wanted: Wanted, *, after_id: int, offset: int, limit: int) -> list[User]:
    """At most `limit` of the wanted users, by id, from number `offset` on."""
    async with runtime.database.read() as connection:
        return await users.find(connection, wanted, after_id=after_id, offset=offset, limit=limit)


async def count(runtime: Runtime, wanted: Wanted) -> int:
    async with runtime.database.read() as connection:
        return await users.count(connection, wanted)


async def get(runtime: Runtime, caller: Caller, name: str) -> User:
    """The user with this id or address; `me` is the caller. Raises NotFound for one who does not exist, was
    deleted or is in another account than those that the caller manages, and Forbidden for anybody but
    himself where the caller manages none: neither tells whether there is such a user."""
    async with runtime.database.read() as connection:
        return await _get(connection, caller, name)


async def create(runtime: Runtime, caller: Caller, account_id: int, wish: Wish) -> tuple[User, str]:
    """The new user of an account, and his secret.

    Raises NotFound or Forbidden for the account, Forbidden for a caller who does not manage it or for a
    role above his own, Conflict when the organization has a user with this address, and TooManyRequests.
    """
    roles.require(caller, Role.ACCOUNT)
    role = wish.role or Role.USER
    roles.check_grant(caller, role)
    password_hash = await passwords.hashed(wish.password) if wish.password else None
    secret, now = new_token(), runtime.clock.now()
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        roles.check_account(caller, account_id)
        if await accounts.by_id(connection, account_id, caller.organization_id, lock=True) is None:
            raise NotFound(f"No account with the id {account_id} found")
        await _check_email(connection, caller, wish.email or "")
        owner = {"organization_id": caller.organization_id, "account_id": account_id}
        values = {"role": role} | wish.values(password_hash)
        user_id = await users.insert_user(connection, created_at=now, **owner, **values)
        await _insert_secret(connection, caller.organization_id, user_id, secret, now)
        made = await _get(connection, caller, str(user_id))
        shown = {"emailAddress": made.email, "roles": [made.role], "password": password_hash is not None}
        await _record(connection, Action.USER_CREATED, made, now, **shown)
    log.info("user created", extra={"user": user_id})
    return made, secret


async def change(runtime: Runtime, caller: Caller, name: str, wish: Wish) -> User:
    """Changes a user. A new password, and a user who is not active any more, end his logins and the pairs of
    secrets that they were given.

    Raises what `get` raises, Forbidden for what is not the caller's to change, Conflict for an address that
    somebody else has, or when nobody could manage the organization then, and TooManyRequests.
    """
    await get(runtime, caller, name)
    password_hash = await passwords.hashed(wish.password) if wish.password else None
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        user = await _get(connection, caller, name)
        _check_may_change(caller, user, wish)
        await _check_administrator(connection, user, wish)
        if wish.email is not None and wish.email != user.email:
            await _check_email(connection, caller, wish.email)
        await users.change(connection, user.id, **wish.values(password_hash), updated_at=now)
        if password_hash or wish.active is False:
            await tenants.end_logins(connection, user.id)
        changed = await _get(connection, caller, str(user.id))
        await _record_change(connection, user, changed, now)
    runtime.sessions.clear()
    log.info("user changed", extra={"user": user.id})
    return changed


async def remove(runtime: Runtime, caller: Caller, name: str) -> None:
    """Ends a user and his secrets. Raises what `get` raises, Forbidden for one whom the caller does not
    manage, and Conflict for the last one who manages the organization."""
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        user = await _get(connection, caller, name)
        roles.check_manages(caller, user)
        await _check_administrator(connection, user, Wish(active=False))
        now = runtime.clock.now()
        await users.remove(connection, user.id, now=now)
        await _record(connection, Action.USER_DELETED, user, now, emailAddress=user.email)
    runtime.sessions.clear()
    log.info("user deleted", extra={"user": user.id})


async def new_secret(runtime: Runtime, caller: Caller, name: str, *, overlap: timedelta) -> str:
    """A secret in the place of all that the user has; those work for `overlap` more. His logins stay.
    Raises what `get` raises, and Forbidden for one whom the caller neither is nor manages."""
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        user = await _get(connection, caller, name)
        if user.id != caller.user_id:
            roles.check_manages(caller, user)
        secret = await _new_secret(connection, user, overlap, runtime.clock.now())
    runtime.sessions.clear()
    log.info("user secret changed", extra={"user": user.id})
    return secret


async def set_password(
    database: Database, email: str, password: str, *, organization_id: int | None, now: datetime
) -> None:
    """What the operator does for a user who has no password. Raises BadRequest for one that is too short or
    too long, NotFound, and Conflict when several organizations have a user with this address."""
    shortest, longest = PASSWORD_LENGTHS
    if not shortest <= len(password) <= longest:
        raise BadRequest(f"the password must have {shortest} to {longest} characters")
    password_hash = await passwords.hashed(password)
    async with database.write() as connection:
        user = await _anywhere(connection, email, organization_id)
        await users.change(connection, user.id, password_hash=password_hash, updated_at=now)
        await tenants.end_logins(connection, user.id)
        await _record(connection, Action.USER_PASSWORD, user, now)


async def set_secret(
    database: Database, email: str, *, organization_id: int | None, overlap: timedelta, now: datetime
) -> str:
    """What the operator does for a user who has lost his secret, or whose secret somebody else has. Raises
    NotFound, and Conflict when several organizations have a user with this address."""
    async with database.write() as connection:
        user = await _anywhere(connection, email, organization_id)
        await tenants.lock_organization(connection, user.organization_id)
        return await _new_secret(connection, user, overlap, now)


async def _anywhere(connection: AsyncConnection, email: str, organization_id: int | None) -> User:
    found = await users.anywhere(connection, email.strip().lower())
    found = [user for user in found if organization_id in {None, user.organization_id}]
    if not found:
        raise NotFound(f"No user with the address '{email}' found")
    if len(found) > 1:
        known = ", ".join(str(user.organization_id) for user in found)
        raise Conflict(f"'{email}' is a user of the organizations {known}: name one with --organization")
    return found[0]


async def _new_secret(connection: AsyncConnection, user: User, overlap: timedelta, now: datetime) -> str:
    secret = new_token()
    await tenants.end_user_secrets(connection, user.id, at=now + overlap, now=now)
    await _insert_secret(connection, user.organization_id, user.id, secret, now)
    await _record(connection, Action.USER_SECRET, user, now, overlapSeconds=int(overlap.total_seconds()))
    return secret


async def _get(connection: AsyncConnection, caller: Caller, name: str) -> User:
    if name == "me":
        name = str(caller.user_id)
    if name.isascii() and name.isdecimal():
        found = await users.by_id(connection, min(int(name), LARGEST_ID), caller.organization_id)
    else:
        found = await users.by_email(connection, name.lower(), caller.organization_id)
    if found is not None and found.id == caller.user_id:
        return found
    roles.require(caller, Role.ACCOUNT)
    if found is None or not roles.sees(caller, found):
        raise NotFound(f"No user with the id or address '{name}' found")
    return found


def _check_may_change(caller: Caller, user: User, wish: Wish) -> None:
    """Clients send back all that they were shown: what is as it was is no change."""
    if user.id != caller.user_id:
        roles.check_manages(caller, user)
    elif caller.role is Role.USER and wish.active not in {None, user.active}:
        raise Forbidden("active: is not yours to change")
    if wish.role is None or wish.role == user.role:
        return
    if caller.role is Role.USER:
        raise Forbidden("roles: are not yours to change")
    roles.check_grant(caller, wish.role)


async def _check_administrator(connection: AsyncConnection, user: User, wish: Wish) -> None:
    stays = wish.active is not False and wish.role in {None, Role.ORGANIZATION}
    if not stays and await users.is_last_administrator(connection, user):
        raise Conflict("The organization's last active 'org-admin' has to stay one")


async def _check_email(connection: AsyncConnection, caller: Caller, email: str) -> None:
    if await users.by_email(connection, email, caller.organization_id):
        raise Conflict(f"emailAddress: there is a user with the address '{email}' already")


async def _record(
    connection: AsyncConnection, action: Action, user: User, now: datetime, **details: Any
) -> None:
    await audit.record(connection, action, f"user {user.id}", at=now, account_id=user.account_id, **details)


async def _record_change(connection: AsyncConnection, before: User, after: User, now: datetime) -> None:
    """A new password is a thing of its own."""
    names = [shown for key, shown in _SHOWN_AS.items() if getattr(before, key) != getattr(after, key)]
    if before.password_hash != after.password_hash:
        await _record(connection, Action.USER_PASSWORD, after, now)
    if names or before.password_hash == after.password_hash:
        await _record(connection, Action.USER_CHANGED, after, now, changed=names)


async def _insert_secret(
    connection: AsyncConnection, organization_id: int, user_id: int, secret: str, now: datetime
) -> None:
    await tenants.insert_secret(
        connection,
        kind=SecretKind.USER,
        organization_id=organization_id,
        user_id=user_id,
        hash=digest(secret),
        created_at=now,
    )
