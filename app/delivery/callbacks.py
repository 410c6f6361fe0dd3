"""Whether callbacks can be called, asked before their URLs are stored and never within a transaction."""

from __future__ import annotations

from app.errors import BadRequest
from app.event_settings import CALLBACK_URL
from app.runtime import Runtime


async def check(runtime: Runtime, url: str | None, *, name: str = f"configuration.{CALLBACK_URL}") -> None:
    """Raises BadRequest with `name` for a URL that no callback could be called at. It takes 2 s at most, and
    whoever names no URL passes."""
    refusal = await runtime.egress.refusal(url) if url else None
    if refusal is not None:
        raise BadRequest(f"{name}: {refusal}")
