"""Lists: pages put together are the whole list, whatever the vendor's pages are like."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import listing
from app.ceql import compile_where
from app.errors import BadRequest, GatewayError, NotSupported, VendorForbidden, VendorNotFound
from app.hubs.documents import ChangePage, DocumentsProvider, Native, Power
from app.hubs.entries import Entry, EntryPage, Kind, Search, Sort, Target
from app.listing import EVERYTHING, Listing, Wish
from app.upstream.client import Refusal
from app.upstream.oauth import OAuthSpec
from app.wire.documents import ENTRY_FIELDS, SPELLINGS, entry_row

ROOT = "root"
TOP = Target(Kind.FOLDER, id=ROOT)
DATES = [None, *(datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))]
A_WHILE, NO_TIME = timedelta(seconds=60), timedelta()


class Vendor(DocumentsProvider):
    """A vendor in memory. It gives at most `most` entries at once; with `gaps` an empty page comes before
    each other one, and with `late_end` the last one still has a cursor. Its search looks at text only."""

    key = "vendor"
    element_id = 1
    name = "Vendor"
    description = "A vendor in memory"
    powers = frozenset({Power.METADATA, Power.CONTENTS, Power.SEARCH})
    fields = ()
    oauth = OAuthSpec("", "")
    base_url = "https://vendor.example.com"
    hosts: ClassVar[Mapping[str, str]] = {}
    page_limit = 1
    shortest_search = 3
    notes = ()
    native = Native("")

    def __init__(
        self,
        folders: Mapping[str, Sequence[Entry]],
        *,
        most: int = 1000,
        gaps: bool = False,
        late_end: bool = False,
        sorts: bool = False,
    ) -> None:
        self.folders = dict(folders)
        self.most = most
        self.gaps = gaps
        self.late_end = late_end
        self.sorts = sorts
        self.refused: dict[str, GatewayError] = {}
        self.calls: list[tuple[str, str | None]] = []

    def __repr__(self) -> str:
        own = f"most={self.most}, gaps={self.gaps}, late_end={self.late_end}, sorts={self.sorts}"
        return f"Vendor({self.folders}, {own})"

    async def entry(self, target: Target) -> Entry:
        if target.path == "/" or target.id == ROOT:
            return made(ROOT, Kind.FOLDER, "", "", None, 0, [])
        found = next((entry for entry in self.everything() if entry.target == target), None)
        found = found or next((entry for entry in self.everything() if entry.path == target.path), None)
        if found is None:
            raise VendorNotFound
        return found

    async def contents(
        self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
    ) -> EntryPage:
        folder_id = folder.id or (await self.entry(folder)).id
        self.calls.append((folder_id, cursor))
        if folder_id in self.refused:
            raise self.refused[folder_id]
        if folder_id not in self.folders:
            raise VendorNotFound
        entries = self.folders[folder_id]
        if sort is None or not self.sorts:
            return self._page(entries, cursor, limit)
        kinds = [[entry for entry in entries if entry.kind is kind] for kind in (Kind.FOLDER, Kind.FILE)]
        return replace(
            self._page([*in_order(kinds[0], sort), *in_order(kinds[1], sort)], cursor, limit), sorted=True
        )

    async def search(self, search: Search, cursor: str | None, limit: int) -> EntryPage:
        self.calls.append(("search", cursor))
        return self._page(
            [entry for entry in self.everything() if search.text.casefold() in entry.name.casefold()],
            cursor,
            limit,
        )

    def everything(self, folder_id: str = ROOT) -> list[Entry]:
        """A folder with all that is in it, each folder in front of what it holds."""
        found = []
        for entry in self.folders.get(folder_id, ()):
            found += [entry, *self.everything(entry.id)]
        return found

    def _page(self, entries: Sequence[Entry], cursor: str | None, limit: int) -> EntryPage:
        if not re.fullmatch(r"\d{1,9}e?", cursor or "0", re.ASCII):
            raise BadRequest("cursor")
        start = int((cursor or "0").rstrip("e"))
        if self.gaps and not (cursor or "").endswith("e"):
            return EntryPage([], f"{start}e")
        part = entries[start : start + min(limit, self.most)]
        end = start + len(part)
        return EntryPage(part, str(end) if end < len(entries) or (self.late_end and part) else None)

    @staticmethod
    def refusal(answer: Refusal) -> Exception:
        raise NotSupported

    async def ping(self) -> None:
        raise NotSupported

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        raise NotSupported


def made(
    item_id: str, kind: Kind, parent_path: str, name: str, size: int | None, date: int, tags: Sequence[str]
) -> Entry:
    return Entry(
        id=item_id,
        kind=kind,
        name=name,
        path=f"{parent_path}/{name}",
        size=size if kind is Kind.FILE else None,
        created_at=DATES[date],
        modified_at=DATES[-date],
        parent_id=None,
        raw={},
        tags=tags,
    )


def in_order(entries: Sequence[Entry], sort: Sort) -> list[Entry]:
    def key(entry: Entry) -> Any:
        value = entry_row(entry)[sort.field]
        return value.casefold() if isinstance(value, str) else value

    known = [entry for entry in entries if key(entry) is not None]
    rest = [entry for entry in entries if key(entry) is None]
    return sorted(known, key=key, reverse=sort.descending) + rest


def files(count: int, prefix: str = "f") -> list[Entry]:
    return [made(f"{prefix}{n}", Kind.FILE, "", f"{prefix}{n}.txt", n, 1, []) for n in range(count)]


def folder(name: str) -> Entry:
    return made(name, Kind.FOLDER, "", name, None, 1, [])


ITEMS = st.tuples(
    st.integers(0, 99),
    st.sampled_from(Kind),
    st.sampled_from(["abc.txt", "ABCD", "b", "x.TXT", "Report abc", "straße.doc", "STRASSE"]),
    st.none() | st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.sampled_from(["red", "new"]), max_size=2, unique=True),
)


@st.composite
def vendors(draw: st.DrawFn, deep: bool = False) -> Vendor:
    folders: dict[str, list[Entry]] = {ROOT: []}
    paths = {ROOT: ""}
    for number, (where, kind, name, size, date, tags) in enumerate(draw(st.lists(ITEMS, max_size=12))):
        parent_id = list(folders)[where % len(folders)] if deep else ROOT
        entry = made(f"i{number}", kind, paths[parent_id], name, size, date, tags)
        folders[parent_id].append(entry)
        if kind is Kind.FOLDER:
            folders[entry.id], paths[entry.id] = [], entry.path
    return Vendor(
        folders,
        most=draw(st.integers(1, 5)),
        gaps=draw(st.booleans()),
        late_end=draw(st.booleans()),
        sorts=draw(st.booleans()),
    )


WHERES = st.sampled_from(
    [
        "",
        "directory = true",
        "directory = false",
        "directory = 'FALSE' and size > 0",
        "extension = '.TXT'",
        "size >= 1 or name like 'a%'",
        "createdDate > '2026-01-01T00:00:00Z' and createdDate <= '2026-01-03'",
        "modifiedDate = '2026-01-02'",
        "name = 'nothing'",
    ]
)
SORTS = st.none() | st.builds(
    Sort, st.sampled_from(["name", "size", "createdDate", "directory", "path", "description"]), st.booleans()
)


@dataclass(frozen=True)
class Case:
    """A list that is asked for, with what the pages must be put together to."""

    where: str
    sort: Sort | None
    size: int
    count_all: bool

    def wish(self, **changes: Any) -> Wish:
        where = compile_where(self.where, ENTRY_FIELDS, SPELLINGS) if self.where else EVERYTHING
        wish = Wish(where, self.sort, 1, self.size, "", "this list", A_WHILE, self.count_all)
        return replace(wish, **changes)

    def whole(self, entries: Sequence[Entry]) -> list[str]:
        where = self.wish().where
        found = [entry for entry in entries if where(entry_row(entry))]
        return ids(in_order(found, self.sort) if self.sort else found)


CASES = st.builds(Case, WHERES, SORTS, st.integers(1, 5), st.booleans())
PLAIN = Case("", None, 2, False)

Ask = Callable[[Wish], Awaitable[Listing]]


def asking(vendor: Vendor, wanted: Search | None = None, tags: Sequence[str] = ()) -> Ask:
    """Contents of the root, or a search."""
    if wanted is None:
        return lambda wish: listing.contents(vendor, TOP, wish)
    return lambda wish: listing.search(vendor, wanted, wish, tags=tags)


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.id for entry in entries]


async def followed(ask: Ask, wish: Wish, most: int = 100) -> list[Listing]:
    """The pages from a wish on, by their tokens."""
    pages = [await ask(wish)]
    while pages[-1].token is not None:
        assert len(pages) < most, "the list does not end"
        pages.append(await ask(replace(wish, token=pages[-1].token)))
    return pages


def joined(pages: Sequence[Listing]) -> list[str]:
    return [item for page in pages for item in ids(page.entries)]


async def check_pages(ask: Ask, case: Case, whole: list[str]) -> None:
    pages = await followed(ask, case.wish())
    assert joined(pages) == whole
    assert all(len(page.entries) == case.size for page in pages[:-1])
    assert not any(page.unfinished for page in pages)
    if case.count_all:
        assert {page.total for page in pages} == {len(whole)}
    for number in range(1, len(whole) // case.size + 3):
        page = await ask(case.wish(page=number))
        assert ids(page.entries) == whole[(number - 1) * case.size : number * case.size]


@given(vendors(), CASES)
@settings(max_examples=300, deadline=None)
async def test_the_pages_of_a_folder_are_all_that_fits_in_order(vendor: Vendor, case: Case) -> None:
    await check_pages(asking(vendor), case, case.whole(vendor.folders[ROOT]))


TEXTS = st.sampled_from(["", "b", "abc", "ABC", "STRASSE", "x.txt", "none of this"])
SPANS = st.tuples(st.sampled_from(DATES), st.sampled_from(DATES))
TAGS = st.lists(st.sampled_from(["red", "new"]), max_size=2)


def found_by(
    entry: Entry, text: str, span: tuple[datetime | None, datetime | None], tags: Sequence[str]
) -> bool:
    since, until = span
    created = entry.created_at
    return (
        text.casefold() in entry.name.casefold()
        and all(tag in entry.tags for tag in tags)
        and (since is None or (created is not None and created >= since))
        and (until is None or (created is not None and created <= until))
    )


@given(vendors(deep=True), CASES, TEXTS, SPANS, TAGS)
@settings(max_examples=300, deadline=None)
async def test_the_pages_of_a_search_are_all_that_fits_in_order(
    vendor: Vendor,
    case: Case,
    text: str,
    span: tuple[datetime | None, datetime | None],
    tags: list[str],
) -> None:
    matching = [entry for entry in vendor.everything() if found_by(entry, text, span, tags)]
    await check_pages(asking(vendor, Search(text, created=span), tags), case, case.whole(matching))


@given(vendors(deep=True), CASES, st.integers(0, 99))
@settings(deadline=None)
async def test_a_search_without_a_text_stays_in_its_folder(vendor: Vendor, case: Case, which: int) -> None:
    folders = [entry for entry in vendor.everything() if entry.kind is Kind.FOLDER]
    if folders:
        start = folders[which % len(folders)]
        whole = case.whole(vendor.everything(start.id))
        await check_pages(asking(vendor, Search("", folder=start.target)), case, whole)


async def test_a_folder_is_listed_by_its_path() -> None:
    vendor = Vendor({ROOT: [folder("a")], "a": files(3)})
    page = await listing.contents(vendor, Target(Kind.FOLDER, path="/a"), PLAIN.wish())
    assert ids(page.entries) == ["f0", "f1"]


async def test_case_is_folded_where_the_vendor_cannot_search() -> None:
    class Walked(Vendor):
        shortest_search = 100

    vendor = Walked({ROOT: [made("1", Kind.FILE, "", "straße", 1, 1, [])]})
    assert joined(await followed(asking(vendor, Search("STRASSE")), PLAIN.wish())) == ["1"]


@pytest.mark.parametrize(("text", "asked"), [("ab", {ROOT, "a"}), ("", {ROOT, "a"}), ("abc", {"search"})])
async def test_the_vendor_searches_only_for_enough_of_a_text(text: str, asked: set[str]) -> None:
    vendor = Vendor({ROOT: [folder("a")], "a": files(1, "abc")})
    await followed(asking(vendor, Search(text)), PLAIN.wish())
    assert {place for place, _ in vendor.calls} == asked


@pytest.mark.parametrize("text", ["", "abc"])
async def test_a_search_looks_at_the_folder_of_each_result(text: str) -> None:
    """`Search`: all but the text are hints, whoever asks looks at each result again."""
    inside = [made("in", Kind.FILE, "/a", "abc", 1, 1, [])]
    vendor = Vendor({ROOT: [folder("a"), *files(1, "abc")], "a": inside})
    wanted = Search(text, folder=Target(Kind.FOLDER, path="/a"))
    assert joined(await followed(asking(vendor, wanted), PLAIN.wish())) == ["in"]


@pytest.mark.parametrize(("size", "calls"), [(1, 1), (3, 1), (5, 1), (10, 1)])
async def test_no_more_is_asked_of_the_vendor_than_a_page_needs(size: int, calls: int) -> None:
    vendor = Vendor({ROOT: files(5)})
    await listing.contents(vendor, TOP, replace(PLAIN, size=size).wish())
    assert len(vendor.calls) == calls


async def test_an_order_that_the_vendor_keeps_costs_no_whole_list() -> None:
    entries = files(9)
    vendor = Vendor({ROOT: entries}, sorts=True, most=3)
    case = Case("directory = false", Sort("name", descending=True), 2, count_all=False)
    page = await listing.contents(vendor, TOP, case.wish())
    assert (ids(page.entries), len(vendor.calls)) == (["f8", "f7"], 1)
    assert page.token is not None
    page = await listing.contents(vendor, TOP, case.wish(token=page.token))
    assert (ids(page.entries), len(vendor.calls)) == (["f6", "f5"], 3)


async def test_a_long_list_is_ordered_over_many_pages_of_the_vendor() -> None:
    entries = [made(f"i{n}", Kind.FILE, "", "x", (n * 7919) % 1009 // 10, 1, []) for n in range(1500)]
    for descending in (False, True):
        case = Case("", Sort("size", descending), 150, count_all=False)
        pages = await followed(asking(Vendor({ROOT: entries}, most=100)), case.wish())
        assert joined(pages) == case.whole(entries)


@given(vendors(deep=True), CASES, TEXTS | st.none())
@settings(deadline=None)
async def test_the_token_of_another_list_is_refused(vendor: Vendor, case: Case, text: str | None) -> None:
    ask = asking(vendor, None if text is None else Search(text))
    token = (await ask(case.wish())).token
    if token is not None:
        with pytest.raises(BadRequest, match="nextPage: belongs to another list"):
            await ask(case.wish(identity="that list", token=token))


def forged(state: object, identity: str = "this list") -> str:
    return base64.urlsafe_b64encode(orjson.dumps([identity, state])).decode().rstrip("=")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**63) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from([ROOT, "i0", "i1", "gone"]) | JSON
CURSORS = st.sampled_from([None, "0", "2", "0e", "x"]) | JSON
FRAMES = st.lists(st.tuples(PLACES, CURSORS, st.integers(-3, 20) | JSON), max_size=3)


async def taken(ask: Ask, wish: Wish) -> list[str]:
    """What a token leads to; nothing where it is refused. The folder that it names may be gone."""
    try:
        return ids((await ask(wish)).entries)
    except (BadRequest, VendorNotFound):
        return []


@given(vendors(deep=True), CASES, JSON | FRAMES, st.booleans())
@settings(max_examples=300, deadline=None)
async def test_a_forged_token_is_refused_or_leads_into_the_list(
    vendor: Vendor, case: Case, state: object, searched: bool
) -> None:
    ask = asking(vendor, Search("") if searched else None)
    await taken(ask, case.wish(token=forged(state)))


@pytest.mark.parametrize(
    "state",
    [
        [[ROOT, None, -1]],
        [[ROOT, None, -100]],
        [[ROOT, 1, 0]],
        [[ROOT, ["1"], 0]],
        [[ROOT, True, 0]],
        [[ROOT, {}, 0]],
        [[ROOT, None, None]],
        [[ROOT, None, "x"]],
        [[ROOT, None, []]],
        [[ROOT, None]],
        [[ROOT, None, 0, 0]],
        [ROOT],
        ["abc"],
        [5],
        [None],
        5,
        -5,
        1.5,
        "text",
        True,
        {"abc": 1},
    ],
)
@pytest.mark.parametrize("count", [0, 3])
async def test_what_never_was_a_state_is_refused(state: object, count: int) -> None:
    vendor = Vendor({ROOT: files(count)})
    with pytest.raises(BadRequest):
        await listing.contents(vendor, TOP, PLAIN.wish(token=forged(state)))


@pytest.mark.parametrize("state", [[[ROOT, None, 1]], -1, 1.5, "1", {"a": 1}, [1]])
async def test_an_ordered_list_goes_on_only_at_a_number(state: object) -> None:
    vendor = Vendor({ROOT: files(3)})
    case = Case("", Sort("name"), 2, count_all=True)
    with pytest.raises(BadRequest):
        await listing.contents(vendor, TOP, case.wish(token=forged(state)))


@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda data: base64.urlsafe_b64encode(data).decode()))
@example("=")
@example("ä")
@example("WyJ0aGlzIGxpc3QiXQ")
@example(forged(None)[:-1])
@settings(deadline=None)
async def test_any_text_is_refused_as_a_token(text: str) -> None:
    with pytest.raises(BadRequest, match="nextPage: "):
        await listing.contents(Vendor({ROOT: files(3)}), TOP, PLAIN.wish(token=text))


@given(st.data())
@settings(deadline=None)
async def test_a_token_with_a_letter_changed_is_refused_or_leads_into_the_list(data: st.DataObject) -> None:
    vendor = Vendor({ROOT: files(9)}, most=3)
    token = (await listing.contents(vendor, TOP, PLAIN.wish())).token or ""
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_") | st.characters())
    changed = token[:place] + letter + token[place + 1 :]
    found = await taken(asking(vendor), PLAIN.wish(token=changed))
    assert len(found) == len(set(found))


@pytest.mark.parametrize("gone", [VendorNotFound(), VendorForbidden()])
@pytest.mark.parametrize("size", [1, 2, 10])
async def test_a_folder_that_vanishes_during_a_search_ends_nothing(gone: GatewayError, size: int) -> None:
    vendor = Vendor({ROOT: [folder("a"), *files(2)], "a": files(3, "x")}, most=1)
    ask = asking(vendor, Search(""))
    wish = replace(PLAIN, size=size).wish()
    first = await ask(wish) if size < 10 else None
    vendor.refused["a"] = gone
    rest = await followed(ask, replace(wish, token=first.token or "") if first else wish)
    found = (ids(first.entries) if first else []) + joined(rest)
    assert [item for item in found if not item.startswith("x")] == ["a", "f0", "f1"]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("wanted", [None, Search("")])
async def test_a_folder_that_is_not_there_is_not_found(wanted: Search | None) -> None:
    with pytest.raises(VendorNotFound):
        await asking(Vendor({}), wanted)(PLAIN.wish())


@given(vendors(deep=True), WHERES, st.integers(1, 5), TEXTS | st.none())
@settings(max_examples=200, deadline=None)
async def test_without_patience_each_call_gets_on(
    vendor: Vendor, where: str, size: int, text: str | None
) -> None:
    case = Case(where, None, size, count_all=False)
    ask = asking(vendor, None if text is None else Search(text))
    there = vendor.folders[ROOT] if text is None else vendor.everything()
    whole = case.whole([entry for entry in there if (text or "").casefold() in entry.name.casefold()])
    pages = await followed(ask, case.wish(patience=NO_TIME), most=3 * len(there) + 10)
    assert joined(pages) == whole
    assert all(page.unfinished for page in pages[:-1] if len(page.entries) < size)


async def test_without_patience_an_answer_is_what_was_found_until_then() -> None:
    vendor = Vendor({ROOT: files(50)}, most=1)
    page = await listing.contents(vendor, TOP, replace(PLAIN, size=50).wish(patience=NO_TIME))
    assert len(vendor.calls) <= 2
    assert page.unfinished
    assert page.token is not None


async def test_a_list_at_its_end_is_finished() -> None:
    vendor = Vendor({ROOT: files(1)})
    page = await listing.contents(vendor, TOP, PLAIN.wish(patience=NO_TIME))
    assert (ids(page.entries), page.token, page.unfinished) == (["f0"], None, False)


@given(vendors(), WHERES, st.integers(1, 3), st.integers(2, 3))
@settings(deadline=None)
async def test_without_patience_a_later_page_begins_where_it_should(
    vendor: Vendor, where: str, size: int, number: int
) -> None:
    case = Case(where, None, size, count_all=False)
    pages = await followed(asking(vendor), case.wish(page=number, patience=NO_TIME))
    assert joined(pages) == case.whole(vendor.folders[ROOT])[(number - 1) * size :]


async def test_empty_pages_of_the_vendor_use_up_the_patience_too() -> None:
    class Barren(Vendor):
        async def contents(
            self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
        ) -> EntryPage:
            self.calls.append((ROOT, cursor))
            here = int(cursor or 0)
            return EntryPage([], str(here + 1)) if here < 50 else EntryPage(files(1), None)

    vendor = Barren({})
    page = await listing.contents(vendor, TOP, PLAIN.wish(patience=NO_TIME))
    assert len(vendor.calls) < 50
    assert page.unfinished
    rest = await followed(asking(vendor), PLAIN.wish(patience=NO_TIME, token=page.token))
    assert joined(rest) == ["f0"]


async def test_a_cursor_that_leads_nowhere_ends_the_list() -> None:
    class Stuck(Vendor):
        async def contents(
            self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
        ) -> EntryPage:
            return EntryPage(files(1), "same")

    pages = await followed(asking(Stuck({})), PLAIN.wish(), most=5)
    assert joined(pages) == ["f0", "f0"]


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("", None),
        ("  ", None),
        ("name", Sort("name")),
        ("size asc", Sort("size")),
        (" modifiedDate  DESC ", Sort("modifiedDate", descending=True)),
    ],
)
def test_an_order_is_a_field_and_a_direction(text: str, sort: Sort | None) -> None:
    assert listing.parse_sort(text) == sort


@pytest.mark.parametrize("text", ["other", "name up", "name asc desc", "desc", "NAME", "tags", "name,size"])
def test_another_order_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="orderBy: "):
        listing.parse_sort(text)


def test_a_list_has_its_own_name() -> None:
    names = {listing.identity(*parts) for parts in [(), ("a",), ("a", "b"), ("ab",), (["a", "b"],), ("a", 1)]}
    assert len(names) == 6
    assert listing.identity("a", [("b", "c")]) == listing.identity("a", [("b", "c")])
