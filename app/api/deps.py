"""What routes ask for: the runtime, the caller, the instance of an Element token."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyHeader

from app import acting
from app.acting import Actor
from app.errors import Forbidden, Unauthorized
from app.ids import LARGEST_ID
from app.runtime import Runtime
from app.store.tables import Instance
from app.store.tenants import Caller
from app.tenancy import tenants
from app.wire import authorization
from app.wire.authorization import Authorization

_scheme = APIKeyHeader(
    name="Authorization",
    scheme_name="CloudElements",
    description="`User <secret>, Organization <secret>` for the platform, "
    "`User <secret>, Element <token>` for hubs. `Bearer <token>` of a login stands for both secrets.",
    auto_error=False,
)

Header = Annotated[str | None, Security(_scheme)]

INSIDE = "inside"
"""The state of a request that the gateway makes of itself (`api/inside.py`): the instance it is made as."""

PATIENCE = "patience"
"""The state of such a request that nobody waits for: how long each call to the vendor may take."""


@dataclass(frozen=True)
class Scope:
    """What a caller asks about: his account, or the one instance whose Element token he has sent. Without
    such a token, it is known who he is."""

    account_id: int
    instance_id: int | None = None
    caller: Caller | None = None


def enabled(instance: Instance) -> Instance:
    """The instance, if it is in use. Raises Forbidden."""
    if instance.disabled:
        raise Forbidden(f"The instance {instance.id} is disabled")
    return instance


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeDep = Annotated[Runtime, Depends(_runtime)]


async def _public_url(request: Request, runtime: RuntimeDep) -> str:
    return (runtime.settings.public_url or str(request.base_url)).rstrip("/")


PublicUrlDep = Annotated[str, Depends(_public_url)]
"""Where clients reach this gateway, without a slash at its end; unless it is set, what the request says."""


def client_of(request: Request) -> str:
    """The address of the client; behind a trusted proxy, the one that the proxy names."""
    return request.client.host if request.client else ""


async def _caller(request: Request, runtime: RuntimeDep, header: Header) -> Caller:
    given = authorization.parse(header)
    runtime.rates.caller(given.bearer or given.user)
    with _attempt(request, runtime, given):
        return _known(await tenants.authenticate(runtime.database, given, now=runtime.clock.now()))


def _attempt(request: Request, runtime: Runtime, given: Authorization) -> AbstractContextManager[None]:
    return runtime.rates.attempt(client_of(request), *given.secrets)


def _known(caller: Caller) -> Caller:
    """From here on it is he who acts."""
    acting.known_as(Actor(caller.email, caller.organization_id, caller.account_id, caller.user_id))
    return caller


async def _any_instance(request: Request, runtime: RuntimeDep, header: Header) -> Instance:
    known: Instance | None = getattr(request.state, INSIDE, None)
    if known is not None:
        acting.known_as(acting.GATEWAY)
        request.state.instance_id = known.id
        return known
    given = authorization.parse(header)
    runtime.rates.caller(given.element)
    find = partial(tenants.authenticate_instance, runtime.database, now=runtime.clock.now())
    guard = _attempt(request, runtime, given)
    session = await runtime.sessions.find(given, find, way="hub", guard=guard)
    if session.user:
        _known(session.user)
    request.state.instance_id = session.instance.id
    return session.instance


async def _scope(request: Request, runtime: RuntimeDep, header: Header) -> Scope:
    if authorization.parse(header).element:
        instance = await _any_instance(request, runtime, header)
        return Scope(instance.account_id, instance.id)
    caller = await _caller(request, runtime, header)
    return Scope(caller.account_id, caller=caller)


async def _instance(instance: Annotated[Instance, Depends(_any_instance)]) -> Instance:
    return enabled(instance)


async def _native_instance(request: Request, runtime: RuntimeDep, header: Header) -> Instance:
    scheme, _, token = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or "," in token:
        return enabled(await _any_instance(request, runtime, header))
    given = Authorization(element=token.strip())
    runtime.rates.caller(given.element)
    find, guard = partial(tenants.instance_by_token, runtime.database), _attempt(request, runtime, given)
    session = await runtime.sessions.find(given, find, way="native", guard=guard)
    request.state.instance_id = session.instance.id
    return enabled(session.instance)


async def any_hub(
    hub: Annotated[str, Path(description="`documents`; it is not checked, the Element token decides.")],
) -> None:
    """Documents the hub of a path; the routes themselves do not ask for it."""


async def _known_caller(request: Request, runtime: RuntimeDep) -> Caller | None:
    with suppress(Unauthorized):
        return await _caller(request, runtime, request.headers.get("authorization"))
    return None


AccountId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the account.")]
CallerDep = Annotated[Caller, Depends(_caller)]
KnownCallerDep = Annotated[Caller | None, Depends(_known_caller)]
"""The caller if he proves who he is; None without a header, and with any other one."""

ScopeDep = Annotated[Scope, Depends(_scope)]
AnyInstanceDep = Annotated[Instance, Depends(_any_instance)]
"""The instance of the Element token, also one that is disabled."""

InstanceDep = Annotated[Instance, Depends(_instance)]
NativeInstanceDep = Annotated[Instance, Depends(_native_instance)]
