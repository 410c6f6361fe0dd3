"""Paths for vendors that know only ids: whatever the hints say, what is answered lies there now."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadRequest, Conflict, VendorConflict, VendorNotFound
from app.hints import Hints
from app.hubs.entries import Entry, Kind, Target
from app.hubs.paths import Paths, join, normalised, segment, split

ROOT = "0"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("///", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("//a///b//", "/a/b"),
        ("/a b/ä.txt", "/a b/ä.txt"),
        ("/.a/..b/c..", "/.a/..b/c.."),
        ("/ /...", "/ /..."),
    ],
)
def test_slashes_too_many_do_not_count(path: str, found: str) -> None:
    assert normalised(path) == found


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/b", " /a", "\\a", ".", "/.", "/..", "/a/../b", "/a/./b", "/a/..", "/a\0", "/a\nb", "/\x7f"],
)
def test_what_is_no_absolute_path_is_refused(path: str) -> None:
    with pytest.raises(BadRequest, match=r"^folder: "):
        normalised(path, name="folder")


def encoded(times: int) -> str:
    return "%" + "25" * (times - 1) + "2e%2e"


def test_what_is_encoded_too_often_to_tell_is_refused() -> None:
    """Each layer costs as much as the text is long: nobody looks below a thousand of them."""
    for times in (1, 4, 5, 31_000):
        words = "too often" if times > 4 else "are no"
        with pytest.raises(BadRequest, match=rf"^folder: .*{words}"):
            normalised(f"/a/{encoded(times)}", name="folder")
        with pytest.raises(BadRequest, match=rf"^id: .*{words}"):
            segment(encoded(times))
    assert normalised("/100%25 of %2F") == "/100%25 of %2F"


PARTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/%"), min_size=1).filter(
    lambda part: not re.search(r"(^|\\)\.{1,2}(;|\\|\Z)", part)
)
"""Names that nobody reads as `.` or `..`, whatever he takes for a slash or for parameters."""


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_a_path_is_its_parent_and_its_name(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert normalised(path) == normalised(path + "/") == path
    parent, name = split(path)
    assert name == parts[-1]
    assert join(parent, name) == path
    assert normalised(parent) == parent


def test_the_root_has_no_name() -> None:
    assert split("/") == ("/", "")
    assert split("/a") == ("/", "a")
    assert join("/", "a") == join("", "a") == "/a"


@dataclass
class Item:
    kind: Kind
    parent_id: str
    name: str


class Tree:
    """A vendor that knows only ids; counts what it is asked."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.calls: Counter[str] = Counter()
        self.before_create: Callable[[str, str], object] = lambda parent_id, name: None
        self._last = 0

    def add(self, kind: Kind, parent_id: str, name: str) -> str:
        if self.child(parent_id, name) is not None:
            raise VendorConflict
        self._last += 1
        self.items[str(self._last)] = Item(kind, parent_id, name)
        return str(self._last)

    def file(self, name: str, parent_id: str = ROOT) -> str:
        return self.add(Kind.FILE, parent_id, name)

    def folder(self, name: str, parent_id: str = ROOT) -> str:
        return self.add(Kind.FOLDER, parent_id, name)

    def move(self, item_id: str, parent_id: str, name: str) -> None:
        above = parent_id
        while above != ROOT and above != item_id:
            above = self.items[above].parent_id
        if above == ROOT and self.child(parent_id, name) is None:
            self.items[item_id].parent_id, self.items[item_id].name = parent_id, name

    def delete(self, item_id: str) -> None:
        for child in [key for key, item in self.items.items() if item.parent_id == item_id]:
            self.delete(child)
        del self.items[item_id]

    def child(self, parent_id: str, name: str) -> str | None:
        found = (key for key, item in self.items.items() if (item.parent_id, item.name) == (parent_id, name))
        return next(found, None)

    def path(self, item_id: str) -> str:
        if item_id == ROOT:
            return "/"
        item = self.items[item_id]
        return join(self.path(item.parent_id), item.name)

    def at(self, kind: Kind, path: str) -> str | None:
        """What truly lies at a path."""
        found = (key for key, item in self.items.items() if item.kind is kind and self.path(key) == path)
        return ROOT if (kind, path) == (Kind.FOLDER, "/") else next(found, None)

    def entry(self, item_id: str) -> Entry:
        item = self.items.get(item_id, Item(Kind.FOLDER, "", ""))
        return Entry(
            id=item_id,
            kind=item.kind,
            name=item.name,
            path=self.path(item_id),
            size=None,
            created_at=None,
            modified_at=None,
            parent_id=item.parent_id,
            raw={},
        )

    async def fetch(self, kind: Kind, item_id: str) -> Entry:
        self.calls["fetch"] += 1
        if self._kind(item_id) is not kind:
            raise VendorNotFound
        return self.entry(item_id)

    async def children(self, folder_id: str) -> AsyncIterator[Entry]:
        self.calls["children"] += 1
        if self._kind(folder_id) is not Kind.FOLDER:
            raise VendorNotFound
        for key in [key for key, item in self.items.items() if item.parent_id == folder_id]:
            yield self.entry(key)

    async def create(self, parent_id: str, name: str) -> Entry:
        self.calls["create"] += 1
        self.before_create(parent_id, name)
        if self._kind(parent_id) is not Kind.FOLDER:
            raise VendorNotFound
        return self.entry(self.folder(name, parent_id))

    def _kind(self, item_id: str) -> Kind | None:
        if item_id == ROOT:
            return Kind.FOLDER
        return self.items[item_id].kind if item_id in self.items else None


class Account:
    """Paths over a tree; what they cost is counted from one look to the next."""

    def __init__(self, limit: int = 1000) -> None:
        self.tree = Tree()
        self.hints = Hints(limit).of(1)
        self.paths = Paths(
            self.hints,
            root_id=ROOT,
            fetch=self.tree.fetch,
            children=self.tree.children,
            create=self.tree.create,
        )

    async def find(self, path: str, kind: Kind = Kind.FOLDER) -> str | None:
        try:
            found = await self.paths.find(Target(kind, path=path))
        except VendorNotFound:
            return None
        assert (found.kind, found.path) == (kind, path)
        return found.id

    async def folder_id(self, path: str) -> str:
        return await self.paths.folder_id(Target(Kind.FOLDER, path=path))

    @property
    def cost(self) -> dict[str, int]:
        found = dict(self.tree.calls)
        self.tree.calls.clear()
        return found


@pytest.fixture
def account() -> Account:
    return Account()


NAMES = st.sampled_from("abc")
KINDS = st.sampled_from(Kind)
PATHS = st.lists(NAMES, max_size=4).map(lambda names: "/" + "/".join(names))
WHICH = st.integers(0, 99)
STEPS = st.lists(
    st.tuples(st.just("add"), WHICH, KINDS, NAMES)
    | st.tuples(st.just("move"), WHICH, WHICH, NAMES)
    | st.tuples(st.just("delete"), WHICH)
    | st.tuples(st.just("find"), KINDS, PATHS)
    | st.tuples(st.just("make"), PATHS)
    | st.tuples(st.just("hint"), KINDS, PATHS, WHICH),
    max_size=30,
)


class Story:
    """A tree that others change while paths are looked up in it."""

    def __init__(self, limit: int) -> None:
        self.account = Account(limit)
        self.tree = self.account.tree

    def _some(self, which: int) -> str | None:
        keys = list(self.tree.items)
        return keys[which % len(keys)] if keys else None

    def _some_folder(self, which: int) -> str:
        keys = [ROOT, *(key for key, item in self.tree.items.items() if item.kind is Kind.FOLDER)]
        return keys[which % len(keys)]

    def add(self, which: int, kind: Kind, name: str) -> None:
        parent_id = self._some_folder(which)
        if self.tree.child(parent_id, name) is None:
            self.tree.add(kind, parent_id, name)

    def move(self, which: int, where: int, name: str) -> None:
        if item_id := self._some(which):
            self.tree.move(item_id, self._some_folder(where), name)

    def delete(self, which: int) -> None:
        if item_id := self._some(which):
            self.tree.delete(item_id)

    def hint(self, kind: Kind, path: str, which: int) -> None:
        """A hint as wrong as can be."""
        self.account.hints[f"{kind}:{path}"] = self._some(which) or "gone"

    async def find(self, kind: Kind, path: str) -> None:
        assert await self.account.find(path, kind) == self.tree.at(kind, path)

    async def make(self, path: str) -> None:
        known, before = self.tree.at(Kind.FOLDER, path), set(self.tree.items)
        try:
            found = await self.account.folder_id(path)
        except (VendorNotFound, Conflict):
            above = [path]
            while above[-1] != "/":
                above.append(split(above[-1])[0])
            assert any(self.tree.at(Kind.FILE, part) for part in above)
            return
        assert found == self.tree.at(Kind.FOLDER, path)
        assert known in {None, found}
        assert known is None or set(self.tree.items) == before


@given(STEPS, st.sampled_from([0, 1, 3, 1000]))
@settings(max_examples=500, deadline=None)
async def test_what_is_found_lies_there_whatever_the_hints_say(
    steps: list[tuple[object, ...]], limit: int
) -> None:
    story = Story(limit)
    for act, *arguments in steps:
        done = getattr(story, str(act))(*arguments)
        if done is not None:
            await done


async def test_a_hinted_path_costs_one_call(account: Account) -> None:
    file_id = account.tree.file("f", account.tree.folder("b", account.tree.folder("a")))
    assert await account.find("/a/b/f", Kind.FILE) == file_id
    assert account.cost == {"children": 3}
    assert await account.find("/a/b/f", Kind.FILE) == file_id
    assert account.cost == {"fetch": 1}
    assert await account.folder_id("/a/b")
    assert account.cost == {"fetch": 1}


async def test_a_walk_begins_at_the_nearest_known_folder(account: Account) -> None:
    folder_id = account.tree.folder("b", account.tree.folder("a"))
    await account.find("/a/b")
    file_id = account.tree.file("f", folder_id)
    assert account.cost
    assert await account.find("/a/b/f", Kind.FILE) == file_id
    assert account.cost == {"children": 1}


async def test_the_root_and_an_id_need_no_walk(account: Account) -> None:
    file_id = account.tree.file("f")
    assert await account.find("/") == ROOT
    assert (await account.paths.find(Target(Kind.FILE, id=file_id))).path == "/f"
    assert account.cost == {"fetch": 2}
    assert await account.find("/", Kind.FILE) is None
    assert await account.folder_id("/") == ROOT
    assert await account.paths.folder_id(Target(Kind.FOLDER, id="7")) == "7"
    assert account.cost == {}


async def test_an_id_of_the_other_kind_is_not_found(account: Account) -> None:
    with pytest.raises(VendorNotFound):
        await account.paths.find(Target(Kind.FOLDER, id=account.tree.file("f")))


async def test_what_moved_away_is_not_found_where_it_was(account: Account) -> None:
    folder_id = account.tree.folder("a")
    file_id = account.tree.file("f", folder_id)
    await account.find("/a/f", Kind.FILE)
    account.tree.move(folder_id, ROOT, "b")
    assert await account.find("/a/f", Kind.FILE) is None
    assert await account.find("/a") is None
    assert await account.find("/b/f", Kind.FILE) == file_id


async def test_what_takes_the_place_of_another_is_found(account: Account) -> None:
    old = account.tree.folder("a")
    account.tree.file("f", old)
    await account.find("/a/f", Kind.FILE)
    account.tree.move(old, ROOT, "old")
    new = account.tree.file("f", account.tree.folder("a"))
    assert await account.find("/a/f", Kind.FILE) == new
    account.tree.delete(new)
    assert await account.find("/a/f", Kind.FILE) is None


async def test_nothing_is_remembered_of_what_is_not_there(account: Account) -> None:
    assert await account.find("/a/b/c") is None
    assert dict(account.hints) == {}


async def test_missing_folders_are_made_once(account: Account) -> None:
    made = await account.folder_id("/a/b/c")
    assert account.cost["create"] == 3
    assert account.tree.path(made) == "/a/b/c"
    assert await account.folder_id("/a/b/c") == made
    assert account.cost == {"fetch": 1}
    assert account.tree.path(await account.folder_id("/a/b/d")) == "/a/b/d"
    assert account.cost["create"] == 1


async def test_a_folder_that_somebody_else_makes_in_between_is_taken(account: Account) -> None:
    account.tree.before_create = lambda parent_id, name: account.tree.folder(name, parent_id)
    made = await account.folder_id("/a/b/c")
    assert account.tree.path(made) == "/a/b/c"
    assert len(account.tree.items) == 3
    assert account.cost["create"] == 3


@pytest.mark.parametrize("path", ["/f", "/f/a", "/f/a/b"])
async def test_a_file_in_the_way_stays_in_the_way(account: Account, path: str) -> None:
    file_id = account.tree.file("f")
    with pytest.raises((VendorNotFound, Conflict)):
        await account.folder_id(path)
    assert list(account.tree.items) == [file_id]
    assert account.cost["create"] == 1


async def test_a_file_that_comes_into_the_way_is_no_folder(account: Account) -> None:
    account.tree.before_create = lambda parent_id, name: account.tree.file(name, parent_id)
    with pytest.raises((VendorNotFound, Conflict)):
        await account.folder_id("/a/b")
    assert account.cost["create"] == 1


async def test_a_parent_that_vanishes_in_between_ends_it(account: Account) -> None:
    def vanish(parent_id: str, name: str) -> None:
        if parent_id != ROOT:
            account.tree.delete(parent_id)

    account.tree.before_create = vanish
    with pytest.raises(VendorNotFound):
        await account.folder_id("/a/b/c")
    account.tree.before_create = lambda parent_id, name: None
    assert account.tree.path(await account.folder_id("/a/b/c")) == "/a/b/c"


async def test_a_file_and_a_folder_of_one_name_are_told_apart(account: Account) -> None:
    file_id = account.tree.file("a")
    assert await account.find("/a", Kind.FILE) == file_id
    assert await account.find("/a") is None
    account.tree.delete(file_id)
    folder_id = account.tree.folder("a")
    assert await account.find("/a", Kind.FILE) is None
    assert await account.find("/a") == folder_id
