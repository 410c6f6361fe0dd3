"""Alembic's environment: on a connection that the gateway hands over, or on GATEWAY_DATABASE_URL."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Literal

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, update
from sqlmodel.sql.sqltypes import AutoString

from app import audit, settings
from app.clock import Clock
from app.runtime import open_database
from app.store.tables import SchemaCompatibility, UtcDateTime, metadata, table

_BEFORE_THAT = {"0001", "0002", "0003", "0004"}
_compatibility = table(SchemaCompatibility)


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Migrations name plain types: they must not change when the application's types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def _note_oldest(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Writes which versions can live with the schema as it is now: each migration names the oldest of them,
    and one that does not is refused (docs/decisions/0015). The first four are from before that."""
    found = step.up_revision if step.is_upgrade else next(iter(step.down_revisions), None)
    if not isinstance(found, Script) or found.revision in _BEFORE_THAT or ctx.connection is None:
        return
    ctx.connection.execute(update(_compatibility).values(oldest_revision=found.module.oldest))


def _note(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """What each step says of itself, in its own transaction."""
    _note_oldest(ctx, step, heads, run_args)
    if ctx.connection is not None:
        revision = step.up_revision_id if step.is_upgrade else ",".join(step.down_revision_ids)
        audit.record_migration(ctx.connection, revision or "base", at=Clock().now())


def run(connection: Connection) -> None:
    """On SQLite all steps are one transaction, which has begun before anybody looks how far the schema is:
    otherwise Alembic would open one per step, and a second process would repeat what the first has done. On
    PostgreSQL the processes take turns already, and a step may leave its transaction to build an index."""
    postgresql = connection.dialect.name == "postgresql"
    if not postgresql and not connection.in_transaction():
        connection.begin()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=not postgresql,
        render_item=_render,
        compare_type=True,
        transaction_per_migration=postgresql,
        on_version_apply=_note,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    database = open_database(settings.load())
    try:
        async with database.restructure() as connection:
            await connection.run_sync(run)
    finally:
        await database.close()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    asyncio.run(run_alone())
