"""What every command does first, also where the connection to the database is cut in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
from gateway import settings_for

from app.cli import start
from app.errors import DatabaseUnavailable
from app.main import build_routes, create_app
from app.settings import load
from app.store import migrations
from app.store.engine import Database
from app.store.migrations import Fit


async def test_a_connection_that_is_cut_while_the_schema_is_looked_at_does_not_end_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_FIRST_PAUSE", 0.01)
    fit, looks = migrations.fit, list[bool]()

    async def cut_once(database: Database) -> Fit:
        looks.append(True)
        if len(looks) == 1:
            raise DatabaseUnavailable(ConnectionResetError("cut by an administrator"))
        return await fit(database)

    monkeypatch.setattr(migrations, "fit", cut_once)
    await start.ready_schema(settings_for(tmp_path, "http://127.0.0.1"))
    assert len(looks) == 2


async def test_what_does_not_mend_itself_ends_the_start_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[bool]()

    async def refused(_: Database) -> Fit:
        looks.append(True)
        raise DatabaseUnavailable(PermissionError("wrong password"), passing=False)

    monkeypatch.setattr(migrations, "fit", refused)
    with pytest.raises(DatabaseUnavailable):
        await start.ready_schema(settings_for(tmp_path, "http://127.0.0.1"))
    assert len(looks) == 1


def test_nobody_else_can_read_the_files_that_are_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "migrate"]
    subprocess.run(command, cwd=tmp_path, umask=0o022, check=True, capture_output=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"data": 0o700, "gateway.db": 0o600, "gateway.key": 0o600}


async def test_no_request_waits_until_routes_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(load(_env_file=None), with_workers=False)
    build_routes(app)
    builder = Mock(side_effect=AssertionError("it is built for the first request"))
    monkeypatch.setattr("fastapi.routing._IncludedRouter._build_effective_context", builder)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/no/such/path")).status_code == 404
        assert (await client.put("/elements/api-v2/hubs/documents/search")).status_code == 405
