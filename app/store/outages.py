"""Telling what is the database's state from what is a statement's fault, and making a step again after it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from app.errors import DatabaseUnavailable, LostRace

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOST_RACE = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_AWAY = (
    "08",  # no connection
    "53",  # out of connections, memory or disk
    "57P",  # stopping, starting, cut by an administrator
    "25006",  # a former primary that is read-only now
    "25P03",  # idle in a transaction for too long: this process was stopped meanwhile
    "55P03",  # a lock was not to be had in GATEWAY_DATABASE_TIMEOUT
    "57014",  # a statement took longer than GATEWAY_DATABASE_STATEMENT_TIMEOUT
)
_WRONG = ("28", "3D000")  # password, user; name of the database
_LONGEST_PAUSE = 2.0  # seconds between two tries


@contextmanager
def named() -> Iterator[None]:
    """Raises DatabaseUnavailable where the database is away, closes the connection, or is too busy; LostRace
    where it has ended the transaction in favour of another one. All else is the statement's own fault."""
    try:
        yield
    except (NoFreeConnection, OSError) as error:
        wrong = isinstance(error, ssl.SSLCertVerificationError)
        raise DatabaseUnavailable(error, passing=not wrong) from error
    except DBAPIError as error:
        named_error = _named(error)
        if named_error is None:
            raise
        raise named_error from error


def _named(error: DBAPIError) -> DatabaseUnavailable | None:
    adapted = error.orig or error
    reason = adapted.__cause__ or adapted  # the driver's own error, inside of SQLAlchemy's
    state = str(getattr(reason, "sqlstate", None) or "")
    if state in _LOST_RACE or type(reason).__name__ == "InvalidCachedStatementError":
        return LostRace(reason)
    if state.startswith(_WRONG):
        return DatabaseUnavailable(reason, passing=False)
    busy = getattr(reason, "sqlite_errorname", "").startswith("SQLITE_BUSY")
    if error.connection_invalidated or state.startswith(_AWAY) or busy:
        return DatabaseUnavailable(reason)
    return None


async def repeat(step: Callable[[], Awaitable[T]], *, patience: timedelta) -> T:
    """What `step` answers: a transaction of its own that may be made again, also where nobody knows whether
    it was committed. It is made again after an outage and a lost race, with growing pauses, until `patience`
    has passed; then the last DatabaseUnavailable is raised."""
    again = AsyncRetrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE),
        before_sleep=_tell,
        reraise=True,
    )
    return await again(step)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, DatabaseUnavailable) and not isinstance(error, LostRace):
        log.warning("step is made again", extra={"attempt": state.attempt_number, "error": error.in_full})
