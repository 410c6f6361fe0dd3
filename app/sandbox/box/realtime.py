"""Long polls: https://developer.box.com/guides/events/user-events/polling/."""

import asyncio
import secrets
import time
from typing import Any

from fastapi import APIRouter, Request

from app.sandbox.box.access import CallerDep, EnterpriseDep, base_url
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.events import position_of, shown_in
from app.sandbox.connection import gone

router = APIRouter()

_MINUTES = "10"
_RETRIES = "10"
_SECONDS = 610


@router.options("/2.0/events")
async def realtime_server(caller: CallerDep, request: Request, stream_type: str = "all") -> dict[str, Any]:
    """Where to wait for changes."""
    channel = secrets.token_hex(10)
    server = {
        "type": "realtime_server",
        "url": f"{base_url(request)}/subscribe?channel={channel}&stream_type={stream_type}",
        "ttl": _MINUTES,
        "max_retries": _RETRIES,
        "retry_timeout": _SECONDS,
    }
    return {"chunk_size": 1, "entries": [server]}


@router.get("/subscribe")
async def subscribe(
    enterprise: EnterpriseDep, request: Request, stream_position: str = "now", stream_type: str = "all"
) -> dict[str, Any]:
    """Answers when there is a change after the position, or when the client has waited long enough."""
    position = position_of(enterprise.journal.history, stream_position)
    news = asyncio.create_task(_news(enterprise, position, stream_type))
    left = asyncio.create_task(gone(request.receive))
    try:
        await asyncio.wait((news, left), return_when=asyncio.FIRST_COMPLETED)
        changed = news.done() and news.result()
    finally:
        news.cancel()
        left.cancel()
    return {"version": 1, "message": "new_change" if changed else enterprise.settings.long_poll_end}


async def _news(enterprise: Enterprise, position: int, stream_type: str) -> bool:
    shown, journal = shown_in(stream_type), enterprise.journal
    until = time.monotonic() + enterprise.settings.long_poll_seconds
    while not any(shown(change) for change in journal.history.after(position)):
        rest = until - time.monotonic()
        if rest <= 0:
            return False
        await journal.wait(rest)
    return True
