"""How Box words a refusal: https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/."""

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse, Response

_HELP = "http://developers.box.com/docs/#errors"


class BoxError(Exception):
    """A refusal with one of Box's codes."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        context: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.context = context
        self.headers = headers

    def answer(self) -> Response:
        """The refusal as it goes out."""
        body: dict[str, Any] = {
            "type": "error",
            "status": self.status,
            "code": self.code,
            "help_url": _HELP,
            "message": self.message,
            "request_id": secrets.token_hex(8),
        }
        if self.context is not None:
            body["context_info"] = self.context
        return JSONResponse(body, status_code=self.status, headers=dict(self.headers or {}))


def bad_request(message: str, name: str = "", reason: str = "invalid_parameter") -> BoxError:
    """Something in the request cannot be understood."""
    if not name:
        return BoxError(400, "bad_request", message)
    wrong = {"reason": reason, "name": name, "message": message}
    return BoxError(400, "bad_request", "Bad Request", {"errors": [wrong]})


def not_found(name: str, value: str) -> BoxError:
    """Nothing has that id."""
    message = f"Invalid value '{value}'. '{name}' with value '{value}' not found"
    wrong = {"reason": "invalid_parameter", "name": name, "message": message}
    return BoxError(404, "not_found", "Not Found", {"errors": [wrong]})


def forbidden(message: str = "Access denied - insufficient permission") -> BoxError:
    """The caller may not do that."""
    return BoxError(403, "access_denied_insufficient_permissions", message)


def name_in_use(conflicts: Any) -> BoxError:
    """Something else in the folder has that name."""
    return BoxError(
        409, "item_name_in_use", "Item with the same name already exists", {"conflicts": conflicts}
    )


def rate_limited(retry_after: float) -> BoxError:
    """Too many calls."""
    message = "Request rate limit exceeded, please try again later"
    return BoxError(429, "rate_limit_exceeded", message, headers={"Retry-After": f"{retry_after:g}"})
