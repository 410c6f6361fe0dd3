"""What every command does first: read the settings, open the database, bring its schema up to date."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop
from sqlalchemy.exc import DBAPIError

from app import logs, settings
from app.errors import SettingsError
from app.runtime import open_database, open_sealer
from app.settings import Settings
from app.store import migrations
from app.store.engine import Database
from app.tenants import NewSecrets

T = TypeVar("T")


def configured() -> Settings:
    """The settings of this process, with its log and its keys as they ask for. Raises SettingsError."""
    wanted = settings.load()
    open_sealer(wanted)  # a missing or malformed key is said at start, not at the first account
    logs.configure(wanted.log_level, wanted.log_format)
    _allow_many_connections()
    return wanted


def _allow_many_connections() -> None:
    """Every POST in flight is an open file; the usual soft limit of 1,024 of them is below the settings."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(step: Coroutine[Any, Any, T]) -> T:
    """What a step answers. Raises SettingsError where the database cannot be used."""
    try:
        return uvloop.run(step)
    except (OSError, DBAPIError) as error:
        reason = getattr(error, "orig", None) or error
        raise SettingsError(f"the database of GATEWAY_DATABASE_URL cannot be used: {reason}") from error


@asynccontextmanager
async def database(wanted: Settings) -> AsyncIterator[Database]:
    """The database, for a command that needs no more of the runtime."""
    opened = open_database(wanted)
    try:
        yield opened
    finally:
        await opened.close()


async def migrate(wanted: Settings) -> None:
    """Brings the schema to the newest version."""
    async with database(wanted) as opened:
        await migrations.upgrade(opened)


async def ready_schema(wanted: Settings) -> None:
    """Migrates, or where that is not wanted, refuses to start on another schema. Raises SettingsError."""
    if wanted.migrate_on_start:
        await migrate(wanted)
        return
    async with database(wanted) as opened:
        if not await migrations.is_current(opened):
            raise SettingsError(
                "the database has another schema than this version needs; run `gateway migrate`, "
                "or set GATEWAY_MIGRATE_ON_START"
            )


def print_secrets(made: NewSecrets, what: str) -> None:
    """Says what was made, with the secrets that nobody will be shown again."""
    print(f"{what} The secrets are shown only this once:")
    print(f"  Organization {made.organization}")
    print(f"  User {made.user}", flush=True)
