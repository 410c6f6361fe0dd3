"""Egnyte's event stream: developers.egnyte.com, Events API."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from app.sandbox.egnyte.access import Caller, CallerDep, RefusalError
from app.sandbox.history import Change

router = APIRouter(prefix="/pubapi")
Version = Literal["v1", "v2"]
EVENT_FAULTS = frozenset({"duplicate_events", "reorder_events"})

_MAX_COUNT = 100
# The second version of the resource differs in its default types only.
_DEFAULT_TYPES = {"v1": "file_system|note", "v2": "file_system|note|permission_change"}
_NOTE_ACTIONS = {"note": "create", "note_delete": "delete"}


class EventQuery(BaseModel):
    """The parameters of a poll."""

    id: int
    count: int = 50
    type: str | None = None
    folder: str | None = None
    suppress: Literal["app", "user", "none"] = "none"
    reverse: Literal["0", "1"] = "0"


def timestamp(at: datetime) -> str:
    """A time as the event stream writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


@router.get("/{version}/events/cursor")
async def cursor(version: Version, caller: CallerDep) -> dict[str, Any]:
    """Where the stream begins and ends."""
    history = caller.domain.world.history
    return {
        "timestamp": timestamp(history.latest_at),
        "latest_event_id": history.latest_id,
        "oldest_event_id": history.oldest_id,
    }


@router.get("/{version}/events", response_model=None)
async def events(version: Version, request: Request, caller: CallerDep) -> Response:
    """The events after an id; 204 when there are none."""
    query = _parse(request)
    _check_cursor(caller, query)
    found = _page(caller, query, set((query.type or _DEFAULT_TYPES[version]).split("|")))
    if not found:
        return Response(status_code=204)
    shown = _disturbed(caller, request, found)
    body = {"count": len(shown), "events": shown, "latest_id": found[-1]["id"]}
    if caller.domain.settings.event_form == "full":
        body["oldest_id"] = caller.domain.world.history.oldest_id
    return JSONResponse(body)


def _parse(request: Request) -> EventQuery:
    try:
        query = EventQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        field = error.errors()[0]["loc"][0]
        raise _refused(400, f"Invalid parameter: {field}") from error
    if not 1 <= query.count <= _MAX_COUNT:
        raise _refused(400, "Invalid parameter: count")
    return query


def _refused(status: int, message: str) -> RefusalError:
    return RefusalError(JSONResponse({"message": message}, status_code=status))


def _check_cursor(caller: Caller, query: EventQuery) -> None:
    stale = query.id < caller.domain.world.history.lost_id
    if stale and caller.domain.settings.stale_cursor == "404":
        raise _refused(404, "Invalid cursor")


def _page(caller: Caller, query: EventQuery, types: set[str]) -> list[dict[str, Any]]:
    history = caller.domain.world.history
    backwards = query.reverse == "1"
    changes: Iterator[Change] = history.up_to(query.id) if backwards else history.after(query.id)
    wanted = (change for change in changes if type_of(change) in types and _concerns(change, caller, query))
    form = caller.domain.settings.event_form
    page = [render(change, form) for change in islice(wanted, query.count)]
    return page[::-1] if backwards else page


def _concerns(change: Change, caller: Caller, query: EventQuery) -> bool:
    if query.suppress == "app" and change.actor.client_id == caller.token.client_id:
        return False
    if query.suppress == "user" and change.actor.user.id == caller.user.id:
        return False
    return query.folder is None or _below(change, query.folder.rstrip("/"))


def _below(change: Change, folder: str) -> bool:
    refs = [change.target] if change.origin is None else [change.target, change.origin]
    return any(ref.path == folder or ref.path.startswith(f"{folder}/") for ref in refs)


def _disturbed(caller: Caller, request: Request, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    fault = caller.domain.faults.take(path, EVENT_FAULTS)
    match fault and fault.kind:
        case "duplicate_events":
            return [event for event in found for _ in range(2)]
        case "reorder_events":
            return found[::-1]
    return found


def type_of(change: Change) -> str:
    """The `type` of an event."""
    if change.action in _NOTE_ACTIONS:
        return "note"
    return "permission_change" if change.action == "permission" else "file_system"


def render(change: Change, form: Literal["full", "old"] = "full") -> dict[str, Any]:
    """A change as the stream shows it, or as it showed it years ago."""
    event: dict[str, Any] = {
        "id": change.id,
        "timestamp": timestamp(change.at),
        "actor": change.actor.user.id,
        "type": type_of(change),
        "action": _action(change),
        "action_source": change.actor.source,
        "data": _data(change) if form == "full" else _old_data(change),
    }
    if change.action == "permission" and form == "full":
        event["eventTypeSpecificAttributes"] = _permission_attributes(change)
    return event


def _action(change: Change) -> str:
    match change.action:
        case "permission":
            return "permission_change"
        case "version":
            # Only the known group id tells a new version from a new file.
            return "create"
        case action:
            return _NOTE_ACTIONS.get(action, action)


def _data(change: Change) -> dict[str, Any]:
    target = change.target
    match type_of(change):
        case "note":
            return {"note_id": change.detail["note_id"], "target_path": target.path, "is_folder": False}
        case "permission_change":
            # Documented as always false, although the target is always a folder.
            return {"target_path": target.path, "is_folder": False}
    data: dict[str, Any] = {"target_path": target.path, "is_folder": change.is_folder}
    if change.is_folder:
        data |= {"target_id": target.id, "folder_id": target.id}
    else:
        data |= {"target_id": target.version_id, "target_group_id": target.id}
    if change.origin is not None:
        data |= {"source_path": change.origin.path, "source_id": change.origin.version_id or change.origin.id}
        if not change.is_folder:
            data["source_group_id"] = change.origin.id
    return data


def _old_data(change: Change) -> dict[str, Any]:
    if type_of(change) == "note":
        return {"note_id": change.detail["note_id"]}
    names = ("target_path", "source_path", "is_folder")
    return {name: value for name, value in _data(change).items() if name in names}


def _permission_attributes(change: Change) -> dict[str, Any]:
    level, entries = change.detail["level"], []
    for subject, before in change.detail["before"].items():
        entries.append({"action": "ADD", "entry": {"subject": subject, "priv": level}})
        if before is not None:
            entries.append({"action": "DELETE", "entry": {"subject": subject, "priv": before}})
    return {
        "changeGroupEvents": [],
        "changePermissionEvent": {"changedPermissions": entries},
        "changeContext": None,
        "targetFolderId": change.target.id,
        "groupChange": False,
    }
