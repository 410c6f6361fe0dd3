"""/authentication: logins with an address and a password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.answers import done
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, Header, RuntimeDep, client_of
from app.api.problems import responses
from app.api.secrets import UNKEPT
from app.errors import Forbidden
from app.tenancy import authentication
from app.tenancy.authentication import Login
from app.tenancy.tenants import digest
from app.wire import authorization
from app.wire import secrets as wire
from app.wire.secrets import LoginOrder, SecretsBody, TokenBody

router = APIRouter(
    route_class=JsonRoute, prefix="/authentication", tags=["authentication"], responses=responses(401)
)


async def _login(caller: CallerDep, header: Header) -> Login:
    token = authorization.parse(header).bearer
    if token is None:
        raise Forbidden("This is for the token of a login: send 'Bearer <token>'")
    return Login(caller, digest(token))


LoginDep = Annotated[Login, Depends(_login)]


@router.post("", dependencies=UNKEPT, responses=responses(400, 429))
async def log_in(request: Request, runtime: RuntimeDep, body: LoginOrder) -> TokenBody:
    """Logs a user in. The token stands for his User and Organization secret until it ends."""
    with runtime.rates.attempt(client_of(request), name=authentication.address(body.username)):
        token = await authentication.log_in(runtime, body.username, body.password.get_secret_value())
    return TokenBody(token=token)


@router.get("/secrets", dependencies=UNKEPT, responses=responses(403))
async def make_secrets(runtime: RuntimeDep, login: LoginDep) -> SecretsBody:
    """Makes a User and an Organization secret that last. Each call makes a further pair, of which the
    newest ten stay: only hashes are kept, so that those made before cannot be shown again."""
    return wire.pair(await authentication.new_pair(runtime, login))


@router.delete("", response_class=Response, responses=responses(403))
async def log_out(runtime: RuntimeDep, login: LoginDep) -> Response:
    """Logs out: the token is refused from then on."""
    await authentication.log_out(runtime, login)
    return done()
