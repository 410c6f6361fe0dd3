"""Who acts: said once where a request or a command begins, and read where it is written down."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Actor:
    """Somebody in words, and where he acts from. Only a user of the gateway has ids."""

    name: str
    organization_id: int | None = None
    account_id: int | None = None
    user_id: int | None = None
    address: str | None = None
    request_id: str | None = None


GATEWAY = Actor("gateway")
"""The workers, and what the gateway does without being asked."""

_actor: ContextVar[Actor] = ContextVar("actor", default=GATEWAY)


def actor() -> Actor:
    """Who acts here."""
    return _actor.get()


@contextmanager
def acting(somebody: Actor) -> Iterator[None]:
    """Within it he is the one who acts, also in tasks that begin there."""
    token = _actor.set(somebody)
    try:
        yield
    finally:
        _actor.reset(token)


def asked(*, address: str | None, request_id: str) -> Actor:
    """Whoever has sent a request, before it is known who he is."""
    return Actor("unknown", address=address, request_id=request_id)


def known_as(somebody: Actor) -> Actor:
    """From here to the end of the request he is the one who has sent it; answers what he is then."""
    before = _actor.get()
    found = replace(somebody, address=before.address, request_id=before.request_id)
    _actor.set(found)
    return found


def command_line() -> Actor:
    """Who runs a command on the operator's machine, by the account of its system: the environment can say
    anything."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return Actor(f"cli:{name}")
