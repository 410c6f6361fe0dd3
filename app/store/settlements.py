"""What came of attempts, written for a whole turn at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import new_id
from app.store.tables import Attempt, Delivery, DeliveryStatus, table

_deliveries, _attempts = table(Delivery), table(Attempt)
_PLACE = (_deliveries.c.id, _deliveries.c.subscription_id, _deliveries.c.callback_id)
_STATE = (_deliveries.c.status, _deliveries.c.attempts)
_LEAVING = frozenset({DeliveryStatus.CREATED, DeliveryStatus.RETRY})


@dataclass(frozen=True)
class Settlement:
    """What came of one attempt. Without `due_at` the delivery is over: delivered, or queued for its owner.
    Without `started_at` there was no attempt. `seen` are the attempts that there were before it. With
    `gave_up` its failure ends the subscription; `let_go` is about subscriptions that keep an order."""

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
    seen: int = 0
    gave_up: bool = False


async def write(
    connection: AsyncConnection, settlements: Mapping[int, Sequence[Settlement]], now: datetime
) -> set[int]:
    """Writes what came of the deliveries to callbacks, which the caller holds, and their attempts. What has
    arrived with the same status is one statement, and the rest is one batch. Answers the subscriptions of
    which a delivery has given up.

    A failure is written only where the delivery is as it was when it was sent: one that was moved to another
    callback, acknowledged, or sent anew by its owner stays as it is."""
    found = await _locked(connection, [item.delivery_id for items in settlements.values() for item in items])
    arrived: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    failed: list[Settlement] = []
    for callback_id, items in settlements.items():
        for item in items:
            if item.status is DeliveryStatus.DELIVERED:
                arrived[item.attempts, item.last_status].append(item.delivery_id)
            elif _is_as_sent(found.get(item.delivery_id), callback_id, item):
                failed.append(item)
    for (attempts, status), delivery_ids in arrived.items():
        values = {"attempts": attempts, "last_status": status, "last_error": None, "due_at": None}
        await connection.execute(
            update(_deliveries)
            .where(_deliveries.c.id.in_(delivery_ids))
            .values(status=DeliveryStatus.DELIVERED, updated_at=now, **values)
        )
    if failed:
        await _write_failures(connection, failed, now)
    made = [item for items in settlements.values() for item in items if item.delivery_id in found]
    await _write_attempts(connection, made)
    return {found[item.delivery_id]["subscription_id"] for item in failed if item.gave_up}


async def _locked(connection: AsyncConnection, delivery_ids: Collection[int]) -> dict[int, RowMapping]:
    """Those of these deliveries that there still are, in one order, so that nobody deletes them meanwhile."""
    if not delivery_ids:
        return {}
    statement = select(*_PLACE, *_STATE).where(_deliveries.c.id.in_(delivery_ids))
    rows = await connection.execute(statement.order_by(_deliveries.c.id).with_for_update())
    return {row["id"]: row for row in rows.mappings()}


def _is_as_sent(row: RowMapping | None, callback_id: int, item: Settlement) -> bool:
    if row is None or row["callback_id"] != callback_id:
        return False
    return row["status"] in _LEAVING and row["attempts"] == item.seen


async def _write_failures(connection: AsyncConnection, failed: Sequence[Settlement], now: datetime) -> None:
    statement = (
        update(_deliveries)
        .where(_deliveries.c.id == bindparam("delivery_id"))
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
            "to_status": item.status,
            "made": item.attempts,
            "next_due_at": item.due_at,
            "answered": item.last_status,
            "failed": item.last_error,
        }
        for item in failed
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
