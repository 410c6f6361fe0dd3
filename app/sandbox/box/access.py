"""Who is calling the fake Box, and with what."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, ValidationError

from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError, bad_request, forbidden
from app.sandbox.box.items import Item
from app.sandbox.grants import Token
from app.sandbox.history import Actor, User

ENTERPRISE_KEY = "box.enterprise"
BodyT = TypeVar("BodyT", bound=BaseModel)


class UnauthorizedError(Exception):
    """There is no valid token; Box says so without a body."""

    def answer(self) -> Response:
        """The refusal as it goes out."""
        why = 'error="invalid_token", error_description="The access token provided is invalid."'
        return Response(status_code=401, headers={"WWW-Authenticate": f'Bearer realm="Service", {why}'})


class Body(BaseModel):
    """The body of a request; Box ignores what it does not know."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class Reference(Body):
    """Another thing, by its id."""

    id: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that has shown a valid token."""

    enterprise: Enterprise
    token: Token
    user: User

    @property
    def actor(self) -> Actor:
        """The caller as the journal names it."""
        return Actor(self.user, "API", self.token.client_id)


async def read(request: Request, model: type[BodyT]) -> BodyT:
    """The JSON in a body. No content type at all is fine, another one is not."""
    content_type = request.headers.get("content-type", "json")
    if "json" not in content_type:
        raise BoxError(415, "unsupported_media_type", f"Unsupported media type {content_type}")
    return parse(await request.body(), model)


def parse(body: bytes | bytearray, model: type[BodyT]) -> BodyT:
    """JSON as a model, or a refusal that names what is wrong."""
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "entity-body"
        missing = problem["type"] == "missing"
        reason = "missing_parameter" if missing else "invalid_parameter"
        message = f"'{where}' is required" if missing else f"Invalid value for '{where}'. {problem['msg']}"
        raise bad_request(message, where, reason) from error


def base_url(request: Request) -> str:
    """The address of this fake, as the client that asks has reached it."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def current_enterprise(request: Request) -> Enterprise:
    """The only enterprise there is."""
    enterprise: Enterprise = request.scope[ENTERPRISE_KEY]
    return enterprise


EnterpriseDep = Annotated[Enterprise, Depends(current_enterprise)]


def bearer(authorization: str) -> str:
    """The token in an Authorization header; empty if there is none."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _caller(request: Request, enterprise: EnterpriseDep) -> Caller:
    token = enterprise.grants.by_access(bearer(request.headers.get("authorization", "")))
    if token is None:
        raise UnauthorizedError
    as_user = request.headers.get("as-user")
    if as_user is None:
        return Caller(enterprise, token, token.user)
    if not token.user.is_admin:
        raise forbidden()
    return Caller(enterprise, token, enterprise.user(as_user))


CallerDep = Annotated[Caller, Depends(_caller)]


def check_match(request: Request, item: Item) -> None:
    """Compares If-Match with the item, for a change that must not overwrite another one."""
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip('"') not in ("*", str(item.revision)):
        message = "The resource has been modified. Please retrieve the resource again and retry"
        raise BoxError(412, "precondition_failed", message)


def unchanged(request: Request, item: Item) -> bool:
    """Whether the client already has this state of the item."""
    known = request.headers.get("if-none-match")
    return known is not None and known.strip('"') == str(item.revision)


def path_id(value: str) -> str:
    """An id in a path; Box answers 405 if it is no number."""
    if not value.isdecimal():
        raise BoxError(405, "method_not_allowed", "Method Not Allowed")
    return value
