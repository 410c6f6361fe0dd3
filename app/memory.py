"""What earlier events have told of files and folders, and what it says about later ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.events import Origin
from app.hubs.documents import Change
from app.store.tables import Instance


async def interpret(
    connection: AsyncConnection,
    instance: Instance,
    changes: Sequence[Change],
    origin: Origin,
    *,
    now: datetime,
) -> list[Change]:
    """The changes as they are meant; what is known already, told in another way, is left out."""
    return list(changes)
