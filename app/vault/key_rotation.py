"""The keys that seal secrets: checked at each start, noted where they seal, and replaced while all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app import audit
from app.audit import Action
from app.errors import LostRace, SettingsError
from app.store import encryption_keys
from app.store.encryption_keys import SEALED_TABLES, SealedRow, SealedTable
from app.store.engine import Database
from app.vault.sealing import Sealer

_BATCH = 100  # rows of one transaction, which others wait for who want one of them
_LOOK = 5_000  # rows of one look at who has sealed them
_PASSES = 3  # in which rows are looked at again that others have changed in the one before
_REPORTED = 10_000  # rows between two lines of progress
_NAMED = 20  # rows of a table that cannot be opened, at most

Report = Callable[[str], None]


@dataclass(frozen=True)
class Rotation:
    """How it ended. `removable` are keys of the ring that nothing needs any more; `needed` says how many rows
    the others have sealed."""

    newest: str
    removable: Sequence[str]
    needed: Mapping[str, int]


@dataclass(frozen=True)
class KeyState:
    """A key that the database or this process knows. Without `position` it is not in the ring of this
    process; without `first_used_at` none has begun with it."""

    id: str
    position: int | None
    first_used_at: datetime | None
    retired_at: datetime | None
    rows: int


@dataclass
class _Count:
    """What one pass through a table did."""

    name: str
    looked_at: int = 0
    sealed: int = 0
    overtaken: int = 0
    unreadable: int = 0
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.looked_at} looked at, {self.sealed} sealed anew"]
        parts += [f"{self.overtaken} changed by others meanwhile"] if self.overtaken else []
        parts += [f"{self.unreadable} cannot be opened"] if self.unreadable else []
        return ", ".join(parts)


async def check(database: Database, sealer: Sealer) -> None:
    """Raises SettingsError that names the keys which rows are sealed with and which this process could not
    open. A retired key may be one again: a process that was not restarted goes on sealing with it."""
    async with database.read() as connection:
        absent = [key for key in await encryption_keys.every(connection) if key.id not in sealer.key_ids]
        retired = [key.id for key in absent if key.retired_at]
        again = await encryption_keys.needed(connection, retired)
    lost = sorted(again | {key.id for key in absent if key.retired_at is None})
    if lost:
        raise SettingsError(
            f"the database has secrets that were sealed with the key {' and the key '.join(lost)}, which is "
            "not in GATEWAY_ENCRYPTION_KEYS or the key file: put it back (docs/operating.md, Encryption keys)"
        )


async def begin(database: Database, sealer: Sealer, *, now: datetime) -> None:
    """Notes, before a process seals anything, with which key it does."""
    async with database.read() as connection:
        if sealer.newest in await encryption_keys.in_use(connection):
            return
    async with database.write() as connection:
        await encryption_keys.begin(connection, sealer.newest, now=now)
        await audit.record(connection, Action.KEY_FIRST_USED, f"key {sealer.newest}", at=now)


async def rotate(database: Database, sealer: Sealer, *, now: datetime, report: Report) -> Rotation:
    """Seals everything with the newest key, in small batches while others go on; what they change meanwhile
    stays as they have left it. At the end, keys that have sealed no row any more are retired. `report` is
    told how far it is, and which rows cannot be opened; these stay as they are. It can be interrupted and
    run again.

    Raises SettingsError where no process seals with the newest key yet: those that run may lack it, and could
    not open what this seals.
    """
    async with database.read() as connection:
        if sealer.newest not in await encryption_keys.in_use(connection):
            raise SettingsError(
                f"no process seals with the key {sealer.newest} yet: restart all of them with it as the "
                "first of GATEWAY_ENCRYPTION_KEYS, and rotate then"
            )
    for _ in range(_PASSES):
        counts = [await _seal_anew(database, sealer, sealed, report) for sealed in SEALED_TABLES]
        if not any(count.overtaken for count in counts):
            break
    return await _retire(database, sealer, now)


async def states(database: Database, sealer: Sealer) -> list[KeyState]:
    """Every key, those of the ring first."""
    async with database.read() as connection:
        known = {key.id: key for key in await encryption_keys.every(connection)}
    rows = await _rows_by_key(database)
    ring = {key_id: position for position, key_id in enumerate(sealer.key_ids, start=1)}
    return [
        KeyState(
            id=key_id,
            position=ring.get(key_id),
            first_used_at=known[key_id].first_used_at if key_id in known else None,
            retired_at=known[key_id].retired_at if key_id in known else None,
            rows=rows[key_id],
        )
        for key_id in dict.fromkeys([*ring, *known, *rows])
    ]


async def _rows_by_key(database: Database) -> Counter[str]:
    """How many rows each key has sealed, by its id."""
    found: Counter[str] = Counter()
    for sealed in SEALED_TABLES:
        after: int | None = 0
        while after is not None:
            async with database.read() as connection:
                key_ids, after = await encryption_keys.key_ids(connection, sealed, after=after, limit=_LOOK)
            found.update(key_ids)
    return found


async def _retire(database: Database, sealer: Sealer, now: datetime) -> Rotation:
    """The last look: whatever is still needed by a row stays."""
    needed = await _rows_by_key(database)
    del needed[sealer.newest]
    async with database.write() as connection:
        free = await encryption_keys.in_use(connection) - needed.keys() - {sealer.newest}
        await encryption_keys.retire(connection, free, now=now)
        await audit.record(
            connection, Action.KEY_ROTATED, f"key {sealer.newest}", at=now, retired=sorted(free)
        )
    removable = [item for item in sealer.key_ids if item != sealer.newest and item not in needed]
    return Rotation(sealer.newest, removable, needed)


async def _seal_anew(database: Database, sealer: Sealer, sealed: SealedTable, report: Report) -> _Count:
    """One pass through a table, by its primary key."""
    count, after = _Count(sealed.name), 0
    while rows := await _page(database, sealer, sealed, after):
        count.looked_at += len(rows)
        new = dict(_sealed_anew(sealer, sealed, rows, count))
        if new:
            written = await _write(database, sealed, new)
            count.sealed += written
            count.overtaken += len(new) - written
        after = rows[-1].id
        if count.looked_at % _REPORTED < len(rows):
            report(str(count))
    report(str(count))
    for reason in count.reasons:
        report(f"  {reason}")
    return count


async def _page(database: Database, sealer: Sealer, sealed: SealedTable, after: int) -> list[SealedRow]:
    async with database.read() as connection:
        return await encryption_keys.page(connection, sealed, after=after, limit=_BATCH, newest=sealer.newest)


def _sealed_anew(
    sealer: Sealer, sealed: SealedTable, rows: Sequence[SealedRow], count: _Count
) -> Iterator[tuple[SealedRow, bytes]]:
    """The rows of older keys, each with what takes the place of its secret."""
    for row in rows:
        if row.sealed is None:
            continue
        name = sealed.row_name(row.id)
        try:
            yield row, sealer.seal(sealer.open(row.sealed, name), name)
        except SettingsError as error:
            count.unreadable += 1
            if count.unreadable <= _NAMED:
                count.reasons.append(error.message)


async def _write(database: Database, sealed: SealedTable, new: Mapping[SealedRow, bytes]) -> int:
    """Answers how many were still as they had been read. What PostgreSQL ends in favour of somebody else is
    as good as changed by him."""
    try:
        async with database.write() as connection:
            done = [
                await encryption_keys.replace(connection, sealed, row.id, old=row.sealed or b"", new=secret)
                for row, secret in new.items()
            ]
    except LostRace:
        return 0
    return sum(done)
