"""Requests that a client does not wait for: stored, run by a worker, and told of with their answer."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app import configuration, event_settings
from app.backoff import after_failed_poll
from app.delivery import callbacks, url_logins
from app.delivery.carried import Carried
from app.errors import (
    BadRequest,
    Conflict,
    DatabaseUnavailable,
    GatewayError,
    NotFound,
    VendorError,
    VendorThrottled,
    VendorUnavailable,
)
from app.event_settings import Receiver
from app.ids import new_id
from app.ingest.events import delivery
from app.polling.inside import Answer, Inside
from app.runtime import Runtime
from app.store import async_requests, instances, outages, outbox, wakeups
from app.store.leases import Lease, lease_of
from app.store.new_rows import NewNotification
from app.store.tables import (
    ASYNC_RESOURCE,
    AsyncRequest,
    Instance,
    Subscription,
    Via,
)
from app.tasks import to_its_end
from app.wire import async_requests as wire

_ATTEMPTS = 8  # the last one about 10 minutes after the first
_STEP = timedelta(seconds=5)  # of rest after the first failure; each one doubles it
_LONGEST_REST = timedelta(minutes=5)
_MARGIN = timedelta(seconds=60)  # of the lease, beyond the longest time that a request may take
_URL_HEADER = "Elements-Async-Callback-Url"
_PASSING = (VendorThrottled, VendorUnavailable, DatabaseUnavailable)  # after these a request is run again
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409
MOST_URLS = 1000  # of one instance within GATEWAY_EVENT_RETENTION

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """A request as it will be run: `target` is its path below the hub, with its query."""

    method: str
    target: str
    body: bytes | None = None


async def dispatch(runtime: Runtime, instance: Instance, wish: Wish, *, url: str | None) -> int:
    """Stores a request and answers its id. `url` is where its answer goes, or else the instance's callback.
    Raises BadRequest that names the header where neither is there, and for a URL that cannot be called."""
    carried, found = await _secrets(runtime, instance)
    named = event_settings.callback_url(url, name=_URL_HEADER)
    callback = named or found
    if callback is None:
        raise BadRequest(f"{_URL_HEADER}: is required where the instance has no callback URL")
    await callbacks.check(runtime, named.url if named else None, name=_URL_HEADER)
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        if not await instances.hold(connection, instance.id):
            raise NotFound(f"No instance with the id {instance.id} found")
        told = _told_to(callback, found, carried).pack()
        subscription_id = await _subscription(connection, runtime, instance, callback, told, now)
        request_id = await async_requests.add(
            connection,
            now=now,
            account_id=instance.account_id,
            instance_id=instance.id,
            subscription_id=subscription_id,
            method=wish.method,
            target=wish.target,
            body=wish.body,
        )
        await wakeups.notify(connection, AsyncRequest)
    runtime.wakeups.requests.set()
    return request_id


async def _secrets(runtime: Runtime, instance: Instance) -> tuple[Carried, Receiver | None]:
    """What calls to the instance's callback carry beside what its URL says, and where they go."""
    async with runtime.database.read() as connection:
        sealed = (await instances.credentials(connection, [instance.id])).get(instance.id)
    secret = runtime.credentials.unseal(sealed).values if sealed else {}
    values = instance.configuration | dict(secret)
    own = event_settings.callback_url(values.get(event_settings.CALLBACK_URL))
    return event_settings.carried_as_stored(values), own


def _told_to(to: Receiver, own: Receiver | None, carried: Carried) -> Carried:
    """What calls to a URL carry. Whoever holds the token of an instance may name any: a password is for the
    place that it was configured for, and others get signatures, which tell nobody their key."""
    is_own = own is not None and _origin(to.url) == _origin(own.url)
    return (carried if is_own else Carried(carried.keys)).with_login(to.login)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def _subscription(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    to: Receiver,
    carried: bytes | None,
    now: datetime,
) -> int:
    """The subscription with this URL, made if it is new, with the secrets that are right now. One that was
    given up is called again: its owner has just named it."""
    topic = wire.topic(instance)
    await url_logins.take_out(connection, runtime, instance.id)
    found = await async_requests.subscription_for(connection, instance.id, topic, to.url, to.shown_url)
    if (
        found is None
        and await async_requests.count_subscriptions(connection, instance.id, topic) >= MOST_URLS
    ):
        raise Conflict(f"The answers of the instance go to {MOST_URLS} URLs already; name one of them again")
    callback_id = await outbox.callback_id(connection, account_id=instance.account_id, url=to.url)
    if found is not None and not found.active:
        await outbox.move(connection, found, callback_id, now=now)
    subscription_id = (
        found.id
        if found
        else await outbox.subscribe(
            connection,
            configured=False,
            account_id=instance.account_id,
            instance_id=instance.id,
            callback_id=callback_id,
            topic=topic,
            shown_url=to.shown_url,
            created_at=now,
        )
    )
    sealed = runtime.sealer.seal(carried, outbox.row_name(subscription_id)) if carried else None
    await outbox.seal_subscription(connection, subscription_id, sealed)
    return subscription_id


class RequestWorker:
    """Runs what is due, outside of any transaction, and stores its answer with the delivery of it in one. A
    crash runs a request again: a delete that finds nothing then is done, and so is a copy that finds a
    destination which was made since."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._longest = runtime.settings.async_request_timeout

    async def claim(self, places: int) -> list[AsyncRequest]:
        if self._runtime.inside is None:
            return []
        now, lease = self._runtime.clock.now(), self._longest + _MARGIN
        async with self._runtime.database.write() as connection:
            return await async_requests.claim_due(connection, limit=places, now=now, lease=lease)

    async def run(self, request: AsyncRequest) -> bool:
        """Runs one request. False: it is never due again at once."""
        lease, attempts = lease_of(request), request.attempts + 1
        try:
            answer = await self._attempt(request, lease, attempts)
        except asyncio.CancelledError:
            await self._postpone(lease, self._runtime.clock.now(), attempts=request.attempts)
            raise
        if answer is not None:
            await to_its_end(self._settle(request, lease, answer, attempts))
        return False

    async def _attempt(self, request: AsyncRequest, lease: Lease, attempts: int) -> Answer | None:
        """None where the lease was lost."""
        if attempts > _ATTEMPTS:  # the worker of the last one has died
            return _failure(VendorUnavailable("The request was begun too often"))
        return await self._answer(request) if await self._begin(lease, attempts) else None

    async def _settle(self, request: AsyncRequest, lease: Lease, answer: Answer, attempts: int) -> None:
        wait = _rest(answer, attempts)
        if wait is None:
            await self._end(request, lease, answer)
            return
        unsure = request.may_be_done or not isinstance(answer.error, VendorThrottled)
        due_at = self._runtime.clock.now() + wait
        await self._postpone(lease, due_at, attempts=attempts, may_be_done=unsure)

    async def _answer(self, request: AsyncRequest) -> Answer:
        """What the surface says; what fails otherwise is an answer too."""
        async with self._runtime.database.read() as connection:
            found = await instances.for_worker(connection, request.instance_id)
        inside = self._runtime.inside
        if found is None or inside is None:
            return _failure(NotFound(f"No instance with the id {request.instance_id} found"))
        try:
            async with asyncio.timeout(self._longest.total_seconds()):
                return await self._asked(inside, found[0], request)
        except TimeoutError:
            return _failure(VendorUnavailable("The request took longer than GATEWAY_ASYNC_REQUEST_TIMEOUT"))
        except GatewayError as error:
            return _failure(error)
        except Exception as error:
            log.exception("request failed unexpectedly", extra={"request": request.id})
            return _failure(VendorError(f"internal error: {type(error).__name__}"))

    async def _asked(self, inside: Inside, instance: Instance, request: AsyncRequest) -> Answer:
        """What the surface says; what an earlier run may have done is done where it looks so."""
        call = partial(inside.call, instance, patience=self._longest)
        answer = await call(request.method, request.target, request.body)
        if not request.may_be_done:
            return answer
        if request.method == "DELETE" and answer.status == _NOT_FOUND:
            return Answer(200, b"")
        if request.method == "POST" and answer.status == _CONFLICT:
            path = orjson.loads(request.body or b"{}").get("path", "")
            found = await call("GET", f"/folders/metadata?path={quote(path, safe='')}")
            return found if _is_made_since(found, request.created_at) else answer
        return answer

    async def _begin(self, lease: Lease, attempts: int) -> bool:
        async def begin() -> bool:
            async with self._runtime.database.write() as connection:
                return await async_requests.begin(connection, lease, attempts=attempts)

        return await outages.repeat(begin, patience=_MARGIN / 2)

    async def _postpone(self, lease: Lease, due_at: datetime, **values: Any) -> None:
        async def postpone() -> None:
            async with self._runtime.database.write() as connection:
                await async_requests.postpone(connection, lease, due_at=due_at, **values)

        await outages.repeat(postpone, patience=_MARGIN / 2)

    async def _end(self, request: AsyncRequest, lease: Lease, answer: Answer) -> None:
        """The transaction of the end: nothing of it happens when the lease was lost. It is made again while
        the lease lasts, because what the request was about is done."""
        await outages.repeat(partial(self._store_end, request, lease, answer), patience=_MARGIN / 2)

    async def _store_end(self, request: AsyncRequest, lease: Lease, answer: Answer) -> None:
        now = self._runtime.clock.now()
        async with self._runtime.database.write() as connection:
            subscription = await async_requests.subscription_of(connection, request.subscription_id)
            if not await async_requests.end(connection, lease, status=answer.status, now=now):
                return
            if subscription is not None:
                told = _notification(request, subscription, answer, now)
                await outbox.append(connection, [told], [delivery(told, subscription, now)], now=now)
        self._runtime.wakeups.callbacks.set()
        facts = {"request": request.id, "instance": request.instance_id, "status": answer.status}
        log.info("async request ended", extra=facts)


def _rest(answer: Answer, attempts: int) -> timedelta | None:
    """How long a request waits for its next attempt; None where its answer is the last word."""
    if attempts >= _ATTEMPTS or not isinstance(answer.error, _PASSING):
        return None
    return after_failed_poll(
        attempts,
        _STEP,
        longest=_LONGEST_REST,
        chance=random.random(),
        retry_after=answer.error.retry_after,
    )


def _is_made_since(folder: Answer, moment: datetime) -> bool:
    """Whether an answer is a folder that was made at this moment or later; vendors count in seconds."""
    made_at = folder.json().get("createdDate") if folder.status == _OK else None
    return made_at is not None and datetime.fromisoformat(made_at) >= moment.replace(microsecond=0)


def _failure(error: GatewayError) -> Answer:
    """What failed before there was an answer."""
    return Answer(error.status, b"", error=error)


def _told(answer: Answer) -> Any | None:
    """The body of an answer as a callback is told of it."""
    if answer.body:
        return answer.json()
    return {"message": configuration.without_password(answer.error.message)} if answer.error else None


def _notification(
    request: AsyncRequest, subscription: Subscription, answer: Answer, now: datetime
) -> NewNotification:
    notification_id = new_id()
    return NewNotification(
        id=notification_id,
        account_id=request.account_id,
        instance_id=request.instance_id,
        topic=subscription.topic,
        body=wire.body(
            event_id=request.id,
            instance_id=request.instance_id,
            notification_id=notification_id,
            status=answer.status,
            answer=_told(answer),
        ),
        resource=ASYNC_RESOURCE,
        via=Via.GATEWAY,
        cursor=None,
        next_cursor=None,
        first_sequence=None,
        last_sequence=None,
        acknowledged_at=None,
        created_at=now,
    )
