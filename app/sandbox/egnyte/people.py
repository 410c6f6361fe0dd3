"""Egnyte's users and the permissions they have: developers.egnyte.com, User Management API Documentation."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from app.sandbox.egnyte.access import CallerDep, read
from app.sandbox.egnyte.domain import Domain
from app.sandbox.egnyte.paths import PathDep
from app.sandbox.history import User
from app.sandbox.world import Folder, MissingError

router = APIRouter(prefix="/pubapi")

# The levels of the permission resource and what the event stream calls them.
_PRIVILEGES = {"None": "NONE", "Viewer": "READ", "Editor": "READWRITE", "Full": "RWD", "Owner": "MODIFY"}
_LEVELS = {privilege: level for level, privilege in _PRIVILEGES.items()} | {"VIEWER_ONLY": "Viewer"}


class Permission(BaseModel):
    """A level for users and groups, by their names."""

    permission: Literal["None", "Viewer", "Editor", "Full", "Owner"]
    users: list[str] = []
    groups: list[str] = []


@router.get("/v1/userinfo")
async def userinfo(caller: CallerDep) -> dict[str, Any]:
    """The user behind the token."""
    user = caller.user
    return {
        "id": user.id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "username": user.username,
        "email": user.email,
        "user_type": "admin" if user.is_admin else "power",
    }


@router.get("/v1/whoami")
async def whoami(caller: CallerDep) -> dict[str, Any]:
    """The token's app, domain and scopes."""
    return {
        "clientId": caller.token.client_id,
        "username": caller.user.username,
        "domain": caller.domain.name,
        "scopes": caller.token.scope.split(),
    }


@router.get("/v2/users")
async def users(
    caller: CallerDep,
    wanted: Annotated[str | None, Query(alias="filter")] = None,
    start: Annotated[int, Query(alias="startIndex", ge=1)] = 1,
    count: Annotated[int, Query(ge=1)] = 100,
) -> dict[str, Any]:
    """The users, or those that a filter like `email eq "a@b.c"` leaves."""
    found = [user for user in map(_user_row, caller.domain.world.users.values()) if _passes(user, wanted)]
    page = found[start - 1 : start - 1 + count]
    return {"resources": page, "totalResults": len(found), "itemsPerPage": len(page), "startIndex": start}


@router.get("/v2/users/{user_id}")
async def user(caller: CallerDep, user_id: int) -> dict[str, Any]:
    """One user, by the number that the event stream calls the actor."""
    return _user_row(_by_number(caller.domain, user_id))


@router.get("/v1/perms/folder/{path:path}")
async def permissions(caller: CallerDep, path: PathDep) -> dict[str, Any]:
    """Who may do what in a folder."""
    rows: dict[str, list[dict[str, str]]] = {"users": [], "groups": []}
    for subject, privilege in caller.domain.world.folder(path).permissions.items():
        _, kind, name = subject.split("/", 2)
        shown = _by_number(caller.domain, int(name)).username if kind == "user" else name
        rows[f"{kind}s"].append({"subject": shown, "permission": _LEVELS[privilege]})
    return rows


@router.post("/v1/perms/folder/{path:path}")
async def permit(caller: CallerDep, path: PathDep, request: Request) -> dict[str, Any]:
    """Gives users and groups a level on a folder."""
    wish = await read(request, Permission)
    world = caller.domain.world
    subjects = [f"/user/{world.user(name).id}" for name in wish.users]
    subjects += [f"/group/{name}" for name in wish.groups]
    world.permit(path, subjects, _PRIVILEGES[wish.permission], caller.actor)
    return {}


@router.get("/v1/perms/user/{username}")
async def effective_permission(caller: CallerDep, username: str, folder: str) -> dict[str, str]:
    """What a user may do in a folder: the nearest level above it counts, and without one all is open."""
    user = caller.domain.world.user(username)
    place: Folder | None = caller.domain.world.folder(folder)
    while place is not None:
        privilege = place.permissions.get(f"/user/{user.id}")
        if privilege is not None:
            return {"permission": _LEVELS[privilege]}
        place = place.parent
    return {"permission": "Owner" if user.is_admin else "Full"}


def _by_number(domain: Domain, number: int) -> User:
    found = next((user for user in domain.world.users.values() if user.id == number), None)
    if found is None:
        raise MissingError(f"No user {number}")
    return found


def _user_row(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "userName": user.username,
        "externalId": str(user.id),
        "email": user.email,
        "name": {
            "formatted": user.full_name,
            "givenName": user.first_name,
            "familyName": user.last_name,
        },
        "active": True,
        "locked": False,
        "authType": "egnyte",
        "userType": "admin" if user.is_admin else "power",
    }


def _passes(row: dict[str, Any], wanted: str | None) -> bool:
    match = re.fullmatch(r'(\w+) eq "(.*)"', wanted or "")
    return match is None or str(row.get(match.group(1))) == match.group(2)
