"""Answers that show a secret: they are kept nowhere on their way."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Query, Response

from app.settings.types import LONGEST_OVERLAP


async def _unkept(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


async def _overlap(
    overlap: Annotated[
        int,
        Query(
            ge=0,
            le=int(LONGEST_OVERLAP.total_seconds()),
            description="Seconds for which the secrets before it still work.",
        ),
    ] = 0,
) -> timedelta:
    return timedelta(seconds=overlap)


UNKEPT = [Depends(_unkept)]
OverlapDep = Annotated[timedelta, Depends(_overlap)]
