"""Search in Box: https://developer.box.com/reference/get-search/."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.sandbox.box.access import Caller, CallerDep
from app.sandbox.box.errors import bad_request
from app.sandbox.box.items import File, Item, ancestors, size_of, walk
from app.sandbox.box.shapes import selected
from app.sandbox.box.times import aware

router = APIRouter(prefix="/2.0/search")

# Box looks at the beginning of a text only.
_INDEXED_BYTES = 10_000
_EVERYTHING = "name,description,file_content,comments,tags"


class SearchQuery(BaseModel):
    """The parameters of a search."""

    query: str | None = None
    type: Literal["file", "folder", "web_link"] | None = None
    content_types: str = _EVERYTHING
    file_extensions: str = ""
    ancestor_folder_ids: str = ""
    owner_user_ids: str = ""
    created_at_range: str = ","
    updated_at_range: str = ","
    size_range: str = ","
    trash_content: Literal["non_trashed_only", "trashed_only", "all_items"] = "non_trashed_only"
    sort: Literal["relevance", "modified_at"] = "relevance"
    direction: Literal["ASC", "DESC"] = "DESC"
    fields: str | None = None
    limit: int = Field(30, ge=1, le=200)
    offset: int = Field(0, ge=0, le=10_000)


@router.get("")
async def search(caller: CallerDep, query: Annotated[SearchQuery, Query()]) -> dict[str, Any]:
    """Items that have the words somewhere."""
    if query.query is None:
        raise bad_request("Please provide the 'query' parameter", "query", "missing_parameter")
    found = [item for item in _candidates(caller, query) if _fits(item, query)]
    if query.sort == "modified_at":
        found.sort(key=lambda item: item.modified, reverse=query.direction == "DESC")
    page = found[query.offset : query.offset + query.limit]
    return {
        "total_count": len(found),
        "entries": [selected(item, query.fields) for item in page],
        "limit": query.limit,
        "offset": query.offset,
        "type": "search_results_items",
    }


def _candidates(caller: Caller, query: SearchQuery) -> Iterator[Item]:
    tree = caller.enterprise.tree
    if query.trash_content != "trashed_only":
        yield from tree.active()
    if query.trash_content != "non_trashed_only":
        for item in tree.trashed.values():
            yield from walk(item)


def _fits(item: Item, query: SearchQuery) -> bool:
    return (
        query.type in (None, item.kind)
        and _has_extension(item, _names(query.file_extensions))
        and _is_below(item, _names(query.ancestor_folder_ids))
        and _is_owned(item, _names(query.owner_user_ids))
        and _in_times(item.created, query.created_at_range, "created_at_range")
        and _in_times(item.modified, query.updated_at_range, "updated_at_range")
        and _in_sizes(item, query.size_range)
        and _matches(item, (query.query or "").strip('"').casefold(), _names(query.content_types))
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _has_extension(item: Item, wanted: list[str]) -> bool:
    if not wanted:
        return True
    extension = item.name.rpartition(".")[2].casefold()
    return isinstance(item, File) and extension in {name.casefold() for name in wanted}


def _is_below(item: Item, wanted: list[str]) -> bool:
    return not wanted or any(folder.id in wanted for folder in ancestors(item))


def _is_owned(item: Item, wanted: list[str]) -> bool:
    return not wanted or str(item.owner.id) in wanted


def _in_times(at: datetime, span: str, name: str) -> bool:
    try:
        first, last = (_time(text) for text in _span(span))
    except ValueError as error:
        raise bad_request(f"Invalid value '{span}' for '{name}'", name) from error
    return (first is None or first <= at) and (last is None or at <= last)


def _time(text: str) -> datetime | None:
    return aware(datetime.fromisoformat(text)) if text else None


def _in_sizes(item: Item, span: str) -> bool:
    try:
        first, last = (int(text) if text else None for text in _span(span))
    except ValueError as error:
        raise bad_request(f"Invalid value '{span}' for 'size_range'", "size_range") from error
    if first is None and last is None:
        return True
    size = size_of(item)
    return isinstance(item, File) and (first is None or first <= size) and (last is None or size <= last)


def _span(text: str) -> tuple[str, str]:
    first, comma, last = text.partition(",")
    if not comma:
        raise ValueError(text)
    return first.strip(), last.strip()


def _matches(item: Item, wanted: str, where: Iterable[str]) -> bool:
    return any(wanted in text.casefold() for place in where for text in _texts(item, place))


def _texts(item: Item, place: str) -> Iterator[str]:
    match place:
        case "name":
            yield item.name
        case "description":
            yield item.description
        case "tags":
            yield from item.tags
        case "comments" if isinstance(item, File):
            yield from (comment.message for comment in item.comments)
        case "file_content" if isinstance(item, File):
            yield bytes(memoryview(item.current.content)[:_INDEXED_BYTES]).decode(errors="ignore")
