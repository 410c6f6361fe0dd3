"""The keys that seal rows: which are in use, and what each has sealed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import SettingsError
from app.store.engine import inserting
from app.store.tables import Credential, EncryptionKey, FileLink, Subscription, VendorWebhook, table
from app.vault.sealing import KEY_ID_BYTES

_keys = table(EncryptionKey)


@dataclass(frozen=True)
class SealedTable:
    """A table whose column `sealed` holds secrets, each bound to the name of its row."""

    rows: Any
    id: Any

    @property
    def name(self) -> str:
        return str(self.rows.name)

    def row_name(self, row_id: int) -> str:
        """The name that the secret of a row is sealed for."""
        return f"{self.name}/{row_id}"


CREDENTIALS = SealedTable(table(Credential), table(Credential).c.instance_id)
VENDOR_WEBHOOKS = SealedTable(table(VendorWebhook), table(VendorWebhook).c.id)
SUBSCRIPTIONS = SealedTable(table(Subscription), table(Subscription).c.id)
LINKS = SealedTable(table(FileLink), table(FileLink).c.id)

SEALED_TABLES = (CREDENTIALS, VENDOR_WEBHOOKS, SUBSCRIPTIONS, LINKS)
"""Everything that a rotation has to look at."""


@dataclass(frozen=True)
class SealedRow:
    """`sealed` is None where there is no secret, or the newest key has sealed it already."""

    id: int
    sealed: bytes | None


async def every(connection: AsyncConnection) -> list[EncryptionKey]:
    """All keys that this database has seen, the oldest first."""
    rows = await connection.execute(select(_keys).order_by(_keys.c.first_used_at, _keys.c.id))
    return [EncryptionKey(**row) for row in rows.mappings()]


async def in_use(connection: AsyncConnection) -> set[str]:
    """The ids of the keys without which rows would be lost."""
    return set(await connection.scalars(select(_keys.c.id).where(_keys.c.retired_at.is_(None))))


async def begin(connection: AsyncConnection, key_id: str, *, now: datetime) -> None:
    """Notes that rows are sealed with this key from now on; one that was retired is in use again."""
    new = inserting(connection.dialect.name, _keys).values(id=key_id, first_used_at=now)
    again = new.on_conflict_do_update(index_elements=[_keys.c.id], set_={"retired_at": None})
    await connection.execute(again)


async def retire(connection: AsyncConnection, key_ids: Iterable[str], *, now: datetime) -> None:
    """Notes that no row needs these keys any more."""
    await connection.execute(update(_keys).where(_keys.c.id.in_(list(key_ids))).values(retired_at=now))


async def page(
    connection: AsyncConnection, sealed: SealedTable, *, after: int, limit: int, newest: str
) -> list[SealedRow]:
    """The next rows of a table by primary key. What the newest key has sealed does not travel."""
    secret = sealed.rows.c.sealed
    is_newest = func.substr(secret, 1, KEY_ID_BYTES) == bytes.fromhex(newest)
    statement = (
        select(sealed.id.label("id"), case((is_newest, None), else_=secret).label("sealed"))
        .where(sealed.id > after)
        .order_by(sealed.id)
        .limit(limit)
    )
    return [SealedRow(**row) for row in (await connection.execute(statement)).mappings()]


async def replace(
    connection: AsyncConnection, sealed: SealedTable, row_id: int, *, old: bytes, new: bytes | None
) -> bool:
    """Writes a secret anew, if it is still the old one. False when somebody else has changed it, or when
    its row is gone."""
    done = await connection.execute(
        update(sealed.rows).where(sealed.id == row_id, sealed.rows.c.sealed == old).values(sealed=new)
    )
    return done.rowcount == 1


async def remove(connection: AsyncConnection, sealed: SealedTable, row_id: int, *, old: bytes) -> None:
    """Deletes a row if its secret is still this one."""
    await connection.execute(delete(sealed.rows).where(sealed.id == row_id, sealed.rows.c.sealed == old))


async def key_ids(
    connection: AsyncConnection, sealed: SealedTable, *, after: int, limit: int
) -> tuple[list[str], int | None]:
    """The ids of the keys that have sealed the next rows of a table, and the row behind which it goes on."""
    key_id = func.substr(sealed.rows.c.sealed, 1, KEY_ID_BYTES)
    statement = select(sealed.id, key_id).where(sealed.id > after).order_by(sealed.id).limit(limit)
    rows = (await connection.execute(statement)).all()
    found = [bytes(begin).hex() for _, begin in rows if begin is not None]
    return found, rows[-1][0] if rows else None


async def needed(connection: AsyncConnection, key_ids: Iterable[str]) -> set[str]:
    """Those of these keys that have sealed a row."""
    wanted, found = [bytes.fromhex(key_id) for key_id in key_ids], set[str]()
    for sealed in SEALED_TABLES if wanted else ():
        key_id = func.substr(sealed.rows.c.sealed, 1, KEY_ID_BYTES)
        begins = await connection.scalars(select(key_id).where(key_id.in_(wanted)).distinct())
        found.update(bytes(begin).hex() for begin in begins)
    return found


def file_has_secrets(path: Path) -> bool:
    """Whether an embedded database, of whatever version, has anything sealed in it. Nothing is opened for
    writing: this is asked before anything else is done with the file. Raises SettingsError for a file that is
    no database."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return any(_has_secrets(connection, sealed.name) for sealed in SEALED_TABLES)
    except sqlite3.Error as error:
        raise SettingsError(f"{path} of GATEWAY_DATABASE_URL cannot be read: {error}") from error


def _has_secrets(connection: sqlite3.Connection, name: str) -> bool:
    known = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'sealed'"
    if connection.execute(known, (name,)).fetchone() is None:
        return False
    look = f"SELECT 1 FROM {name} WHERE sealed IS NOT NULL LIMIT 1"  # noqa: S608
    return connection.execute(look).fetchone() is not None
