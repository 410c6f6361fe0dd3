"""Paths for vendors that know only ids: names are looked up in folder listings, and found ids are kept as
hints that are checked each time they are used."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from urllib.parse import quote, unquote

from app.errors import BadRequest, Conflict, VendorNotFound
from app.hubs.entries import Entry, Kind, Target

Fetch = Callable[[Kind, str], Awaitable[Entry]]
Children = Callable[[str], AsyncIterator[Entry]]
Create = Callable[[str, str], Awaitable[Entry]]

_LAYERS = 4  # of percent-encoding that are taken off; each costs as much as the text is long


def split(path: str) -> tuple[str, str]:
    """`/a/b/c.txt` as `/a/b` and `c.txt`."""
    parent, _, name = path.rpartition("/")
    return parent or "/", name


def join(parent: str, name: str) -> str:
    return f"{parent.rstrip('/')}/{name}"


def normalised(path: str, *, name: str = "path") -> str:
    """A client's path as the vendors take it: doubled slashes and one at the end do not count.

    Raises BadRequest, which begins with `name`, for what is no absolute path, for a path that goes up, and
    for one that is encoded too often to tell.
    """
    if not path.startswith("/"):
        raise BadRequest(f"{name}: must begin with '/'")
    parts = [part for part in path.split("/") if part]
    if any(_leads_away(part, name) for part in parts):
        raise BadRequest(f"{name}: '.' and '..' are no names of files or folders")
    if _has_controls(path):
        raise BadRequest(f"{name}: holds a control character")
    return "/" + "/".join(parts)


def segment(text: str) -> str:
    """A client's text as one segment of a URL's path. Raises BadRequest for `.` and `..`, which lead away,
    for what is encoded too often to tell, and for control characters, which some servers write into their
    headers."""
    if _leads_away(text, "id"):
        raise BadRequest("id: '.' and '..' are no ids")
    if _has_controls(text):
        raise BadRequest("id: holds a control character")
    return quote(text, safe="")


def decoded(text: str, *, name: str = "path") -> str:
    """A client's text as whoever decodes it most often reads it.

    Raises BadRequest, which begins with `name`, for what is encoded more often than anybody decodes.
    """
    for _ in range(_LAYERS + 1):
        plain = unquote(text)
        if plain == text:
            return text
        text = plain
    raise BadRequest(f"{name}: is encoded too often")


def _has_controls(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def _leads_away(text: str, name: str) -> bool:
    """Whether anybody behind us may read a text as `.` or `..`: some servers decode a path twice, take
    backslashes for slashes, or parameters off its segments."""
    parts = re.split(r"[/\\]", decoded(text, name=name))
    return bool({".", ".."} & {part.partition(";")[0] for part in parts})


class Paths:
    """Finds and makes items by path. `fetch` gets an item by its id and raises VendorNotFound, `children`
    lists a folder, `create` makes a folder in another; each entry carries its whole path.

    A hint is never believed: what it leads to is answered only if the vendor says that it lies at the
    path that was asked for.
    """

    def __init__(
        self,
        hints: MutableMapping[str, str],
        *,
        root_id: str,
        fetch: Fetch,
        children: Children,
        create: Create,
    ) -> None:
        self._hints = hints
        self._root_id = root_id
        self._fetch = fetch
        self._children = children
        self._create = create

    async def find(self, target: Target) -> Entry:
        """Raises VendorNotFound where nothing of that kind is at the path."""
        if target.id is not None:
            return await self._fetch(target.kind, target.id)
        path = target.path or "/"
        if path == "/" and target.kind is Kind.FILE:
            raise VendorNotFound("The root is no file")
        if path == "/":
            return await self._fetch(Kind.FOLDER, self._root_id)
        return await self._hinted(target.kind, path) or await self._walked(target.kind, path)

    async def folder_id(self, target: Target) -> str:
        """The id of a folder; one that is named by path is made where it is missing."""
        if target.id is not None:
            return target.id
        return await self._made(target.path or "/")

    async def _made(self, path: str) -> str:
        if path == "/":
            return self._root_id
        try:
            return (await self.find(Target(Kind.FOLDER, path=path))).id
        except VendorNotFound:
            parent, name = split(path)
            parent_id = await self._made(parent)
        try:
            made = await self._create(parent_id, name)
        except Conflict:  # somebody else was faster, or it is there in another case
            return (await self._in_any_case(parent_id, name)).id
        self._hints[_key(Kind.FOLDER, path)] = made.id
        return made.id

    async def _in_any_case(self, parent_id: str, name: str) -> Entry:
        async for entry in self._children(parent_id):
            if entry.kind is Kind.FOLDER and entry.name.casefold() == name.casefold():
                return entry
        raise Conflict(f"'{name}' exists and is no folder")

    async def _hinted(self, kind: Kind, path: str) -> Entry | None:
        hint = self._hints.get(_key(kind, path))
        if hint is None:
            return None
        try:
            entry = await self._fetch(kind, hint)
        except VendorNotFound:
            entry = None
        if entry is None or entry.path != path:
            self._hints.pop(_key(kind, path), None)
            return None
        return entry

    async def _walked(self, kind: Kind, path: str) -> Entry:
        """From the nearest folder above that a hint knows; if that leads nowhere, from the root."""
        above = self._nearest(path)
        if above != "/":
            try:
                return await self._walk(kind, path, above, self._hints[_key(Kind.FOLDER, above)])
            except VendorNotFound:
                self._forget(path)
        return await self._walk(kind, path, "/", self._root_id)

    async def _walk(self, kind: Kind, path: str, start: str, folder_id: str) -> Entry:
        names = path.removeprefix(start).strip("/").split("/")
        here = start
        for name in names[:-1]:
            here = join(here, name)
            folder_id = (await self._child(folder_id, here, Kind.FOLDER)).id
        return await self._child(folder_id, path, kind)

    async def _child(self, folder_id: str, path: str, kind: Kind) -> Entry:
        _, name = split(path)
        async for entry in self._children(folder_id):
            if (entry.name, entry.kind, entry.path) == (name, kind, path):
                self._hints[_key(kind, path)] = entry.id
                return entry
        raise VendorNotFound(f"There is no {kind} at {path}")

    def _nearest(self, path: str) -> str:
        above, _ = split(path)
        while above != "/" and _key(Kind.FOLDER, above) not in self._hints:
            above, _ = split(above)
        return above

    def _forget(self, path: str) -> None:
        while path != "/":
            path, _ = split(path)
            self._hints.pop(_key(Kind.FOLDER, path), None)


def _key(kind: Kind, path: str) -> str:
    return f"{kind}:{path}"
