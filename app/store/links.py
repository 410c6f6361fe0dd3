"""Links to files that work without credentials."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import inserting
from app.store.tables import FileLink, table

_links = table(FileLink)


async def of_file(
    connection: AsyncConnection, instance_id: int, object_id: str, *, now: datetime
) -> FileLink | None:
    """The link to a file, unless it has ended."""
    return await _one(
        connection,
        _links.c.instance_id == instance_id,
        _links.c.object_id == object_id,
        _links.c.expires_at > now,
    )


async def by_token_hash(connection: AsyncConnection, token_hash: str, *, now: datetime) -> FileLink | None:
    """The link that this token opens, unless it has ended."""
    return await _one(connection, _links.c.token_hash == token_hash, _links.c.expires_at > now)


async def keep(connection: AsyncConnection, link: FileLink, *, now: datetime) -> FileLink:
    """Writes a link unless its file has one, and answers the one that it has; the instance's ended links
    are forgotten."""
    await connection.execute(
        delete(_links).where(_links.c.instance_id == link.instance_id, _links.c.expires_at <= now)
    )
    new = inserting(connection.dialect.name, _links).values(**link.model_dump())
    await connection.execute(new.on_conflict_do_nothing())
    return await of_file(connection, link.instance_id, link.object_id, now=now) or link


async def remove(connection: AsyncConnection, instance_id: int, object_id: str) -> bool:
    """Ends the link to a file. False when it had none."""
    same = (_links.c.instance_id == instance_id, _links.c.object_id == object_id)
    return bool((await connection.execute(delete(_links).where(*same))).rowcount)


async def _one(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> FileLink | None:
    row = (await connection.execute(select(_links).where(*conditions))).mappings().first()
    return FileLink(**row) if row else None
