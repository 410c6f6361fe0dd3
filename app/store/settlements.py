"""What came of attempts, written for a whole turn at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import new_id
from app.store import ordering
from app.store.tables import Attempt, Delivery, DeliveryStatus, table

_deliveries, _attempts = table(Delivery), table(Attempt)


@dataclass(frozen=True)
class Settlement:
    """What came of one attempt. Without `due_at` the delivery is over: delivered, or queued for its owner.
    Without `started_at` there was no attempt. `let_go` is about subscriptions that keep an order."""

    delivery_id: int
    status: DeliveryStatus
    attempts: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None
    account_id: int = 0
    started_at: datetime | None = None
    took_ms: int = 0
    answer: str | None = None
    let_go: bool = False


async def write(
    connection: AsyncConnection, settlements: Mapping[int, Sequence[Settlement]], now: datetime
) -> None:
    """Writes what came of the deliveries to callbacks, and their attempts. What has arrived with the same
    status is one statement, and the rest is one batch."""
    arrived: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    failed = []
    for callback_id, items in settlements.items():
        for item in items:
            if item.status is DeliveryStatus.DELIVERED:
                arrived[item.attempts, item.last_status].append(item.delivery_id)
            else:
                failed.append((callback_id, item))
    for (attempts, status), delivery_ids in arrived.items():
        values = {"attempts": attempts, "last_status": status, "last_error": None, "due_at": None}
        await connection.execute(
            update(_deliveries)
            .where(_deliveries.c.id.in_(delivery_ids))
            .values(status=DeliveryStatus.DELIVERED, updated_at=now, **values)
        )
    if failed:
        await _write_failures(connection, failed, now)
    await _write_attempts(connection, [item for items in settlements.values() for item in items])


async def _write_failures(
    connection: AsyncConnection, failed: Sequence[tuple[int, Settlement]], now: datetime
) -> None:
    """A delivery that was moved to another callback meanwhile, or acknowledged, stays as it is."""
    statement = (
        update(_deliveries)
        .where(
            _deliveries.c.id == bindparam("delivery_id"),
            _deliveries.c.callback_id == bindparam("callback"),
            ordering.WAITING,
        )
        .values(
            status=bindparam("to_status"),
            attempts=bindparam("made"),
            due_at=bindparam("next_due_at"),
            last_status=bindparam("answered"),
            last_error=bindparam("failed"),
            updated_at=now,
        )
    )
    rows = [
        {
            "delivery_id": item.delivery_id,
            "callback": callback_id,
            "to_status": item.status,
            "made": item.attempts,
            "next_due_at": item.due_at,
            "answered": item.last_status,
            "failed": item.last_error,
        }
        for callback_id, item in failed
    ]
    await connection.execute(statement, rows)


async def _write_attempts(connection: AsyncConnection, settlements: Sequence[Settlement]) -> None:
    rows = [
        {
            "id": new_id(),
            "account_id": item.account_id,
            "delivery_id": item.delivery_id,
            "number": item.attempts,
            "started_at": item.started_at,
            "took_ms": item.took_ms,
            "status": item.last_status,
            "error": item.last_error,
            "answer": item.answer,
        }
        for item in settlements
        if item.started_at is not None
    ]
    if rows:
        await connection.execute(insert(_attempts), rows)
