"""Old and new side by side: workers of this version on the schema of a next one that is made up here."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import PATIENCE, House, eventually, house, until
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from app.store import migrations
from app.store.engine import Database
from app.store.migrations import Fit

HEAD = ScriptDirectory.from_config(migrations.config()).get_current_head() or ""
HEADER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None
{oldest}
"""
ADDING = """
def upgrade():
    op.add_column("delivery", sa.Column("colour", sa.Text(), nullable=True))
    op.create_table("palette", sa.Column("id", sa.Integer(), primary_key=True))
"""
INDEXING = """
def upgrade():
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_delivery_colour")
        op.create_index("ix_delivery_colour", "delivery", ["colour"], postgresql_concurrently=True)
"""
TAKING = """
def upgrade():
    op.drop_column("delivery", "last_error")
"""
_TAKES = ("DROP TABLE", "DROP COLUMN", "RENAME", " TYPE ", "DROP DEFAULT")
_DEMANDS = ("SET NOT NULL", "ADD CONSTRAINT")


@pytest.fixture
def url(postgresql: Server) -> str:
    return postgresql.new_database()


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[House]:
    with house(tmp_path, url, ENCRYPTION_KEY) as made:
        yield made


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    found = Database(make_url(url).set(drivername="postgresql+asyncpg"))
    yield found
    await found.close()


class Scripts:
    """The migrations of this version and made-up ones of later versions, in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._config = migrations.config()
        shutil.copytree(self._config.get_main_option("script_location") or "", folder)
        self._config.set_main_option("script_location", str(folder))
        self._folder = folder

    def add(self, revision: str, body: str, *, before: str, oldest: str | None) -> None:
        said = f"oldest = {oldest!r}" if oldest else ""
        header = HEADER.format(revision=revision, before=before, oldest=said)
        (self._folder / "versions" / f"{revision}.py").write_text(header + body)

    async def apply(self, database: Database, revision: str = "head") -> list[str]:
        """Runs them as a later version would, and answers what it has told the database."""
        told: list[str] = []

        def run(connection: Connection) -> None:
            event.listen(connection, "before_cursor_execute", lambda *said: told.append(said[2]))
            self._config.attributes["connection"] = connection
            command.upgrade(self._config, revision)

        async with database.restructure() as connection:
            await connection.run_sync(run)
        return told


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path / "later")


def contracts(statements: list[str]) -> bool:
    """Whether something is taken away, or demanded that older code does not write."""
    changes = [item for item in statements if item.lstrip().startswith(("ALTER TABLE", "DROP TABLE"))]
    columns = [item for item in changes if "ADD COLUMN" in item]
    demanded = any("NOT NULL" in item and "DEFAULT" not in item for item in columns)
    return demanded or any(word in item for item in changes for word in _TAKES + _DEMANDS)


async def test_old_workers_go_on_and_start_anew_while_the_schema_grows(
    home: House, database: Database, scripts: Scripts
) -> None:
    scripts.add("later", ADDING, before=HEAD, oldest=HEAD)
    scripts.add("indexed", INDEXING, before="later", oldest=HEAD)
    home.serve("--no-workers")
    workers = [home.work(), home.work()]
    home.connect()
    changes = home.change(30, name="before")
    eventually(home.deliveries, "a first delivery")
    during = asyncio.create_task(asyncio.to_thread(home.change, 60, name="during"))
    await scripts.apply(database)
    changes += await during
    assert await migrations.fit(database) is Fit.NEWER
    workers[0].kill()
    workers[0] = home.work()
    changes += home.change(30, name="after")
    home.await_changes(changes)
    assert all("Traceback" not in worker.said() for worker in workers)
    assert [worker.stop() for worker in workers] == [0, 0]


async def test_a_schema_that_took_something_away_refuses_an_old_start(
    tmp_path: Path, url: str, database: Database, scripts: Scripts
) -> None:
    scripts.add("later", TAKING, before=HEAD, oldest="later")
    await scripts.apply(database)
    assert await migrations.fit(database) is Fit.TOO_NEW
    with ExitStack() as stack:
        settings = {"GATEWAY_DATABASE_URL": url, "GATEWAY_ENCRYPTION_KEYS": ENCRYPTION_KEY}
        alone = House(tmp_path, url, "", "", settings, stack)
        for words, more in ((("migrate",), {}), (("work",), {"GATEWAY_MIGRATE_ON_START": "false"})):
            process = alone.start(*words, **more)
            assert process.process.wait(PATIENCE) == 2
            assert "migrated by a later version" in process.said()
            assert "Traceback" not in process.said()


async def test_an_index_that_waits_for_an_old_reader_is_built_when_he_has_ended(
    database: Database, scripts: Scripts
) -> None:
    scripts.add("later", ADDING, before=HEAD, oldest=HEAD)
    await scripts.apply(database)
    scripts.add("indexed", INDEXING, before="later", oldest=HEAD)
    reader = await database.engine.connect()
    await reader.execution_options(isolation_level="REPEATABLE READ")
    await reader.execute(text("SELECT count(*) FROM delivery"))
    building = asyncio.create_task(scripts.apply(database))
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND wait_event = 'virtualxid'"
    )
    async with database.read() as connection:
        await until(lambda: connection.scalar(text(waits)), "an index that waits")
    assert not building.done()
    await reader.close()
    await building
    async with database.read() as connection:
        built = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_delivery_colour'::regclass"
        assert await connection.scalar(text(built))


async def test_a_migration_that_does_not_say_what_can_live_with_it_changes_nothing(
    database: Database, scripts: Scripts
) -> None:
    scripts.add("later", TAKING, before=HEAD, oldest=None)
    with pytest.raises(AttributeError):
        await scripts.apply(database)
    assert await migrations.fit(database) is Fit.CURRENT


@pytest.mark.parametrize(("body", "takes"), [(ADDING, False), (TAKING, True)], ids=["adding", "taking"])
async def test_what_takes_something_away_is_seen(
    database: Database, scripts: Scripts, body: str, *, takes: bool
) -> None:
    scripts.add("later", body, before=HEAD, oldest=HEAD)
    assert contracts(await scripts.apply(database)) is takes


async def test_every_migration_after_0005_that_takes_something_away_raises_what_can_live_with_it(
    postgresql: Server, scripts: Scripts
) -> None:
    url = await asyncio.to_thread(postgresql.new_database, migrated=False)
    database = Database(make_url(url).set(drivername="postgresql+asyncpg"))
    scripts.add("later", ADDING, before=HEAD, oldest=HEAD)
    scripts.add("indexed", INDEXING, before="later", oldest=HEAD)
    order = list(ScriptDirectory(str(scripts._folder)).walk_revisions())[::-1]
    await scripts.apply(database, "0005")
    for item in order[5:]:
        told = await scripts.apply(database, item.revision)
        assert not contracts(told) or item.module.oldest == item.revision, item.revision
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT oldest_revision FROM schema_compatibility")) == HEAD
    await database.close()
