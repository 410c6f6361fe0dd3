"""Sending notifications: claim due callbacks, sign and POST their deliveries, settle what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote, urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from app.backoff import GiveUp, Retry, after_failed_attempt
from app.delivery import carried
from app.delivery.carried import NOTHING, Carried
from app.delivery.egress import Answer
from app.delivery.settling import Settler
from app.runtime import Runtime
from app.store import outbox
from app.store.leases import Lease, lease_of
from app.store.outbox import Pending
from app.store.settlements import Settlement
from app.store.tables import Callback, DeliveryStatus
from app.tasks import to_its_end

log = logging.getLogger(__name__)

_GONE = 410
"""A receiver's way to say that it wants no more."""


@dataclass
class _Turn:
    """What one lease of a callback brought."""

    settlements: list[Settlement] = field(default_factory=list)
    ended: dict[int, str] = field(default_factory=dict)
    carried: dict[int, Carried] = field(default_factory=dict, repr=False)
    accepted: bool = False

    def settle(
        self,
        delivery: Pending,
        status: DeliveryStatus,
        answer: Answer | None,
        due_at: datetime | None = None,
        *,
        gave_up: bool = False,
    ) -> None:
        """Notes what came of a delivery; without an answer it was not attempted."""
        self.settlements.append(
            Settlement(
                delivery_id=delivery.delivery_id,
                status=status,
                attempts=delivery.attempts + (answer is not None),
                due_at=due_at,
                last_status=answer.status if answer else None,
                last_error=answer.error if answer else "the subscription is not active",
                account_id=delivery.account_id,
                started_at=answer.started_at if answer else None,
                took_ms=answer.took_ms if answer else 0,
                answer=answer.text if answer else None,
                let_go=delivery.ordered and status is DeliveryStatus.DELIVERED,
                seen=delivery.attempts,
                gave_up=gave_up,
            )
        )


class DispatchWorker:
    """A callback is served in turns. A turn holds the callback's row, sends what is due with at most
    GATEWAY_CALLBACK_CONCURRENCY POSTs in flight, starts no new one after GATEWAY_CALLBACK_TURN, and then
    settles everything at once. Other callbacks have turns of their own at the same time."""

    def __init__(self, runtime: Runtime, draining: asyncio.Event) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._draining = draining
        self._slow_in_hand = 0
        self._settler = Settler(runtime)
        self._read: dict[int, list[Pending]] = {}

    async def claim(self, places: int) -> list[Callback]:
        slow_places = self._settings.callbacks_at_once // 2 - self._slow_in_hand
        async with self._runtime.database.write() as connection:
            claimed = await outbox.claim_callbacks(
                connection,
                limit=places,
                slow_limit=slow_places,
                now=self._runtime.clock.now(),
                lease=self._settings.callback_lease,
            )
            due = await self._due_of(connection, claimed)
        self._read |= due  # only now are they surely ours
        self._slow_in_hand += sum(callback.slow for callback in claimed)
        return claimed

    async def _due_of(self, connection: AsyncConnection, claimed: list[Callback]) -> dict[int, list[Pending]]:
        """What is due, read with the claim where it is little: most turns are short."""
        if not claimed:
            return {}
        return await outbox.pending_of(
            connection,
            [callback.id for callback in claimed],
            limit=self._settings.callback_batch,
            now=self._runtime.clock.now(),
        )

    async def run(self, callback: Callback) -> bool:
        """Serves one callback for one turn. True when it may be due again at once."""
        lease, turn = lease_of(callback), _Turn()
        started = asyncio.get_running_loop().time()
        try:
            await self._send_due(callback, turn)
        finally:  # also when the drain ran out of time: what was answered is settled, the rest stays due
            took = asyncio.get_running_loop().time() - started
            self._slow_in_hand -= callback.slow
            more = await to_its_end(self._settle(lease, turn, slow=self._was_slow(turn, took)))
        return more

    async def _send_due(self, callback: Callback, turn: _Turn) -> None:
        due = self._read.pop(callback.id, None)
        if due is None:
            async with self._runtime.database.read() as connection:
                now = self._runtime.clock.now()
                due = await outbox.pending(
                    connection, callback.id, limit=self._settings.callback_batch, now=now
                )
        until = asyncio.get_running_loop().time() + self._settings.callback_turn.total_seconds()
        work = iter(due)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._settings.callback_concurrency, len(due))):
                group.create_task(self._lane(callback.url, work, turn, until))

    async def _lane(self, url: str, work: Iterator[Pending], turn: _Turn, until: float) -> None:
        """One POST after the other, sharing `work` with the other lanes of the turn."""
        clock = asyncio.get_running_loop().time
        while clock() < until and not self._draining.is_set():
            delivery = next(work, None)
            if delivery is None:
                return
            if not delivery.active:
                turn.settle(delivery, DeliveryStatus.QUEUED, None)
            elif delivery.subscription_id not in turn.ended:  # else it is queued with the subscription's end
                self._note(turn, delivery, await self._post(url, delivery, turn))

    async def _post(self, url: str, delivery: Pending, turn: _Turn) -> Answer:
        """Never raises: what went wrong fails this delivery, and not those beside it."""
        now = self._runtime.clock.now()
        try:
            sent = self._carried(delivery, turn)
            headers = sent.call(
                delivery.body, notification_id=delivery.notification_id, timestamp=int(now.timestamp())
            )
            secrets = {*sent.secrets, *_login(url)}
            return await self._runtime.egress.post(url, delivery.body, headers, secrets=secrets)
        except Exception:  # what the log says of it is for the operator, an attempt is for the tenant
            log.exception("delivery failed", extra={"delivery": delivery.delivery_id})
            return Answer(None, "the gateway could not make the call; its log says why", started_at=now)

    def _carried(self, delivery: Pending, turn: _Turn) -> Carried:
        """What the calls of a subscription carry, opened once in a turn."""
        if delivery.sealed is None:
            return NOTHING
        found = turn.carried.get(delivery.subscription_id)
        if found is None:
            plain = self._runtime.sealer.open(delivery.sealed, outbox.row_name(delivery.subscription_id))
            found = turn.carried[delivery.subscription_id] = carried.unpack(plain)
        return found

    def _note(self, turn: _Turn, delivery: Pending, answer: Answer) -> None:
        """Turns an answer into what is written of it."""
        if answer.accepted:
            turn.accepted = True
            turn.settle(delivery, DeliveryStatus.DELIVERED, answer)
            return
        if delivery.queue_failures and answer.status != _GONE:
            turn.settle(delivery, DeliveryStatus.QUEUED, answer)
            return
        match self._verdict(delivery.attempts + 1, answer):
            case Retry(delay):
                turn.settle(delivery, DeliveryStatus.RETRY, answer, self._runtime.clock.now() + delay)
            case GiveUp(reason):
                turn.ended[delivery.subscription_id] = reason
                turn.settle(delivery, DeliveryStatus.QUEUED, answer, gave_up=True)

    def _verdict(self, attempts: int, answer: Answer) -> Retry | GiveUp:
        if answer.status == _GONE:
            return GiveUp("the receiver answered 410 Gone")
        return after_failed_attempt(
            attempts,
            self._settings.callback_retry,
            chance=random.random(),
            retry_after=answer.retry_after,
        )

    def _was_slow(self, turn: _Turn, took: float) -> bool:
        return bool(turn.settlements) and (
            not turn.accepted or took > self._settings.callback_turn.total_seconds()
        )

    async def _settle(self, lease: Lease, turn: _Turn, *, slow: bool) -> bool:
        more = await self._settler.settle(outbox.Turn(lease, turn.settlements, turn.ended, slow))
        counts = Counter(str(item.status) for item in turn.settlements)
        log.info("callback served", extra={"callback": lease.row_id, "more": more, **counts})
        for subscription_id, reason in turn.ended.items():
            log.warning("subscription deactivated", extra={"subscription": subscription_id, "reason": reason})
        return more


def _login(url: str) -> set[str]:
    """The secrets in a URL: older versions have stored them there."""
    parts = urlsplit(url)
    login = [unquote(part) for part in (parts.username, parts.password) if part]
    return {":".join(login), *login[1:]}
