"""/instances/events: what an account's instances have reported, and what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AfterValidator, Field

from app import event_log
from app.api.bodies import JsonRoute
from app.api.chosen import InstanceId
from app.api.deps import CallerDep, RuntimeDep, ScopeDep
from app.api.paging import Paging, UncountedPagingDep
from app.api.problems import responses
from app.clock import in_calendars
from app.event_log import Interval, Logged, Question
from app.ids import LARGEST_ID
from app.runtime import Runtime
from app.store.event_log import Wanted
from app.wire import event_log as wire
from app.wire.event_log import (
    AccountCountsBody,
    CountBody,
    DispositionBody,
    InstanceCountsBody,
    LoggedEventBody,
)
from app.wire.storable import Storable

router = APIRouter(
    route_class=JsonRoute, prefix="/instances", tags=["event log"], responses=responses(400, 401, 404)
)

_EXCLUDED: dict[str, Any] = {"response_model_exclude_none": True}

Moment = Annotated[datetime, AfterValidator(in_calendars)]
From = Annotated[Moment | None, Query(alias="from", description="Stored at or after this time.")]
To = Annotated[Moment | None, Query(alias="to", description="Stored before this time.")]
EventId = Annotated[int, Path(alias="eventId", ge=1, le=LARGEST_ID, description="Id of the event.")]
AccountIds = Annotated[
    list[Annotated[int, Field(ge=1, le=LARGEST_ID)]] | None,
    Query(alias="accountIds[]", description="Only these accounts; repeat it for several."),
]


class Filters:
    """Which events are meant. With filters, a page looks at 10,000 events at most and may then hold fewer
    than `pageSize`; it is the last one only if it brings no token. A `page` behind one that is not is
    refused."""

    def __init__(
        self,
        since: From = None,
        until: To = None,
        event_type: Annotated[
            Storable | None, Query(alias="eventType", max_length=50, description="CREATED, UPDATED, ...")
        ] = None,
        object_type: Annotated[
            Storable | None, Query(alias="objectType", max_length=200, description="file, folder, ...")
        ] = None,
        object_id: Annotated[
            Storable | None, Query(alias="objectId", max_length=2000, description="The vendor's id.")
        ] = None,
    ) -> None:
        self._values: dict[str, Any] = {
            "since": since,
            "until": until,
            "event_type": event_type,
            "object_type": object_type,
            "object_id": object_id,
        }

    def wanted(self, account_id: int, instance_id: int | None) -> Wanted:
        return Wanted(account_id, instance_id, **self._values)


class Span:
    """The time of an analysis, of the last 24 hours unless it is named, and its buckets; and whose events are
    counted: with an Element token, those of its instance."""

    def __init__(
        self,
        runtime: RuntimeDep,
        scope: ScopeDep,
        response: Response,
        since: From = None,
        until: To = None,
        interval: Annotated[Interval, Query(description="How long a bucket is.")] = Interval.HOUR,
        account_ids: AccountIds = None,
    ) -> None:
        self._scope, self._named, self._response = scope, account_ids or (), response
        self._until = until or runtime.clock.now()
        self._since = since or self._until - timedelta(hours=24)
        self._interval = interval

    async def question(self, runtime: Runtime) -> Question:
        """Raises Forbidden for an account of others."""
        account_ids, more = await event_log.accounts_of(
            runtime, self._scope.caller, self._scope.account_id, self._named
        )
        if more:
            counted = f"only the first {len(account_ids)} accounts are counted; name others with accountIds[]"
            self._response.headers["Elements-Error"] = counted
        return Question(account_ids, self._since, self._until, self._interval, self._scope.instance_id)


FiltersDep = Annotated[Filters, Depends(Filters)]
SpanDep = Annotated[Span, Depends(Span)]


@router.get("/events/analytics", responses=responses(403))
async def count_events(runtime: RuntimeDep, span: SpanDep) -> list[CountBody]:
    """Counts events in buckets of one interval, the oldest first; the buckets of both ends are whole."""
    question = await span.question(runtime)
    return [wire.counts(bucket) for bucket in await event_log.analyse(runtime, question)]


@router.get("/events/analytics/instances", responses=responses(403))
async def count_events_of_instances(runtime: RuntimeDep, span: SpanDep) -> list[InstanceCountsBody]:
    """Counts events in buckets of one interval, by instance."""
    question = await span.question(runtime)
    found = await event_log.analyse(runtime, question, by="instance_id")
    return [wire.instance_counts(bucket) for bucket in found]


@router.get("/events/analytics/accounts", responses=responses(403))
async def count_events_of_accounts(runtime: RuntimeDep, span: SpanDep) -> list[AccountCountsBody]:
    """Counts events in buckets of one interval, by account."""
    question = await span.question(runtime)
    found = await event_log.analyse(runtime, question, by="account_id")
    return [wire.account_counts(bucket) for bucket in found]


@router.get("/events/dispositions")
async def list_event_dispositions(
    runtime: RuntimeDep, scope: ScopeDep, paging: UncountedPagingDep, since: From = None, until: To = None
) -> list[DispositionBody]:
    """Lists events, the newest first, with what happened on the way of their notifications, in words."""
    wanted = Wanted(scope.account_id, scope.instance_id, since, until)
    return [wire.disposition(found) for found in await _page(runtime, wanted, paging)]


@router.get("/events", **_EXCLUDED)
async def list_account_events(
    runtime: RuntimeDep, scope: ScopeDep, filters: FiltersDep, paging: UncountedPagingDep
) -> list[LoggedEventBody]:
    """Lists the events of all instances of the account, the newest first; with an Element token, those of
    its instance."""
    found = await _page(runtime, filters.wanted(scope.account_id, scope.instance_id), paging)
    return [wire.logged(item) for item in found]


@router.get("/events/{eventId}", **_EXCLUDED)
async def get_account_event(runtime: RuntimeDep, scope: ScopeDep, event_id: EventId) -> LoggedEventBody:
    """Gets an event of any instance of the account; with an Element token, of its instance."""
    wanted = Wanted(scope.account_id, scope.instance_id)
    return wire.logged(await event_log.get(runtime, wanted, event_id))


@router.get("/{id}/events", **_EXCLUDED)
async def list_instance_events(
    runtime: RuntimeDep,
    caller: CallerDep,
    instance_id: InstanceId,
    filters: FiltersDep,
    paging: UncountedPagingDep,
) -> list[LoggedEventBody]:
    """Lists the events of an instance, the newest first. Their numbers have no gap, except where events were
    pruned."""
    await event_log.check_instance(runtime, caller.account_id, instance_id)
    found = await _page(runtime, filters.wanted(caller.account_id, instance_id), paging)
    return [wire.logged(item) for item in found]


@router.get("/{id}/events/{eventId}", **_EXCLUDED)
async def get_instance_event(
    runtime: RuntimeDep, caller: CallerDep, instance_id: InstanceId, event_id: EventId
) -> LoggedEventBody:
    """Gets an event of an instance."""
    await event_log.check_instance(runtime, caller.account_id, instance_id)
    return wire.logged(await event_log.get(runtime, Wanted(caller.account_id, instance_id), event_id))


async def _page(runtime: Runtime, wanted: Wanted, paging: Paging) -> list[Logged]:
    """The token of a page names the event that the next one lies below."""
    found, rest = await event_log.find(
        runtime, wanted, below=paging.after, offset=paging.offset, limit=paging.limit
    )
    if rest is not None:
        paging.go_on(rest)
    return paging.page(found, lambda item: wanted.position(item.event))
