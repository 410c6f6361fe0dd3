"""The people of the enterprise: https://developer.box.com/reference/resources/user/."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.sandbox.box.access import CallerDep
from app.sandbox.box.domain import ENTERPRISE_ID, ENTERPRISE_NAME, Enterprise
from app.sandbox.box.errors import forbidden
from app.sandbox.box.shapes import Shape, listing, user_mini
from app.sandbox.history import User

router = APIRouter(prefix="/2.0/users")

_SINCE = "2020-01-02T03:04:05-08:00"
_MORE = ("role", "enterprise", "tracking_codes", "is_sync_enabled", "hostname")


@router.get("/me")
async def me(caller: CallerDep, fields: str | None = None) -> dict[str, Any]:
    """The user behind the token."""
    return _shape(caller.enterprise, caller.user, fields)


@router.get("")
async def users(
    caller: CallerDep,
    filter_term: str = "",
    fields: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """The users whose name or address begins with something; only an administrator may ask."""
    if not caller.user.is_admin:
        raise forbidden()
    found = [user for user in caller.enterprise.users.values() if _begins(user, filter_term)]
    page = [_shape(caller.enterprise, user, fields) for user in found[offset : offset + limit]]
    return listing(page, len(found), offset, limit)


@router.get("/{user_id}")
async def user(caller: CallerDep, user_id: str, fields: str | None = None) -> dict[str, Any]:
    """One user."""
    return _shape(caller.enterprise, caller.enterprise.user(user_id), fields)


def _begins(user: User, term: str) -> bool:
    wanted = term.casefold()
    return user.full_name.casefold().startswith(wanted) or user.email.casefold().startswith(wanted)


def _shape(enterprise: Enterprise, user: User, fields: str | None) -> Shape:
    shape = user_mini(user) | {
        "created_at": _SINCE,
        "modified_at": _SINCE,
        "language": "en",
        "timezone": "America/Los_Angeles",
        "space_amount": enterprise.settings.space_amount,
        "space_used": enterprise.tree.used[user.id],
        "max_upload_size": enterprise.settings.max_upload_size,
        "status": "active",
        "job_title": "",
        "phone": "",
        "address": "",
        "avatar_url": "",
        "notification_email": None,
        "role": "admin" if user.is_admin else "user",
        "enterprise": {"type": "enterprise", "id": ENTERPRISE_ID, "name": ENTERPRISE_NAME},
        "tracking_codes": [],
        "is_sync_enabled": True,
        "hostname": "",
    }
    if not fields:
        return {name: value for name, value in shape.items() if name not in _MORE}
    names = {"type", "id", *fields.split(",")}
    return {name: value for name, value in shape.items() if name in names}
