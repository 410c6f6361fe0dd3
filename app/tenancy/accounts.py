"""Accounts: what separates the customers of one organization, with their settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit
from app.audit import Action
from app.errors import BadRequest, Conflict, NotFound
from app.runtime import Runtime
from app.store import accounts, instances, tenants, users
from app.store.tables import FAILURE_POLICY, Account, FailurePolicy, Instance, Role
from app.store.tenants import Caller
from app.store.users import Wanted
from app.tenancy import roles
from app.vault.credentials import Secrets

_SETTINGS_LIMIT = 100  # keys
_SHOWN_AS = {"external_id": "externalId"}
_EVERYBODY = 1_000_000
_DEFAULTS = {FAILURE_POLICY: str(FailurePolicy.RETRY)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """An account, and whether it is the organization's default one: the first."""

    account: Account
    default: bool


async def find(runtime: Runtime, caller: Caller, *, after_id: int, offset: int, limit: int) -> list[Found]:
    """At most `limit` of the accounts that the caller may see, by id, from number `offset` on."""
    async with runtime.database.read() as connection:
        default = await accounts.first(connection, caller.organization_id)
        if caller.role is Role.ORGANIZATION:
            rows = await accounts.find(
                connection, caller.organization_id, after_id=after_id, offset=offset, limit=limit
            )
        else:
            own = await _get(connection, caller, caller.account_id)
            rows = [own] if not offset and own.id > after_id else []
    return [Found(row, row.id == default) for row in rows]


async def count(runtime: Runtime, caller: Caller) -> int:
    """How many accounts the caller may see."""
    if caller.role is not Role.ORGANIZATION:
        return 1
    async with runtime.database.read() as connection:
        return await accounts.count(connection, caller.organization_id)


async def get(runtime: Runtime, caller: Caller, account_id: int) -> Found:
    """Raises NotFound for an account that does not exist, was deleted or is another organization's, and
    Forbidden for one that the caller may not see."""
    async with runtime.database.read() as connection:
        return await _found(connection, await _get(connection, caller, account_id))


async def create(runtime: Runtime, caller: Caller, values: Mapping[str, Any]) -> Found:
    """Raises Forbidden for who does not manage the organization."""
    roles.require(caller, Role.ORGANIZATION)
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        account_id = await accounts.insert_account(
            connection, organization_id=caller.organization_id, created_at=now, **values
        )
        made = await _found(connection, await _get(connection, caller, account_id))
        await _record(connection, Action.ACCOUNT_CREATED, account_id, now, name=made.account.name)
    log.info("account created", extra={"account": account_id})
    return made


async def change(runtime: Runtime, caller: Caller, account_id: int, values: Mapping[str, Any]) -> Found:
    """Writes values. Raises what `get` raises, and Forbidden for who does not manage the organization."""
    async with runtime.database.write() as connection:
        before, now = await _get(connection, caller, account_id, lock=True), runtime.clock.now()
        roles.require(caller, Role.ORGANIZATION)
        await accounts.change(connection, account_id, **values, updated_at=now)
        changed = await _found(connection, await _get(connection, caller, account_id))
        names = [_SHOWN_AS.get(key, key) for key, value in values.items() if getattr(before, key) != value]
        await _record(connection, Action.ACCOUNT_CHANGED, account_id, now, changed=names)
    log.info("account changed", extra={"account": account_id})
    return changed


async def remove(runtime: Runtime, caller: Caller, account_id: int) -> Sequence[tuple[Instance, Secrets]]:
    """Ends an account with its users and instances, and answers the instances, whose tokens still live at the
    vendors. What they have reported stays and is delivered. Raises what `change` raises, and Conflict for the
    organization's last account and for the caller's own."""
    async with runtime.database.write() as connection:
        await tenants.lock_organization(connection, caller.organization_id)
        await _get(connection, caller, account_id, lock=True)
        roles.require(caller, Role.ORGANIZATION)
        if await accounts.count(connection, caller.organization_id) == 1:
            raise Conflict("An organization's last account cannot be deleted")
        if account_id == caller.account_id:
            raise Conflict("You cannot delete your own account")
        found = await instances.of_account(connection, account_id)
        sealed = await instances.credentials(connection, [item.id for item in found])
        now = runtime.clock.now()
        await _record_end(connection, caller, account_id, found, now)
        await accounts.remove(connection, account_id, now=now)
        await instances.remove_of_account(connection, account_id, now=now)
    runtime.sessions.clear()
    log.info("account deleted", extra={"account": account_id})
    return [(item, runtime.credentials.unseal(sealed[item.id])) for item in found if item.id in sealed]


async def settings(runtime: Runtime, caller: Caller, account_id: int) -> dict[str, str]:
    """An account's settings, with the defaults of those that are not set. Raises what `get` raises."""
    async with runtime.database.read() as connection:
        return _DEFAULTS | (await _get(connection, caller, account_id)).settings


async def change_settings(
    runtime: Runtime, caller: Caller, account_id: int, given: Mapping[str, str | None]
) -> dict[str, str]:
    """Sets what is given, and what is given as None back to its default; all others stay.

    Raises BadRequest for a value that a setting does not take, what `get` raises, and Forbidden for a
    `user`.
    """
    _check_policy(given)
    async with runtime.database.write() as connection:
        account = await _get(connection, caller, account_id, lock=True)
        roles.require(caller, Role.ACCOUNT)
        merged = {**account.settings, **given}
        kept = {key: value for key, value in merged.items() if value is not None}
        if len(kept) > _SETTINGS_LIMIT:
            raise BadRequest(f"settings: an account has at most {_SETTINGS_LIMIT} of them")
        now = runtime.clock.now()
        await accounts.change(connection, account_id, settings=kept, updated_at=now)
        names = sorted(key for key in given if account.settings.get(key) != kept.get(key))
        await _record(connection, Action.ACCOUNT_SETTINGS, account_id, now, changed=names)
    log.info("account settings changed", extra={"account": account_id})
    return _DEFAULTS | kept


async def _record(
    connection: AsyncConnection, action: Action, account_id: int, now: datetime, **details: Any
) -> None:
    await audit.record(connection, action, f"account {account_id}", at=now, account_id=account_id, **details)


async def _record_end(
    connection: AsyncConnection, caller: Caller, account_id: int, found: Sequence[Instance], now: datetime
) -> None:
    """What ends with an account is found by its own name, too."""
    owned = Wanted(caller.organization_id, account_id)
    members = await users.find(connection, owned, after_id=0, offset=0, limit=_EVERYBODY)
    for action, ended in (
        (Action.USER_DELETED, [(f"user {item.id}", {"emailAddress": item.email}) for item in members]),
        (Action.INSTANCE_DELETED, [(f"instance {item.id}", {"name": item.name}) for item in found]),
        (Action.ACCOUNT_DELETED, [(f"account {account_id}", {})]),
    ):
        await audit.record_each(connection, action, ended, at=now, account_id=account_id)


def _check_policy(given: Mapping[str, str | None]) -> None:
    policy = given.get(FAILURE_POLICY)
    if policy is not None and policy not in set(FailurePolicy):
        raise BadRequest(f"{FAILURE_POLICY}: {policy[:40]!r} is neither 'retry' nor 'queue'")


async def _get(
    connection: AsyncConnection, caller: Caller, account_id: int, *, lock: bool = False
) -> Account:
    roles.check_account(caller, account_id)  # before a look-up: it tells nobody which others there are
    found = await accounts.by_id(connection, account_id, caller.organization_id, lock=lock)
    if found is None:
        raise NotFound(f"No account with the id {account_id} found")
    return found


async def _found(connection: AsyncConnection, account: Account) -> Found:
    return Found(account, account.id == await accounts.first(connection, account.organization_id))
