"""What lies in the folders of the fake Box."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from app.sandbox.history import User

Content = bytes | bytearray
Access = Literal["open", "company", "collaborators"]


@dataclass(eq=False, slots=True, kw_only=True)
class Version:
    """One content of a file."""

    id: str
    name: str
    number: int
    content: Content
    sha1: str
    created: datetime
    by: User
    trashed: datetime | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Lock:
    """A lock on a file, for one user."""

    id: str
    owner: User
    created: datetime
    expires: datetime | None = None
    prevents_download: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class SharedLink:
    """A shared link; `base` is the address that the fake had when it was made."""

    token: str
    base: str
    access: Access = "open"
    password: str | None = None
    unshared_at: datetime | None = None
    can_download: bool = True
    can_edit: bool = False
    vanity_name: str | None = None
    downloads: int = 0


@dataclass(eq=False, slots=True, kw_only=True)
class Instance:
    """The values that an item has for one metadata template."""

    id: str
    scope: str
    template: str
    values: dict[str, Any]
    version: int = 0


@dataclass(eq=False, slots=True, kw_only=True)
class Comment:
    """What somebody says about a file, or about another comment."""

    id: str
    file: "File"
    reply_to: "Comment | None"
    message: str
    by: User
    created: datetime
    modified: datetime


@dataclass(eq=False, slots=True, kw_only=True)
class Collaboration:
    """Somebody who works on an item; an address that no user has is only invited."""

    id: str
    item: "Item"
    role: str
    user: User | None
    invited: str | None
    by: User
    created: datetime
    modified: datetime


@dataclass(eq=False, slots=True, kw_only=True)
class Item:
    """What files, folders and web links have in common; only the root has no parent."""

    kind: ClassVar[str]

    id: str
    name: str
    parent: "Folder | None"
    owner: User
    by: User
    modified_by: User
    created: datetime
    modified: datetime
    content_created: datetime
    content_modified: datetime
    revision: int = 0
    description: str = ""
    tags: list[str] = field(default_factory=list)
    shared_link: SharedLink | None = None
    trashed: datetime | None = None
    metadata: dict[tuple[str, str], Instance] = field(default_factory=dict)
    collaborations: list[Collaboration] = field(default_factory=list)

    def touch(self, user: User, now: datetime) -> None:
        """Notes that somebody has changed it, which raises etag and sequence_id."""
        self.revision += 1
        self.modified, self.modified_by = now, user


@dataclass(eq=False, slots=True, kw_only=True)
class File(Item):
    """A file: its versions, newest last."""

    kind: ClassVar[str] = "file"

    versions: list[Version]
    lock: Lock | None = None
    comments: list[Comment] = field(default_factory=list)

    @property
    def current(self) -> Version:
        """The newest version."""
        return self.versions[-1]


@dataclass(eq=False, slots=True, kw_only=True)
class WebLink(Item):
    """A bookmark in a folder."""

    kind: ClassVar[str] = "web_link"

    url: str


@dataclass(eq=False, slots=True, kw_only=True)
class Folder(Item):
    """A folder; names are taken whatever their case."""

    kind: ClassVar[str] = "folder"

    children: dict[str, Item] = field(default_factory=dict)

    def child(self, name: str) -> Item | None:
        """What has that name in it."""
        return self.children.get(key_of(name))


def key_of(name: str) -> str:
    """What makes two names the same for a folder: Box does not tell a from A."""
    return name.lower()


def ancestors(item: Item) -> list[Folder]:
    """The folders above an item, the root first."""
    above: list[Folder] = []
    while item.parent is not None:
        above.append(item.parent)
        item = item.parent
    return above[::-1]


def path_of(item: Item) -> str:
    """Where an item lies, in names."""
    return "/" + "/".join(above.name for above in [*ancestors(item)[1:], item])


def walk(item: Item) -> Iterator[Item]:
    """The item and everything below it."""
    yield item
    if isinstance(item, Folder):
        for child in item.children.values():
            yield from walk(child)


def size_of(item: Item) -> int:
    """The bytes of a file, or of the files below a folder, without older versions."""
    return sum(len(below.current.content) for below in walk(item) if isinstance(below, File))


def stored_bytes(item: Item) -> int:
    """The bytes that an item takes from the quota: older versions count."""
    files = (below for below in walk(item) if isinstance(below, File))
    return sum(len(version.content) for file in files for version in file.versions)
