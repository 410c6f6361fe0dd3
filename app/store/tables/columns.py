"""What columns are made of, and what a row is that a worker does something about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: MetaData = SQLModel.metadata


class UtcDateTime(TypeDecorator[datetime]):
    """A time with a zone, in and out, on both databases (SQLite itself knows no zones)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value


BigId = BigInteger().with_variant(Integer, "sqlite")
"""Only INTEGER counts upwards by itself on SQLite."""

Json = JSON().with_variant(JSONB, "postgresql")


def only(condition: str) -> Any:
    """A partial index, on both databases."""
    return {name: text(condition) for name in ("sqlite_where", "postgresql_where")}


DUE = only("due_at IS NOT NULL")


class Duty(SQLModel):
    """A row that a worker does something about when it is due, and holds by a lease meanwhile.

    `due_at` is empty when there is nothing to do, and the partial index on it knows only due rows. A
    worker owns the row while `fence` is the one it drew and `leased_until` has not passed.
    """

    id: int = Field(sa_type=BigId, primary_key=True)
    due_at: datetime | None = Field(None, sa_type=UtcDateTime)
    leased_until: datetime | None = Field(None, sa_type=UtcDateTime)
    fence: int | None = Field(None, sa_type=BigInteger)


def table(model: type[SQLModel]) -> Any:
    """The Core table behind a model: what every statement of the store is written on."""
    return model.__table__  # type: ignore[attr-defined]
