"""Steps that must not be cut in two."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(step: Coroutine[Any, Any, T]) -> T:
    """Awaits a step that cancellations may follow but not interrupt."""
    task, cancelled = asyncio.create_task(step), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        return task.result()
    finally:
        if cancelled is not None:
            raise cancelled  # a failure of the step is its context


async def answered(step: Coroutine[Any, Any, T], *, within: float, grace: float) -> T:
    """Awaits a step for `within` seconds, and then for `grace` more: a process that was stopped meanwhile
    finds the answer where it has been waiting. Raises TimeoutError."""
    task = asyncio.create_task(step)
    try:
        for patience in (within, grace):
            if (await asyncio.wait([task], timeout=patience))[0]:
                return task.result()
    finally:
        task.cancel()
    raise TimeoutError
