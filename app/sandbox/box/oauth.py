"""Box's consent page and token endpoint: https://developer.box.com/guides/authentication/oauth2/."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import EnterpriseDep
from app.sandbox.box.domain import ANN, ENTERPRISE_NAME, Enterprise
from app.sandbox.consent import Wish, objection, page, send_back
from app.sandbox.grants import OAuthError, RegisteredApp, Token
from app.sandbox.history import User

router = APIRouter()


class Consent(Wish):
    """What the user answers. The page sends everything; a script may leave out what is always the same."""

    response_type: str = "code"
    user: str = ""
    decision: str = ""


@router.get("/api/oauth2/authorize", response_model=None)
async def authorize(request: Request, enterprise: EnterpriseDep) -> Response:
    """The page that asks the user."""
    wish = Wish.model_validate(dict(request.query_params))
    people = ((user.username, user.full_name) for user in enterprise.users.values())
    return objection(enterprise.apps, wish) or page(ENTERPRISE_NAME, wish, field="user", people=people)


@router.post("/api/oauth2/consent", response_model=None)
async def consent(enterprise: EnterpriseDep, answer: Annotated[Consent, Form()]) -> Response:
    """The answer of the user."""
    objected = objection(enterprise.apps, answer)
    if objected is not None:
        return objected
    if answer.decision != "allow":
        denied = "The user denied access to your application"
        return send_back(answer, {"error": "access_denied", "error_description": denied})
    user = enterprise.named(answer.user)
    code = enterprise.grants.consent(answer.client_id, answer.redirect_uri, user, answer.scope)
    return send_back(answer, {"code": code})


@router.post("/oauth2/token", response_model=None)
async def token(request: Request, enterprise: EnterpriseDep) -> Response:
    """The exchange of a grant for a token."""
    fields = _fields(await request.body())
    granted = _grant(enterprise, _app(enterprise, fields), fields)
    return JSONResponse(token_body(enterprise, granted), headers={"Cache-Control": "no-store"})


@router.post("/oauth2/revoke", response_model=None)
async def revoke(request: Request, enterprise: EnterpriseDep) -> Response:
    """Kills a token and the one beside it. An older SDK cannot read an answer without a body."""
    fields = _fields(await request.body())
    _app(enterprise, fields)
    if not enterprise.grants.revoke(fields.get("token", "")):
        raise OAuthError("invalid_token", "Invalid token")
    return JSONResponse({})


def _fields(body: bytes) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except ValueError as error:
        raise OAuthError("invalid_request", "The body is no form") from error


def _app(enterprise: Enterprise, fields: Mapping[str, str]) -> RegisteredApp:
    app = enterprise.apps.get(fields.get("client_id", ""))
    if app is None or app.client_secret != fields.get("client_secret"):
        raise OAuthError("invalid_client", "The client credentials are invalid")
    return app


def _grant(enterprise: Enterprise, app: RegisteredApp, fields: Mapping[str, str]) -> Token:
    match kind := fields.get("grant_type", ""):
        case "authorization_code":
            code, redirect_uri = fields.get("code", ""), fields.get("redirect_uri")
            return enterprise.grants.redeem(code, app.client_id, redirect_uri)
        case "refresh_token":
            return enterprise.grants.renew(fields.get("refresh_token", ""), app.client_id)
        case "client_credentials":
            user = _subject(enterprise, fields)
            return enterprise.grants.issue(user, app.client_id, "", refreshable=False)
    raise OAuthError("unsupported_grant_type", f"Unknown grant_type {kind!r}")


def _subject(enterprise: Enterprise, fields: Mapping[str, str]) -> User:
    """The service account of the enterprise is its administrator here."""
    if fields.get("box_subject_type") != "user":
        return ANN
    subject = fields.get("box_subject_id", "")
    found = next((user for user in enterprise.users.values() if str(user.id) == subject), None)
    if found is None:
        raise OAuthError("invalid_grant", "Grant credentials are invalid")
    return found


def token_body(enterprise: Enterprise, token: Token) -> dict[str, Any]:
    """A token as the token endpoint answers it."""
    body: dict[str, Any] = {
        "access_token": token.access,
        "expires_in": int(enterprise.settings.access_token_seconds),
        "restricted_to": [],
        "token_type": "bearer",
    }
    if token.refresh is not None:
        body["refresh_token"] = token.refresh
    return body
