"""Passwords: kept as Argon2id hashes, which are slow on purpose and made in threads of their own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

T = TypeVar("T")

_hasher = PasswordHasher()
_threads = ThreadPoolExecutor(2, thread_name_prefix="passwords")  # each hash takes 64 MiB while it is made


def _base64(count: int) -> str:
    return base64.b64encode(bytes(count)).decode().rstrip("=")


_NOBODYS = (
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    f"${_base64(_hasher.salt_len)}${_base64(_hasher.hash_len)}"
)
"""A hash that no known password has, and that takes as long to compare as any other."""


async def hashed(password: str) -> str:
    """The form in which a password is kept."""
    return await _in_a_thread(lambda: _hasher.hash(password))


async def fits(password: str, known: str | None) -> bool:
    """Whether this is the password of a hash. Without one it never is, and that takes as long to say."""
    return await _in_a_thread(lambda: _fits(password, known or _NOBODYS))


def _fits(password: str, known: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False


async def _in_a_thread(step: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, step)
