"""Search in Egnyte: developers.egnyte.com, Search API Documentation."""

import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from app.sandbox.egnyte.access import Caller, CallerDep, read
from app.sandbox.egnyte.events import timestamp
from app.sandbox.egnyte.files import epoch_ms
from app.sandbox.world import File, path_of, walk

router = APIRouter(prefix="/pubapi")

_SNIPPET = 100


class SearchQuery(BaseModel):
    """The parameters of a search."""

    query: str
    offset: int = Field(0, ge=0)
    count: int = Field(10, ge=1, le=100)
    folder: str = "/"
    modified_after: datetime | None = None
    modified_before: datetime | None = None


@router.get("/v1/search")
async def search(caller: CallerDep, query: Annotated[SearchQuery, Query()]) -> dict[str, Any]:
    """Files whose name or text holds the words."""
    found = list(_matches(caller, query))
    page = [_row(file) for file in found[query.offset : query.offset + query.count]]
    return {"results": page, "total_count": len(found), "offset": query.offset, "count": len(page)}


@router.post("/v2/search")
async def search_v2(caller: CallerDep, request: Request) -> dict[str, Any]:
    """The same with a body, times as numbers, and a hint that there is more."""
    query = await read(request, SearchQuery)
    answer = await search(caller, query)
    for row in answer["results"]:
        row["last_modified"] = epoch_ms(datetime.fromisoformat(row["last_modified"]))
    answer["hasMore"] = query.offset + answer["count"] < answer["total_count"]
    return answer


def _matches(caller: Caller, query: SearchQuery) -> Iterator[File]:
    wanted = query.query.strip('"*').lower()
    for node in walk(caller.domain.world.folder(query.folder)):
        if isinstance(node, File) and _in_time(node, query):
            text = node.current.content.decode(errors="ignore")
            if wanted in node.name.lower() or wanted in text.lower():
                yield node


def _in_time(file: File, query: SearchQuery) -> bool:
    modified = file.current.modified
    if query.modified_after is not None and modified < _aware(query.modified_after):
        return False
    return query.modified_before is None or modified < _aware(query.modified_before)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _row(file: File) -> dict[str, Any]:
    version = file.current
    return {
        "name": file.name,
        "path": path_of(file),
        "type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        "size": len(version.content),
        "snippet": version.content[:_SNIPPET].decode(errors="ignore"),
        "entry_id": version.id,
        "group_id": file.id,
        "last_modified": timestamp(version.modified),
        "uploaded_by": version.by.full_name,
        "uploaded_by_username": version.by.username,
        "num_versions": len(file.versions),
        "is_folder": False,
    }
