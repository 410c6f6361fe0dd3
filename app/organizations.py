"""The caller's organization, and the change of its secret."""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta

from app import roles
from app.errors import Forbidden
from app.runtime import Runtime
from app.store import tenants
from app.store.tables import Organization, Role, SecretKind
from app.store.tenants import Caller
from app.tenants import digest

log = logging.getLogger(__name__)


async def own(runtime: Runtime, caller: Caller) -> Organization:
    async with runtime.database.read() as connection:
        return await tenants.organization(connection, caller.organization_id)


async def new_secret(runtime: Runtime, caller: Caller, *, overlap: timedelta) -> str:
    """A secret in the place of all that the organization has; those work for `overlap` more. Raises
    Forbidden for who is not its administrator."""
    roles.require(caller, Role.ORGANIZATION)
    made, now = secrets.token_hex(16), runtime.clock.now()
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        await tenants.end_organization_secrets(connection, caller.organization_id, at=now + overlap, now=now)
        await tenants.insert_secret(
            connection,
            kind=SecretKind.ORGANIZATION,
            organization_id=caller.organization_id,
            hash=digest(made),
            created_at=now,
        )
    runtime.sessions.clear()
    log.info("organization secret changed", extra={"organization": caller.organization_id})
    return made


def check_own(caller: Caller, organization_id: int) -> None:
    """Raises Forbidden for another organization than the caller's, and for who does not manage it."""
    if organization_id != caller.organization_id:
        raise Forbidden("This is not your organization")
    roles.require(caller, Role.ORGANIZATION)
