"""The audit: who did what to what, when and from where, written with the change itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from app import acting
from app.acting import Actor
from app.errors import BadRequest, DatabaseUnavailable
from app.ids import COUNTER_BITS, LARGEST_ID, SLACK, new_id
from app.recent import Budget, Recent
from app.store import audit
from app.store.audit import Stretch, Wanted
from app.store.engine import Database
from app.store.tables import AuditEntry, Instance, User

_AGAIN = timedelta(hours=1)  # what happens all the time is written again after it
_REMEMBERED = 100_000  # tokens that somebody has read; some 200 bytes each
_STRANGERS = 10_000  # names and hosts that somebody who has proved nothing came with

# Of what nobody has to prove anything for, entries in an hour: a table that is never pruned bears these.
_AIMED, _UNAIMED, _ASKED = 240, 60, 60

_LOOK_AGAIN = 1.0  # seconds, while somebody follows
_FAR_BACK_EACH = 60  # looks, of which one goes back as far as clocks may differ
_CLOCKS_DIFFER = (timedelta(hours=12) // timedelta(milliseconds=1)) << COUNTER_BITS
_PAGE = 500


class Action(StrEnum):
    """What can be done."""

    INSTANCE_CREATED = "instance.created"
    INSTANCE_IMPORTED = "instance.imported"
    INSTANCE_CHANGED = "instance.changed"
    INSTANCE_AUTHENTICATED = "instance.authenticated"
    INSTANCE_ENABLED = "instance.enabled"
    INSTANCE_DISABLED = "instance.disabled"
    INSTANCE_DELETED = "instance.deleted"
    INSTANCE_REFUSED = "instance.grant.refused"
    INSTANCE_READ = "instance.token.read"
    SUBSCRIPTION_CREATED = "subscription.created"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_DELETED = "subscription.deleted"
    SUBSCRIPTION_REDELIVERED = "subscription.redelivered"
    NOTIFICATION_ACKNOWLEDGED = "notification.acknowledged"
    LINK_CREATED = "link.created"
    LINK_DELETED = "link.deleted"
    CONSENT_ASKED = "consent.asked"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_CHANGED = "account.changed"
    ACCOUNT_SETTINGS = "account.settings.changed"
    ACCOUNT_DELETED = "account.deleted"
    ORGANIZATION_CREATED = "organization.created"
    ORGANIZATION_SECRET = "organization.secret.created"  # noqa: S105
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DELETED = "user.deleted"
    USER_PASSWORD = "user.password.changed"  # noqa: S105
    USER_SECRET = "user.secret.created"  # noqa: S105
    LOGIN_CREATED = "login.created"
    LOGIN_REFUSED = "login.refused"
    LOGIN_SECRETS = "login.secrets.created"
    LOGIN_DELETED = "login.deleted"
    SCHEMA_MIGRATED = "schema.migrated"
    KEY_FIRST_USED = "key.first.used"
    KEY_ROTATED = "key.rotated"
    KEY_FORGOTTEN = "key.forgotten"


@dataclass(frozen=True)
class Noted:
    """What this process has written a short time ago of what happens all the time, and how much more it
    writes of what nobody has to prove anything for."""

    reads: Recent = field(default_factory=lambda: Recent(_AGAIN, limit=_REMEMBERED))
    refusals: Recent = field(default_factory=lambda: Recent(_AGAIN, limit=_STRANGERS))
    aimed: Budget = field(default_factory=lambda: Budget(_AGAIN, places=_AIMED))
    """Refused logins of users that there are, which a flood of other names does not hide."""

    unaimed: Budget = field(default_factory=lambda: Budget(_AGAIN, places=_UNAIMED))
    consents: Recent = field(default_factory=lambda: Recent(_AGAIN, limit=_STRANGERS))
    asked: Budget = field(default_factory=lambda: Budget(_AGAIN, places=_ASKED))


async def record(
    connection: AsyncConnection,
    action: Action,
    subject: str,
    *,
    at: datetime,
    account_id: int | None = None,
    organization_id: int | None = None,
    by: Actor | None = None,
    **details: Any,
) -> None:
    """Writes an entry in the transaction of what it tells of, so that neither is there without the other. It
    is the account's or the organization's, and where none is named the actor's own. No detail may be a
    secret."""
    actor = by or acting.actor()
    if account_id is None and organization_id is None:
        account_id, organization_id = actor.account_id, actor.organization_id
    entry = _entry(actor, action, subject, at, details, account_id, organization_id)
    await audit.add(connection, [entry])


async def record_each(
    connection: AsyncConnection,
    action: Action,
    found: Iterable[tuple[str, dict[str, Any]]],
    *,
    at: datetime,
    account_id: int,
) -> None:
    """Writes an entry for each subject, with its details, in one statement."""
    actor = acting.actor()
    entries = [_entry(actor, action, subject, at, details, account_id) for subject, details in found]
    await audit.add(connection, entries)


async def record_reading(
    database: Database, noted: Noted, shown: Sequence[Instance], *, at: datetime
) -> None:
    """Says who is about to be shown the Element tokens of instances: for each user, address and instance once
    an hour, and all that one answer shows of an account in one entry."""
    actor = acting.actor()
    new = noted.reads.new([(actor.user_id, actor.address, item.account_id, item.id) for item in shown])
    if not new:
        return
    entries = [
        _reading(actor, account_id, [key[-1] for key in keys], at)
        for account_id, keys in groupby(sorted(new, key=_account), _account)
    ]
    async with database.write() as connection:
        await audit.add(connection, entries)
    noted.reads.note(new)


async def record_refusal(
    database: Database, noted: Noted, name_hash: str, users: Sequence[User], *, at: datetime
) -> None:
    """Says that a login was refused, to the users whose address was named. What was named is kept nowhere: it
    may be a password in the wrong field. A flood leaves a few entries. Known and unknown names take the same
    time: what there is no place for is written and undone."""
    actor, key = acting.actor(), (acting.actor().address, name_hash)
    if not noted.refusals.new([key]):
        return
    entries = [
        _entry(actor, Action.LOGIN_REFUSED, f"user {user.id}", at, {}, user.account_id) for user in users
    ] or [_entry(actor, Action.LOGIN_REFUSED, "unknown user", at, {})]
    budget = noted.aimed if users else noted.unaimed
    async with database.write() as connection:
        part = await connection.begin_nested()
        await audit.add(connection, entries)
        kept = not budget.is_spent
        await (part.commit() if kept else part.rollback())
    noted.refusals.note([key])
    if kept:
        budget.take(len(entries))


def record_migration(connection: Connection, revision: str, *, at: datetime) -> None:
    """Says which schema the database has from now on, as the step itself does."""
    actor = acting.actor()
    audit.add_in_migration(connection, _entry(actor, Action.SCHEMA_MIGRATED, f"schema {revision}", at, {}))


async def find(database: Database, wanted: Wanted, *, below: int = LARGEST_ID, limit: int) -> Stretch:
    """At most `limit` of the wanted entries below an id, the newest first."""
    async with database.read() as connection:
        return await audit.find(connection, wanted, below=below, limit=limit)


async def newest(database: Database, wanted: Wanted, *, limit: int) -> list[AuditEntry]:
    """The newest `limit` of the wanted entries, the oldest of them first, however far back they lie."""
    stretch = await find(database, wanted, limit=limit)
    found = stretch.entries
    while stretch.rest is not None and len(found) < limit:
        stretch = await find(database, wanted, below=stretch.rest, limit=limit - len(found))
        found += stretch.entries
    return found[::-1]


async def follow(
    database: Database, wanted: Wanted, *, limit: int, after: int | None = None
) -> AsyncGenerator[AuditEntry, None]:
    """The newest `limit` of the wanted entries, or all that `after` an id may have been written, and then
    those that are written, as they come, also when the database was away meanwhile. Raises
    DatabaseUnavailable where that does not mend itself.

    An id is drawn before it is committed, by the clock of its machine: an entry may come after others with
    larger ids. The last minute is therefore looked at each time, and now and then as much as clocks differ.
    """
    last, seen, looks = after, set[int](), 0
    if last is None:
        last = await _end(database)
        seen = {entry.id async for entry in _above(database, wanted, last - _CLOCKS_DIFFER)}
        for entry in await newest(database, wanted, limit=limit):
            seen.add(entry.id)
            yield entry
    while True:
        width = SLACK if looks % _FAR_BACK_EACH else _CLOCKS_DIFFER
        try:
            async for entry in _above(database, wanted, last - width):
                if entry.id not in seen:
                    seen.add(entry.id)
                    yield entry
            last, looks = await _end(database), looks + 1
        except DatabaseUnavailable as error:
            if not error.passing:
                raise
            looks = 0
        seen = {entry_id for entry_id in seen if entry_id > last - _CLOCKS_DIFFER}
        await asyncio.sleep(_LOOK_AGAIN)


def actions(text: str) -> list[Action]:
    """The actions of this name, or that begin with it where it ends in a dot. Raises BadRequest."""
    found = [action for action in Action if action == text or (text[-1:] == "." and action.startswith(text))]
    if not found:
        raise BadRequest(f"action: {text[:40]!r} is neither an action nor the beginning of one")
    return found


async def _end(database: Database) -> int:
    """Up to which id the audit goes, but for entries from clocks that are ahead."""
    return min([new_id(), *(entry.id for entry in await newest(database, Wanted(), limit=1))])


async def _above(database: Database, wanted: Wanted, place: int) -> AsyncIterator[AuditEntry]:
    """Everything that is wanted above an id."""
    page: list[AuditEntry] | None = None
    while page is None or len(page) == _PAGE:
        async with database.read() as connection:
            page = await audit.after(connection, wanted, page[-1].id if page else place, limit=_PAGE)
        for entry in page:
            yield entry


def _account(key: tuple[int | None, str | None, int, int]) -> int:
    return key[2]


def _reading(actor: Actor, account_id: int, instance_ids: Sequence[int], at: datetime) -> AuditEntry:
    """The tokens of several instances are read where their account's are."""
    one = len(instance_ids) == 1
    subject = f"instance {instance_ids[0]}" if one else f"account {account_id}"
    details = {} if one else {"instances": list(instance_ids)}
    return _entry(actor, Action.INSTANCE_READ, subject, at, details, account_id)


def _entry(
    actor: Actor,
    action: Action,
    subject: str,
    at: datetime,
    details: dict[str, Any],
    account_id: int | None = None,
    organization_id: int | None = None,
) -> AuditEntry:
    return AuditEntry(
        id=new_id(),
        at=at,
        organization_id=organization_id,
        account_id=account_id,
        user_id=actor.user_id,
        actor=actor.name,
        action=action,
        subject=subject,
        details=details,
        address=actor.address,
        request_id=actor.request_id,
    )
