"""Egnyte's trash: developers.egnyte.com, Trash API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.egnyte.access import Caller, CallerDep, read
from app.sandbox.egnyte.listing import epoch_ms
from app.sandbox.egnyte.storage import Trashed
from app.sandbox.world import File, path_of, ref_to, walk

router = APIRouter(prefix="/pubapi/v1/fs/trash")


class TrashOrder(BaseModel):
    """What to do with things in the trash."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["RESTORE", "PURGE"]
    ids: list[str] = Field(min_length=1)


@router.get("")
async def trash(
    caller: CallerDep,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """What was deleted, newest first; what lay below a folder is not listed by itself."""
    found = caller.domain.world.trash()
    page = [_row(item) for item in found[offset : offset + count]]
    return {"items": page, "offset": offset, "count": len(page), "total_count": len(found)}


@router.post("")
async def empty(caller: CallerDep, request: Request) -> dict[str, Any]:
    """Brings things back or ends them for good; nothing is done when one of the ids is unknown."""
    order = await read(request, TrashOrder)
    ids = list(dict.fromkeys(order.ids))
    for node_id in ids:
        caller.domain.world.trashed(node_id)
    act = _restore if order.action == "RESTORE" else _purge
    return {"action": order.action, "items": [act(caller, node_id) for node_id in ids]}


def _restore(caller: Caller, node_id: str) -> dict[str, str]:
    return {"id": node_id, "path": path_of(caller.domain.world.restore_id(node_id, caller.actor))}


def _purge(caller: Caller, node_id: str) -> dict[str, str]:
    node = caller.domain.world.purge(node_id)
    caller.domain.hooks.tell("fs:delete_from_trash", caller.actor, ref_to(node))
    for below in walk(node):
        caller.domain.custom_metadata.forget(below.id)
    return {"id": node_id, "path": path_of(node)}


def _row(item: Trashed) -> dict[str, Any]:
    node = item.node
    row = {
        "id": node.id,
        "name": node.name,
        "path": item.path,
        "is_folder": not isinstance(node, File),
        "deletion_date": epoch_ms(item.deleted),
        "deleted_by": item.by.username,
    }
    if isinstance(node, File):
        row |= {"group_id": node.id, "entry_id": node.current.id, "size": len(node.current.content)}
    else:
        row["folder_id"] = node.id
    return row
