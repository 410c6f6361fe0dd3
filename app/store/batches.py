"""Many rows in one statement: written as tuples that need no preparation, and looked for by many keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import ARRAY, Column, ColumnElement, Text, any_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import UtcDateTime


class Batch:
    """An INSERT of whole rows. It is compiled once for each kind of database and then given to the driver as
    it is, with tuples: the values are those of the columns, JSON as text that is serialised already."""

    def __init__(self, columns: Sequence[Column[Any]], statement: Callable[[str], Any]) -> None:
        self._names = [column.name for column in columns]
        self._times = [place for place, column in enumerate(columns) if isinstance(column.type, UtcDateTime)]
        self._statement = statement
        self._compiled: dict[str, str] = {}

    async def write(self, connection: AsyncConnection, rows: Iterable[Sequence[Any]]) -> None:
        """Writes the rows, in their order. None is fine."""
        kind = connection.dialect.name
        ready = self._as_texts(rows) if kind == "sqlite" else [tuple(row) for row in rows]
        if ready:
            await connection.exec_driver_sql(self._sql(connection), ready)

    def _sql(self, connection: AsyncConnection) -> str:
        kind = connection.dialect.name
        if kind not in self._compiled:
            compiled = self._statement(kind).compile(
                dialect=connection.dialect, column_keys=self._names, for_executemany=True
            )
            if list(compiled.positiontup) != self._names:
                raise AssertionError(f"the columns are not in their order: {compiled.positiontup}")
            self._compiled[kind] = str(compiled)
        return self._compiled[kind]

    def _as_texts(self, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """SQLite keeps times as texts; the same one is written once."""
        texts: dict[int, tuple[datetime, str]] = {}
        ready = []
        for row in rows:
            values = list(row)
            for place in self._times:
                moment = values[place]
                if moment is not None:
                    known = texts.get(id(moment))
                    if known is None:
                        known = texts[id(moment)] = (moment, _text(moment))
                    values[place] = known[1]
            ready.append(tuple(values))
        return ready


def _text(moment: datetime) -> str:
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(" ", "microseconds")[:26]


def among(connection: AsyncConnection, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """The condition that a column of texts is one of these: one parameter, however many they are."""
    if connection.dialect.name == "sqlite":
        listed = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
        within: ColumnElement[bool] = column.in_(select(listed.c.value))
    else:
        within = column == any_(bindparam(None, list(values), ARRAY(Text)))
    return within
