"""A fake Box. Its hosts are paths: `/2.0` is the API, `/upload/2.0` and `/api/2.0` take uploads."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.sandbox.box import (
    collaborations,
    comments,
    downloads,
    events,
    files,
    folder_locks,
    folders,
    links,
    metadata,
    oauth,
    realtime,
    search,
    sessions,
    templates,
    trash,
    uploads,
    users,
    versions,
    web_links,
    webhooks,
)
from app.sandbox.box.access import UnauthorizedError
from app.sandbox.box.control import control_routes
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError, bad_request
from app.sandbox.box.gate import Gate
from app.sandbox.fake import Fake
from app.sandbox.grants import OAuthError

# The trash stands before the folders, whose ids would hide it.
_ROUTES = (
    oauth.router,
    events.router,
    realtime.router,
    uploads.preflight_router,
    downloads.router,
    trash.router,
    versions.router,
    comments.router,
    collaborations.router,
    metadata.router,
    templates.router,
    folder_locks.router,
    files.router,
    folders.router,
    web_links.router,
    links.router,
    search.router,
    users.router,
    webhooks.router,
)
# Sessions stand before single uploads: `upload_sessions` is no id of a file.
_UPLOAD_ROUTES = (sessions.router, uploads.router)
_UPLOAD_HOSTS = ("/upload/2.0", "/api/2.0")
_PLAIN = {404: ("not_found", "Not Found"), 405: ("method_not_allowed", "Method Not Allowed")}


def create_fake() -> Fake:
    """A fresh Box with one enterprise."""
    enterprise = Enterprise()
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for router in _ROUTES:
        api.include_router(router)
    for host in _UPLOAD_HOSTS:
        for router in _UPLOAD_ROUTES:
            api.include_router(router, prefix=host)
    api.add_exception_handler(BoxError, _refused)
    api.add_exception_handler(UnauthorizedError, _refused)
    api.add_exception_handler(HTTPException, _no_route)
    api.add_exception_handler(RequestValidationError, _bad_request)
    api.add_exception_handler(OAuthError, _no_grant)
    api.add_exception_handler(ClientDisconnect, _nobody_there)
    return Fake(
        title="Box",
        app=Gate(api, enterprise),
        control=control_routes(enterprise),
        reset=enterprise.reset,
        places=lambda: [""],
    )


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, BoxError | UnauthorizedError):
        raise error
    return error.answer()


async def _no_route(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, message = _PLAIN.get(error.status_code, ("bad_request", str(error.detail)))
    return BoxError(error.status_code, code, message, headers=error.headers).answer()


async def _no_grant(_: Request, error: Exception) -> Response:
    if not isinstance(error, OAuthError):
        raise error
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, status_code=400)


async def _bad_request(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    name = str(error.errors()[0]["loc"][-1])
    if name in ("limit", "offset"):
        return BoxError(400, f"invalid_{name}", f"Invalid value for '{name}'").answer()
    return bad_request(f"Invalid value for '{name}'", name).answer()


async def _nobody_there(_: Request, error: Exception) -> Response:
    """The client has left in the middle of its request, so there is nobody to answer."""
    return Response(status_code=499)
