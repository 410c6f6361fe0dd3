"""Egnyte's file system without the contents: developers.egnyte.com, File System Management API."""

import secrets
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.egnyte.access import Caller, CallerDep, read, refuse
from app.sandbox.world import File, Folder, Lock, MissingError, Node, TakenError, Version, path_of, walk

router = APIRouter(prefix="/pubapi")
ApiVersion = Literal["v1", "v2"]

_LOCK_SECONDS = 3600


class Listing(BaseModel):
    """The parameters of a look at the file system."""

    list_content: bool = True
    count: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0)
    sort_by: Literal["name", "last_modified", "size"] = "name"
    sort_direction: Literal["ascending", "descending"] = "ascending"
    include_locks: bool = False
    entry_id: str | None = None


class Action(BaseModel):
    """The body of a change; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["add_folder", "move", "copy", "lock", "unlock"]
    destination: str | None = None
    permissions: str | None = None
    lock_token: str | None = None
    lock_timeout: int = _LOCK_SECONDS


def requested_path(request: Request) -> str:
    """The path of the file or folder; the root has none."""
    path: str = request.path_params.get("path", "")
    return "/" + path.strip("/")


def _node_by_id(caller: CallerDep, kind: Literal["file", "folder"], node_id: str) -> Node:
    node = caller.domain.world.by_id(node_id)
    if isinstance(node, Folder) != (kind == "folder"):
        raise MissingError(f"No {kind} with id {node_id}")
    return node


PathDep = Annotated[str, Depends(requested_path)]
ListingDep = Annotated[Listing, Query()]
NodeDep = Annotated[Node, Depends(_node_by_id)]


@router.get("/{version}/fs/ids/{kind}/{node_id}")
async def look_by_id(version: ApiVersion, caller: CallerDep, node: NodeDep, listing: ListingDep) -> Any:
    """What has that id."""
    return metadata(node, listing)


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
    return metadata(caller.domain.world.find(path), listing)


@router.delete("/{version}/fs/{path:path}")
async def delete(version: ApiVersion, caller: CallerDep, path: PathDep, listing: ListingDep) -> Any:
    """Deletes what is at that path, or one version of it."""
    return _delete(caller, path, listing)


@router.post("/{version}/fs/{path:path}", response_model=None)
async def act(version: ApiVersion, caller: CallerDep, path: PathDep, request: Request) -> Response:
    """Changes what is at that path, or makes a folder there."""
    return _act(caller, path, await read(request, Action))


def _act(caller: Caller, path: str, action: Action) -> Response:
    match action.action:
        case "add_folder":
            return _add_folder(caller, path)
        case "lock" | "unlock":
            return _lock(caller.domain.world.file(path), caller, action)
    if not action.destination:
        raise refuse(400, "The destination is missing")
    world = caller.domain.world
    transfer = world.move if action.action == "move" else world.copy
    node = transfer(path, action.destination, caller.actor)
    name = "folder_id" if isinstance(node, Folder) else "group_id"
    return JSONResponse({"path": path_of(node), name: node.id})


def _add_folder(caller: Caller, path: str) -> Response:
    try:
        folder = caller.domain.world.add_folder(path, caller.actor)
    except TakenError as error:
        # The Python SDK compares this text.
        raise refuse(403, "Folder already exists at this location") from error
    return JSONResponse({"folder_id": folder.id, "path": path_of(folder)}, status_code=201)


def _lock(file: File, caller: Caller, action: Action) -> Response:
    if file.lock is not None and file.lock.token != action.lock_token:
        raise refuse(403, f"The file is locked by {file.lock.owner.username}")
    if action.action == "unlock":
        file.lock = None
        return JSONResponse({})
    file.lock = Lock(action.lock_token or secrets.token_hex(8), caller.user)
    return JSONResponse({"lock_token": file.lock.token, "timeout": action.lock_timeout})


def _delete(caller: Caller, path: str, listing: Listing) -> dict[str, Any]:
    world = caller.domain.world
    if listing.entry_id is None:
        world.delete(path, caller.actor)
    else:
        file = world.file(path)
        gone = version_of(file, listing.entry_id)
        if len(file.versions) == 1:
            raise refuse(403, "The only version of a file cannot be deleted")
        file.versions.remove(gone)
    return {}


def version_of(file: File, entry_id: str | None) -> Version:
    """One version of a file; the newest without an id."""
    if entry_id is None:
        return file.current
    found = next((version for version in file.versions if version.id == entry_id), None)
    if found is None:
        raise MissingError(f"No version {entry_id}")
    return found


def epoch_ms(at: datetime) -> int:
    """A time as Egnyte writes it in most places."""
    return int(at.timestamp() * 1000)


def http_date(at: datetime) -> str:
    """A time as a header, and as the files of a listing have it."""
    return format_datetime(at, usegmt=True)


def metadata(node: Node, listing: Listing) -> dict[str, Any]:
    """A file with its older versions, or a folder with one page of what it holds."""
    if isinstance(node, Folder):
        return _folder_page(node, listing)
    shown = _file_row(node, version_of(node, listing.entry_id), listing)
    shown["versions"] = [_version_row(version) for version in node.versions[-2::-1]]
    return shown


def _folder_page(folder: Folder, listing: Listing) -> dict[str, Any]:
    shown = _folder_row(folder) | {
        "parent_id": folder.parent.id if folder.parent else None,
        "folder_description": "",
        "public_links": "files_folders",
        "allow_links": True,
        "restrict_move_delete": False,
    }
    if not listing.list_content:
        return shown
    nodes = _sorted(folder, listing)
    page = nodes[listing.offset : listing.offset + listing.count]
    return shown | {
        "count": len(page),
        "offset": listing.offset,
        "total_count": len(nodes),
        "folders": [_folder_row(node) for node in page if isinstance(node, Folder)],
        "files": [_file_row(node, node.current, listing) for node in page if isinstance(node, File)],
    }


def _sorted(folder: Folder, listing: Listing) -> list[Node]:
    """Folders before files, each in the wanted order."""

    def key(node: Node) -> Any:
        match listing.sort_by:
            case "last_modified":
                return node.modified if isinstance(node, Folder) else node.current.modified
            case "size":
                return 0 if isinstance(node, Folder) else len(node.current.content)
        return node.name.lower()

    nodes = sorted(folder.children.values(), key=key, reverse=listing.sort_direction == "descending")
    return sorted(nodes, key=lambda node: isinstance(node, File))


def _folder_row(folder: Folder) -> dict[str, Any]:
    return {
        "name": folder.name,
        "path": path_of(folder),
        "folder_id": folder.id,
        "is_folder": True,
        # Folders and files differ in the name and in the form of this field.
        "lastModified": epoch_ms(folder.modified),
        "uploaded": epoch_ms(folder.modified),
    }


def _version_row(version: Version) -> dict[str, Any]:
    return {
        "entry_id": version.id,
        "checksum": version.checksum,
        "size": len(version.content),
        "is_folder": False,
        "last_modified": http_date(version.modified),
        "uploaded": epoch_ms(version.uploaded),
        "uploaded_by": version.by.username,
    }


def _file_row(file: File, version: Version, listing: Listing) -> dict[str, Any]:
    row = _version_row(version) | {
        "name": file.name,
        "path": path_of(file),
        "group_id": file.id,
        "parent_id": file.parent.id if file.parent else None,
        "locked": file.lock is not None,
        "num_versions": len(file.versions),
    }
    if listing.include_locks and file.lock is not None:
        owner = file.lock.owner
        row["lock_info"] = {
            "owner_id": owner.id,
            "first_name": owner.first_name,
            "last_name": owner.last_name,
            "email": owner.email,
        }
    return row
