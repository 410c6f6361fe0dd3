"""A step that stops at its beginning, so that a test can cut it there or let it go on."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest


class Held:
    """Stands in for a function of a module: `begun` is set by its first call, and all wait for `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self._step = getattr(module, name)
        monkeypatch.setattr(module, name, self)

    async def __call__(self, *given: Any, **named: Any) -> Any:
        self.begun.set()
        await self.go_on.wait()
        return await self._step(*given, **named)

    async def cut(self, task: asyncio.Task[Any]) -> None:
        """Cancels a task in the middle of the step, lets the step go on if it still can, and waits for the
        end of both."""
        await self.begun.wait()
        task.cancel()
        self.go_on.set()
        await asyncio.wait([task])
        assert task.cancelled()
