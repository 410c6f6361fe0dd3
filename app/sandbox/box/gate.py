"""What stands before every call to the fake Box: faults that wait for it, and the limit of its user."""

from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.sandbox.box.access import ENTERPRISE_KEY, UnauthorizedError, bearer
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError, forbidden, rate_limited
from app.sandbox.faults import Answers, Fault, kinds_of, play, refusal


def _error(status: int, code: str, message: str) -> Answers:
    def answer(fault: Fault) -> Response:
        return refusal(status, fault, BoxError(status, code, message).answer())

    return {str(status): answer}


FAULT_ANSWERS: Answers = {
    # A content that is not ready yet, and a commit that is not done yet, look like this.
    "202": lambda fault: refusal(202, fault, Response()),
    **_error(400, "bad_request", "Bad Request"),
    "401": lambda fault: UnauthorizedError().answer(),
    "403": lambda fault: refusal(403, fault, forbidden().answer()),
    **_error(404, "not_found", "Not Found"),
    **_error(409, "operation_blocked_temporary", "The item is blocked by another operation"),
    **_error(412, "precondition_failed", "The resource has been modified"),
    "429": lambda fault: rate_limited(1 if fault.retry_after is None else fault.retry_after).answer(),
    **_error(500, "internal_server_error", "Internal Server Error"),
    **_error(502, "bad_gateway", "Bad Gateway"),
    **_error(503, "unavailable", "Unavailable"),
    **_error(504, "gateway_timeout", "Gateway Timeout"),
    "invalid_grant": lambda fault: JSONResponse(
        {"error": "invalid_grant", "error_description": "Refresh token has expired"}, status_code=400
    ),
}
EXPIRE_TOKENS = "expire_tokens"
GATE_FAULTS = kinds_of(FAULT_ANSWERS) | {EXPIRE_TOKENS}


class Gate:
    """Hands the enterprise to every request, lets faults happen, and counts calls against the limit."""

    def __init__(self, app: ASGIApp, enterprise: Enterprise) -> None:
        self._app = app
        self._enterprise = enterprise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        enterprise = self._enterprise
        inner = {**scope, ENTERPRISE_KEY: enterprise}
        fault = enterprise.faults.take(path_below(scope), GATE_FAULTS)
        if fault is not None and fault.kind != EXPIRE_TOKENS:
            await play(fault, FAULT_ANSWERS, self._limited, scope=inner, receive=receive, send=send)
            return
        if fault is not None:
            enterprise.grants.expire("access")
        await self._limited(inner, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._enterprise.settings
        token = self._enterprise.grants.by_access(bearer(Headers(scope=scope).get("authorization", "")))
        wait = 0.0
        if token is not None and settings.rate_limit is not None:
            window = settings.rate_window_seconds
            wait = self._enterprise.calls.count(token.user, settings.rate_limit, window)
        app = rate_limited(max(round(wait, 2), 0.01)).answer() if wait else self._app
        await app(scope, receive, send)


def path_below(scope: Scope) -> str:
    """The path of a request below the place where the fake is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
