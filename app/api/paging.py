"""The pages of the platform's lists: `page` and `pageSize`, or `nextPage`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Response

from app.errors import BadRequest
from app.ids import LARGEST_ID

Row = TypeVar("Row")

PAGE_SIZE = 200  # Cloud Elements' default, and the most that a page of the platform holds

PageQuery = Annotated[int, Query(alias="page", ge=1, description="Page, from 1.")]
PageSizeQuery = Annotated[
    int, Query(alias="pageSize", ge=1, description="Rows per page; a larger one than allowed is cut.")
]
UnknownPageQuery = Annotated[int, Query(alias="page", ge=1, include_in_schema=False)]
"""Of lists that new rows come to at the front, where the pages have no numbers."""

NextPageQuery = Annotated[
    str, Query(alias="nextPage", max_length=20_000, description="Elements-Next-Page-Token.")
]
CountQuery = Annotated[
    bool, Query(alias="returnTotalCount", description="Count all rows, in Elements-Total-Count.")
]


@dataclass(frozen=True)
class Paging:
    """Which rows are wanted: those whose id is above `after`, from number `offset` on; and the answer that
    says which they are. A token is the id of the last row of its page, so that a row which is deleted
    meanwhile hides no other one; with a token, `page` is not looked at."""

    after: int
    offset: int
    size: int
    wants_total: bool
    response: Response

    @property
    def limit(self) -> int:
        """What to read: one row more than the page has shows whether another one follows."""
        return self.size + 1

    def page(self, found: Sequence[Row], row_id: Callable[[Row], int]) -> list[Row]:
        """The rows of the page, of at most `limit` found ones, with the headers that belong to them."""
        shown = list(found[: self.size])
        self.response.headers["Elements-Returned-Count"] = str(len(shown))
        if len(found) > self.size:
            self.go_on(row_id(shown[-1]))
        return shown

    def go_on(self, token: int) -> None:
        """Tells where the next page begins, whatever this one holds."""
        self.response.headers["Elements-Next-Page-Token"] = str(token)

    def of_all(self, rows: Sequence[Row]) -> list[Row]:
        """The page of a list that is at hand, whose rows are numbered from 1."""
        self.total(len(rows))
        start = self.after or self.offset
        numbered = list(enumerate(rows, start=1))[start : start + self.limit]
        return [row for _, row in self.page(numbered, lambda item: item[0])]

    def total(self, count: int) -> None:
        """Tells how many rows there are, where that was asked for."""
        if self.wants_total:
            self.response.headers["Elements-Total-Count"] = str(count)


async def _paging(
    response: Response,
    page: PageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
    wants_total: CountQuery = False,
) -> Paging:
    size = min(page_size, PAGE_SIZE)
    if page_size > size:
        response.headers["Elements-Error"] = f"pageSize was cut to {size}"
    after = _row_id(next_page) if next_page else 0
    offset = 0 if next_page else min((page - 1) * size, LARGEST_ID)
    return Paging(after, offset, size, wants_total, response)


async def _uncounted(
    response: Response,
    page: PageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
) -> Paging:
    return await _paging(response, page, page_size, next_page, wants_total=False)


async def _onward(
    response: Response,
    page: UnknownPageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
) -> Paging:
    refuse_number(page, next_page)
    return await _paging(response, page, page_size, next_page, wants_total=False)


def refuse_number(page: int, next_page: str) -> None:
    """Raises BadRequest: whoever counts the pages would never learn that he has got the same one again."""
    if page > 1 and not next_page:
        raise BadRequest("page: is not known here; go on with nextPage")


def _row_id(token: str) -> int:
    digits = token if token.isascii() and token.isdecimal() and len(token) <= len(str(LARGEST_ID)) else ""
    if not digits or int(digits) > LARGEST_ID:
        raise BadRequest("nextPage: is not a token that this gateway gave")
    return int(token)


PagingDep = Annotated[Paging, Depends(_paging)]

UncountedPagingDep = Annotated[Paging, Depends(_uncounted)]
"""Of lists of millions of rows, which nobody waits to see counted."""

OnwardPagingDep = Annotated[Paging, Depends(_onward)]
"""Of such lists where the pages have no numbers, either."""
