"""Passwords: kept as Argon2id hashes, which are slow on purpose and made in threads of their own."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import TooManyRequests

T = TypeVar("T")

_hasher = PasswordHasher()
_threads = ThreadPoolExecutor(2, thread_name_prefix="passwords")  # each hash takes 64 MiB while it is made
_AT_ONCE = 16  # being made or waiting: whoever tries passwords in bulk delays others by no more than that
_places = threading.BoundedSemaphore(_AT_ONCE)


def _base64(count: int) -> str:
    return base64.b64encode(bytes(count)).decode().rstrip("=")


_NOBODYS = (
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    f"${_base64(_hasher.salt_len)}${_base64(_hasher.hash_len)}"
)
"""A hash that no known password has, and that takes as long to compare as any other."""


async def hashed(password: str) -> str:
    """The form in which a password is kept. Raises TooManyRequests."""
    return await _in_a_thread(lambda: _hasher.hash(password))


async def fits(password: str, known: str | None) -> bool:
    """Whether this is the password of a hash. Without one it never is, and that takes as long to say.
    Raises TooManyRequests."""
    return await _in_a_thread(lambda: _fits(password, known or _NOBODYS))


def _fits(password: str, known: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False


async def _in_a_thread(step: Callable[[], T]) -> T:
    if not _places.acquire(blocking=False):
        raise TooManyRequests("Too many passwords are being looked at; try again in a moment", retry_after=1)
    working = _threads.submit(step)
    working.add_done_callback(lambda _: _places.release())  # a caller who went does not stop the thread
    return await asyncio.wrap_future(working)
