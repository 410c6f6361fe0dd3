"""Who is calling, and how Egnyte words a refusal."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ValidationError

from app.sandbox.egnyte.domain import Domain
from app.sandbox.grants import Token
from app.sandbox.history import Actor, User
from app.sandbox.world import MissingError

DOMAIN_KEY = "egnyte.domain"
BodyT = TypeVar("BodyT", bound=BaseModel)


class RefusalError(Exception):
    """An answer that ends the request early."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def refuse(status: int, message: str) -> RefusalError:
    """A refusal by the file system, whose envelope is `errorMessage` and nothing else.

    The Python SDK forgives an existing folder only if no other value stands beside the message.
    """
    return RefusalError(JSONResponse({"errorMessage": message}, status_code=status))


async def read(request: Request, model: type[BodyT]) -> BodyT:
    """The JSON in a body, whatever its content type says: the Python SDK calls some of it a form."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise refuse(400, f"Invalid request: {where} {problem['msg']}") from error


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that has shown a valid token."""

    domain: Domain
    token: Token
    user: User

    @property
    def actor(self) -> Actor:
        """The caller as the history names it."""
        return Actor(self.user, "PublicAPI", self.token.client_id)


def current_domain(request: Request) -> Domain:
    """The domain that the host name, here the first segment of the path, stands for."""
    domain: Domain = request.scope[DOMAIN_KEY]
    return domain


DomainDep = Annotated[Domain, Depends(current_domain)]


def bearer(authorization: str) -> str:
    """The token in an Authorization header; empty if there is none."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _caller(request: Request, domain: DomainDep) -> Caller:
    token = domain.grants.by_access(bearer(request.headers.get("authorization", "")))
    if token is None:
        raise RefusalError(
            HTMLResponse(
                "<h1>Not Authorized</h1>",
                status_code=401,
                headers={"WWW-Authenticate": 'Bearer realm="egnyte", error="invalid_token"'},
            )
        )
    return Caller(domain, token, _impersonated(request, domain, token.user) or token.user)


def _impersonated(request: Request, domain: Domain, user: User) -> User | None:
    username = request.headers.get("x-egnyte-act-as")
    email = request.headers.get("x-egnyte-act-as-email")
    if not username and not email:
        return None
    if not user.is_admin:
        raise refuse(403, "Only an administrator can act as somebody else")
    for other in domain.world.users.values():
        if other.username == username or other.email == email:
            return other
    raise MissingError(f"No user {username or email}")


CallerDep = Annotated[Caller, Depends(_caller)]
