"""Logins: a token for an address and its password, a lasting pair of secrets for a token."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import acting, audit
from app.acting import Actor
from app.audit import Action
from app.errors import Unauthorized
from app.runtime import Runtime
from app.store import tenants, users
from app.store.tables import SecretKind, User
from app.store.tenants import Caller
from app.tenancy import passwords
from app.tenancy.tenants import NewSecrets, digest, new_token

_CANDIDATES = 5  # organizations in which one address may log in; each costs a slow comparison
_PAIRS = 10  # pairs of secrets that stay of those that a user asked for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Login:
    """A caller who came with the token of a login."""

    caller: Caller
    token_hash: str = field(repr=False)


def address(username: str) -> str:
    """The address that somebody means by it."""
    return username.strip().lower()


async def log_in(runtime: Runtime, username: str, password: str) -> str:
    """A fresh token, which stands for the user until GATEWAY_LOGIN_LIFETIME has passed. Of several users
    with one address the password decides.

    Raises Unauthorized, in the same words and after the same time for an unknown address as for a wrong
    password, and TooManyRequests.
    """
    email = address(username)
    candidates = await _candidates(runtime, email)
    user = await _who_is(candidates, password)
    if user is None:
        await _take_as_long_as_any(runtime, password, done=len(candidates))
    token, now = new_token(), runtime.clock.now()
    if user is None or not await _store(runtime, user, token, now):
        await audit.record_refusal(runtime.database, runtime.noted, digest(email), candidates, at=now)
        log.warning("login refused")
        raise Unauthorized("The username or the password is wrong")
    log.info("user logged in", extra={"user": user.id})
    return token


async def log_out(runtime: Runtime, login: Login) -> None:
    """Ends the token that is called with; the user's other ones go on."""
    async with runtime.database.write() as connection:
        await tenants.end_login(connection, login.token_hash)
        subject = f"user {login.caller.user_id}"
        await audit.record(connection, Action.LOGIN_DELETED, subject, at=runtime.clock.now())
    runtime.sessions.clear()
    log.info("user logged out", extra={"user": login.caller.user_id})


async def new_pair(runtime: Runtime, login: Login) -> NewSecrets:
    """A further User and Organization secret. Secrets are kept as hashes, so that nobody can be shown the
    ones that he has; of pairs made here only the newest stay. Raises Unauthorized for a login that has ended
    meanwhile."""
    made, now = NewSecrets(organization=secrets.token_hex(16), user=new_token()), runtime.clock.now()
    async with runtime.database.write() as connection:
        await _hold(connection, login, now)
        await _store_pair(connection, login.caller, made, now)
        await audit.record(connection, Action.LOGIN_SECRETS, f"user {login.caller.user_id}", at=now)
    runtime.sessions.clear()
    log.info("secrets made for a login", extra={"user": login.caller.user_id})
    return made


async def _candidates(runtime: Runtime, email: str) -> list[User]:
    async with runtime.database.read() as connection:
        return await users.with_password(connection, email, limit=_CANDIDATES)


async def _who_is(candidates: Sequence[User], password: str) -> User | None:
    for user in candidates:
        if await passwords.fits(password, user.password_hash):
            return user
    return None


async def _take_as_long_as_any(runtime: Runtime, password: str, *, done: int) -> None:
    """Compares as often as for the address that is in most organizations, so that the time of a refusal does
    not tell in how many a name is. Where no address is in two of them, that is once."""
    async with runtime.database.read() as connection:
        most = await users.most_with_password(connection)
    for _ in range(done, max(1, min(most, _CANDIDATES))):
        await passwords.fits(password, None)


async def _store(runtime: Runtime, user: User, token: str, now: datetime) -> bool:
    """False for a user who was changed while his password was looked at."""
    async with runtime.database.write() as connection:
        if not await users.hold(connection, user):
            return False
        await tenants.forget_ended(connection, user.id, now=now)
        await tenants.insert_secret(
            connection,
            kind=SecretKind.LOGIN,
            organization_id=user.organization_id,
            user_id=user.id,
            hash=digest(token),
            created_at=now,
            expires_at=now + runtime.settings.login_lifetime,
        )
        by = acting.known_as(Actor(user.email, user.organization_id, user.account_id, user.id))
        await audit.record(connection, Action.LOGIN_CREATED, f"user {user.id}", at=now, by=by)
    return True


async def _hold(connection: AsyncConnection, login: Login, now: datetime) -> None:
    """Keeps a login until the end of the transaction: a new password ends it, and all that it was given."""
    user = await users.by_id(connection, login.caller.user_id, login.caller.organization_id)
    if user is None or not await users.hold(connection, user):
        raise Unauthorized
    if await tenants.caller_by_secret(connection, SecretKind.LOGIN, login.token_hash, now=now) is None:
        raise Unauthorized


async def _store_pair(connection: AsyncConnection, caller: Caller, made: NewSecrets, now: datetime) -> None:
    owner: dict[str, Any] = {"organization_id": caller.organization_id, "user_id": caller.user_id}
    for kind, secret in (
        (SecretKind.USER_BY_LOGIN, made.user),
        (SecretKind.ORGANIZATION_BY_LOGIN, made.organization),
    ):
        await tenants.insert_secret(connection, kind=kind, hash=digest(secret), created_at=now, **owner)
        await tenants.keep_newest(connection, caller.user_id, kind, count=_PAIRS)
