"""Who calls: organizations, accounts and users, and the secrets that prove it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit
from app.audit import Action
from app.errors import BadRequest, Unauthorized
from app.store import accounts, instances, tenants, users
from app.store.engine import Database
from app.store.tables import Instance, Role, SecretKind
from app.store.tenants import Caller
from app.wire.authorization import Authorization


@dataclass(frozen=True)
class NewSecrets:
    """Shown once; only their hashes are kept."""

    organization: str = field(repr=False)
    user: str = field(repr=False)


@dataclass(frozen=True)
class Session:
    """The instance that a request is about, and the user who sends it. An Element token that stands alone
    says nothing of him."""

    instance: Instance
    user: Caller | None = None


def new_token() -> str:
    """A User secret or an Element token: 32 random bytes in base64, as Cloud Elements' were."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def digest(secret: str) -> str:
    """The form in which a secret is kept. It has 128 bits of chance or more, so one fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_organization(database: Database, name: str, *, email: str, now: datetime) -> NewSecrets:
    """Creates an organization with an account and a user, and answers their secrets. Raises BadRequest."""
    if not name.strip():
        raise BadRequest("name: is required")
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
    organization_id = await tenants.insert_organization(connection, name=name, created_at=now)
    account_id = await accounts.insert_account(
        connection, organization_id=organization_id, name=name, created_at=now
    )
    user_id = await users.insert_user(
        connection,
        organization_id=organization_id,
        account_id=account_id,
        email=email.lower(),
        first_name="Account",
        last_name="Owner",
        role=Role.ORGANIZATION,
        created_at=now,
    )
    await tenants.insert_secret(
        connection,
        kind=SecretKind.ORGANIZATION,
        organization_id=organization_id,
        hash=digest(made.organization),
        created_at=now,
    )
    await tenants.insert_secret(
        connection,
        kind=SecretKind.USER,
        organization_id=organization_id,
        user_id=user_id,
        hash=digest(made.user),
        created_at=now,
    )
    await audit.record(
        connection,
        Action.ORGANIZATION_CREATED,
        f"organization {organization_id}",
        at=now,
        account_id=account_id,
        name=name,
        emailAddress=email.lower(),
    )
    return made


async def authenticate(database: Database, authorization: Authorization, *, now: datetime) -> Caller:
    """The caller of a platform request, which needs User and Organization, or the token of a login.

    Raises Unauthorized.
    """
    if authorization.bearer is None and (authorization.user is None or authorization.organization is None):
        raise Unauthorized("This request needs a User secret and an Organization secret")
    async with database.read() as connection:
        return await _caller(connection, authorization, now)


async def authenticate_instance(
    database: Database, authorization: Authorization, *, now: datetime
) -> Session:
    """The instance and the user of a hub request, which needs User and Element; an Organization must fit if
    it is sent.

    Raises Unauthorized, also for the token of a deleted instance or of another account.
    """
    if authorization.element is None or (authorization.user is None and authorization.bearer is None):
        raise Unauthorized("This request needs a User secret and an Element token")
    async with database.read() as connection:
        caller = await _caller(connection, authorization, now)
        instance = await instances.by_token_hash(connection, digest(authorization.element))
    if instance is None or instance.account_id != caller.account_id:
        raise Unauthorized
    return Session(instance, caller)


async def instance_by_token(database: Database, authorization: Authorization) -> Session:
    """The instance of an Element token that stands alone, as a vendor's SDK sends it. Raises Unauthorized."""
    async with database.read() as connection:
        instance = await instances.by_token_hash(connection, digest(authorization.element or ""))
    if instance is None:
        raise Unauthorized
    return Session(instance)


async def _caller(connection: AsyncConnection, authorization: Authorization, now: datetime) -> Caller:
    """The user of a User secret or of a login. Each secret that is sent has to fit."""
    kind = SecretKind.USER if authorization.bearer is None else SecretKind.LOGIN
    proof = digest(authorization.bearer or authorization.user or "")
    caller = await tenants.caller_by_secret(connection, kind, proof, now=now)
    if caller is None:
        raise Unauthorized
    if authorization.organization is not None:
        known = await tenants.organization_by_secret(connection, digest(authorization.organization), now=now)
        if known != caller.organization_id:
            raise Unauthorized
    return caller
