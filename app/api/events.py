"""/events: an account's stream of changes, read on demand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app import ceql, documents
from app.api.answers import AnswersDep
from app.api.bodies import JsonRoute
from app.api.deps import InstanceDep, RuntimeDep
from app.api.problems import responses
from app.api.targets import able
from app.errors import BadRequest
from app.hubs.documents import Power
from app.wire import events as wire
from app.wire.events import EVENT_TYPES, EventBody

router = APIRouter(route_class=JsonRoute, tags=["events"], responses=responses(400, 401, 403, 404, 429, 502))

EVENT_FIELDS = frozenset(
    {
        "event_id",
        "event_type",
        "event_object_type",
        "event_object_id",
        "event_date",
        "path",
        "previousPath",
        "name",
        "parentObjectId",
        "change",
    }
)

_SPELLINGS = {
    "event_type": ceql.one_of(EVENT_TYPES),
    "event_date": ceql.a_time,
}


@router.get("/events", response_model=list[EventBody], dependencies=[able(Power.CHANGES)])
async def list_events(
    runtime: RuntimeDep,
    instance: InstanceDep,
    answers: AnswersDep,
    cursor: Annotated[
        str | None, Query(max_length=500, description="Where to start; `now` is the end of the stream.")
    ] = None,
    next_page: Annotated[
        str, Query(alias="nextPage", max_length=500, description="Elements-Next-Page-Token.")
    ] = "",
    page_size: Annotated[int, Query(alias="pageSize", ge=1, description="Rows per page, at most.")] = 200,
    where: Annotated[str, Query(description="CEQL, e.g. event_date >= '2026-01-05T10:00:00Z'.")] = "",
) -> Response:
    """Reads the account's stream of changes, the oldest first, without any memory of the gateway.

    Without a cursor it starts at the oldest event that the vendor still has. `Elements-Events-Cursor`
    resumes behind this page later; `Elements-Next-Page-Token` is sent only while more is ready now.
    """
    matches = ceql.compile_where(where, EVENT_FIELDS, _SPELLINGS) if where.strip() else None
    try:
        page = await documents.changes(runtime, instance, cursor=next_page or cursor, limit=page_size)
    except BadRequest as error:
        if not next_page or not error.message.startswith("cursor:"):
            raise
        raise BadRequest(error.message.replace("cursor", "nextPage", 1)) from None  # under its other name
    rows = [wire.row(change, raw=answers.raw) for change in page.changes]
    shown = [row for row in rows if matches is None or matches(row)]
    headers = {"Elements-Events-Cursor": page.cursor}
    if page.more:
        headers["Elements-Next-Page-Token"] = page.cursor
    if page.gap:
        headers["Elements-Error"] = "The vendor no longer has the events right behind this cursor"
    return answers.many(shown, headers)
