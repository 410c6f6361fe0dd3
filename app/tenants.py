"""Who calls: organizations, accounts and users, and the secrets that prove it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Unauthorized
from app.store import instances, tenants
from app.store.engine import Database
from app.store.tables import Instance
from app.store.tenants import Caller
from app.wire.authorization import Authorization


@dataclass(frozen=True)
class NewSecrets:
    """Shown once; only their hashes are kept."""

    organization: str = field(repr=False)
    user: str = field(repr=False)


def new_token() -> str:
    """A User secret or an Element token: 32 random bytes in base64, as Cloud Elements' were."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def digest(secret: str) -> str:
    """The form in which a secret is kept. It has 128 bits of chance or more, so one fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_organization(database: Database, name: str, *, email: str, now: datetime) -> NewSecrets:
    """Creates an organization with an account and a user, and answers their secrets."""
    async with database.write() as connection:
        return await _create(connection, name, email, now)


async def create_first(database: Database, *, now: datetime) -> NewSecrets | None:
    """On an empty database, the first organization; None on any other."""
    async with database.write() as connection:
        if await tenants.lock_if_empty(connection):
            return await _create(connection, "Default", "owner@localhost", now)
    return None


async def _create(connection: AsyncConnection, name: str, email: str, now: datetime) -> NewSecrets:
    made = NewSecrets(organization=secrets.token_hex(16), user=new_token())
    await tenants.create(
        connection,
        name=name,
        email=email,
        organization_hash=digest(made.organization),
        user_hash=digest(made.user),
        now=now,
    )
    return made


async def authenticate(database: Database, authorization: Authorization) -> Caller:
    """The caller of a platform request, which needs User and Organization. Raises Unauthorized."""
    if authorization.user is None or authorization.organization is None:
        raise Unauthorized("This request needs a User secret and an Organization secret")
    async with database.read() as connection:
        caller = await tenants.caller_by_user_hash(connection, digest(authorization.user))
    if caller is None or not _matches(authorization.organization, caller.organization_hash):
        raise Unauthorized
    return caller


async def authenticate_instance(database: Database, authorization: Authorization) -> Instance:
    """The instance of a hub request, which needs User and Element; an Organization must fit if it is sent.

    Raises Unauthorized, also for the token of a deleted instance or of another account.
    """
    if authorization.user is None or authorization.element is None:
        raise Unauthorized("This request needs a User secret and an Element token")
    async with database.read() as connection:
        caller = await tenants.caller_by_user_hash(connection, digest(authorization.user))
        instance = await instances.by_token_hash(connection, digest(authorization.element))
    if caller is None or instance is None or instance.account_id != caller.account_id:
        raise Unauthorized
    if authorization.organization and not _matches(authorization.organization, caller.organization_hash):
        raise Unauthorized
    return instance


async def instance_by_token(database: Database, authorization: Authorization) -> Instance:
    """The instance of an Element token that stands alone, as a vendor's SDK sends it. Raises Unauthorized."""
    async with database.read() as connection:
        instance = await instances.by_token_hash(connection, digest(authorization.element or ""))
    if instance is None:
        raise Unauthorized
    return instance


def _matches(secret: str, known_hash: str) -> bool:
    return hmac.compare_digest(digest(secret), known_hash)
