"""Alembic's environment: on a connection that the gateway hands over, or on GATEWAY_DATABASE_URL."""

from __future__ import annotations

import asyncio
from typing import Literal

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel.sql.sqltypes import AutoString

from app import settings
from app.runtime import open_database
from app.store.tables import UtcDateTime, metadata

_LOCK = 7_250_346_811  # any number that no other application of the same database uses
_LOCK_TIMEOUT = "5s"  # a migration that cannot get its table lock gives up instead of queueing all others


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Migrations name plain types: they must not change when the application's types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def run(connection: Connection) -> None:
    """All steps are one transaction, which has begun before anybody looks how far the schema is: otherwise
    Alembic would open one per step on SQLite, and a second process would repeat what the first has done."""
    if not connection.in_transaction():
        connection.begin()
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=not postgresql,
        render_item=_render,
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    database = open_database(settings.load())
    try:
        async with database.engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await database.close()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    asyncio.run(run_alone())
