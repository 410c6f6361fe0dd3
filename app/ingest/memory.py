"""What earlier events have told of files and folders, and what it says about later ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.hubs.documents import Change
from app.hubs.entries import object_key
from app.ingest import twins
from app.ingest.events import Origin
from app.ingest.recollection import REMEMBERED, Recollection
from app.store import known_objects
from app.store.tables import Instance, Via


async def interpret(
    connection: AsyncConnection,
    instance: Instance,
    changes: Sequence[Change],
    origin: Origin,
    *,
    now: datetime,
) -> list[Change]:
    """The changes as they are meant; what is known already, told in another way, is left out. The caller
    holds the instance's event_sequence, so that nobody else reads or writes its memory meanwhile."""
    if origin.via is Via.GATEWAY:
        return list(changes)
    if twins.may_come(instance):
        changes = await twins.without(connection, instance.id, changes, origin.via)
    about = [change for change in changes if change.object_type in REMEMBERED and change.body is None]
    if not about:
        return list(changes)
    keys, paths = _asked(about)
    known = await known_objects.recall(connection, instance.id, keys=keys, paths=paths)
    memory = Recollection(known, now)
    meant = [item for change in changes if (item := memory.meaning(change)) is not None]
    await known_objects.remember(
        connection,
        instance.id,
        instance.account_id,
        following=memory.following,
        known=memory.touched(),
    )
    return meant


def _asked(changes: Iterable[Change]) -> tuple[set[str], set[str]]:
    """The object keys and the paths that a page is about. A path is asked for as it was before the moves of
    this page too: the memory still has it there."""
    keys: set[str] = set()
    paths: set[str] = set()
    moves: list[tuple[str, str]] = []
    for change in changes:
        keys.add(object_key(change.object_type, change.object_id))
        if change.path is None and change.parent_object_id is not None:
            keys.add(object_key("folder", change.parent_object_id))
        if change.by_path or (change.if_known and change.sequence is None):
            for path in (change.path, change.previous_path):
                if path is not None:
                    paths |= _earlier(path, moves)
        if change.object_type == "folder" and change.path and change.previous_path:
            moves.append((known_objects.folded(change.previous_path), known_objects.folded(change.path)))
    return keys, paths


def _earlier(path: str, moves: Sequence[tuple[str, str]]) -> set[str]:
    """A path, and what it was before each of the moves."""
    here = known_objects.folded(path)
    found = {here}
    for before, after in reversed(moves):
        if here == after or here.startswith(after + "/"):
            here = before + here[len(after) :]
            found.add(here)
    return found
