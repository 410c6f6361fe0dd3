"""Long polls: https://developer.box.com/guides/events/user-events/polling/."""

import asyncio
import secrets
import time
from typing import Any

from fastapi import APIRouter, Request

from app.sandbox.box.access import CallerDep, EnterpriseDep, base_url
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.events import position_of, shown_in
from app.sandbox.box.gate import path_below
from app.sandbox.connection import gone

router = APIRouter()

LONG_POLL_FAULTS = frozenset({"hang", "reconnect", "max_retries", "new_change", "other_message"})

_MINUTES = "10"
_RETRIES = "10"


@router.options("/2.0/events")
async def realtime_server(caller: CallerDep, request: Request, stream_type: str = "all") -> dict[str, Any]:
    """Where to wait for changes."""
    settings = caller.enterprise.settings
    channel = secrets.token_hex(10)
    host = settings.long_poll_url or base_url(request)
    server = {
        "type": "realtime_server",
        "url": f"{host}/subscribe?channel={channel}&stream_type={stream_type}",
        "ttl": _MINUTES,
        "max_retries": _RETRIES,
        "retry_timeout": settings.long_poll_retry_seconds,
    }
    return {"chunk_size": 1, "entries": [server]}


@router.get("/subscribe")
async def subscribe(
    enterprise: EnterpriseDep, request: Request, stream_position: str = "now", stream_type: str = "all"
) -> dict[str, Any]:
    """Answers when there is a change after the position, or when the client has waited long enough."""
    fault = enterprise.faults.take(path_below(request.scope), LONG_POLL_FAULTS)
    if fault is not None:
        await asyncio.sleep(fault.seconds)
        if fault.kind == "hang":
            await gone(request.receive)
        return {"version": 1, "message": fault.kind}
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
