"""A small company in memory: its people, its folders and files, and what happened to them."""

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from app.sandbox.history import Actor, Change, History, Ref, User


class WorldError(Exception):
    """The world does not allow that."""


class MissingError(WorldError):
    """Nothing is there."""


class TakenError(WorldError):
    """Something is there already."""


class RefusedError(WorldError):
    """This place cannot be changed that way."""


@dataclass(eq=False, slots=True)
class Version:
    """One content of a file."""

    id: str
    content: bytes
    checksum: str
    modified: datetime
    uploaded: datetime
    by: User


@dataclass(eq=False, slots=True)
class Lock:
    """A lock on a file."""

    token: str
    owner: User


@dataclass(eq=False, slots=True)
class File:
    """A file: its versions, newest last."""

    id: str
    name: str
    parent: "Folder | None"
    versions: list[Version]
    lock: Lock | None = None

    @property
    def current(self) -> Version:
        """The newest version."""
        return self.versions[-1]


@dataclass(eq=False, slots=True)
class Folder:
    """A folder; the root is the one without a parent."""

    id: str
    name: str
    parent: "Folder | None"
    modified: datetime
    children: "dict[str, File | Folder]" = field(default_factory=dict)
    permissions: dict[str, str] = field(default_factory=dict)


Node = File | Folder


def path_of(node: Node) -> str:
    """The absolute path of a node."""
    names = []
    while node.parent is not None:
        names.append(node.name)
        node = node.parent
    return "/" + "/".join(reversed(names))


def segments(path: str) -> list[str]:
    """The names in a path; doubled and trailing slashes do not count."""
    return [name for name in path.split("/") if name]


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    if isinstance(node, Folder):
        for child in node.children.values():
            yield from walk(child)


def ref_to(node: Node) -> Ref:
    """The node as the history remembers it."""
    return Ref(path_of(node), node.id, node.current.id if isinstance(node, File) else None)


class World:
    """The files of one company. Every change is synchronous and ends up in the history."""

    # Trash that nobody empties would grow for ever.
    _TRASH: ClassVar = 1000

    def __init__(self, *, roots: tuple[str, ...], history: History, new_id: Callable[[], str]) -> None:
        self.history = history
        self.new_id = new_id
        self.users: dict[str, User] = {}
        self.root = Folder(new_id(), "", None, datetime.now(UTC))
        self._by_id: dict[str, Node] = {self.root.id: self.root}
        self._trash: deque[tuple[str, Node]] = deque(maxlen=self._TRASH)
        # With fixed roots, nothing can be made, moved or deleted beside them.
        self._roots = roots
        for name in roots:
            self._attach(Folder(new_id(), name, self.root, datetime.now(UTC)))

    def user(self, username: str) -> User:
        """The user of that name."""
        if username not in self.users:
            raise MissingError(f"No user {username}")
        return self.users[username]

    def find(self, path: str) -> Node:
        """What is at that path."""
        node: Node = self.root
        for name in segments(path):
            child = node.children.get(name) if isinstance(node, Folder) else None
            if child is None:
                raise MissingError(f"Nothing at {path}")
            node = child
        return node

    def by_id(self, node_id: str) -> Node:
        """The node with that id."""
        if node_id not in self._by_id:
            raise MissingError(f"Nothing with id {node_id}")
        return self._by_id[node_id]

    def file(self, path: str) -> File:
        """The file at that path; a folder counts as missing."""
        node = self.find(path)
        if isinstance(node, Folder):
            raise MissingError(f"No file at {path}")
        return node

    def folder(self, path: str) -> Folder:
        """The folder at that path; a file counts as missing."""
        node = self.find(path)
        if isinstance(node, File):
            raise MissingError(f"No folder at {path}")
        return node

    def add_folder(self, path: str, actor: Actor) -> Folder:
        """Makes a folder, and those above it that are missing."""
        parent, name = self._place(path, actor)
        if name in parent.children:
            raise TakenError(path)
        folder = Folder(self.new_id(), name, parent, datetime.now(UTC))
        self._attach(folder)
        self.history.record("create", actor, ref_to(folder))
        return folder

    def upload(
        self,
        path: str,
        content: bytes,
        actor: Actor,
        *,
        checksum: str | None = None,
        modified: datetime | None = None,
    ) -> File:
        """Makes a file, or a new version of the one that is there."""
        parent, name = self._place(path, actor)
        found = parent.children.get(name)
        if isinstance(found, Folder):
            raise RefusedError(f"{path} is a folder")
        now = datetime.now(UTC)
        checksum = checksum or hashlib.sha512(content).hexdigest()
        version = Version(self.new_id(), content, checksum, modified or now, now, actor.user)
        file = found or File(self.new_id(), name, parent, [])
        file.versions.append(version)
        self._attach(file)
        self.history.record("version" if found else "create", actor, ref_to(file))
        return file

    def move(self, path: str, destination: str, actor: Actor) -> Node:
        """Moves a node; within its folder that is a rename."""
        node = self._movable(path)
        parent, name = self._free_place(destination, node, actor)
        origin, action = ref_to(node), "rename" if parent is node.parent else "move"
        self._detach(node)
        node.parent, node.name = parent, name
        self._attach(node)
        self.history.record(action, actor, ref_to(node), origin=origin)
        return node

    def copy(self, path: str, destination: str, actor: Actor) -> Node:
        """Copies a node with all that is below it, under new ids; one entry of the history covers it."""
        node = self._movable(path)
        parent, name = self._free_place(destination, node, actor)
        twin = self._twin(node, parent, name)
        self._attach(twin)
        self.history.record("copy", actor, ref_to(twin), origin=ref_to(node))
        return twin

    def delete(self, path: str, actor: Actor) -> None:
        """Puts a node into the trash, with all that is below it."""
        node = self._movable(path)
        self.history.record("delete", actor, ref_to(node))
        self._trash.append((path_of(node), node))
        self._detach(node)
        for gone in walk(node):
            del self._by_id[gone.id]

    def restore(self, path: str, actor: Actor) -> Node:
        """Takes what was deleted last at that path out of the trash."""
        wanted = "/" + "/".join(segments(path))
        node = next((node for old, node in reversed(self._trash) if old == wanted), None)
        if node is None:
            raise MissingError(f"Nothing in the trash from {path}")
        node.parent, node.name = self._free_place(path, node, actor)
        self._trash.remove((wanted, node))
        self._attach(node)
        self.history.record("restore", actor, ref_to(node))
        return node

    def permit(self, path: str, subjects: list[str], level: str, actor: Actor) -> Change:
        """Gives people or groups ("/user/13") a level on a folder."""
        folder = self.folder(path)
        detail = {"before": {name: folder.permissions.get(name) for name in subjects}, "level": level}
        folder.permissions.update(dict.fromkeys(subjects, level))
        return self.history.record("permission", actor, ref_to(folder), detail=detail)

    def _place(self, path: str, actor: Actor) -> tuple[Folder, str]:
        *above, name = segments(path) or [""]
        if not name or (self._roots and (not above or above[0] not in self._roots)):
            raise RefusedError(f"Nothing can be put at {path}")
        parent = "/" + "/".join(above)
        try:
            node = self.find(parent)
        except MissingError:
            node = self.add_folder(parent, actor)
        if isinstance(node, File):
            raise RefusedError(f"{parent} is a file")
        return node, name

    def _free_place(self, path: str, node: Node, actor: Actor) -> tuple[Folder, str]:
        # Looked at before the folders above are made, so that a refused move leaves nothing behind.
        own = path_of(node)
        if path.startswith(own + "/"):
            raise RefusedError(f"{path} is inside {own}")
        parent, name = self._place(path, actor)
        if name in parent.children:
            raise TakenError(path)
        return parent, name

    def _movable(self, path: str) -> Node:
        node = self.find(path)
        if node.parent is None or (node.parent is self.root and self._roots):
            raise RefusedError(f"{path} stays where it is")
        return node

    def _attach(self, node: Node) -> None:
        if node.parent is not None:
            node.parent.children[node.name] = node
            node.parent.modified = datetime.now(UTC)
        self._by_id.update((below.id, below) for below in walk(node))

    def _detach(self, node: Node) -> None:
        if node.parent is not None:
            del node.parent.children[node.name]
            node.parent.modified = datetime.now(UTC)

    def _twin(self, node: Node, parent: Folder, name: str) -> Node:
        if isinstance(node, File):
            version = copy.copy(node.current)
            version.id = self.new_id()
            return File(self.new_id(), name, parent, [version])
        folder = Folder(self.new_id(), name, parent, datetime.now(UTC), permissions=dict(node.permissions))
        folder.children = {key: self._twin(child, folder, key) for key, child in node.children.items()}
        return folder
