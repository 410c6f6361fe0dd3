"""The parameters and headers that all lists of files and folders have."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from app import ceql, listing
from app.api.answers import Answers, AnswersDep
from app.api.deps import RuntimeDep
from app.api.paging import PAGE_SIZE, CountQuery, NextPageQuery, PageQuery, PageSizeQuery
from app.listing import Listing, Wish
from app.wire import documents as wire

_BEFORE_RESOURCE = re.compile(r"^.*?/(?=folders/|search$)")  # the hub, which may be left out
_NOT_PART_OF_IT = frozenset({"page", "pageSize", "nextPage", "raw", "fields", "isoDates", "fetchTags"})


class Lists:
    """Reads what is wanted of a list, and writes its page."""

    def __init__(self, wish: Wish, answers: Answers, notes: list[str]) -> None:
        self.wish = wish
        self._answers = answers
        self._notes = notes

    def answer(self, page: Listing) -> Response:
        notes = list(self._notes)
        if page.unfinished:
            notes.append("The vendor was too slow for a whole page; go on with nextPage")
        headers = {
            "Elements-Next-Page-Token": page.token,
            "Elements-Total-Count": str(page.total) if self.wish.count_all else None,
            "Elements-Error": "; ".join(notes) or None,
        }
        bodies = [wire.entry(entry, raw=self._answers.raw) for entry in page.entries]
        return self._answers.many(bodies, {key: value for key, value in headers.items() if value is not None})


async def _lists(
    request: Request,
    runtime: RuntimeDep,
    answers: AnswersDep,
    page: PageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
    where: Annotated[str, Query(description="CEQL, e.g. `extension = 'txt' AND size > 10`.")] = "",
    order_by: Annotated[str, Query(alias="orderBy", description="A field, `asc` or `desc`.")] = "",
    count_all: CountQuery = False,
) -> Lists:
    settings = runtime.settings
    wish = Wish(
        where=ceql.compile_where(where, wire.ENTRY_FIELDS, wire.SPELLINGS)
        if where.strip()
        else listing.EVERYTHING,
        sort=listing.parse_sort(order_by),
        page=page,
        size=min(page_size, settings.page_size_limit),
        token=next_page,
        identity=_identity(request),
        patience=settings.vendor_budget,
        count_all=count_all,
    )
    notes = [f"pageSize was cut to {wish.size}"] if page_size > wish.size else []
    return Lists(wish, answers, notes)


def _identity(request: Request) -> str:
    """What makes it this list, and not another one, of this instance."""
    parts = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in _NOT_PART_OF_IT)
    resource = _BEFORE_RESOURCE.sub("", request.url.path)
    return listing.identity(resource, parts, getattr(request.state, "instance_id", None))


ListsDep = Annotated[Lists, Depends(_lists)]
