"""Whether an upload still moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

from app.errors import VendorUnavailable


class Progress:
    """Ends an upload that has stood still for `patience` seconds; the HTTP client watches only answers."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._timeout = asyncio.timeout(patience)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *what: Any) -> None:
        try:
            await self._timeout.__aexit__(*what)
        except TimeoutError:
            raise VendorUnavailable("the transfer stood still for too long") from None

    async def of(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The body; each piece of it is a sign of life."""
        async for piece in body:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._patience)
            yield piece
