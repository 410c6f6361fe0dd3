"""Locks on Egnyte's files: developers.egnyte.com, File System Management API, Lock a File."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.sandbox.egnyte.access import refuse
from app.sandbox.history import User
from app.sandbox.world import File, Lock, Node, path_of, walk

LOCK_SECONDS = 3600


@dataclass(eq=False, slots=True)
class TimedLock(Lock):
    """A lock that ends by itself."""

    until: datetime


def lock_of(file: File) -> Lock | None:
    """The lock on a file; one that is over is taken away."""
    if isinstance(file.lock, TimedLock) and file.lock.until <= datetime.now(UTC):
        file.lock = None
    return file.lock


def require_unlocked(node: Node, user: User) -> None:
    """Refuses a change of what somebody else has locked, or of a folder that holds it."""
    for below in walk(node):
        lock = lock_of(below) if isinstance(below, File) else None
        if lock is not None and lock.owner.id != user.id:
            raise refuse(403, f"{path_of(below)} is locked by {lock.owner.username}")


def take(file: File, user: User, token: str | None, seconds: int) -> dict[str, Any]:
    """Locks a file; its owner can prolong a lock with its token."""
    _check(file, user, token)
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    file.lock = TimedLock(token or secrets.token_hex(8), user, until)
    return {"lock_token": file.lock.token, "timeout": seconds}


def release(file: File, user: User, token: str | None) -> dict[str, Any]:
    """Unlocks a file; one without a lock stays as it is."""
    _check(file, user, token)
    file.lock = None
    return {}


def lock_info(lock: Lock) -> dict[str, Any]:
    """The owner of a lock as metadata shows it."""
    return {
        "owner_id": lock.owner.id,
        "first_name": lock.owner.first_name,
        "last_name": lock.owner.last_name,
        "email": lock.owner.email,
    }


def _check(file: File, user: User, token: str | None) -> None:
    require_unlocked(file, user)
    if file.lock is not None and file.lock.token != token:
        raise refuse(403, "The file is locked with another lock_token")
