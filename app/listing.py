"""Lists of files and folders: filtered, ordered and paged, whatever the vendor can do of it itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import MAXYEAR, datetime, timedelta
from typing import Any

import orjson

from app import base64url
from app.ceql import Comparison, Condition, Row
from app.errors import BadRequest, VendorForbidden, VendorNotFound, VendorThrottled
from app.hubs.documents import DocumentsProvider
from app.hubs.entries import Entry, EntryPage, Kind, Search, Sort, Target
from app.upstream.reading import date
from app.wire.documents import ENTRY_FIELDS, entry_row

_READ_AHEAD = 200  # entries that are asked for at once, at least, where only some of them may fit
EVERYTHING = Condition(lambda row: True)

_LARGEST_LIMIT = 5000  # entries that a vendor is asked for at once; what it gives is its own number
_LARGEST_COUNT = 10**12
_FOREIGN = "nextPage: is not a token that this gateway gave"


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

    @property
    def is_over(self) -> bool:
        """Nothing more comes; a cursor that leads to where it stands is an end as well."""
        page = self.page
        return page is not None and page.cursor in (None, self.cursor) and self.done >= len(page.entries)

    @property
    def state(self) -> list[Any]:
        """As a token keeps it; behind a page that is used up stands the next one."""
        if self.page is not None and self.page.cursor and self.done >= len(self.page.entries):
            return [self.folder_id, self.page.cursor, 0]
        return [self.folder_id, self.cursor, self.done]


@dataclass(frozen=True)
class _Place:
    """Where a list goes on: the folders that are open, the number of entries that the vendor is asked for
    at once, and how many rows are still to be left out."""

    limit: int
    skip: int
    frames: list[_Frame]


class _Deadline:
    """The end of a client's patience."""

    def __init__(self, patience: timedelta) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + patience.total_seconds()

    @property
    def is_over(self) -> bool:
        return self._loop.time() > self._end


Fetch = Callable[[str, str | None], Awaitable[EntryPage]]


async def contents(hub: DocumentsProvider, folder: Target, wish: Wish) -> Listing:
    """What lies directly in a folder."""
    state = _state(wish)
    # A vendor orders folders before files; that is the order asked for only where one kind is left over.
    sort = wish.sort if wish.sort and _kind(wish.where.needs) else None
    limit = _limit(wish, state)

    async def fetch(folder_id: str, cursor: str | None) -> EntryPage:
        return await hub.contents(Target(Kind.FOLDER, id=folder_id), cursor, limit, sort)

    if isinstance(state, _Place):
        return await _page(_Reader(fetch, state.frames), wish, limit, state.skip)
    start = _Frame(folder.id or (await hub.entry(folder)).id)
    if sort is not None and state is None:
        start.page = await fetch(start.folder_id, None)
    reader = _Reader(fetch, [start])
    if not wish.count_all and (wish.sort is None or (start.page and start.page.sorted)):
        _refuse_number(state)
        return await _page(reader, wish, limit, (wish.page - 1) * wish.size)
    return await _whole(reader, wish, state)


async def search(hub: DocumentsProvider, wanted: Search, wish: Wish, *, tags: Sequence[str] = ()) -> Listing:
    """Files and folders at any depth whose name holds the text, whatever its case, with all of the tags.
    With enough of a text the vendor searches; without one its folders are read one after another."""
    state = _state(wish)
    limit = _limit(wish, state)
    narrowed = _narrowed(wanted, wish.where.needs)
    indexed = len(wanted.text) >= max(hub.shortest_search, 1)

    async def fetch(folder_id: str, cursor: str | None) -> EntryPage:
        if indexed:
            return await hub.search(narrowed, cursor, limit)
        return await hub.contents(Target(Kind.FOLDER, id=folder_id), cursor, limit)

    wish = replace(wish, where=_fitting(wanted, tags, wish.where))
    if isinstance(state, _Place):
        return await _page(_Reader(fetch, state.frames, descend=not indexed), wish, limit, state.skip)
    root = "" if indexed else (await hub.entry(wanted.folder or Target(Kind.FOLDER, path="/"))).id
    reader = _Reader(fetch, [_Frame(root)], descend=not indexed)
    if wish.sort is None and not wish.count_all:
        _refuse_number(state)
        return await _page(reader, wish, limit, (wish.page - 1) * wish.size)
    return await _whole(reader, wish, state)


def _fitting(wanted: Search, tags: Sequence[str], where: Condition) -> Condition:
    """Looks at each result again: to a vendor, what it searches for are hints."""
    text, (since, until) = wanted.text.casefold(), wanted.created
    below = (wanted.folder.path if wanted.folder else None) or "/"
    prefix = below.rstrip("/").casefold() + "/"

    def fits(row: Row) -> bool:
        created = date(row["createdDate"])
        return (
            text in row["name"].casefold()
            and row["path"].casefold().startswith(prefix)
            and set(tags) <= set(row["tags"])
            and (since is None or (created is not None and created >= since))
            and (until is None or (created is not None and created <= until))
            and where(row)
        )

    return Condition(fits, where.needs)


class _Reader:
    """Reads entries one after another, and knows at each of them where to go on later."""

    def __init__(self, fetch: Fetch, frames: list[_Frame], *, descend: bool = False) -> None:
        self._fetch = fetch
        self._frames = frames
        self._descend = descend

    async def entries(self) -> AsyncIterator[Entry | None]:
        """Each entry, and None where a page of the vendor had nothing: time has passed then, too."""
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
            elif frame.is_over:
                self._frames.pop()
            else:
                frame.cursor, frame.done, frame.page = frame.page.cursor, 0, None
                yield None

    @property
    def frames(self) -> list[_Frame]:
        """Where to go on; nothing at the end."""
        while self._frames and self._frames[-1].is_over:
            self._frames.pop()
        return self._frames

    async def _read(self, frame: _Frame) -> EntryPage:
        try:
            return await self._fetch(frame.folder_id, frame.cursor)
        except (VendorNotFound, VendorForbidden):
            if len(self._frames) == 1:
                raise
            return EntryPage([], None)  # a folder further down that is gone meanwhile or not for this user


async def _page(reader: _Reader, wish: Wish, limit: int, skip: int) -> Listing:
    deadline = _Deadline(wish.patience)
    found: list[Entry] = []
    async for entry in reader.entries():
        if entry is not None and wish.where(entry_row(entry)):
            if skip:
                skip -= 1
            else:
                found.append(entry)
        if len(found) == wish.size or deadline.is_over:
            frames = [frame.state for frame in reader.frames]
            token = _token(wish, [limit, skip, frames]) if frames else None
            return Listing(found, token, unfinished=token is not None and len(found) < wish.size)
    return Listing(found, None)


async def _whole(reader: _Reader, wish: Wish, offset: int | None) -> Listing:
    """Reads the list to its end, to order or to count it; keeps no more of it than the page needs."""
    skip = (wish.page - 1) * wish.size if offset is None else offset
    enough = skip + wish.size
    kept: list[Entry] = []
    total, deadline = 0, _Deadline(wish.patience)
    async for entry in reader.entries():
        if deadline.is_over:
            raise VendorThrottled("The vendor is too slow to order or count the whole list; narrow it down")
        if entry is None or not wish.where(entry_row(entry)):
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


def _token(wish: Wish, state: list[Any] | int) -> str:
    return base64url.encode(orjson.dumps([wish.identity, state]))


def _state(wish: Wish) -> _Place | int | None:
    """Where a token goes on: in the vendor's list, or at a number of an ordered or counted one.

    Raises BadRequest for what is no token, or that of another list.
    """
    if not wish.token:
        return None
    try:
        named, state = orjson.loads(base64url.decode(wish.token))
    except (ValueError, TypeError):
        named, state = wish.identity, None
    if named != wish.identity:
        raise BadRequest("nextPage: belongs to another list")
    match state:
        case int() if _is_count(state):
            return state
        case [limit, skip, [_, *_] as frames] if _is_count(limit) and limit and _is_count(skip):
            return _Place(limit, skip, [_frame(frame) for frame in frames])
    raise BadRequest(_FOREIGN)


def _refuse_number(state: int | None) -> None:
    """Only an ordered or counted list goes on at a number."""
    if state is not None:
        raise BadRequest(_FOREIGN)


def _frame(state: Any) -> _Frame:
    match state:
        case [str(folder_id), str() | None as cursor, done] if _is_count(done):
            return _Frame(folder_id, cursor, done)
    raise BadRequest(_FOREIGN)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT


def _limit(wish: Wish, state: _Place | int | None) -> int:
    """How many entries the vendor is asked for at once: the same number all through a list, because a token
    counts within the vendor's pages."""
    if isinstance(state, _Place):
        return state.limit
    wanted = wish.size if wish.where is EVERYTHING and wish.page == 1 else max(wish.size, _READ_AHEAD)
    return min(wanted, _LARGEST_LIMIT)


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
        if need.sign in {"<", "<=", "="} and moment.year < MAXYEAR:
            moment += timedelta(seconds=1)  # the rows tell whole seconds, and the vendor looks closer
            until = min(until, moment) if until else moment
    return since, until
