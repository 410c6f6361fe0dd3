"""The audit: entries are added and read; the database refuses everything else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import LARGEST_ID, SLACK, first_id_at
from app.store.tables import Account, AuditEntry, table

_entries, _accounts = table(AuditEntry), table(Account)

SCANNED = 10_000
"""Entries that a page with filters looks at."""

_OWNER = func.coalesce(
    bindparam("organization", type_=_accounts.c.organization_id.type),
    select(_accounts.c.organization_id)
    .where(_accounts.c.id == bindparam("account", type_=_accounts.c.id.type))
    .scalar_subquery(),
)


@dataclass(frozen=True)
class Wanted:
    """Which entries are looked for. Without an organization and an account, those of everybody and of nobody:
    only the operator may ask for them."""

    organization_id: int | None = None
    account_id: int | None = None
    subject: str | None = None
    actions: Collection[str] | None = None
    user_id: int | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Stretch:
    """A part of the audit, the newest first. With `rest`, only what lies from there on was looked at."""

    entries: list[AuditEntry]
    rest: int | None


async def add(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    """Writes entries in one statement; one of an account is also one of its organization."""
    rows = [
        entry.model_dump(exclude={"organization_id"})
        | {"organization": entry.organization_id, "account": entry.account_id}
        for entry in entries
    ]
    if rows:
        await connection.execute(insert(_entries).values(organization_id=_OWNER), rows)


def add_in_migration(connection: Connection, entry: AuditEntry) -> None:
    """Writes an entry of nobody's into a schema that is on its way: once there is a table for it, and into
    columns that it has had from its beginning."""
    if inspect(connection).has_table(_entries.name):
        values = entry.model_dump(include={"id", "at", "actor", "action", "subject", "details"})
        connection.execute(insert(_entries).values(values))


async def find(connection: AsyncConnection, wanted: Wanted, *, below: int, limit: int) -> Stretch:
    """At most `limit` of the wanted entries below an id, the newest first. The cost does not grow with what
    lies above or below them."""
    low, high = _bounds(wanted)
    scope = [*_scope(wanted), _entries.c.id < min(below, high), _entries.c.id >= low]
    filters, floor = list(_filters(wanted)), None
    if filters:
        nth = select(_entries.c.id).where(*scope).order_by(_entries.c.id.desc()).offset(SCANNED - 1).limit(1)
        floor = await connection.scalar(nth)
    if floor is not None:
        filters.append(_entries.c.id >= floor)
    statement = select(_entries).where(*scope, *_times(wanted), *filters).order_by(_entries.c.id.desc())
    rows = await connection.execute(statement.limit(limit))
    found = [AuditEntry(**row) for row in rows.mappings()]
    return Stretch(found, floor if len(found) < limit else None)


async def after(
    connection: AsyncConnection, wanted: Wanted, entry_id: int, *, limit: int
) -> list[AuditEntry]:
    """At most `limit` of the wanted entries above an id, the oldest first."""
    which = (*_scope(wanted), *_filters(wanted), *_times(wanted), _entries.c.id > entry_id)
    rows = await connection.execute(select(_entries).where(*which).order_by(_entries.c.id).limit(limit))
    return [AuditEntry(**row) for row in rows.mappings()]


def _scope(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """What an index leads to. That of an account is the better one than that of its organization, which is
    the one that knows subjects."""
    if wanted.organization_id is not None and (wanted.account_id is None or wanted.subject is not None):
        yield _entries.c.organization_id == wanted.organization_id
    if wanted.account_id is not None:
        yield _entries.c.account_id == wanted.account_id
    if wanted.subject is not None:
        yield _entries.c.subject == wanted.subject


def _filters(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.actions is not None:
        yield _entries.c.action.in_(sorted(wanted.actions))
    if wanted.user_id is not None:
        yield _entries.c.user_id == wanted.user_id
    if wanted.actor is not None:
        yield _entries.c.actor == wanted.actor


def _times(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """What `_bounds` says, without the slack."""
    if wanted.since:
        yield _entries.c.at >= wanted.since
    if wanted.until:
        yield _entries.c.at < wanted.until


def _bounds(wanted: Wanted) -> tuple[int, int]:
    """Between which ids, the upper one excluded, everything of the wanted time lies."""
    low = max(first_id_at(wanted.since) - SLACK, 0) if wanted.since else 0
    high = min(first_id_at(wanted.until) + SLACK, LARGEST_ID) if wanted.until else LARGEST_ID
    return low, high
