"""Comments on Egnyte's files: developers.egnyte.com, Comments API."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.sandbox.egnyte.access import Caller, CallerDep, read
from app.sandbox.egnyte.domain import Note
from app.sandbox.egnyte.events import timestamp
from app.sandbox.world import path_of

router = APIRouter(prefix="/pubapi/v1/notes")


class NewNote(BaseModel):
    """A comment to make."""

    path: str
    body: str


@router.post("", response_model=None)
async def create(caller: CallerDep, request: Request) -> JSONResponse:
    """Puts a comment on a file."""
    wish = await read(request, NewNote)
    note = caller.domain.add_note(wish.path, wish.body, caller.actor)
    return JSONResponse(_row(note, caller), status_code=201)


@router.get("")
async def notes(
    caller: CallerDep,
    file: str | None = None,
    folder: str | None = None,
    start_time: str = "",
    end_time: str = "9999",
    count: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """The comments on a file or below a folder, in a span of time."""
    found = [
        note
        for note in caller.domain.notes.values()
        # ISO dates, whole or cut short, compare as texts.
        if start_time <= timestamp(note.created) < end_time and _is_at(path_of(note.file), file, folder)
    ]
    page = [_row(note, caller) for note in found[offset : offset + count]]
    return {"notes": page, "total_results": len(found), "offset": offset, "count": len(page)}


@router.get("/{note_id}")
async def note(caller: CallerDep, note_id: str) -> dict[str, Any]:
    """One comment."""
    return _row(caller.domain.note(note_id), caller)


@router.delete("/{note_id}")
async def delete(caller: CallerDep, note_id: str) -> dict[str, Any]:
    """Takes a comment away."""
    caller.domain.delete_note(note_id, caller.actor)
    return {}


def _is_at(path: str, file: str | None, folder: str | None) -> bool:
    if file is not None and path != file:
        return False
    return folder is None or path.startswith(folder.rstrip("/") + "/")


def _row(note: Note, caller: Caller) -> dict[str, Any]:
    return {
        "id": note.id,
        "message": note.message,
        "username": note.user.username,
        "formatted_name": note.user.full_name,
        "can_delete": note.user.id == caller.user.id,
        "creation_time": timestamp(note.created),
        "file_path": path_of(note.file),
        "file_id": note.file.id,
        "group_id": note.file.id,
    }
