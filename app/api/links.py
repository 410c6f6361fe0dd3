"""/links: files for whoever has the link, without credentials."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app import links
from app.api.answers import RangeDep, passed_on
from app.api.deps import RuntimeDep, client_of
from app.api.problems import responses
from app.errors import NotFound

router = APIRouter(tags=["links"], responses=responses(400, 404, 416, 429, 502))


@router.get(links.PATH + "/{token}", response_class=Response)
async def follow_link(
    request: Request,
    runtime: RuntimeDep,
    token: Annotated[str, Path(max_length=100, description="What the link ends in.")],
    byte_range: RangeDep,
) -> Response:
    """Downloads the file behind a `cloudElementsLink`."""
    with runtime.rates.attempt(client_of(request), token, alone=True, refusal=NotFound):
        return await passed_on(await links.follow(runtime, token, byte_range))
