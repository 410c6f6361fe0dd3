"""The control routes of the Box fake."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.sandbox.box.changes import ChangeOrder, apply
from app.sandbox.box.domain import DEFAULT_APP, Enterprise
from app.sandbox.box.errors import BoxError
from app.sandbox.box.events import EVENT_FAULTS
from app.sandbox.box.gate import GATE_FAULTS
from app.sandbox.box.oauth import token_body
from app.sandbox.box.realtime import LONG_POLL_FAULTS
from app.sandbox.box.settings import BoxSettings
from app.sandbox.box.webhook_control import router as webhook_router
from app.sandbox.faults import Fault
from app.sandbox.grants import RegisteredApp, TokenKind
from app.sandbox.history import User

router = APIRouter()
_KINDS = GATE_FAULTS | EVENT_FAULTS | LONG_POLL_FAULTS


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AppOrder(_Order):
    """An app to register; a redirect URI may end in `*`."""

    client_id: str
    client_secret: str
    redirect_uris: list[str]


class UserOrder(_Order):
    """A user to create."""

    username: str
    first_name: str = "Sam"
    last_name: str = "Sand"
    is_admin: bool = False


class TokenOrder(_Order):
    """A token to hand out without consent."""

    username: str = "ann"
    client_id: str = DEFAULT_APP.client_id
    scope: str = ""


class ExpiryOrder(_Order):
    """Tokens to end; without a user those of everybody."""

    kind: TokenKind = "access"
    username: str | None = None


class RevokeOrder(_Order):
    """A token to kill, with the one beside it."""

    token: str


class DropOrder(_Order):
    """Events to forget: those before a position, or all of them."""

    before: int | Literal["all"] = Field(union_mode="left_to_right")


def control_routes(enterprise: Enterprise) -> APIRouter:
    """Everything below `/control/box`, bound to one enterprise."""

    def provide(request: Request) -> None:
        request.state.enterprise = enterprise

    bound = APIRouter(dependencies=[Depends(provide)])
    bound.include_router(router)
    bound.include_router(webhook_router)
    return bound


def _enterprise(request: Request) -> Enterprise:
    enterprise: Enterprise = request.state.enterprise
    return enterprise


EnterpriseDep = Annotated[Enterprise, Depends(_enterprise)]


@router.get("/state")
async def state(enterprise: EnterpriseDep) -> dict[str, Any]:
    """What the enterprise holds. Positions are texts: they are larger than a float is exact."""
    history = enterprise.journal.history
    return {
        "users": list(enterprise.users),
        "tokens": len(enterprise.grants),
        "events": len(history),
        "oldest_position": str(history.oldest_id),
        "latest_position": str(history.latest_id),
        "upload_sessions": len(enterprise.sessions),
    }


@router.post("/apps")
async def register(order: AppOrder, enterprise: EnterpriseDep) -> list[str]:
    """Registers an app, or changes the one with that id; answers the ids of all."""
    uris = tuple(order.redirect_uris)
    enterprise.apps[order.client_id] = RegisteredApp(order.client_id, order.client_secret, uris)
    return list(enterprise.apps)


@router.get("/settings")
async def settings(enterprise: EnterpriseDep) -> BoxSettings:
    """How the fake behaves."""
    return enterprise.settings


@router.patch("/settings")
async def configure(enterprise: EnterpriseDep, changes: dict[str, Any]) -> BoxSettings:
    """Changes the settings that are named; the others stay."""
    try:
        wanted = BoxSettings.model_validate({**enterprise.settings.model_dump(), **changes})
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_context=False)) from error
    enterprise.configure(wanted)
    return enterprise.settings


@router.get("/faults")
async def faults(enterprise: EnterpriseDep) -> dict[str, Any]:
    """The faults that wait, and the kinds there are."""
    return {"waiting": enterprise.faults.waiting, "kinds": sorted(_KINDS)}


@router.post("/faults")
async def add_fault(enterprise: EnterpriseDep, fault: Fault) -> dict[str, Any]:
    """Adds a fault behind those that wait."""
    if fault.kind not in _KINDS:
        raise HTTPException(422, f"Unknown kind {fault.kind}: there are {', '.join(sorted(_KINDS))}")
    enterprise.faults.waiting.append(fault)
    return {"waiting": enterprise.faults.waiting}


@router.delete("/faults")
async def clear_faults(enterprise: EnterpriseDep) -> dict[str, Any]:
    """Forgets the faults that wait."""
    enterprise.faults.waiting.clear()
    return {"waiting": []}


@router.post("/users")
async def add_user(enterprise: EnterpriseDep, order: UserOrder) -> dict[str, Any]:
    """Creates a user, or changes the one of that name; answers the id."""
    known = enterprise.users.get(order.username)
    user_id = known.id if known else 1 + max(user.id for user in enterprise.users.values())
    email = f"{order.username}@example.com"
    enterprise.users[order.username] = User(id=user_id, email=email, **order.model_dump())
    return {"id": str(user_id), "username": order.username}


@router.post("/tokens")
async def hand_out(enterprise: EnterpriseDep, order: TokenOrder | None = None) -> dict[str, Any]:
    """Hands a token out without consent, in the shape of the token endpoint."""
    wanted = order or TokenOrder()
    user = _user(enterprise, wanted.username)
    return token_body(enterprise, enterprise.grants.issue(user, wanted.client_id, wanted.scope))


@router.post("/tokens/expire")
async def expire_tokens(enterprise: EnterpriseDep, order: ExpiryOrder | None = None) -> dict[str, int]:
    """Ends tokens before their time."""
    wanted = order or ExpiryOrder()
    username = _user(enterprise, wanted.username).username if wanted.username is not None else None
    return {"expired": enterprise.grants.expire(wanted.kind, username)}


@router.post("/tokens/revoke")
async def revoke_token(enterprise: EnterpriseDep, order: RevokeOrder) -> dict[str, bool]:
    """Kills one pair of tokens, as its user can in the settings of the account."""
    return {"revoked": enterprise.grants.revoke(order.token)}


@router.post("/events/drop")
async def drop_events(enterprise: EnterpriseDep, order: DropOrder) -> dict[str, Any]:
    """Forgets old events, so that positions before them become too old."""
    history = enterprise.journal.history
    before = history.latest_id + 1 if order.before == "all" else order.before
    return {"dropped": history.drop_before(before), "oldest_position": str(history.oldest_id)}


@router.post("/changes")
async def change(enterprise: EnterpriseDep, order: ChangeOrder, request: Request) -> dict[str, Any]:
    """Changes something as somebody else would, once or many times."""
    _user(enterprise, order.user)
    try:
        return apply(enterprise, order, _public_address(request))
    except BoxError as error:
        raise HTTPException(409, str(error)) from error


def _public_address(request: Request) -> str:
    mount = request.scope["route"].path.split("/")[1]
    return f"{request.url.scheme}://{request.url.netloc}/{mount}"


def _user(enterprise: Enterprise, username: str) -> User:
    try:
        return enterprise.named(username)
    except BoxError as error:
        raise HTTPException(422, f"No user {username}: POST /control/box/users creates one") from error
