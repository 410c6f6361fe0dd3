"""A PostgreSQL of the harness's own, which it restarts in immediate mode and whose connections it cuts."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from app.errors import GatewayError
from app.torture import watchdog

NAME = "torture"

_PATIENCE = "60"  # seconds for a start, the recovery after a crash included

_OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() ORDER BY pid"


class Server:
    """One server on a unix socket; `url` is what the gateway's processes get."""

    def __init__(self, started: Any, program: Path) -> None:
        self._data: Path = started.pgdata
        self._program = str(program)
        self._user: str | None = started.system_user
        self._socket_folder = started.get_uri().rpartition("host=")[2]

    def url(self, database: str = NAME) -> str:
        return f"postgresql://postgres@/{database}?host={self._socket_folder}"

    async def create(self) -> None:
        """Makes the empty database."""
        async with self._connected() as connection:
            await connection.execute(f"CREATE DATABASE {NAME}")

    async def restart(self, seconds: float) -> None:
        """Ends it in immediate mode, as a crash would, and starts it after so many seconds."""
        await self._control("-m", "immediate", "stop")
        try:
            await asyncio.sleep(seconds)
        finally:
            options = ["-o", f'-h "" -k {self._socket_folder}', "-l", str(self._data / "log")]
            await self._control(*options, "start")

    async def cut(self, share: float) -> int:
        """Ends this share of the connections to the database, the oldest first, and answers how many."""
        async with self._connected() as connection:
            found = [row["pid"] for row in await connection.fetch(_OTHERS, NAME)]
            chosen = found[: max(1, round(len(found) * share))]
            await connection.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", chosen)
        return len(chosen)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """Beside the database of the gateway, so that it is not cut with the others."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            yield connection
        finally:
            await connection.close()

    async def _control(self, *words: str) -> None:
        command = [self._program, "-D", str(self._data), "-w", "-t", _PATIENCE, *words]
        nothing = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, user=self._user, stdin=nothing, stdout=nothing, stderr=nothing
        )
        if await process.wait():
            raise GatewayError(f"PostgreSQL did not do what it was told: {' '.join(words)}")


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    """A server with an empty database, ended and removed afterwards, also where this process is killed. It
    lives under /tmp because it may run as a user of its own, who must be able to reach it, and because a
    socket's path must be short.

    Raises GatewayError where the package that brings PostgreSQL is not installed.
    """
    package = _package()
    folder = _folder()
    program = Path(package.__file__).parent / "pginstall/bin/pg_ctl"
    with watchdog.watched(program, folder):
        started = await asyncio.to_thread(package.get_server, folder / watchdog.DATA, cleanup_mode=None)
        server = Server(started, program)
        await server.create()
        yield server


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="torture-pg-", dir="/tmp"))
    made.chmod(0o755)
    return made


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its dependencies warn about this machine's environment
            import pgserver
    except ImportError as error:
        raise GatewayError(
            "a torture on PostgreSQL needs the package `pgserver`: install it, or use --database sqlite"
        ) from error
    return pgserver
