"""/events/{id}/trace: one event, from the vendor's page to every attempt to deliver it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from app import event_log
from app.api.bodies import JsonRoute
from app.api.chosen import InstanceId
from app.api.deps import CallerDep, RuntimeDep, ScopeDep
from app.api.event_log import EventId
from app.api.problems import responses
from app.ids import LARGEST_ID
from app.store.event_log import Wanted
from app.wire import traces as wire
from app.wire.traces import TraceBody

router = APIRouter(route_class=JsonRoute, tags=["event log"], responses=responses(400, 401, 404))

OwnId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the event.")]


@router.get("/events/{id}/trace", response_model_exclude_none=True)
async def trace_event(runtime: RuntimeDep, scope: ScopeDep, event_id: OwnId) -> TraceBody:
    """Follows one event: the vendor's page, the event itself, its notification, and each delivery with every
    attempt. It is our own addition to the surface."""
    wanted = Wanted(scope.account_id, scope.instance_id)
    return wire.trace(await event_log.trace(runtime, wanted, event_id))


@router.get("/instances/{id}/events/{eventId}/trace", response_model_exclude_none=True)
async def trace_instance_event(
    runtime: RuntimeDep, caller: CallerDep, instance_id: InstanceId, event_id: EventId
) -> TraceBody:
    """Follows one event of an instance, as `GET /events/{id}/trace` does."""
    await event_log.check_instance(runtime, caller.account_id, instance_id)
    return wire.trace(await event_log.trace(runtime, Wanted(caller.account_id, instance_id), event_id))
