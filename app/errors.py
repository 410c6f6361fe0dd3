"""Everything that can go wrong, as one tree.

Each class knows its HTTP status; its docstring is its default message.

GatewayError                    500
├── BadRequest                  400
├── Unauthorized                401
├── Forbidden                   403
├── NotFound                    404
├── NotSupported                405   the element has no such operation
├── NotAcceptable               406
├── Conflict                    409   something is there already
├── ContentTooLarge             413
├── UnsupportedMediaType        415
├── RangeNotSatisfiable         416
├── TooManyRequests             429   `retry_after` says how long to wait
├── DatabaseUnavailable         503   the database is away or too busy; `retry_after` says how long to wait
│   └── LostRace                503   it has preferred another transaction, and this one may be made again
├── SettingsError               500   the process refuses to start
└── VendorError                 502   the vendor was asked, and this came of it
    ├── VendorRefused           400   the vendor says the request is wrong
    │   └── GrantRefused        400   a code or a refresh token that the vendor does not take
    ├── VendorUnauthorized      401   the vendor does not take the account's token
    │   └── GrantRevoked        401   nor its refresh token: only its owner can connect it again
    ├── VendorForbidden         403   the account may not do this at the vendor
    ├── VendorNotFound          404
    ├── VendorConflict          409   a Conflict, too: something is there already, says the vendor
    ├── VendorThrottled         429   too many requests; `retry_after` says how long to wait
    └── VendorUnavailable       502   no answer, half an answer, or a server error
"""

from __future__ import annotations

from typing import ClassVar

MESSAGE_LIMIT = 500  # characters of a vendor's own words that are kept


class GatewayError(Exception):
    """An unexpected error occurred."""

    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)

    @property
    def in_full(self) -> str:
        """The message, with the vendor's own words where there are any."""
        return self.message


class BadRequest(GatewayError):
    """An invalid value was used for a parameter."""

    status = 400


class Unauthorized(GatewayError):
    """Invalid Organization or User secret, or invalid Element token provided."""

    status = 401


class Forbidden(GatewayError):
    """This is not allowed."""

    status = 403


class NotFound(GatewayError):
    """The requested resource was not found."""

    status = 404


class NotSupported(GatewayError):
    """The element does not support this operation."""

    status = 405


class NotAcceptable(GatewayError):
    """None of the media types in the Accept header can be answered; it has to admit application/json."""

    status = 406


class Conflict(GatewayError):
    """Something with the same name already exists."""

    status = 409


class ContentTooLarge(GatewayError):
    """The body is too large."""

    status = 413


class UnsupportedMediaType(GatewayError):
    """The content type of the body is not supported."""

    status = 415


class RangeNotSatisfiable(GatewayError):
    """The requested range is not in the file."""

    status = 416


class TooManyRequests(GatewayError):
    """Too much of this is being done already; try again in a moment."""

    status = 429

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DatabaseUnavailable(GatewayError):
    """The database cannot be used just now; try again in a moment."""

    status = 503
    retry_after: ClassVar[float] = 2  # seconds; a restart of PostgreSQL takes about as long

    def __init__(self, reason: BaseException, *, passing: bool = True) -> None:
        """`reason` is what the driver says, for the log and the operator only. What is not `passing`, as a
        wrong password, does not mend itself."""
        super().__init__()
        self.reason = type(reason).__name__
        self.words = str(reason) or self.reason
        self.passing = passing

    @property
    def in_full(self) -> str:
        return f"{self.reason}: {self.words}"


class LostRace(DatabaseUnavailable):
    """Somebody else changed the same at the same time; try again."""


class SettingsError(GatewayError):
    """The settings contradict each other."""


class VendorError(GatewayError):
    """The vendor answered in a way that was not expected.

    `provider_message` is the vendor's own text, `vendor_status` its HTTP status (None when it did not
    answer), `retry_after` the seconds it asked us to wait, `request_id` what its support asks for.
    """

    status = 502

    def __init__(
        self,
        message: str | None = None,
        *,
        provider_message: str | None = None,
        vendor_status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        words = (provider_message or "")[:MESSAGE_LIMIT].replace("\0", "\ufffd")  # PostgreSQL stores no NUL
        self.provider_message = words or None
        self.vendor_status = vendor_status
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def in_full(self) -> str:
        return f"{self.message} ({self.provider_message})" if self.provider_message else self.message


class VendorRefused(VendorError):
    """The vendor refused the request."""

    status = 400


class GrantRefused(VendorRefused):
    """The vendor refused the authorization code or the refresh token."""


class VendorUnauthorized(VendorError):
    """The vendor does not accept the token of this account; authenticate the instance again."""

    status = 401


class GrantRevoked(VendorUnauthorized):
    """The vendor no longer accepts the grant of this account; authenticate the instance again."""


class VendorForbidden(VendorError):
    """The vendor does not allow this to the connected account."""

    status = 403


class VendorNotFound(VendorError):
    """The vendor does not know what was asked for."""

    status = 404


class VendorConflict(VendorError, Conflict):
    """Something with the same name already exists at the vendor."""

    status = 409


class VendorThrottled(VendorError):
    """The vendor limits the rate of requests; try again later."""

    status = 429


class VendorUnavailable(VendorError):
    """The vendor could not be reached or failed to answer."""
