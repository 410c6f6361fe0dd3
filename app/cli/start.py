"""What every command does first: read the settings, open the database, bring its schema up to date."""

from __future__ import annotations

import gc
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from sqlalchemy.exc import DBAPIError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from app import acting, logs, settings
from app.clock import Clock
from app.errors import DatabaseUnavailable, SettingsError
from app.runtime import open_database, open_sealer
from app.settings import Settings
from app.store import engine, migrations
from app.store.engine import Database
from app.store.migrations import Fit
from app.tenancy.tenants import NewSecrets
from app.vault import key_rotation

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between two tries to reach the database

log = logging.getLogger(__name__)


def configured(**options: object) -> Settings:
    """The settings of this process, with its log and its keys as they ask for; an option that was given goes
    before its setting. Raises SettingsError."""
    wanted = settings.load(**{name: value for name, value in options.items() if value is not None})
    open_sealer(wanted)  # a missing or malformed key is said at start, not at the first account
    logs.configure(wanted.log_level, wanted.log_format)
    _allow_many_connections()
    return wanted


def configured_for_existing() -> Settings:
    """The settings of a command for a database that is there: it makes neither a key nor a database. Raises
    SettingsError where there is none."""
    wanted = settings.load()
    logs.configure(wanted.log_level, wanted.log_format)
    if wanted.embedded and not Path(str(wanted.database.database)).exists():
        raise SettingsError(
            f"GATEWAY_DATABASE_URL: there is no database {wanted.database.database}; the first start of the "
            "gateway makes it"
        )
    return wanted


def _allow_many_connections() -> None:
    """Every POST in flight is an open file; the usual soft limit of 1,024 of them is below the settings."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def loading() -> Iterator[None]:
    """For imports and what is built of them: nothing of it is garbage, and to look for some takes a third of
    the time. What is loaded is not looked through later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run(step: Coroutine[Any, Any, T]) -> T:
    """What a step answers; who runs the command is who acts. Raises SettingsError where the database cannot
    be used."""
    try:
        with acting.acting(acting.command_line()):
            return uvloop.run(step)
    except (DatabaseUnavailable, DBAPIError) as error:
        reason = error.words if isinstance(error, DatabaseUnavailable) else error.orig
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
    """Brings the schema to the newest version, when the database is there."""
    async with database(wanted) as opened:
        await reach(opened, wanted)
        await migrations.upgrade(opened)


async def persistently(wanted: Settings, step: Callable[[], Awaitable[T]]) -> T:
    """What `step` answers, which may be made again: it is, while the database is away. Raises
    DatabaseUnavailable when GATEWAY_DATABASE_WAIT has passed, and at once for what does not mend itself, as a
    wrong password."""
    again = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, DatabaseUnavailable) and error.passing),
        stop=stop_before_delay(wanted.database_wait),
        wait=wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE) + wait_random(0, _FIRST_PAUSE),
        before_sleep=_tell,
        reraise=True,
    )
    return await again(step)


async def reach(opened: Database, wanted: Settings) -> None:
    """Waits for a PostgreSQL that comes later than this process, and raises as `persistently` does. Says so
    where one process alone could take all of its connections."""
    places: int | None = await persistently(wanted, partial(engine.places, opened))
    if places is not None and places <= wanted.database_connections:
        facts = {"connections": wanted.database_connections, "max_connections": places}
        log.warning("this process alone can take all connections of PostgreSQL", extra=facts)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    reason = error.in_full if isinstance(error, DatabaseUnavailable) else str(error)
    facts = {"attempt": state.attempt_number, "again_in": f"{state.upcoming_sleep:.1f} s", "error": reason}
    log.warning("the database cannot be reached yet", extra=facts)


async def ready_schema(wanted: Settings, *, seals: bool = False) -> None:
    """Migrates, or where that is not wanted, refuses to start on another schema; and refuses to start without
    a key that rows are sealed with. Notes the key of a process that is going to seal. A connection that is
    lost meanwhile is no reason to end. Raises SettingsError."""
    await persistently(wanted, partial(_ready_schema, wanted, seals))


async def _ready_schema(wanted: Settings, seals: bool) -> None:
    if wanted.migrate_on_start:
        await migrate(wanted)
    async with database(wanted) as opened:
        await reach(opened, wanted)
        await require_schema(opened)
        sealer = open_sealer(wanted)
        await key_rotation.check(opened, sealer)
        if seals:
            await key_rotation.begin(opened, sealer, now=Clock().now())


async def require_schema(opened: Database) -> None:
    """Raises SettingsError where this version cannot work with the schema of the database."""
    match await migrations.fit(opened):
        case Fit.OLDER:
            raise SettingsError(
                "the database has an older schema than this version needs; run `gateway migrate`, or set "
                "GATEWAY_MIGRATE_ON_START"
            )
        case Fit.TOO_NEW:
            raise migrations.too_new()


def print_secrets(made: NewSecrets, what: str) -> None:
    """Says what was made, with the secrets that nobody will be shown again."""
    print(f"{what} The secrets are shown only this once:")
    print(f"  Organization {made.organization}")
    print(f"  User {made.user}", flush=True)
