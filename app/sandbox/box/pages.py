"""How Box cuts lists into pages: by an offset with a total, or by a marker."""

import base64
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.sandbox.box.errors import bad_request
from app.sandbox.box.items import Item, size_of
from app.sandbox.box.shapes import MINI, Shape, rank, selected


class ItemsQuery(BaseModel):
    """The parameters of a listing."""

    fields: str | None = None
    limit: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0)
    usemarker: bool = False
    marker: str | None = None
    sort: Literal["id", "name", "date", "size"] = "name"
    direction: Literal["ASC", "DESC"] = "ASC"


def items_page(items: Iterable[Item], query: ItemsQuery) -> Shape:
    """One page of items, in the form that the query asks for."""
    return _by_marker(items, query) if query.usemarker else _by_offset(items, query)


def _by_offset(items: Iterable[Item], query: ItemsQuery) -> Shape:
    ordered = sorted(items, key=lambda item: _sort_key(item, query.sort), reverse=query.direction == "DESC")
    ordered.sort(key=rank)
    page = ordered[query.offset : query.offset + query.limit]
    return {
        "total_count": len(ordered),
        "entries": [selected(item, query.fields, MINI) for item in page],
        "offset": query.offset,
        "limit": query.limit,
        "order": [{"by": "type", "direction": "ASC"}, {"by": query.sort, "direction": query.direction}],
    }


def _by_marker(items: Iterable[Item], query: ItemsQuery) -> Shape:
    # The marker names the last item of the page before, so that items may come and go between two pages.
    after = _read_marker(query.marker) if query.marker else (-1, 0)
    ordered = sorted((item for item in items if _place(item) > after), key=_place)
    page = ordered[: query.limit]
    more = len(ordered) > len(page)
    return {
        "entries": [selected(item, query.fields, MINI) for item in page],
        "limit": query.limit,
        "next_marker": _write_marker(page[-1]) if more else None,
    }


def _place(item: Item) -> tuple[int, int]:
    return rank(item), int(item.id)


def _write_marker(item: Item) -> str:
    kind, number = _place(item)
    return base64.urlsafe_b64encode(f"{kind}:{number}".encode()).decode().rstrip("=")


def _read_marker(marker: str) -> tuple[int, int]:
    try:
        text = base64.urlsafe_b64decode(marker + "=" * (-len(marker) % 4)).decode()
        kind, number = text.split(":")
        return int(kind), int(number)
    except ValueError as error:
        raise bad_request("Invalid marker", "marker") from error


def _sort_key(item: Item, sort: str) -> Any:
    match sort:
        case "id":
            return int(item.id)
        case "date":
            return item.modified
        case "size":
            return size_of(item)
    return item.name.casefold()
