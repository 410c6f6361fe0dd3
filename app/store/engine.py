"""The database: one engine per process, two scopes: `write` is a transaction, `read` is a look."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from app.errors import SettingsError

_READ_ONLY = "gateway_read_only"
_RESTRUCTURING = "gateway_restructuring"

# SQLite does not wait for its lock where several processes turn one new file to WAL at once.
_when_free = Retrying(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(10),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


class Database:
    """Opens connections to SQLite or PostgreSQL, whichever the URL names.

    On SQLite a write transaction begins IMMEDIATE, so that it waits for its turn at the start and can
    never fail half-way for want of the lock; within this process the turns are taken on a lock of our
    own, which wakes the next one at once where SQLite would sleep and try again.
    """

    def __init__(
        self, url: URL, *, connections: int = 10, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        self.embedded = url.get_backend_name() == "sqlite"
        if self.embedded and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(
            url,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=timeout.total_seconds(),
            pool_pre_ping=not self.embedded,
            connect_args=_connect_args(self.embedded, timeout),
            hide_parameters=True,
        )
        self._reader: AsyncEngine = self.engine.execution_options(**{_READ_ONLY: True})
        self._turn = asyncio.Lock()
        if self.embedded:
            event.listen(self.engine.sync_engine, "connect", _set_pragmas)
            event.listen(self.engine.sync_engine, "begin", _begin)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by an exception. No network call inside."""
        if not self.embedded:
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self._turn, self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries; it waits for no writer."""
        async with self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def restructure(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that may rebuild tables. SQLite changes a table by copying it, which its foreign
        keys would not survive: they are looked at once, at the end."""
        engine = self.engine.execution_options(**{_RESTRUCTURING: True})
        async with engine.connect() as connection:
            yield connection
            if self.embedded and (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first():
                raise SettingsError("the database has rows that refer to nothing; it was left as it is")
            await connection.commit()
        await self.engine.dispose()  # other connections know neither the new tables nor this one's mode

    async def close(self) -> None:
        await self.engine.dispose()


def inserting(kind: str, rows: Any) -> Any:
    """An INSERT in the dialect of this kind of database: both know ON CONFLICT, each with its own class."""
    return (sqlite if kind == "sqlite" else postgresql).insert(rows)


def is_lost_race(error: DBAPIError) -> bool:
    """Whether PostgreSQL has ended a transaction in favour of another one: a deadlock, or a conflict."""
    return getattr(error.orig, "sqlstate", None) in {"40001", "40P01"}


def _connect_args(embedded: bool, timeout: timedelta) -> dict[str, Any]:
    if embedded:
        return {"timeout": timeout.total_seconds()}
    milliseconds = str(int(timeout.total_seconds() * 1000))
    return {
        "timeout": timeout.total_seconds(),
        "server_settings": {"application_name": "elements-gateway", "lock_timeout": milliseconds},
    }


def _set_pragmas(connection: Any, _record: object) -> None:
    """WAL lets readers and the writer work at once; FULL survives a power cut, not only a crash."""
    connection.isolation_level = None  # the driver opens no transactions of its own
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        _when_free(cursor.execute, f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_RESTRUCTURING):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    mode = "DEFERRED" if connection.get_execution_options().get(_READ_ONLY) else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")
