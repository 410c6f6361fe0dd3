"""Folders that have to stay: https://developer.box.com/reference/resources/folder-lock/."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.sandbox.box.access import Body, CallerDep, Reference, read
from app.sandbox.box.domain import FolderLock
from app.sandbox.box.errors import not_found
from app.sandbox.box.shapes import Shape, mini, user_mini
from app.sandbox.box.times import timestamp

router = APIRouter(prefix="/2.0/folder_locks")


class Operations(Body):
    """What a lock forbids."""

    move: bool = True
    delete: bool = True


class NewLock(Body):
    """A lock to make."""

    folder: Reference
    locked_operations: Operations = Operations()


@router.post("")
async def create(caller: CallerDep, request: Request) -> dict[str, Any]:
    """Locks a folder."""
    wish, enterprise = await read(request, NewLock), caller.enterprise
    folder = enterprise.tree.folder(wish.folder.id)
    operations = wish.locked_operations.model_dump()
    lock = FolderLock(enterprise.tree.new_id(), folder, caller.user, datetime.now(UTC), operations)
    enterprise.folder_locks[lock.id] = lock
    return _shape(lock)


@router.get("")
async def locks(caller: CallerDep, folder_id: str) -> dict[str, Any]:
    """The locks of a folder."""
    folder = caller.enterprise.tree.folder(folder_id)
    found = [_shape(lock) for lock in caller.enterprise.folder_locks.values() if lock.folder is folder]
    return {"entries": found, "limit": 1000, "next_marker": None}


@router.delete("/{lock_id}", response_model=None)
async def delete(caller: CallerDep, lock_id: str) -> Response:
    """Unlocks a folder."""
    if caller.enterprise.folder_locks.pop(lock_id, None) is None:
        raise not_found("folder_lock", lock_id)
    return Response(status_code=204)


def _shape(lock: FolderLock) -> Shape:
    return {
        "id": lock.id,
        "type": "folder_lock",
        "folder": mini(lock.folder),
        "created_by": user_mini(lock.by),
        "created_at": timestamp(lock.created),
        "locked_operations": lock.operations,
        "lock_type": "freeze",
    }
