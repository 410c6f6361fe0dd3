"""/health and /ready: for whoever runs the process."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.api.deps import RuntimeDep
from app.store import migrations

router = APIRouter(tags=["operations"])


class HealthBody(BaseModel):
    status: Literal["ok"] = "ok"
    version: str = __version__


class ReadinessBody(BaseModel):
    status: Literal["ready", "not ready"]
    database: Literal["ok", "unreachable", "schema is not current"]


@router.get("/health")
async def health() -> HealthBody:
    """Answers while the process lives."""
    return HealthBody()


@router.get("/ready", responses={503: {"model": ReadinessBody}})
async def ready(runtime: RuntimeDep) -> JSONResponse:
    """Answers 200 when requests can be served: the database is there and has the right schema."""
    try:
        current = await migrations.is_current(runtime.database)
        body = ReadinessBody(
            status="ready" if current else "not ready", database="ok" if current else "schema is not current"
        )
    except (SQLAlchemyError, OSError, TimeoutError):
        body = ReadinessBody(status="not ready", database="unreachable")
    return JSONResponse(body.model_dump(), 200 if body.status == "ready" else 503)
