"""A real PostgreSQL from a package that ships its binaries, with a fresh database per test; and one of a
test's own, which it may restart."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.store import migrations
from app.store.engine import Database

_TEMPLATE = "migrated"


class Server:
    """One PostgreSQL on a unix socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def new_database(self, *, migrated: bool = True) -> str:
        """Creates a database, with the newest schema or empty, and answers its URL."""
        self._made += 1
        name = f"test_{self._made}"
        template = _TEMPLATE if migrated else "template0"
        asyncio.run(self._execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return self.url(name)

    async def make_template(self) -> None:
        await self._execute(f"CREATE DATABASE {_TEMPLATE}")
        database = Database(make_url(self.url(_TEMPLATE)).set(drivername="postgresql+asyncpg"))
        await migrations.upgrade(database)
        await database.close()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class OwnServer(Server):
    """A server that nobody else uses: it can be stopped as by a crash, and its connections cut."""

    def __init__(self, folder: Path, started: Any) -> None:
        super().__init__(folder)
        from pgserver._commands import POSTGRES_BIN_PATH

        self._program = str(POSTGRES_BIN_PATH / "pg_ctl")
        self._data, self._user = Path(started.pgdata), started.system_user

    def stop(self) -> None:
        """Immediate mode: nothing is written out, and nobody is told."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-o", f'-h "" -k {self._folder}', "-l", str(self._data / "log"), "start")

    def cut(self, database_url: str) -> None:
        """Ends every connection to a database."""
        others = f"datname = '{make_url(database_url).database}'"
        asyncio.run(self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))  # noqa: S608

    def _control(self, *words: str) -> None:
        nothing = subprocess.DEVNULL
        subprocess.run(
            [self._program, "-D", str(self._data), "-w", *words],
            user=self._user,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            check=True,
        )


@contextmanager
def running() -> Iterator[Server]:
    """Starts a server and removes it with its data afterwards."""
    with _started("stop") as started:
        try:
            server = Server(_socket_folder(started))
            asyncio.run(server.make_template())
            yield server
        finally:
            started.cleanup()


@contextmanager
def running_own() -> Iterator[OwnServer]:
    """A server that may be stopped and started; its databases are empty at first."""
    with _started(None) as started:
        server = OwnServer(_socket_folder(started), started)
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # it is stopped already
                server.stop()


@contextmanager
def _started(cleanup_mode: str | None) -> Iterator[Any]:
    """It lives under /tmp because it runs as a user of its own, who must be able to reach it, and because a
    socket's path must be short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies warn about this machine's environment
        from pgserver.postgres_server import get_server

        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        folder.chmod(0o755)
        started = get_server(folder / "data", cleanup_mode=cleanup_mode)
    try:
        yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _socket_folder(started: Any) -> Path:
    return Path(started.get_uri().rpartition("host=")[2])
