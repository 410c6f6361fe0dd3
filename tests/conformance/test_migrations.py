"""The migrations make the schema that the tables say, on both databases, whoever starts first."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import PATIENCE, until
from sqlalchemy import Connection, Select, bindparam, inspect, select, table, text, update
from sqlalchemy.exc import IntegrityError

from app.settings import Settings
from app.store import migrations, tenants, users
from app.store.engine import Database
from app.store.migrations import Fit
from app.store.tables import Role, SecretKind, metadata
from app.store.tables.columns import UtcDateTime
from app.store.tenants import Caller


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.new_database(migrated=False)
    return f"sqlite:///{tmp_path}/empty.db"


def opened(url: str) -> Database:
    return Database(Settings(_env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY).database)


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    database = opened(empty_url)
    yield database
    await database.close()


async def run(database: Database, step: Callable[[Config], None]) -> None:
    def with_connection(connection: Connection) -> None:
        config = migrations.config()
        config.attributes["connection"] = connection
        step(config)

    async with database.restructure() as connection:
        await connection.run_sync(with_connection)


async def tables_of(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_schema_is_the_one_that_the_tables_say(empty: Database) -> None:
    assert await migrations.fit(empty) is Fit.OLDER
    await migrations.upgrade(empty)
    assert await migrations.fit(empty) is Fit.CURRENT

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with empty.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_up_down_and_up_again(empty: Database) -> None:
    await migrations.upgrade(empty)
    made = await tables_of(empty)
    await run(empty, lambda config: command.downgrade(config, "base"))
    assert await tables_of(empty) == {"alembic_version"}
    await migrations.upgrade(empty)
    assert await tables_of(empty) == made == set(metadata.tables) | {"alembic_version"}


async def test_a_restructuring_that_fails_leaves_references_checked(empty: Database) -> None:
    def fails(config: Config) -> None:
        command.upgrade(config, "head")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(empty, fails)
    async with empty.write() as connection:
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE child (parent_id INTEGER REFERENCES parent)"))
    with pytest.raises(IntegrityError):
        async with empty.write() as connection:
            await connection.execute(text("INSERT INTO child VALUES (1)"))


def test_processes_that_start_together_take_turns(empty_url: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "GATEWAY_DATABASE_URL": empty_url,
        "GATEWAY_ENCRYPTION_KEYS": ENCRYPTION_KEY,
    }
    command_line = [sys.executable, "-m", "app", "migrate"]
    crowd = [subprocess.Popen(command_line, env=environment, cwd=tmp_path) for _ in range(4)]
    assert [process.wait(PATIENCE) for process in crowd] == [0] * 4


async def test_a_migration_waits_for_a_table_without_holding_up_others(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.store.engine._TABLE_LOCK", "50ms")
    monkeypatch.setattr(migrations, "_PAUSES", (0.01, 0.02))
    caplog.set_level("INFO")
    database = opened(await asyncio.to_thread(postgresql.new_database, migrated=False))
    await run(database, lambda config: command.upgrade(config, "0004"))
    async with database.write() as connection:
        await connection.execute(text("LOCK TABLE async_request IN ACCESS SHARE MODE"))
        upgrading = asyncio.create_task(migrations.upgrade(database))
        await until(lambda: "a table that is to be changed is in use" in caplog.text, "a try in vain")
        assert not upgrading.done()
    await upgrading
    assert await migrations.fit(database) is Fit.CURRENT
    await database.close()


INSTANCE = """
    INSERT INTO instance (id, account_id, user_id, element_key, name, tags, configuration,
        external_authentication, token_hash, valid, disabled, created_at, updated_at)
    VALUES (4, 2, 3, 'box', 'Files', '["Docs"]', '{}', 'none', 'hash-of-token', true, false,
        '2026-01-05 10:00:00', '2026-01-05 10:00:00')"""
FILLED = (
    """
    INSERT INTO organization (id, name, secret_hash, created_at)
    VALUES (1, 'Acme', 'hash-of-acme', '2026-01-05 10:00:00')""",
    """
    INSERT INTO account (id, organization_id, name, created_at)
    VALUES (2, 1, 'First', '2026-01-05 10:00:00')""",
    """
    INSERT INTO gateway_user (id, account_id, email, first_name, last_name, secret_hash, created_at)
    VALUES (3, 2, 'Ann@Example.com', 'Ann', 'Lee', 'hash-of-ann', '2026-01-05 10:00:00')""",
    INSTANCE,
    "INSERT INTO credential (instance_id, account_id, sealed, version) VALUES (4, 2, :sealed, 1)",
)
NOW = datetime(2026, 2, 1, tzinfo=UTC)


async def fill(database: Database) -> None:
    async with database.write() as connection:
        for statement in FILLED:
            bound = {"sealed": b"\x00sealed"} if ":sealed" in statement else {}
            await connection.execute(text(statement), bound)


def everything_in(name: str) -> Select[Any]:
    """All columns that the table has by now, whatever the newest version says."""
    return select(text("*")).select_from(table(name))


async def rows_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Everything that `fill` wrote, by table."""
    names = ("organization", "account", "gateway_user", "instance", "credential")
    async with database.read() as connection:
        return {
            name: [dict(row) for row in (await connection.execute(everything_in(name))).mappings()]
            for name in names
        }


async def broken_references(database: Database) -> list[Any]:
    if not database.embedded:
        return []  # PostgreSQL lets none come to be
    async with database.read() as connection:
        return list(await connection.exec_driver_sql("PRAGMA foreign_key_check"))


async def connect(database: Database, instance_id: int, user_id: int) -> None:
    """A further instance, of that user."""
    statement = INSTANCE.replace("(4, 2, 3,", f"({instance_id}, 2, {user_id},")
    async with database.write() as connection:
        await connection.execute(text(statement.replace("hash-of-token", f"hash-{instance_id}")))


@pytest.mark.parametrize("before", ["0001", "0002"])
async def test_what_was_there_is_there_after_an_upgrade_and_a_downgrade(empty: Database, before: str) -> None:
    await run(empty, lambda config: command.upgrade(config, before))
    await fill(empty)
    await run(empty, lambda config: command.upgrade(config, "0002"))
    filled = await rows_of(empty)
    await migrations.upgrade(empty)
    async with empty.read() as connection:
        caller = await tenants.caller_by_secret(connection, SecretKind.USER, "hash-of-ann", now=NOW)
        assert await tenants.organization_by_secret(connection, "hash-of-acme", now=NOW) == 1
        assert await tenants.organization_by_secret(connection, "hash-of-ann", now=NOW) is None
    assert caller == Caller(3, 2, 1, "ann@example.com", "Ann", "Lee", Role.ORGANIZATION)
    assert await broken_references(empty) == []
    await run(empty, lambda config: command.downgrade(config, "0002"))
    filled["gateway_user"][0]["email"] = "ann@example.com"
    assert await rows_of(empty) == filled
    assert await broken_references(empty) == []


async def test_references_are_enforced_after_each_migration(empty: Database) -> None:
    await run(empty, lambda config: command.upgrade(config, "0002"))
    await fill(empty)
    for number, step in ((10, migrations.upgrade), (20, back_to_0002)):
        await step(empty)
        await connect(empty, number, user_id=3)
        with pytest.raises(IntegrityError):
            await connect(empty, number + 1, user_id=404)


async def back_to_0002(database: Database) -> None:
    await run(database, lambda config: command.downgrade(config, "0002"))


async def test_a_downgrade_keeps_the_newest_secret_of_those_who_may_call(empty: Database) -> None:
    await run(empty, lambda config: command.upgrade(config, "0002"))
    await fill(empty)
    await migrations.upgrade(empty)
    person = {"organization_id": 1, "account_id": 2, "first_name": "", "last_name": "", "role": Role.USER}
    async with empty.write() as connection:
        for user_id, more in ((5, {"active": False}), (6, {"deleted_at": NOW}), (7, {})):
            values = {"id": user_id, "email": f"{user_id}@example.com", "created_at": NOW}
            await users.insert_user(connection, **person, **values, **more)
        for user_id, kind, secret_hash in (
            (3, SecretKind.USER, "a newer hash, which sorts before the old one"),
            (3, SecretKind.USER_BY_LOGIN, "z of a login"),
            (5, SecretKind.USER, "inactive"),
            (6, SecretKind.USER, "deleted"),
        ):
            row = {"user_id": user_id, "kind": kind, "hash": secret_hash, "created_at": NOW}
            await tenants.insert_secret(connection, organization_id=1, **row)
        await tenants.insert_secret(
            connection,
            organization_id=1,
            kind=SecretKind.ORGANIZATION,
            hash="a newer hash of the organization",
            created_at=NOW,
        )
    await back_to_0002(empty)
    found = await rows_of(empty)
    assert [row["secret_hash"] for row in found["organization"]] == ["a newer hash of the organization"]
    assert {row["id"]: row["secret_hash"] for row in found["gateway_user"]} == {
        3: "a newer hash, which sorts before the old one",
        5: "none-5",
        6: "none-6",
        7: "none-7",
    }


async def fill_version_0003(database: Database, **statements: dict[str, Any]) -> None:
    """What every instance has at that version, and rows of other tables by their names."""
    await run(database, lambda config: command.upgrade(config, "0002"))
    await fill(database)
    await run(database, lambda config: command.upgrade(config, "0003"))
    await insert(database, **statements)


async def insert(database: Database, **rows: dict[str, Any]) -> None:
    async with database.write() as connection:
        for name, values in rows.items():
            names = ", ".join(values)
            bound = ", ".join(f":{key}" for key in values)
            statement = text(f"INSERT INTO {name} ({names}) VALUES ({bound})")  # noqa: S608
            times = [bindparam(key, type_=UtcDateTime()) for key in values if key.endswith("_at")]
            await connection.execute(statement.bindparams(*times), values)


async def all_of(database: Database, name: str) -> list[dict[str, Any]]:
    async with database.read() as connection:
        return [dict(row) for row in (await connection.execute(everything_in(name))).mappings()]


POLLER = {"id": 1, "account_id": 2, "instance_id": 4, "resource": "events", "page_size": 200}
POLLER |= {"interval_seconds": 60.0, "cursor": "c", "failures": 0}


@pytest.mark.parametrize(
    ("element", "configuration", "waits"),
    [
        ("box", {}, True),
        ("box", {"event.vendor.type": " Polling ", "event.poller.long.poll": None}, True),
        ("box", {"event.vendor.type": "", "box.events.stream": "changes"}, True),
        ("box", {"event.vendor.type": "webhook"}, False),
        ("box", {"event.poller.long.poll": "false"}, False),
        ("box", {"box.events.stream": "admin_logs"}, False),
        ("egnyte", {}, False),
    ],
)
async def test_who_is_connected_to_box_waits_for_its_word_after_the_upgrade(
    empty: Database, element: str, configuration: dict[str, str | None], *, waits: bool
) -> None:
    await fill_version_0003(empty, poller=POLLER)
    async with empty.write() as connection:
        change = {"configuration": configuration, "element_key": element}
        await connection.execute(update(metadata.tables["instance"]).values(**change))
    await migrations.upgrade(empty)
    assert [bool(row["waits"]) for row in await all_of(empty, "poller")] == [waits]


async def test_a_downgrade_leaves_nothing_that_the_older_version_misreads(empty: Database) -> None:
    callback = {"id": 1, "account_id": 2, "url": "https://app.example.com", "slow": False}
    await fill_version_0003(empty, callback=callback, poller=POLLER)
    await migrations.upgrade(empty)
    owned = {"account_id": 2, "instance_id": 4, "created_at": NOW}
    added = {"callback_id": 1, "topic": "t", "active": True, "ordered": False, **owned}
    sent = {"callback_id": 1, "notification_id": 9, "status": "created", "updated_at": NOW, **owned}
    async with empty.read() as connection:
        instance = dict((await connection.execute(select(metadata.tables["instance"]))).mappings().one())
    async with empty.write() as connection:
        for name, row in (
            ("poller", POLLER | {"id": 2, "resource": "files", "reading": {"url": "/x"}}),
            ("poller", POLLER | {"id": 3, "resource": "changes", "reading": None}),
            ("subscription", {"id": 1, "configured": True, **added}),
            ("subscription", {"id": 2, "configured": False, **added}),
            ("delivery", {"id": 1, "subscription_id": 1, **sent}),
            ("delivery", {"id": 2, "subscription_id": 2, **sent}),
            ("async_request", {"id": 1, "subscription_id": 2, "method": "DELETE", "target": "/x", **owned}),
            ("instance", instance | {"id": 5, "token_hash": "gone", "deleted_at": NOW}),
            ("credential", {"instance_id": 5, "account_id": 2, "sealed": b"s", "version": 1}),
        ):
            await connection.execute(metadata.tables[name].insert().values(**row))
    await run(empty, lambda config: command.downgrade(config, "0003"))
    found = {
        name: [row["instance_id" if name == "credential" else "id"] for row in await all_of(empty, name)]
        for name in ("poller", "subscription", "delivery", "credential")
    }
    assert found == {"poller": [1, 3], "subscription": [1], "delivery": [1], "credential": [4]}
    assert await broken_references(empty) == []
