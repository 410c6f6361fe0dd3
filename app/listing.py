"""Lists of files and folders: filtered, ordered and paged, whatever the vendor can do of it itself."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.ceql import Comparison, Condition, Row
from app.errors import BadRequest, VendorForbidden, VendorNotFound
from app.hubs.documents import DocumentsProvider
from app.hubs.entries import Entry, EntryPage, Kind, Search, Sort, Target
from app.upstream.reading import date
from app.wire.documents import ENTRY_FIELDS, entry_row

_READ_AHEAD = 200  # entries that are asked for at once, at least, where only some of them may fit
EVERYTHING = Condition(lambda row: True)

State = Any
"""Where a list goes on: what a token carries, as JSON."""


@dataclass(frozen=True)
class Wish:
    """Which part of a list is wanted. `identity` is everything that makes it this list, so that a token of
    another one is told apart. After `patience` the answer is what was found until then."""

    where: Condition
    sort: Sort | None
    page: int
    size: int
    token: str
    identity: str
    patience: timedelta
    count_all: bool = False


@dataclass(frozen=True)
class Listing:
    """One page. `token` goes on behind it and is None at the end; `total` is known only if it was asked
    for; `unfinished` that the patience ended before the page was full."""

    entries: Sequence[Entry]
    token: str | None
    total: int | None = None
    unfinished: bool = False


@dataclass
class _Frame:
    """A folder that is being read: the vendor's page behind `cursor`, of which `done` entries are through."""

    folder_id: str
    cursor: str | None = None
    done: int = 0
    page: EntryPage | None = field(default=None, repr=False)


Fetch = Callable[[str, str | None], Awaitable[EntryPage]]


async def contents(hub: DocumentsProvider, folder: Target, wish: Wish) -> Listing:
    """What lies directly in a folder."""
    folder_id = folder.id or (await hub.entry(folder)).id
    # A vendor orders folders before files; that is the order asked for only where one kind is left over.
    sort = wish.sort if wish.sort and _kind(wish.where.needs) else None
    limit = wish.size if wish.where is EVERYTHING else max(wish.size, _READ_AHEAD)
    ordered = False

    async def fetch(parent_id: str, cursor: str | None) -> EntryPage:
        nonlocal ordered
        page = await hub.contents(Target(Kind.FOLDER, id=parent_id), cursor, limit, sort)
        ordered = page.sorted
        return page

    state = _state(wish.token, wish.identity) if wish.token else None
    first = await fetch(folder_id, None) if sort and state is None else None
    exact = not wish.count_all and (wish.sort is None or ordered or isinstance(state, list))
    reader = _Reader(fetch, _frames(state) if exact and state else [_Frame(folder_id, page=first)])
    return await _page(reader, wish, state, exact)


async def search(hub: DocumentsProvider, wanted: Search, wish: Wish, *, tags: Sequence[str] = ()) -> Listing:
    """Files and folders at any depth whose name holds the text, whatever its case, with all of the tags.
    With enough of a text the vendor searches; without one its folders are read one after another."""
    limit = max(wish.size, _READ_AHEAD)
    wanted = _narrowed(wanted, wish.where.needs)
    indexed = len(wanted.text) >= max(hub.shortest_search, 1)
    root = "" if indexed else (await hub.entry(wanted.folder or Target(Kind.FOLDER, path="/"))).id

    async def fetch(folder_id: str, cursor: str | None) -> EntryPage:
        if indexed:
            return await hub.search(wanted, cursor, limit)
        return await hub.contents(Target(Kind.FOLDER, id=folder_id), cursor, limit)

    state = _state(wish.token, wish.identity) if wish.token else None
    exact = wish.sort is None and not wish.count_all
    reader = _Reader(fetch, _frames(state) if exact and state else [_Frame(root)], descend=not indexed)
    text, since, until = wanted.text.casefold(), *wanted.created

    def fits(row: Row) -> bool:
        created = date(row["createdDate"])
        return (
            text in row["name"].casefold()
            and set(tags) <= set(row["tags"])
            and (since is None or (created is not None and created >= since))
            and (until is None or (created is not None and created <= until))
            and wish.where(row)
        )

    return await _page(reader, replace(wish, where=Condition(fits)), state, exact)


class _Reader:
    """Reads entries one after another, and knows at each of them where to go on later."""

    def __init__(self, fetch: Fetch, frames: list[_Frame], *, descend: bool = False) -> None:
        self._fetch = fetch
        self._frames = frames
        self._descend = descend

    async def entries(self) -> AsyncIterator[Entry]:
        while self._frames:
            frame = self._frames[-1]
            if frame.page is None:
                frame.page = await self._read(frame)
            if frame.done < len(frame.page.entries):
                entry = frame.page.entries[frame.done]
                frame.done += 1
                if self._descend and entry.kind is Kind.FOLDER:
                    self._frames.append(_Frame(entry.id))
                yield entry
            else:
                self._turn(frame, frame.page)

    @property
    def state(self) -> State | None:
        """Where to go on; None at the end."""
        for frame in reversed(self._frames):
            page = frame.page
            if page is None or page.cursor is not None or frame.done < len(page.entries):
                return [[frame.folder_id, frame.cursor, frame.done] for frame in self._frames]
        return None

    def _turn(self, frame: _Frame, page: EntryPage) -> None:
        if page.cursor is None or page.cursor == frame.cursor:
            self._frames.pop()
        else:
            frame.cursor, frame.done, frame.page = page.cursor, 0, None

    async def _read(self, frame: _Frame) -> EntryPage:
        try:
            return await self._fetch(frame.folder_id, frame.cursor)
        except (VendorNotFound, VendorForbidden):
            if len(self._frames) == 1:
                raise
            return EntryPage([], None)  # a folder further down that is gone meanwhile or not for this user


async def _page(reader: _Reader, wish: Wish, state: State | None, exact: bool) -> Listing:
    if not exact:
        return await _whole(reader, wish, state)
    skip = 0 if state else (wish.page - 1) * wish.size
    deadline = asyncio.get_running_loop().time() + wish.patience.total_seconds()
    found: list[Entry] = []
    async for entry in reader.entries():
        if wish.where(entry_row(entry)):
            if skip:
                skip -= 1
                continue
            found.append(entry)
        if len(found) == wish.size or asyncio.get_running_loop().time() > deadline:
            return Listing(found, _token(wish, reader.state), unfinished=len(found) < wish.size)
    return Listing(found, None)


async def _whole(reader: _Reader, wish: Wish, state: State | None) -> Listing:
    """Reads the list to its end, to order or to count it; keeps no more of it than the page needs."""
    skip = (wish.page - 1) * wish.size if state is None else _offset(state)
    enough = skip + wish.size
    kept: list[Entry] = []
    total = 0
    async for entry in reader.entries():
        if not wish.where(entry_row(entry)):
            continue
        total += 1
        if wish.sort is not None or total <= enough:
            kept.append(entry)
        if wish.sort is not None and len(kept) >= 2 * enough + _READ_AHEAD:
            kept = _ordered(kept, wish.sort)[:enough]
    chosen = (_ordered(kept, wish.sort) if wish.sort else kept)[skip:enough]
    return Listing(chosen, _token(wish, enough) if total > enough else None, total)


def _ordered(entries: list[Entry], sort: Sort) -> list[Entry]:
    """Those without a value come last in either direction; equal ones keep the vendor's order."""

    def key(entry: Entry) -> Any:
        value = entry_row(entry)[sort.field]
        return value.casefold() if isinstance(value, str) else value

    known = [entry for entry in entries if entry_row(entry)[sort.field] is not None]
    unknown = [entry for entry in entries if entry_row(entry)[sort.field] is None]
    return sorted(known, key=key, reverse=sort.descending) + unknown


def parse_sort(text: str) -> Sort | None:
    """`orderBy`: a field, and `asc` or `desc`. Raises BadRequest."""
    match text.split():
        case []:
            return None
        case [name] if name in ENTRY_FIELDS:
            return Sort(name)
        case [name, direction] if name in ENTRY_FIELDS and direction.lower() in {"asc", "desc"}:
            return Sort(name, descending=direction.lower() == "desc")
    raise BadRequest(
        f"orderBy: must be a field and 'asc' or 'desc'; fields are {', '.join(sorted(ENTRY_FIELDS))}"
    )


def identity(*parts: object) -> str:
    """A short name for a list."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _token(wish: Wish, state: State | None) -> str | None:
    if state is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([wish.identity, state])).decode().rstrip("=")


def _state(token: str, of: str) -> State:
    try:
        named, state = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("nextPage: is not a token that this gateway gave") from None
    if named != of:
        raise BadRequest("nextPage: belongs to another list")
    return state


def _frames(state: State) -> list[_Frame]:
    try:
        return [_Frame(str(folder_id), cursor, int(done)) for folder_id, cursor, done in state]
    except (TypeError, ValueError):
        raise BadRequest("nextPage: is not a token that this gateway gave") from None


def _offset(state: State) -> int:
    if not isinstance(state, int) or state < 0:
        raise BadRequest("nextPage: is not a token that this gateway gave")
    return state


def _narrowed(wanted: Search, needs: Sequence[Comparison]) -> Search:
    """The search with what a condition says anyway, for a vendor that can look for it."""
    extension = next((need.value for need in needs if (need.field, need.sign) == ("extension", "=")), None)
    return replace(
        wanted,
        kind=_kind(needs),
        extension=extension,
        created=_span(wanted.created, needs, "createdDate"),
        modified=_span(wanted.modified, needs, "modifiedDate"),
    )


def _kind(needs: Sequence[Comparison]) -> Kind | None:
    for need in needs:
        if (need.field, need.sign) == ("directory", "=") and need.value.lower() in {"true", "false"}:
            return Kind.FOLDER if need.value.lower() == "true" else Kind.FILE
    return None


def _span(
    known: tuple[datetime | None, datetime | None], needs: Sequence[Comparison], name: str
) -> tuple[datetime | None, datetime | None]:
    """The narrowest span; its ends may belong to it or not, since each result is looked at again."""
    since, until = known
    for need in needs:
        moment = date(need.value) if need.field == name else None
        if moment is None:
            continue
        if need.sign in {">", ">=", "="}:
            since = max(since, moment) if since else moment
        if need.sign in {"<", "<=", "="}:
            until = min(until, moment) if until else moment
    return since, until
