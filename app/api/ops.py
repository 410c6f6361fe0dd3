"""/health and /ready: for whoever runs the process."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app import __version__
from app.api.deps import RuntimeDep
from app.errors import DatabaseUnavailable
from app.runtime import Runtime
from app.store import migrations

router = APIRouter(tags=["operations"])

_PATIENCE = 5  # seconds that whoever asks is kept waiting for a database that says nothing


class HealthBody(BaseModel):
    status: Literal["ok"] = "ok"
    version: str = __version__


class ReadinessBody(BaseModel):
    status: Literal["ready", "not ready"]
    database: Literal["ok", "unreachable", "schema is not current"]
    reason: str | None = None
    """The class of what has gone wrong, as the database's driver calls it."""


@router.get("/health")
async def health() -> HealthBody:
    """Answers while the process lives."""
    return HealthBody()


@router.get("/ready", responses={503: {"model": ReadinessBody}})
async def ready(runtime: RuntimeDep) -> JSONResponse:
    """Answers 200 when requests can be served: the database is there and has the right schema."""
    body = await _readiness(runtime)
    return JSONResponse(body.model_dump(exclude_none=True), 200 if body.status == "ready" else 503)


async def _readiness(runtime: Runtime) -> ReadinessBody:
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await migrations.fit(runtime.database)
    except DatabaseUnavailable as error:
        return ReadinessBody(status="not ready", database="unreachable", reason=error.reason)
    except TimeoutError as error:
        return ReadinessBody(status="not ready", database="unreachable", reason=type(error).__name__)
    if found.is_usable:
        return ReadinessBody(status="ready", database="ok")
    return ReadinessBody(status="not ready", database="schema is not current", reason=found.name)
