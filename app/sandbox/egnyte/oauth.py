"""Egnyte's consent page and token endpoint: developers.egnyte.com, Public API Authentication."""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.consent import Wish, objection, page, send_back
from app.sandbox.egnyte.access import DomainDep
from app.sandbox.egnyte.domain import Domain
from app.sandbox.grants import OAuthError, RegisteredApp, Token

router = APIRouter()


class Consent(Wish):
    """What the user answers."""

    username: str = ""
    decision: str = ""


@router.get("/puboauth/token", response_model=None)
async def authorize(request: Request, domain: DomainDep) -> Response:
    """The page that asks the user."""
    wish = Wish.model_validate(dict(request.query_params))
    people = ((user.username, user.full_name) for user in domain.world.users.values())
    return objection(domain.apps, wish) or page(domain.name, wish, field="username", people=people)


@router.post("/puboauth/consent", response_model=None)
async def consent(domain: DomainDep, answer: Annotated[Consent, Form()]) -> Response:
    """The answer of the user."""
    objected = objection(domain.apps, answer)
    if objected is not None:
        return objected
    if answer.decision != "allow":
        return send_back(answer, {"error": "access_denied"})
    user = domain.world.user(answer.username)
    code = domain.grants.consent(answer.client_id, answer.redirect_uri, user, answer.scope)
    return send_back(answer, {"code": code})


@router.post("/puboauth/token", response_model=None)
async def token(request: Request, domain: DomainDep) -> Response:
    """The exchange of a grant for a token."""
    answer = _grant(domain, _fields(await request.body()))
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.post("/pubapi/v1/tokens/revoke", response_model=None)
async def revoke(request: Request, domain: DomainDep) -> Response:
    """Kills a token and the one beside it."""
    fields = _fields(await request.body())
    if fields.get("client_secret") not in {app.client_secret for app in domain.apps.values()}:
        raise OAuthError("invalid_client", "Wrong client_secret")
    if not domain.grants.revoke(fields.get("token", "")):
        raise OAuthError("invalid_token", "Unknown token")
    return JSONResponse({})


def _fields(body: bytes) -> Mapping[str, str]:
    # The Python SDK 0.5.3 sends JSON and calls it a form.
    try:
        if body.lstrip().startswith(b"{"):
            sent: dict[str, Any] = json.loads(body)
            return {name: str(value) for name, value in sent.items()}
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except ValueError as error:
        raise OAuthError("invalid_request", "The body is neither a form nor JSON") from error


def _grant(domain: Domain, fields: Mapping[str, str]) -> dict[str, Any]:
    app = domain.apps.get(fields.get("client_id", ""))
    kind = fields.get("grant_type", "")
    if app is None or not _knows_secret(app, fields, optional=kind == "password"):
        raise OAuthError("invalid_client", "Unknown client_id or wrong client_secret")
    match kind:
        case "authorization_code":
            redirect_uri = fields.get("redirect_uri", "")
            return token_body(
                domain, domain.grants.redeem(fields.get("code", ""), app.client_id, redirect_uri)
            )
        case "refresh_token":
            renewed = domain.grants.renew(fields.get("refresh_token", ""), app.client_id)
            body = token_body(domain, renewed)
            if domain.settings.refresh_rotation == "omit":
                body.pop("refresh_token", None)
            return body
        case "password":
            return token_body(domain, _by_password(domain, app, fields))
    raise OAuthError("unsupported_grant_type", f"Unknown grant_type {kind!r}")


def _knows_secret(app: RegisteredApp, fields: Mapping[str, str], *, optional: bool) -> bool:
    # Old API keys for internal apps have no secret, and the Python SDK never sends one.
    if optional and "client_secret" not in fields:
        return True
    return fields.get("client_secret") == app.client_secret


def _by_password(domain: Domain, app: RegisteredApp, fields: Mapping[str, str]) -> Token:
    user = domain.world.users.get(fields.get("username", ""))
    if user is None or user.password != fields.get("password"):
        raise OAuthError("invalid_grant", "Invalid username or password")
    return domain.grants.issue(user, app.client_id, fields.get("scope", ""))


def token_body(domain: Domain, token: Token) -> dict[str, Any]:
    """A token as the token endpoint answers it."""
    body: dict[str, Any] = {"access_token": token.access, "token_type": "bearer", "expires_in": -1}
    if token.refresh is not None:
        body["expires_in"] = int(domain.settings.access_token_seconds)
        body["refresh_token"] = token.refresh
    return body
