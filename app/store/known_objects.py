"""Known objects: what the events of an instance have told of its files and folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, bindparam, cast, delete, func, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.entries import object_key
from app.store.batches import Batch, among
from app.store.engine import inserting
from app.store.tables import KnownObject, table

_objects = table(KnownObject)
_columns = list(_objects.columns)

_LONGEST_KEY = 2048  # bytes; PostgreSQL's index takes 2704. What is deeper is remembered and not followed.


@dataclass(slots=True)
class Known:
    """One file or folder as the events told last of it. `deleted_at` is the vendor's time of its deletion
    and tells which deletion it was: all that fell with a folder has the folder's."""

    object_type: str
    object_id: str
    path: str | None = None
    parent_object_id: str | None = None
    sequence: int | None = None
    deleted_at: datetime | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True)
class Fell:
    """Everything that lived below a path was deleted with its folder."""

    path: str
    at: datetime


@dataclass(frozen=True)
class Rose:
    """What fell at this time below a path lives again."""

    path: str
    fell_at: datetime


@dataclass(frozen=True)
class Moved:
    """Everything below one path is below another now."""

    path: str
    to: str


Following = Fell | Rose | Moved


def folded(path: str) -> str:
    """A path as it is compared: vendors of files do not tell upper case from lower case. It stays as long as
    it is, so that what lies below a folder can be cut behind the folder's path in any spelling."""
    if path.isascii():
        return path.lower()
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in path)


def path_key(path: str) -> bytes:
    """The beginning of a path as the index has it."""
    return folded(path).encode(errors="replace")[:_LONGEST_KEY]


async def recall(
    connection: AsyncConnection, instance_id: int, *, keys: Collection[str], paths: Collection[str]
) -> list[Known]:
    """What is known under these keys and at these paths, in one statement; the longest unseen first."""
    fields = [_objects.c[name] for name in Known.__dataclass_fields__]
    own = _objects.c.instance_id == instance_id
    statement: Any = select(*fields).where(own, among(connection, _objects.c.object_key, keys))
    if paths:
        there = _objects.c.path_key.in_({path_key(path) for path in paths})
        statement = union_all(statement, select(*fields).where(own, there))
    found = [Known(*row) for row in await connection.execute(statement)]
    return sorted(found, key=lambda item: item.seen_at.timestamp() if item.seen_at else 0.0)


async def remember(
    connection: AsyncConnection,
    instance_id: int,
    account_id: int,
    *,
    following: Sequence[Following],
    known: Iterable[Known],
) -> None:
    """Lets what lies below folders follow them, and writes these objects, new or not, in one batch."""
    for step in following:
        await _follow(connection, instance_id, step)
    await _upsert.write(
        connection,
        [
            (
                instance_id,
                object_key(item.object_type, item.object_id),
                account_id,
                item.object_type,
                item.object_id,
                item.path,
                path_key(item.path) if item.path is not None else None,
                item.parent_object_id,
                item.sequence,
                item.deleted_at,
                item.seen_at,
            )
            for item in known
        ],
    )


async def forget(connection: AsyncConnection, instance_id: int) -> None:
    """Nothing is known of the instance's objects any more."""
    await connection.execute(delete(_objects).where(_objects.c.instance_id == instance_id))


async def _follow(connection: AsyncConnection, instance_id: int, step: Following) -> None:
    start = path_key(step.path)
    below = (
        _objects.c.instance_id == instance_id,
        _objects.c.path_key >= start + b"/",
        _objects.c.path_key < start + b"0",  # the character behind the slash
    )
    statement = update(_objects)
    match step:
        case Fell(at=at):
            statement = statement.where(*below, _objects.c.deleted_at.is_(None)).values(deleted_at=at)
        case Rose(fell_at=fell_at):
            statement = statement.where(*below, _objects.c.deleted_at == fell_at).values(deleted_at=None)
        case Moved(path=path, to=to):
            statement = statement.where(*below).values(
                path=to + func.substr(_objects.c.path, len(path) + 1),
                path_key=_rewritten(connection, path_key(to), len(start)),
            )
    await connection.execute(statement)


def _rewritten(connection: AsyncConnection, begin: bytes, length: int) -> Any:
    """The bytes of a path with another beginning. SQLite joins them as texts unless it is told otherwise."""
    whole: Any = bindparam(None, begin, LargeBinary).op("||")(func.substr(_objects.c.path_key, length + 1))
    if connection.dialect.name == "sqlite":
        whole = cast(whole, LargeBinary)
    return func.substr(whole, 1, _LONGEST_KEY)


def _upserting(kind: str) -> Any:
    statement = inserting(kind, _objects)
    news = {column.name: statement.excluded[column.name] for column in _columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=["instance_id", "object_key"], set_=news)


_upsert = Batch(_columns, _upserting)
