"""Search in Egnyte: developers.egnyte.com, Search API Documentation."""

import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, field_validator

from app.sandbox.egnyte.access import Caller, CallerDep, read
from app.sandbox.egnyte.events import timestamp
from app.sandbox.egnyte.listing import epoch_ms
from app.sandbox.world import File, Folder, Node, path_of, walk

router = APIRouter(prefix="/pubapi")

_SNIPPET = 100
_SHORTEST = 3
# Words further back in a large file are not found.
_INDEXED = 1024 * 1024


class SearchQuery(BaseModel):
    """The parameters of a search."""

    query: str = Field(max_length=100)
    offset: int = Field(0, ge=0)
    count: int = Field(10, ge=1, le=100)
    folder: str = "/"
    type: Literal["FILE", "FOLDER", "ALL"] = "ALL"
    modified_after: datetime | None = None
    modified_before: datetime | None = None

    @field_validator("query")
    @classmethod
    def _long_enough(cls, query: str) -> str:
        if len(query) < _SHORTEST and not query.endswith("*"):
            raise ValueError(f"has to have at least {_SHORTEST} characters, or end with *")
        return query


@router.get("/v1/search")
async def search(caller: CallerDep, query: Annotated[SearchQuery, Query()]) -> dict[str, Any]:
    """Files whose name or text holds the words, and folders whose name does."""
    page, total = _page(caller, query)
    rows = [_row(node) for node in page]
    return {"results": rows, "total_count": total, "offset": query.offset, "count": len(rows)}


@router.post("/v2/search")
async def search_v2(caller: CallerDep, request: Request) -> dict[str, Any]:
    """The same with a body, times as numbers, custom metadata, and a hint that there is more."""
    query = await read(request, SearchQuery)
    page, total = _page(caller, query)
    rows = [
        _row(node)
        | {
            "last_modified": epoch_ms(_modified(node)),
            "custom_metadata": caller.domain.custom_metadata.rows(node.id),
        }
        for node in page
    ]
    numbers = {"total_count": total, "offset": query.offset, "count": len(rows)}
    return {"results": rows, **numbers, "hasMore": query.offset + len(rows) < total}


def _page(caller: Caller, query: SearchQuery) -> tuple[list[Node], int]:
    found = list(_matches(caller, query))
    return found[query.offset : query.offset + query.count], len(found)


def _matches(caller: Caller, query: SearchQuery) -> Iterator[Node]:
    wanted = query.query.strip('"*').lower()
    top = caller.domain.world.folder(query.folder)
    for node in walk(top):
        is_asked_for = query.type in ("ALL", "FILE" if isinstance(node, File) else "FOLDER")
        if node is not top and is_asked_for and _in_time(node, query) and _holds(node, wanted):
            yield node


def _holds(node: Node, wanted: str) -> bool:
    if wanted in node.name.lower():
        return True
    if isinstance(node, Folder):
        return False
    return wanted in node.current.content[:_INDEXED].decode(errors="ignore").lower()


def _modified(node: Node) -> datetime:
    return node.current.modified if isinstance(node, File) else node.modified


def _in_time(node: Node, query: SearchQuery) -> bool:
    modified = _modified(node)
    if query.modified_after is not None and modified < _aware(query.modified_after):
        return False
    return query.modified_before is None or modified < _aware(query.modified_before)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _row(node: Node) -> dict[str, Any]:
    row = {
        "name": node.name,
        "path": path_of(node),
        "group_id": node.id,
        "last_modified": timestamp(_modified(node)),
        "is_folder": isinstance(node, Folder),
    }
    if isinstance(node, Folder):
        return row | {"type": "folder", "folder_id": node.id}
    version = node.current
    return row | {
        "type": mimetypes.guess_type(node.name)[0] or "application/octet-stream",
        "size": len(version.content),
        "snippet": version.content[:_SNIPPET].decode(errors="ignore"),
        "entry_id": version.id,
        "uploaded_by": version.by.full_name,
        "uploaded_by_username": version.by.username,
        "num_versions": len(node.versions),
    }
