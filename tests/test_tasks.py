"""Steps that are not cut in two, whatever comes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from app.tasks import to_its_end


class Step:
    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.ended = False

    async def run(self, error: Exception | None = None) -> str:
        self.begun.set()
        await self.go_on.wait()
        self.ended = True
        if error is not None:
            raise error
        return "done"


async def test_a_step_is_what_it_answers() -> None:
    step = Step()
    step.go_on.set()
    assert await to_its_end(step.run()) == "done"
    with pytest.raises(LookupError):
        await to_its_end(step.run(LookupError()))


async def test_a_step_outlasts_every_cancellation() -> None:
    step = Step()
    caller = asyncio.create_task(to_its_end(step.run()))
    await step.begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not caller.done()
    step.go_on.set()
    await asyncio.wait([caller])
    assert (caller.cancelled(), step.ended) == (True, True)


async def test_a_step_that_fails_behind_a_cancelled_caller_is_no_error_that_nobody_took() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    step = Step()
    caller = asyncio.create_task(to_its_end(step.run(LookupError())))
    await step.begun.wait()
    caller.cancel()
    step.go_on.set()
    await asyncio.wait([caller])
    assert caller.cancelled()
    del caller
    gc.collect()
    assert complaints == []
