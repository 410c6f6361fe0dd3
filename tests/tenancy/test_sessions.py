"""Who was found is remembered for a moment; who was refused is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from processes import until

from app.tenancy.sessions import Sessions
from app.wire.authorization import Authorization

CALLER = Authorization(user="u", organization="o")

Find = Callable[[Authorization], Coroutine[Any, Any, str]]


async def found(_: Authorization) -> str:
    return "found"


async def refused(_: Authorization) -> str:
    raise PermissionError


@pytest.fixture
def sessions() -> Sessions[str]:
    return Sessions(timedelta(hours=1))


def ask(sessions: Sessions[str], find: Find) -> Coroutine[Any, Any, str]:
    return sessions.find(CALLER, find, way="way", guard=nullcontext())


async def test_who_was_found_is_not_looked_for_again(sessions: Sessions[str]) -> None:
    assert await ask(sessions, found) == "found"
    assert await ask(sessions, refused) == "found"


async def test_who_was_refused_is_looked_for_again(sessions: Sessions[str]) -> None:
    with pytest.raises(PermissionError):
        await ask(sessions, refused)
    assert await ask(sessions, found) == "found"


async def test_a_refusal_that_nobody_waits_for_any_more_is_not_remembered(sessions: Sessions[str]) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def late(caller: Authorization) -> str:
        begun.set()
        await go_on.wait()
        return await refused(caller)

    waiting = asyncio.create_task(ask(sessions, late))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    await until(lambda: not sessions._known, "its end")
    assert await ask(sessions, found) == "found"
