"""Bringing the schema to the newest version, and knowing whether this version can live with what it finds."""

from __future__ import annotations

import logging
from datetime import timedelta
from enum import Enum, auto
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select
from tenacity import AsyncRetrying, RetryError, retry_if_exception, stop_after_delay, wait_random

import app
from app.errors import DatabaseUnavailable, SettingsError
from app.store.engine import Database
from app.store.tables import SchemaCompatibility, table

_PACKAGE = Path(app.__file__).parent
_TABLE_FREE_WITHIN = timedelta(minutes=2)
_PAUSES = (1.0, 3.0)  # seconds between two tries to get the lock of a table

_compatibility = table(SchemaCompatibility)

log = logging.getLogger(__name__)


class Fit(Enum):
    """How the schema of a database is to this version (docs/decisions/0015)."""

    CURRENT = auto()
    OLDER = auto()
    NEWER = auto()
    """A later version has added to it; this one can live with that."""

    TOO_NEW = auto()

    @property
    def is_usable(self) -> bool:
        return self in {Fit.CURRENT, Fit.NEWER}


def config() -> Config:
    """Alembic's configuration; the scripts lie inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / "migrations"
    found = Config()
    found.set_main_option("script_location", str(inside if inside.is_dir() else _PACKAGE.parent / "alembic"))
    return found


async def upgrade(database: Database) -> None:
    """Runs what is missing; processes that start together take turns. What is newer is left as it is. Raises
    SettingsError where it is too new, and where a table that is to be changed is in use for long."""
    again = AsyncRetrying(
        retry=retry_if_exception(_is_in_use),
        stop=stop_after_delay(_TABLE_FREE_WITHIN),
        wait=wait_random(*_PAUSES),
        before_sleep=lambda _: log.info("a table that is to be changed is in use; trying again"),
    )
    try:
        await again(_upgrade_once, database)
    except RetryError as error:
        raise SettingsError(
            "a table that the new schema changes is in use by a transaction that does not end; what was "
            "finished of the migration stays, and the rest is done by the next start"
        ) from error


async def _upgrade_once(database: Database) -> None:
    async with database.restructure() as connection:
        await connection.run_sync(_upgrade)


def _is_in_use(error: BaseException) -> bool:
    """Nobody queues behind a migration that waits for its lock: it gives up soon, and comes again."""
    return isinstance(error, DatabaseUnavailable) and error.reason == "LockNotAvailableError"


async def fit(database: Database) -> Fit:
    """How the schema that the database has is to this version."""
    async with database.read() as connection:
        return await connection.run_sync(_fit)


def too_new() -> SettingsError:
    """What a start says to a schema that this version cannot live with."""
    return SettingsError(
        f"the database was migrated by a later version, and this one ({app.__version__}) cannot work with it "
        "any more; start that version or a later one"
    )


def _upgrade(connection: Connection) -> None:
    found = _fit(connection)
    if connection.dialect.name == "postgresql":
        connection.rollback()  # each step has a transaction of its own
    if found is Fit.TOO_NEW:
        raise too_new()
    if found is Fit.NEWER:
        log.info("the database was migrated by a later version, which this one can work beside")
        return
    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")


def _fit(connection: Connection) -> Fit:
    revision = MigrationContext.configure(connection).get_current_revision()
    newest, known = _revisions()
    if revision == newest:
        return Fit.CURRENT
    if revision is None or revision in known:
        return Fit.OLDER
    return Fit.NEWER if _oldest_that_works(connection) in known else Fit.TOO_NEW


def _oldest_that_works(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_compatibility.name):
        return None
    found: str | None = connection.scalar(select(_compatibility.c.oldest_revision))
    return found


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest revision that this version knows, and all of them."""
    scripts = ScriptDirectory.from_config(config())
    return scripts.get_current_head(), frozenset(item.revision for item in scripts.walk_revisions())
