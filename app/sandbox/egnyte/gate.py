"""What stands before every call: the domain, the faults that wait for it, and the limits of the token."""

import uuid
from datetime import UTC, datetime, timedelta

from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.sandbox.egnyte.access import DOMAIN_KEY, bearer
from app.sandbox.egnyte.domain import Domain, Egnyte
from app.sandbox.faults import Answers, Fault, kinds_of, play, refusal
from app.sandbox.grants import Token


def _mashery(code: str, title: str, retry_after: float | None) -> Response:
    # The API gateway answers in HTML: https://github.com/egnyte/integrations-cookbook, Best Practices.
    headers = {"X-Mashery-Error-Code": code, "X-Mashery-Responder": "sandbox"}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    return HTMLResponse(f"<h1>{title}</h1>", status_code=403, headers=headers)


def _over_qps(retry_after: float) -> Response:
    return _mashery("ERR_403_DEVELOPER_OVER_QPS", "Developer Over Qps", retry_after)


def _over_rate(retry_after: float) -> Response:
    return _mashery("ERR_403_DEVELOPER_OVER_RATE", "Developer Over Rate", retry_after)


def _file_system_error(status: int, message: str) -> Answers:
    def answer(fault: Fault) -> Response:
        return refusal(status, fault, JSONResponse({"errorMessage": message}))

    return {str(status): answer}


def _gateway_error(status: int, title: str) -> Answers:
    def answer(fault: Fault) -> Response:
        return refusal(status, fault, HTMLResponse(f"<html><body><h1>{title}</h1></body></html>"))

    return {str(status): answer}


FAULT_ANSWERS: Answers = {
    "mashery_qps": lambda fault: _over_qps(1 if fault.retry_after is None else fault.retry_after),
    "mashery_rate": lambda fault: _over_rate(3600 if fault.retry_after is None else fault.retry_after),
    "mashery_inactive": lambda fault: _mashery("ERR_403_DEVELOPER_INACTIVE", "Developer Inactive", None),
    **_file_system_error(400, "Bad request"),
    **_file_system_error(401, "Unauthorized"),
    **_file_system_error(403, "You do not have permission to perform this action"),
    **_file_system_error(404, "Not found"),
    **_file_system_error(409, "Conflict"),
    **_gateway_error(429, "Too Many Requests"),
    **_gateway_error(500, "Internal Server Error"),
    **_gateway_error(502, "Bad Gateway"),
    **_gateway_error(503, "Service Unavailable"),
    **_gateway_error(504, "Gateway Timeout"),
}
EXPIRE_TOKENS = "expire_tokens"
GATE_FAULTS = kinds_of(FAULT_ANSWERS) | {EXPIRE_TOKENS}


class Gate:
    """Finds the domain, lets faults happen, and counts calls against the limits."""

    def __init__(self, app: ASGIApp, egnyte: Egnyte) -> None:
        self._app = app
        self._egnyte = egnyte

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {"X-Request-Id": str(uuid.uuid4())}
        await self._enter(scope, receive, _with_headers(send, headers))

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        name, _, rest = scope["path"].removeprefix(f"{root}/").partition("/")
        domain = self._egnyte.domains.get(name)
        if domain is None:
            unknown = HTMLResponse("<h1>This Egnyte domain does not exist</h1>", status_code=404)
            await unknown(scope, receive, send)
            return
        inner = {**scope, DOMAIN_KEY: domain, "root_path": f"{root}/{name}"}
        fault = domain.faults.take(f"/{rest}", GATE_FAULTS)
        if fault is not None and fault.kind != EXPIRE_TOKENS:
            await play(fault, FAULT_ANSWERS, self._limited, scope=inner, receive=receive, send=send)
            return
        if fault is not None:
            domain.grants.expire("access")
        await self._limited(inner, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        domain: Domain = scope[DOMAIN_KEY]
        token = domain.grants.by_access(bearer(Headers(scope=scope).get("authorization", "")))
        settings = domain.settings
        if token is None or (settings.qps is None and settings.daily_quota is None):
            await self._app(scope, receive, send)
            return
        now = datetime.now(UTC)
        token.usage.count(now)
        answer = _throttled(domain, token, now) or self._app
        await answer(scope, receive, _with_headers(send, _usage_headers(domain, token, now)))


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_with_headers


def _throttled(domain: Domain, token: Token, now: datetime) -> Response | None:
    settings, usage = domain.settings, token.usage
    over_rate = settings.daily_quota is not None and usage.in_day > settings.daily_quota
    over_qps = settings.qps is not None and usage.in_second > settings.qps
    if not over_rate and not over_qps:
        return None
    wait = (_midnight(now) - now).seconds + 1 if over_rate else 1
    if settings.throttle == "429":
        return Response(status_code=429, headers={"Retry-After": str(wait)})
    return _over_rate(wait) if over_rate else _over_qps(wait)


def _usage_headers(domain: Domain, token: Token, now: datetime) -> dict[str, str]:
    headers = {"X-Quota-Reset": f"{_midnight(now):%A, %B %d, %Y %I:%M:%S %p} GMT"}
    if domain.settings.qps is not None:
        headers["X-Accesstoken-Qps-Allotted"] = str(domain.settings.qps)
        headers["X-Accesstoken-Qps-Current"] = str(token.usage.in_second)
    if domain.settings.daily_quota is not None:
        headers["X-Accesstoken-Quota-Allotted"] = str(domain.settings.daily_quota)
        headers["X-Accesstoken-Quota-Current"] = str(token.usage.in_day)
    return headers


def _midnight(now: datetime) -> datetime:
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
