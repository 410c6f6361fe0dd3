"""A fake Egnyte. A domain lives below its name: `/egnyte/acme/` stands for `https://acme.egnyte.com/`."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from app.sandbox.egnyte import (
    content,
    events,
    files,
    links,
    notes,
    oauth,
    people,
    properties,
    search,
    shared,
    trash,
    webhooks,
)
from app.sandbox.egnyte.access import RefusalError, refuse
from app.sandbox.egnyte.control import control_routes
from app.sandbox.egnyte.custom_metadata import UnfitError
from app.sandbox.egnyte.domain import Egnyte
from app.sandbox.egnyte.gate import Gate
from app.sandbox.fake import Fake
from app.sandbox.grants import OAuthError
from app.sandbox.world import MissingError, RefusedError, TakenError

_ROUTES = (
    oauth,
    events,
    content,
    trash,
    properties,
    files,
    people,
    notes,
    links,
    shared,
    search,
    webhooks,
)
_STATUS = {UnfitError: 400, MissingError: 404, RefusedError: 403, TakenError: 409}


def create_fake() -> Fake:
    """A fresh Egnyte with the domains acme and globex."""
    egnyte = Egnyte()
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for routes in _ROUTES:
        api.include_router(routes.router)
    api.add_exception_handler(RefusalError, _refused)
    for error in _STATUS:
        api.add_exception_handler(error, _not_allowed)
    api.add_exception_handler(RequestValidationError, _bad_request)
    api.add_exception_handler(OAuthError, _no_grant)
    api.add_exception_handler(ClientDisconnect, _left)
    return Fake(
        title="Egnyte",
        app=Gate(api, egnyte),
        control=control_routes(egnyte),
        reset=egnyte.reset,
        places=lambda: list(egnyte.domains),
    )


async def _left(_: Request, __: Exception) -> Response:
    # For the request log only: nobody is there to read it.
    return Response(status_code=499)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusalError):
        raise error
    return error.answer


async def _no_grant(_: Request, error: Exception) -> Response:
    if not isinstance(error, OAuthError):
        raise error
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, status_code=400)


async def _not_allowed(_: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return JSONResponse({"errorMessage": str(error)}, status_code=status)


async def _bad_request(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return refuse(400, f"Invalid parameter: {error.errors()[0]['loc'][-1]}").answer
