"""The caller's organization, and the change of its secret."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit
from app.audit import Action
from app.errors import Forbidden, NotFound
from app.runtime import Runtime
from app.store import tenants
from app.store.engine import Database
from app.store.tables import Organization, Role, SecretKind
from app.store.tenants import Caller
from app.tenancy import roles
from app.tenancy.tenants import digest

log = logging.getLogger(__name__)


async def own(runtime: Runtime, caller: Caller) -> Organization:
    async with runtime.database.read() as connection:
        return await tenants.organization(connection, caller.organization_id)


async def new_secret(runtime: Runtime, caller: Caller, *, overlap: timedelta) -> str:
    """A secret in the place of all that the organization has; those work for `overlap` more. Raises
    Forbidden for who is not its administrator."""
    roles.require(caller, Role.ORGANIZATION)
    async with runtime.database.write() as connection:
        made = await _new_secret(connection, caller.organization_id, overlap, runtime.clock.now())
    runtime.sessions.clear()
    log.info("organization secret changed", extra={"organization": caller.organization_id})
    return made


async def set_secret(database: Database, organization_id: int, *, overlap: timedelta, now: datetime) -> str:
    """What the operator does for an organization. Raises NotFound."""
    async with database.write() as connection:
        if not await tenants.exists(connection, organization_id):
            raise NotFound(f"No organization with the id {organization_id} found")
        return await _new_secret(connection, organization_id, overlap, now)


async def _new_secret(
    connection: AsyncConnection, organization_id: int, overlap: timedelta, now: datetime
) -> str:
    made = secrets.token_hex(16)
    await tenants.lock_organization(connection, organization_id)
    await tenants.end_organization_secrets(connection, organization_id, at=now + overlap, now=now)
    await tenants.insert_secret(
        connection,
        kind=SecretKind.ORGANIZATION,
        organization_id=organization_id,
        hash=digest(made),
        created_at=now,
    )
    await audit.record(
        connection,
        Action.ORGANIZATION_SECRET,
        f"organization {organization_id}",
        at=now,
        organization_id=organization_id,
        overlapSeconds=int(overlap.total_seconds()),
    )
    return made


def check_own(caller: Caller, organization_id: int) -> None:
    """Raises Forbidden for another organization than the caller's, and for who does not manage it."""
    if organization_id != caller.organization_id:
        raise Forbidden("This is not your organization")
    roles.require(caller, Role.ORGANIZATION)
