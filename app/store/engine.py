"""The database: one engine per process, two scopes: `write` is a transaction, `read` is a look."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakSet

import orjson
from sqlalchemy import event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from app.errors import SettingsError
from app.store import outages

_READ_ONLY = "gateway_read_only"
_RESTRUCTURING = "gateway_restructuring"

_TURN = 7_250_346_811  # the lock of whoever changes the schema: no other application of the database uses it
_TURN_AGAIN = 0.2  # seconds between two looks whether it is free
_TABLE_LOCK = "5s"  # a migration that cannot get its table lock gives up instead of queueing all others

# A peer that answers nothing is given up after half a minute, in both directions.
_KEEPALIVE = {"idle": 10, "interval": 5, "count": 3}  # seconds, seconds, probes
_UNANSWERED = 25_000  # milliseconds that what was sent may stay unconfirmed
_CLIENT_SIDE = (
    ("TCP_KEEPIDLE", _KEEPALIVE["idle"]),
    ("TCP_KEEPINTVL", _KEEPALIVE["interval"]),
    ("TCP_KEEPCNT", _KEEPALIVE["count"]),
    ("TCP_USER_TIMEOUT", _UNANSWERED),
)
_CONNECTING = timedelta(seconds=10)  # the longest that opening a connection may take

log = logging.getLogger(__name__)

# SQLite does not wait for its lock where several processes turn one new file to WAL at once.
_when_free = Retrying(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(10),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


class _Connection(sqlite3.Connection):
    """Lets everything go when it is closed. SQLite keeps the lock and the snapshot of a closed connection for
    as long as somebody refers to a statement that was not read to its end, as the traceback of a cancelled
    task does: nobody else could write then, or the WAL would only grow."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._cursors = WeakSet[sqlite3.Cursor]()

    def cursor(self, *given: Any, **named: Any) -> Any:
        made = super().cursor(*given, **named)
        self._cursors.add(made)
        return made

    def close(self) -> None:
        with suppress(KeyError):  # not by their number: another thread may forget one at any time
            while True:
                self._cursors.pop().close()
        super().close()


class Database:
    """Opens connections to SQLite or PostgreSQL, whichever the URL names.

    On SQLite a write transaction begins IMMEDIATE, so that it waits for its turn at the start and can
    never fail half-way for want of the lock; within this process the turns are taken on a lock of our
    own, which wakes the next one at once where SQLite would sleep and try again.
    """

    def __init__(
        self,
        url: URL,
        *,
        connections: int = 10,
        timeout: timedelta = timedelta(seconds=30),
        statement_timeout: timedelta = timedelta(seconds=60),
    ) -> None:
        self.embedded = url.get_backend_name() == "sqlite"
        if self.embedded and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        self._url, self._timeout = url, timeout
        self.engine = create_async_engine(
            url,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=timeout.total_seconds(),
            pool_use_lifo=True,  # the connection used last has its statements prepared
            connect_args=_connect_args(self.embedded, timeout, statement_timeout),
            hide_parameters=True,
        )
        self._reader: AsyncEngine = self.engine.execution_options(**_reading(self.embedded))
        self._turn = asyncio.Lock()
        _listen(self.engine, self.embedded)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by an exception. No network call inside. Raises
        DatabaseUnavailable and LostRace; whether a commit that they cut has happened nobody knows."""
        turn: AbstractAsyncContextManager[object] = self._turn if self.embedded else nullcontext()
        with outages.named():
            async with turn, self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries; it waits for no writer. On PostgreSQL each query is on its own, which
        saves the two messages of a transaction. Raises DatabaseUnavailable."""
        with outages.named():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def restructure(self) -> AsyncIterator[AsyncConnection]:
        """A connection that may rebuild tables, for one process at a time. On SQLite it is one transaction;
        a table is changed there by copying it, which foreign keys would not survive: they are looked at once,
        at the end. On PostgreSQL the steps have transactions of their own, and no limit of time but for
        waiting for a table that somebody uses."""
        try:
            with outages.named():
                async with self._unlimited().connect() as connection:
                    if not self.embedded:
                        await _take_turn(connection)
                    yield connection
                    if self.embedded:
                        await _check_references(connection)
                    await connection.commit()
        except BaseException:
            if self.embedded:  # its connection would go on without looking at foreign keys
                await self.engine.dispose()
            raise
        await self.engine.dispose()  # other connections know neither the new tables nor this one's mode

    def _unlimited(self) -> AsyncEngine:
        """Connections for `restructure`; on PostgreSQL each is closed after its use, with its lock."""
        if self.embedded:
            return self.engine.execution_options(**{_RESTRUCTURING: True})
        return create_async_engine(
            self._url, poolclass=NullPool, connect_args=_connect_args(False, self._timeout, None)
        )

    async def close(self) -> None:
        await self.engine.dispose()


async def _take_turn(connection: AsyncConnection) -> None:
    """Waits while another process changes the schema. It looks again and again instead of waiting inside of
    PostgreSQL, where an index that is built beside everything else would wait for this session in turn."""
    told = False
    while not await connection.scalar(select(func.pg_try_advisory_lock(_TURN))):
        await connection.rollback()
        if not told:
            log.info("another process changes the schema; waiting for it")
        told = True
        await asyncio.sleep(_TURN_AGAIN)
    await connection.execute(text(f"SET lock_timeout = '{_TABLE_LOCK}'"))
    await connection.commit()


async def _check_references(connection: AsyncConnection) -> None:
    if (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first():
        raise SettingsError("the database has rows that refer to nothing; it was left as it is")


async def places(database: Database) -> int | None:
    """How many connections the server has for all who use it; None on SQLite, which has no limit."""
    if database.embedded:
        return None
    names = ("max_connections", "superuser_reserved_connections")
    async with database.read() as connection:
        found = await connection.execute(select(*(func.current_setting(name) for name in names)))
        most, reserved = (int(value) for value in found.one())
    return most - reserved


def inserting(kind: str, rows: Any) -> Any:
    """An INSERT in the dialect of this kind of database: both know ON CONFLICT, each with its own class."""
    return (sqlite if kind == "sqlite" else postgresql).insert(rows)


def _reading(embedded: bool) -> dict[str, Any]:
    return {_READ_ONLY: True} if embedded else {"isolation_level": "AUTOCOMMIT"}


def _connect_args(embedded: bool, timeout: timedelta, statement_timeout: timedelta | None) -> dict[str, Any]:
    """What a connection is opened with; without `statement_timeout` a statement may take any time."""
    if embedded:
        return {"timeout": timeout.total_seconds(), "factory": _Connection}
    settings = {
        "application_name": "elements-gateway",
        "lock_timeout": _milliseconds(timeout),
        # Who waits for the lock of a stopped process gets it before he gives up himself.
        "idle_in_transaction_session_timeout": _milliseconds(timeout / 2),
        "tcp_user_timeout": str(_UNANSWERED),
        **{f"tcp_keepalives_{name}": str(value) for name, value in _KEEPALIVE.items()},
    }
    limits: dict[str, Any] = {"timeout": min(timeout, _CONNECTING).total_seconds()}
    if statement_timeout is not None:
        settings["statement_timeout"] = _milliseconds(statement_timeout)
        # For a server that is there and answers nothing, not even that the time is over.
        limits["command_timeout"] = (statement_timeout + _CONNECTING).total_seconds()
    return {"server_settings": settings, **limits}


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))


def _listen(engine: AsyncEngine, embedded: bool) -> None:
    if embedded:
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        event.listen(engine.sync_engine, "begin", _begin)
        return
    event.listen(engine.sync_engine, "connect", _notice_silence)
    event.listen(engine.sync_engine, "checkout", _look_whether_open)


def _notice_silence(connection: Any, _record: object) -> None:
    """A server that has vanished without a word is noticed, also where the connection only listens."""
    transport = connection.driver_connection._transport  # noqa: SLF001 - asyncpg shows it nowhere else
    found = transport.get_extra_info("socket")
    if found is None or found.family == socket.AF_UNIX:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _CLIENT_SIDE:
        if (option := getattr(socket, name, None)) is not None:  # not every system has all of them
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def _look_whether_open(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that the server has closed is replaced. This process knows it without asking: a ping would
    be three messages before each transaction, a third of the rate of small ones."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


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
