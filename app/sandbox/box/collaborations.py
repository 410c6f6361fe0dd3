"""Who works on what: https://developer.box.com/reference/resources/collaboration/."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, CallerDep, path_id, read
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError, bad_request, not_found
from app.sandbox.box.items import Collaboration, File, Folder, Item
from app.sandbox.box.shapes import Shape, mini, user_mini
from app.sandbox.box.times import timestamp
from app.sandbox.history import Actor, User

router = APIRouter(prefix="/2.0")
Role = Literal[
    "editor", "viewer", "previewer", "uploader", "previewer uploader", "viewer uploader", "co-owner", "owner"
]


class Target(Body):
    """What somebody is to work on."""

    id: str
    type: Literal["file", "folder"] = "folder"


class Person(Body):
    """Somebody, by id or by address."""

    id: str | None = None
    login: str | None = None
    type: Literal["user", "group"] = "user"


class NewCollaboration(Body):
    """A collaboration to make."""

    item: Target
    accessible_by: Person
    role: Role


class RoleChange(Body):
    """Another role."""

    role: Role


@router.post("/collaborations", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Lets somebody work on a file or a folder."""
    wish, enterprise = await read(request, NewCollaboration), caller.enterprise
    kind: type[Item] = Folder if wish.item.type == "folder" else File
    item = enterprise.tree.find(kind, wish.item.id)
    user, invited = _person(enterprise, wish.accessible_by)
    made = collaborate(enterprise, item, wish.role, user, invited, caller.actor)
    return JSONResponse(shape(made), status_code=201)


@router.get("/collaborations")
async def pending(caller: CallerDep, status: Literal["pending"]) -> dict[str, Any]:
    """The invitations that nobody has accepted; Box can list no others here."""
    found = [shape(known) for known in caller.enterprise.collaborations.values() if known.user is None]
    return {"total_count": len(found), "entries": found, "offset": 0, "limit": len(found)}


@router.get("/folders/{folder_id}/collaborations")
async def of_folder(caller: CallerDep, folder_id: str) -> dict[str, Any]:
    """Who works on a folder."""
    folder = caller.enterprise.tree.folder(path_id(folder_id))
    return {"entries": [shape(known) for known in folder.collaborations]}


@router.get("/files/{file_id}/collaborations")
async def of_file(
    caller: CallerDep, file_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """Who works on a file."""
    found = caller.enterprise.tree.file(path_id(file_id)).collaborations
    return {"entries": [shape(known) for known in found[:limit]], "limit": limit, "next_marker": None}


@router.get("/collaborations/{collaboration_id}")
async def collaboration(caller: CallerDep, collaboration_id: str) -> dict[str, Any]:
    """One collaboration."""
    return shape(_find(caller.enterprise, collaboration_id))


@router.put("/collaborations/{collaboration_id}")
async def change(caller: CallerDep, collaboration_id: str, request: Request) -> dict[str, Any]:
    """Gives somebody another role."""
    found = _find(caller.enterprise, collaboration_id)
    found.role = (await read(request, RoleChange)).role
    found.modified = datetime.now(UTC)
    caller.enterprise.journal.record("COLLAB_ROLE_CHANGE", caller.actor, found.item, source=shape(found))
    return shape(found)


@router.delete("/collaborations/{collaboration_id}", response_model=None)
async def delete(caller: CallerDep, collaboration_id: str) -> Response:
    """Ends a collaboration."""
    found = _find(caller.enterprise, collaboration_id)
    del caller.enterprise.collaborations[found.id]
    found.item.collaborations.remove(found)
    kind = "COLLAB_REMOVE_COLLABORATOR"
    caller.enterprise.journal.record(kind, caller.actor, found.item, source=shape(found))
    return Response(status_code=204)


def collaborate(
    enterprise: Enterprise, item: Item, role: str, user: User | None, invited: str | None, actor: Actor
) -> Collaboration:
    """Lets somebody work on an item, or invites an address that no user has."""
    if any((known.user, known.invited) == (user, invited) for known in item.collaborations):
        raise BoxError(400, "user_already_collaborator", "User is already a collaborator")
    now = datetime.now(UTC)
    made = Collaboration(
        id=enterprise.tree.new_id(), item=item, role=role, user=user, invited=invited, by=actor.user,
        created=now, modified=now,
    )  # fmt: skip
    enterprise.collaborations[made.id] = made
    item.collaborations.append(made)
    kind = "COLLAB_INVITE_COLLABORATOR" if user is None else "COLLAB_ADD_COLLABORATOR"
    enterprise.journal.record(kind, actor, item, source=shape(made))
    return made


def shape(collaboration: Collaboration) -> Shape:
    """A collaboration as its routes and its events show it."""
    user = collaboration.user
    return {
        "type": "collaboration",
        "id": collaboration.id,
        "created_by": user_mini(collaboration.by),
        "created_at": timestamp(collaboration.created),
        "modified_at": timestamp(collaboration.modified),
        "expires_at": None,
        "status": "pending" if user is None else "accepted",
        "accessible_by": None if user is None else user_mini(user),
        "invite_email": collaboration.invited,
        "role": collaboration.role,
        "acknowledged_at": timestamp(collaboration.created),
        "item": mini(collaboration.item),
        "is_access_only": False,
    }


def _person(enterprise: Enterprise, person: Person) -> tuple[User | None, str | None]:
    if person.type == "group":
        raise not_found("group", person.id or "")
    if person.id is not None:
        return enterprise.user(person.id), None
    if person.login is None:
        raise bad_request("'accessible_by' needs an id or a login", "accessible_by", "missing_parameter")
    user = enterprise.user_by_login(person.login)
    return user, person.login if user is None else None


def _find(enterprise: Enterprise, collaboration_id: str) -> Collaboration:
    if collaboration_id not in enterprise.collaborations:
        raise not_found("collaboration", collaboration_id)
    return enterprise.collaborations[collaboration_id]
