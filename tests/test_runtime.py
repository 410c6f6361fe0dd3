"""What a process opens is closed, whatever fails at that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateway import settings_for

from app.runtime import open_runtime
from app.store.engine import Database
from app.vault.credentials import Credentials


async def test_what_cannot_be_closed_leaves_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Database] = []
    close = Database.close

    async def noted(database: Database) -> None:
        closed.append(database)
        await close(database)

    async def broken(*_: Any, **__: Any) -> None:
        raise LookupError

    monkeypatch.setattr(Database, "close", noted)
    monkeypatch.setattr(Credentials, "close", broken)
    with pytest.raises(LookupError):
        async with open_runtime(settings_for(tmp_path, "http://127.0.0.1")) as runtime:
            pass
    assert [client.is_closed for client in (runtime.vendors, runtime.waits, runtime.elsewhere)] == [True] * 3
    assert closed == [runtime.database]
