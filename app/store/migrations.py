"""Bringing the schema to the newest version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import app
from app.store.engine import Database

_PACKAGE = Path(app.__file__).parent


def config() -> Config:
    """Alembic's configuration; the scripts lie inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / "migrations"
    found = Config()
    found.set_main_option("script_location", str(inside if inside.is_dir() else _PACKAGE.parent / "alembic"))
    return found


async def upgrade(database: Database) -> None:
    """Runs what is missing; processes that start together take turns on a lock of the database."""
    async with database.restructure() as connection:
        await connection.run_sync(_upgrade)


async def is_current(database: Database) -> bool:
    """Whether the database has the schema that this version was written for."""
    async with database.read() as connection:
        return await connection.run_sync(_is_current)


def _upgrade(connection: Connection) -> None:
    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")


def _is_current(connection: Connection) -> bool:
    newest = ScriptDirectory.from_config(config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest
