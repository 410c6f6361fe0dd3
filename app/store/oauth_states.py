"""Consents that were asked for through the OAuth proxy and are not answered yet."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import OAuthState, table

_states = table(OAuthState)


async def keep(connection: AsyncConnection, state: OAuthState) -> None:
    await connection.execute(insert(_states).values(**state.model_dump()))


async def take(connection: AsyncConnection, state_hash: str, *, now: datetime) -> str | None:
    """Where the answer to this state goes; None after its end. Of several who take one, one gets it."""
    living = (_states.c.hash == state_hash, _states.c.expires_at > now)
    taken = delete(_states).where(*living).returning(_states.c.target_url)
    target_url: str | None = await connection.scalar(taken)
    return target_url


async def forget_ended(connection: AsyncConnection, *, limit: int, now: datetime) -> None:
    """Deletes at most `limit` states that have ended and that nobody else is deleting, the oldest first."""
    ended = (
        select(_states.c.hash)
        .where(_states.c.expires_at <= now)
        .order_by(_states.c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("ended")
    )
    await connection.execute(delete(_states).where(_states.c.hash.in_(select(ended.c.hash))))
