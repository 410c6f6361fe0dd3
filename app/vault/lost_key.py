"""What is left of a database when a key is lost for good: everything but the secrets that it had sealed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit
from app.audit import Action
from app.errors import BadRequest
from app.store import encryption_keys, instances, pollers
from app.store.encryption_keys import CREDENTIALS, LINKS, SEALED_TABLES, SealedRow, SealedTable
from app.store.engine import Database
from app.vault import key_rotation
from app.vault.credentials import Secrets, packed
from app.vault.sealing import Sealer, key_id

_BATCH = 100
_NOTHING = packed(Secrets(token="", values={}))
_WHY = "the key that its secrets were sealed with is lost; it has to be authenticated again"

Report = Callable[[str], None]


async def forget(database: Database, sealer: Sealer, lost: str, *, now: datetime, report: Report) -> None:
    """Lets go of everything that this key has sealed, so that the gateway starts without it. Instances wait
    for their owners to authenticate them again; callbacks are called without signatures until then; links
    end. It can be interrupted and run again. Raises BadRequest for a key that is not lost."""
    async with database.read() as connection:
        known = {key.id for key in await encryption_keys.every(connection)}
    if lost not in known or lost in sealer.key_ids:
        raise BadRequest(f"{lost}: is not a key that this database knows and GATEWAY_ENCRYPTION_KEYS lacks")
    await key_rotation.begin(database, sealer, now=now)
    counts: dict[str, Any] = {}
    for sealed in SEALED_TABLES:
        counts[sealed.name] = await _forget(database, sealer, sealed, lost, now)
        report(f"{sealed.name}: {counts[sealed.name]} let go")
    async with database.write() as connection:
        await encryption_keys.retire(connection, [lost], now=now)
        await audit.record(connection, Action.KEY_FORGOTTEN, f"key {lost}", at=now, **counts)


async def _forget(database: Database, sealer: Sealer, sealed: SealedTable, lost: str, now: datetime) -> int:
    after = number = 0
    while True:
        async with database.read() as connection:
            rows = await encryption_keys.page(
                connection, sealed, after=after, limit=_BATCH, newest=sealer.newest
            )
        if not rows:
            return number
        for row in rows:
            if row.sealed is not None and key_id(row.sealed) == lost:
                async with database.write() as connection:
                    await _let_go(connection, sealer, sealed, row, row.sealed, now)
                number += 1
        after = rows[-1].id


async def _let_go(
    connection: AsyncConnection,
    sealer: Sealer,
    sealed: SealedTable,
    row: SealedRow,
    old: bytes,
    now: datetime,
) -> None:
    if sealed is LINKS:
        await encryption_keys.remove(connection, sealed, row.id, old=old)
    elif sealed is CREDENTIALS:
        await instances.hold(connection, row.id)
        nothing = sealer.seal(_NOTHING, sealed.row_name(row.id))
        if await encryption_keys.replace(connection, sealed, row.id, old=old, new=nothing):
            await instances.update_instance(connection, row.id, valid=False, updated_at=now)
            await pollers.stop(connection, row.id, error=_WHY, now=now)
    else:
        await encryption_keys.replace(connection, sealed, row.id, old=old, new=None)
