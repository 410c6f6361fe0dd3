"""What the store promises of the audit, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import acting, audit
from app.acting import Actor
from app.audit import Action
from app.errors import DatabaseUnavailable
from app.ids import LARGEST_ID, first_id_at, new_id
from app.store import audit as store
from app.store import migrations
from app.store.audit import Wanted
from app.store.engine import Database
from app.store.tables import AuditEntry
from app.tenancy import tenants

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
ANN = Actor("ann@example.com", user_id=7, address="203.0.113.7", request_id="r")


FORBIDDEN = (
    "UPDATE audit_entry SET actor = 'nobody' WHERE id = {id}",
    "DELETE FROM audit_entry WHERE id = {id}",
    "DELETE FROM audit_entry",
    "INSERT INTO audit_entry SELECT * FROM audit_entry WHERE true ON CONFLICT (id) DO UPDATE SET actor = ''",
)
REPLACE = (
    "INSERT OR REPLACE INTO audit_entry SELECT id, at, organization_id, account_id, user_id, 'nobody', "
    "action, subject, details, address, request_id FROM audit_entry WHERE id = {id}"
)


def entry(number: int, **values: Any) -> AuditEntry:
    """The one of minute `number`."""
    at = NOW + timedelta(minutes=number)
    known = {"actor": "gateway", "action": "instance.changed", "subject": "instance 1", "details": {}}
    return AuditEntry(**{"id": first_id_at(at), "at": at, **known, **values})


async def add(database: Database, *entries: AuditEntry) -> None:
    async with database.write() as connection:
        await store.add(connection, entries)


async def run(database: Database, statement: str) -> None:
    async with database.write() as connection:
        await connection.execute(text(statement))


async def found(database: Database, wanted: Wanted, **more: Any) -> list[str]:
    stretch = await audit.find(database, wanted, **{"limit": 10, **more})
    return [item.subject for item in stretch.entries]


async def everything(database: Database) -> list[AuditEntry]:
    return await audit.newest(database, Wanted(), limit=1000)


async def test_nothing_that_was_written_can_be_changed_or_removed(database: Database) -> None:
    await add(database, entry(1), entry(2))
    before = await everything(database)
    for statement in (*FORBIDDEN, REPLACE if database.embedded else "TRUNCATE audit_entry"):
        with pytest.raises(DBAPIError, match="an entry of the audit cannot be changed"):
            await run(database, statement.format(id=entry(1).id))
        assert await everything(database) == before, statement


async def test_an_entry_of_an_account_is_one_of_its_organization(database: Database) -> None:
    for name in ("First", "Second"):
        await tenants.create_organization(database, name, email=f"{name}@example.com", now=NOW)
    async with database.write() as connection:
        await audit.record(connection, Action.USER_CHANGED, "user 2", at=NOW, account_id=2)
        await audit.record(
            connection, Action.ORGANIZATION_SECRET, "organization 1", at=NOW, organization_id=1
        )
    assert await found(database, Wanted(organization_id=1)) == ["organization 1", "organization 1"]
    assert await found(database, Wanted(organization_id=2)) == ["user 2", "organization 2"]
    assert await found(database, Wanted(organization_id=1, account_id=1)) == ["organization 1"]
    assert await found(database, Wanted(organization_id=1, account_id=2, subject="user 2")) == []


async def test_an_entry_says_who_acts_there(database: Database) -> None:
    with acting.acting(ANN):
        async with database.write() as connection:
            await audit.record(connection, Action.USER_CHANGED, "user 1", at=NOW, changed=["roles"])
    async with database.write() as connection:
        await audit.record(connection, Action.USER_CHANGED, "user 2", at=NOW)
    first, second = (await everything(database))[-2:]
    assert (first.actor, first.user_id, first.address, first.request_id) == (
        ANN.name, ANN.user_id, ANN.address, ANN.request_id
    )  # fmt: skip
    assert (first.at, first.details) == (NOW, {"changed": ["roles"]})
    assert (second.actor, second.user_id, second.address) == ("gateway", None, None)


async def test_what_is_rolled_back_leaves_no_entry(database: Database) -> None:
    before = await everything(database)

    async def half() -> None:
        async with database.write() as connection:
            await audit.record(connection, Action.USER_CHANGED, "user 1", at=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half()
    assert await everything(database) == before


async def test_entries_are_found_by_what_they_say(database: Database) -> None:
    await add(
        database,
        entry(1, subject="a", organization_id=1, account_id=1),
        entry(2, subject="b", organization_id=1, account_id=2, action="user.deleted"),
        entry(3, subject="c", organization_id=2, actor="ann@example.com", user_id=7),
        entry(4, subject="a", organization_id=2, action="instance.deleted"),
    )
    for wanted, subjects in (
        (Wanted(organization_id=1), ["b", "a"]),
        (Wanted(organization_id=1, account_id=1), ["a"]),
        (Wanted(organization_id=1, subject="a"), ["a"]),
        (Wanted(organization_id=1, account_id=2, subject="a"), []),
        (Wanted(organization_id=2, actions=["instance.deleted", "user.deleted"]), ["a"]),
        (Wanted(organization_id=2, user_id=7), ["c"]),
        (Wanted(organization_id=2, actor="ann@example.com"), ["c"]),
        (Wanted(organization_id=1, actor="ann@example.com"), []),
        (Wanted(since=NOW + timedelta(minutes=2), until=NOW + timedelta(minutes=4)), ["c", "b"]),
    ):
        assert await found(database, wanted) == subjects, wanted


async def test_a_page_with_filters_looks_at_a_part_and_says_where_to_go_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SCANNED", 3)
    rare = [entry(number, subject=str(number), organization_id=1, user_id=number % 5) for number in range(12)]
    await add(database, *rare)
    wanted, seen, below = Wanted(organization_id=1, user_id=0), [], LARGEST_ID
    for _ in range(4):
        stretch = await audit.find(database, wanted, below=below, limit=10)
        seen.append([item.subject for item in stretch.entries])
        assert stretch.rest is not None
        below = stretch.rest
    assert seen == [["10"], [], ["5"], ["0"]]
    assert (await audit.find(database, wanted, below=below, limit=10)).rest is None
    newest = await audit.newest(database, wanted, limit=2)
    assert [item.subject for item in newest] == ["5", "10"]


async def test_whoever_follows_misses_no_entry_that_is_committed_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LOOK_AGAIN", 0)
    wanted = Wanted(actions=[Action.USER_DELETED])
    now = datetime.now(UTC)
    ids = [first_id_at(now) + number for number in range(4)]
    made = [entry(0, id=ids[number], subject=str(number), action="user.deleted") for number in range(4)]
    await add(database, made[0], made[1])
    lines = audit.follow(database, wanted, limit=1)
    heard = [(await anext(lines)).subject]
    await add(database, made[3])
    heard.append((await anext(lines)).subject)
    await add(database, made[2])
    heard.append((await anext(lines)).subject)
    await lines.aclose()
    assert heard == ["1", "3", "2"]


async def heard(lines: AsyncIterator[AuditEntry], count: int) -> list[str]:
    """What is told next, or TimeoutError where nothing is."""
    async with asyncio.timeout(60):
        return [(await anext(lines)).subject for _ in range(count)]


async def test_whoever_follows_misses_no_entry_from_a_clock_that_is_wrong(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LOOK_AGAIN", 0)
    wanted = Wanted(actions=[Action.USER_DELETED])
    lines = audit.follow(database, wanted, limit=1)
    for number, subject in enumerate(("right", "fast", "right after it", "slow")):
        hours = {"fast": 20, "slow": -5}.get(subject, 0)
        drawn = first_id_at(datetime.now(UTC) + timedelta(hours=hours)) + number
        await add(database, entry(0, id=drawn, subject=subject, action="user.deleted"))
        assert await heard(lines, 1) == [subject]
    await lines.aclose()
    again = audit.follow(database, wanted, limit=1, after=new_id())
    assert await heard(again, 4) == ["slow", "right", "right after it", "fast"]
    await again.aclose()


async def test_whoever_follows_goes_on_after_an_outage(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LOOK_AGAIN", 0)
    wanted = Wanted(actions=[Action.USER_DELETED])
    first, second = new_id(), new_id()
    await add(database, entry(0, id=first, subject="first", action="user.deleted"))
    lines, outages = audit.follow(database, wanted, limit=1), [False, True]
    assert await heard(lines, 1) == ["first"]
    after = store.after

    async def cut(*values: Any, **more: Any) -> list[AuditEntry]:
        if outages:
            raise DatabaseUnavailable(ConnectionResetError("restarts"), passing=outages.pop())
        return await after(*values, **more)

    await add(database, entry(0, id=second, subject="second", action="user.deleted"))
    monkeypatch.setattr(store, "after", cut)
    with pytest.raises(DatabaseUnavailable):  # a password that was changed meanwhile, as the second one
        await heard(lines, 1)
    outages.append(True)
    again = audit.follow(database, wanted, limit=1, after=first)
    assert await heard(again, 2) == ["first", "second"]
    await again.aclose()


async def test_a_migration_leaves_an_entry(database: Database) -> None:
    migrated = await audit.newest(database, Wanted(actions=[Action.SCHEMA_MIGRATED]), limit=10)
    assert "schema 0005" in [item.subject for item in migrated]
    await migrations.upgrade(database)
    assert await audit.newest(database, Wanted(actions=[Action.SCHEMA_MIGRATED]), limit=10) == migrated
