"""Egnyte's file system without the contents: developers.egnyte.com, File System Management API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.egnyte import locks
from app.sandbox.egnyte.access import Caller, CallerDep, read, refuse
from app.sandbox.egnyte.listing import Listing, metadata, version_of
from app.sandbox.egnyte.paths import PathDep, checked_path
from app.sandbox.world import File, Folder, MissingError, Node, TakenError, path_of, ref_to, walk

router = APIRouter(prefix="/pubapi")
ApiVersion = Literal["v1", "v2"]


class Action(BaseModel):
    """The body of a change; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["add_folder", "move", "copy", "lock", "unlock"]
    destination: str | None = None
    permissions: str | None = None
    lock_token: str | None = None
    lock_timeout: int = Field(locks.LOCK_SECONDS, ge=1, le=10**9)


def _node_by_id(caller: CallerDep, kind: Literal["file", "folder"], node_id: str) -> Node:
    node = caller.domain.world.by_id(node_id)
    if isinstance(node, Folder) != (kind == "folder"):
        raise MissingError(f"No {kind} with id {node_id}")
    return node


ListingDep = Annotated[Listing, Query()]
NodeDep = Annotated[Node, Depends(_node_by_id)]


@router.get("/{version}/fs/ids/{kind}/{node_id}")
async def look_by_id(version: ApiVersion, caller: CallerDep, node: NodeDep, listing: ListingDep) -> Any:
    """What has that id."""
    return metadata(caller.domain, node, listing)


@router.get("/{version}/fs/ids/folder/{node_id}/stats")
async def stats(version: ApiVersion, caller: CallerDep, node_id: str) -> dict[str, int]:
    """How much is below a folder."""
    below = list(walk(_node_by_id(caller, "folder", node_id)))
    files = [node for node in below if isinstance(node, File)]
    return {
        "allFilesSize": sum(len(file.current.content) for file in files),
        "allVersionsSize": sum(len(version.content) for file in files for version in file.versions),
        "filesCount": len(files),
        "fileVersionsCount": sum(len(file.versions) for file in files),
        "foldersCount": len(below) - len(files) - 1,
    }


@router.delete("/{version}/fs/ids/{kind}/{node_id}")
async def delete_by_id(version: ApiVersion, caller: CallerDep, node: NodeDep, listing: ListingDep) -> Any:
    """Deletes what has that id."""
    return _delete(caller, path_of(node), listing)


@router.post("/{version}/fs/ids/{kind}/{node_id}", response_model=None)
async def act_by_id(version: ApiVersion, caller: CallerDep, node: NodeDep, request: Request) -> Response:
    """Changes what has that id."""
    return _act(caller, path_of(node), await read(request, Action))


@router.get("/{version}/fs")
@router.get("/{version}/fs/{path:path}")
async def look(version: ApiVersion, caller: CallerDep, path: PathDep, listing: ListingDep) -> Any:
    """What is at that path."""
    return metadata(caller.domain, caller.domain.world.find(path), listing)


@router.delete("/{version}/fs/{path:path}")
async def delete(version: ApiVersion, caller: CallerDep, path: PathDep, listing: ListingDep) -> Any:
    """Deletes what is at that path, or one version of it."""
    return _delete(caller, path, listing)


@router.post("/{version}/fs/{path:path}", response_model=None)
async def act(version: ApiVersion, caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Changes what is at that path, or makes a folder there."""
    return _act(caller, path, await read(request, Action))


def _act(caller: Caller, path: str, action: Action) -> Response:
    world = caller.domain.world
    match action.action:
        case "add_folder":
            return _add_folder(caller, path)
        case "lock":
            taken = locks.take(world.file(path), caller.user, action.lock_token, action.lock_timeout)
            caller.domain.hooks.tell("fs:lock_file", caller.actor, ref_to(world.file(path)))
            return JSONResponse(taken)
        case "unlock":
            released = locks.release(world.file(path), caller.user, action.lock_token)
            caller.domain.hooks.tell("fs:unlock_file", caller.actor, ref_to(world.file(path)))
            return JSONResponse(released)
        case "move":
            locks.require_unlocked(world.find(path), caller.user)
    return _transfer(caller, path, action)


def _transfer(caller: Caller, path: str, action: Action) -> Response:
    if not action.destination:
        raise refuse(400, "The destination is missing")
    world = caller.domain.world
    transfer = world.move if action.action == "move" else world.copy
    node = transfer(path, checked_path(action.destination), caller.actor)
    name = "folder_id" if isinstance(node, Folder) else "group_id"
    return JSONResponse({"path": path_of(node), name: node.id})


def _add_folder(caller: Caller, path: str) -> Response:
    try:
        folder = caller.domain.world.add_folder(path, caller.actor)
    except TakenError as error:
        # The Python SDK compares this text.
        raise refuse(403, "Folder already exists at this location") from error
    return JSONResponse({"folder_id": folder.id, "path": path_of(folder)}, status_code=201)


def _delete(caller: Caller, path: str, listing: Listing) -> dict[str, Any]:
    world = caller.domain.world
    locks.require_unlocked(world.find(path), caller.user)
    if listing.entry_id is None:
        world.delete(path, caller.actor)
        return {}
    file = world.file(path)
    gone = version_of(file, listing.entry_id)
    if len(file.versions) == 1:
        raise refuse(403, "The only version of a file cannot be deleted")
    file.versions.remove(gone)
    return {}
