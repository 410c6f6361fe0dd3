"""A real PostgreSQL from a package that ships its binaries, with a fresh database per test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def running() -> Iterator[Server]:
    """Starts a server and removes it with its data afterwards. It lives under /tmp because it runs as a
    user of its own, who must be able to reach it, and because a socket's path must be short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies warn about this machine's environment
        from pgserver.postgres_server import get_server

        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        folder.chmod(0o755)
        started = get_server(folder / "data", cleanup_mode="stop")
    try:
        socket_folder = Path(started.get_uri().rpartition("host=")[2])
        server = Server(socket_folder)
        asyncio.run(server.make_template())
        yield server
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
