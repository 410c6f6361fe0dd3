"""The control routes of the Egnyte fake."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.sandbox.egnyte.changes import ChangeOrder, apply
from app.sandbox.egnyte.domain import DEFAULT_APP, FIRST_EVENT_ID, Domain, Egnyte
from app.sandbox.egnyte.events import EVENT_FAULTS
from app.sandbox.egnyte.gate import GATE_FAULTS
from app.sandbox.egnyte.hooks import HOOK_FAULTS
from app.sandbox.egnyte.oauth import token_body
from app.sandbox.egnyte.settings import DomainSettings
from app.sandbox.faults import Fault
from app.sandbox.grants import RegisteredApp, TokenKind
from app.sandbox.history import User
from app.sandbox.world import WorldError

router = APIRouter()
_KINDS = GATE_FAULTS | EVENT_FAULTS | HOOK_FAULTS

# What a host name can hold.
DomainName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AppOrder(_Order):
    """An API key to register; a redirect URI may end in `*`."""

    client_id: str
    client_secret: str
    redirect_uris: list[str]


class DomainOrder(_Order):
    """A domain to create."""

    first_event_id: int = Field(FIRST_EVENT_ID, ge=0)


class UserOrder(_Order):
    """A user to create."""

    username: str
    first_name: str = "Sam"
    last_name: str = "Sand"
    password: str = "sandbox"
    is_admin: bool = False


class TokenOrder(_Order):
    """A token to hand out without consent."""

    username: str = "jsmith"
    client_id: str = DEFAULT_APP.client_id
    scope: str = ""


class ExpiryOrder(_Order):
    """Tokens to end; without a user those of everybody."""

    kind: TokenKind = "access"
    username: str | None = None


class DropOrder(_Order):
    """Events to forget: those before an id, or all of them."""

    before_id: int | Literal["all"]


def control_routes(egnyte: Egnyte) -> APIRouter:
    """Everything below `/control/egnyte`, bound to one Egnyte."""

    def provide(request: Request) -> None:
        request.state.egnyte = egnyte

    bound = APIRouter(dependencies=[Depends(provide)])
    bound.include_router(router)
    return bound


def _egnyte(request: Request) -> Egnyte:
    egnyte: Egnyte = request.state.egnyte
    return egnyte


EgnyteDep = Annotated[Egnyte, Depends(_egnyte)]


def _domain(domain: str, egnyte: EgnyteDep) -> Domain:
    if domain not in egnyte.domains:
        raise HTTPException(404, f"No domain {domain}: PUT /control/egnyte/{domain} creates it")
    return egnyte.domains[domain]


DomainDep = Annotated[Domain, Depends(_domain)]


@router.get("/domains")
async def domains(egnyte: EgnyteDep) -> list[str]:
    """The names of the domains."""
    return list(egnyte.domains)


@router.post("/apps")
async def register(order: AppOrder, egnyte: EgnyteDep) -> list[str]:
    """Registers an API key, or changes the one with that id; answers the ids of all."""
    uris = tuple(order.redirect_uris)
    egnyte.apps[order.client_id] = RegisteredApp(order.client_id, order.client_secret, uris)
    return list(egnyte.apps)


@router.put("/{domain}")
async def create(domain: DomainName, egnyte: EgnyteDep, order: DomainOrder | None = None) -> dict[str, Any]:
    """Creates a domain; one of that name is replaced by an empty one."""
    return _state(egnyte.create(domain, (order or DomainOrder()).first_event_id))


@router.get("/{domain}")
async def state(domain: DomainDep) -> dict[str, Any]:
    """What the domain holds."""
    return _state(domain)


def _state(domain: Domain) -> dict[str, Any]:
    history = domain.world.history
    return {
        "domain": domain.name,
        "users": list(domain.world.users),
        "tokens": len(domain.grants),
        "events": len(history),
        "oldest_event_id": history.oldest_id,
        "latest_event_id": history.latest_id,
    }


@router.get("/{domain}/settings")
async def settings(domain: DomainDep) -> DomainSettings:
    """How the domain behaves."""
    return domain.settings


@router.patch("/{domain}/settings")
async def configure(domain: DomainDep, changes: dict[str, Any]) -> DomainSettings:
    """Changes the settings that are named; the others stay."""
    try:
        wanted = DomainSettings.model_validate({**domain.settings.model_dump(), **changes})
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_context=False)) from error
    domain.configure(wanted)
    return domain.settings


@router.get("/{domain}/faults")
async def faults(domain: DomainDep) -> dict[str, Any]:
    """The faults that wait, and the kinds there are."""
    return {"waiting": domain.faults.waiting, "kinds": sorted(_KINDS)}


@router.post("/{domain}/faults")
async def add_fault(domain: DomainDep, fault: Fault) -> dict[str, Any]:
    """Adds a fault behind those that wait."""
    if fault.kind not in _KINDS:
        raise HTTPException(422, f"Unknown kind {fault.kind}: there are {', '.join(sorted(_KINDS))}")
    domain.faults.waiting.append(fault)
    return {"waiting": domain.faults.waiting}


@router.delete("/{domain}/faults")
async def clear_faults(domain: DomainDep) -> dict[str, Any]:
    """Forgets the faults that wait."""
    domain.faults.waiting.clear()
    return {"waiting": []}


@router.post("/{domain}/users")
async def add_user(domain: DomainDep, order: UserOrder) -> dict[str, Any]:
    """Creates a user, or changes the one of that name; answers the id."""
    known = domain.world.users.get(order.username)
    user_id = known.id if known else 1 + max(user.id for user in domain.world.users.values())
    email = f"{order.username}@example.com"
    domain.world.users[order.username] = User(id=user_id, email=email, **order.model_dump())
    return {"id": user_id, "username": order.username}


@router.post("/{domain}/tokens")
async def hand_out(domain: DomainDep, order: TokenOrder | None = None) -> dict[str, Any]:
    """Hands a token out without consent, in the shape of the token endpoint."""
    wanted = order or TokenOrder()
    token = domain.grants.issue(_user(domain, wanted.username), wanted.client_id, wanted.scope)
    return token_body(domain, token)


@router.post("/{domain}/tokens/expire")
async def expire_tokens(domain: DomainDep, order: ExpiryOrder | None = None) -> dict[str, int]:
    """Ends tokens before their time."""
    wanted = order or ExpiryOrder()
    return {"expired": domain.grants.expire(wanted.kind, wanted.username)}


@router.post("/{domain}/events/drop")
async def drop_events(domain: DomainDep, order: DropOrder) -> dict[str, int]:
    """Forgets old events, so that cursors before them become too old."""
    history = domain.world.history
    before = history.latest_id + 1 if order.before_id == "all" else order.before_id
    return {"dropped": history.drop_before(before), "oldest_event_id": history.oldest_id}


@router.get("/{domain}/webhooks/calls")
async def webhook_calls(domain: DomainDep) -> list[dict[str, Any]]:
    """The calls that the domain's webhooks have made, oldest first, and how they were answered."""
    return list(domain.hooks.calls)


@router.post("/{domain}/webhooks/expire")
async def expire_webhooks(domain: DomainDep) -> dict[str, int]:
    """Ends webhooks before their time; they are forgotten, as the vendor forgets them."""
    return {"expired": domain.hooks.expire()}


@router.post("/{domain}/changes")
async def change(domain: DomainDep, order: ChangeOrder) -> dict[str, Any]:
    """Changes something as somebody else would, once or many times."""
    try:
        return apply(domain, order)
    except WorldError as error:
        raise HTTPException(409, f"{type(error).__name__}: {error}") from error


def _user(domain: Domain, username: str) -> User:
    if username not in domain.world.users:
        raise HTTPException(422, f"No user {username}: POST /control/egnyte/{domain.name}/users creates one")
    return domain.world.users[username]
