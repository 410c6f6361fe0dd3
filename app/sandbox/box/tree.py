"""The files of the enterprise: one tree that everybody sees, and the trash beside it."""

import copy
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

from app.sandbox.box.errors import BoxError, bad_request, forbidden, name_in_use, not_found
from app.sandbox.box.items import (
    Content,
    File,
    Folder,
    Instance,
    Item,
    Version,
    WebLink,
    ancestors,
    key_of,
    path_of,
    stored_bytes,
    walk,
)
from app.sandbox.box.journal import Journal
from app.sandbox.box.settings import BoxSettings
from app.sandbox.box.shapes import mini
from app.sandbox.history import Actor, User

ROOT_ID = "0"
ItemT = TypeVar("ItemT", bound=Item)

_NAME_LENGTH = 255
# Slashes of both kinds, and what cannot be printed.
_NEVER_IN_NAMES = frozenset({"/", "\\", "\x7f", *map(chr, range(32))})


def check_name(name: str) -> str:
    """The name, if Box lets something be called that."""
    if name in ("", ".", "..") or name != name.strip(" ") or _NEVER_IN_NAMES & set(name):
        raise BoxError(400, "item_name_invalid", "Item name invalid")
    if len(name) > _NAME_LENGTH:
        raise BoxError(400, "item_name_too_long", "Item name too long")
    return name


class Tree:
    """The items by their ids. Every change is synchronous and ends up in the journal."""

    def __init__(self, owner: User, journal: Journal, settings: Callable[[], BoxSettings]) -> None:
        self.journal = journal
        self.used: Counter[int] = Counter()
        self.trashed: dict[str, Item] = {}
        self.fixed: Callable[[Folder, str], bool] = lambda _folder, _operation: False
        self._settings = settings
        # Ids are long and differ from every other number here, so that nobody mixes them up unnoticed.
        self._last_id = 1_500_000_000_000 + secrets.randbelow(1_000_000)
        now = datetime.now(UTC)
        self.root = Folder(
            id=ROOT_ID, name="All Files", parent=None, owner=owner, by=owner, modified_by=owner,
            created=now, modified=now, content_created=now, content_modified=now,
        )  # fmt: skip
        self._items: dict[str, Item] = {ROOT_ID: self.root}

    def new_id(self) -> str:
        """An id that nothing else has."""
        self._last_id += 1
        return str(self._last_id)

    def find(self, kind: type[ItemT], item_id: str) -> ItemT:
        """The item with that id, unless it is in the trash."""
        item = self._items.get(item_id)
        if not isinstance(item, kind):
            raise not_found("item", item_id)
        if item.trashed or any(folder.trashed for folder in ancestors(item)):
            raise BoxError(404, "trashed", "Item is trashed")
        return item

    def find_trashed(self, kind: type[ItemT], item_id: str) -> ItemT:
        """The item with that id that was itself put into the trash."""
        item = self.trashed.get(item_id)
        if isinstance(item, kind):
            return item
        if isinstance(self._items.get(item_id), kind):
            raise BoxError(404, "not_trashed", "Item is not trashed")
        raise not_found("item", item_id)

    def folder(self, folder_id: str) -> Folder:
        """The folder with that id."""
        return self.find(Folder, folder_id)

    def file(self, file_id: str) -> File:
        """The file with that id."""
        return self.find(File, file_id)

    def active(self) -> Iterable[Item]:
        """Everything outside the trash, but not the root itself."""
        return (item for item in walk(self.root) if item is not self.root)

    def check_free(self, parent: Folder, name: str, but: Item | None = None) -> None:
        """Complains if a folder already holds something of that name, or if nothing may have it."""
        taken = parent.child(check_name(name))
        if taken is not None and taken is not but:
            raise name_in_use([mini(taken)] if isinstance(taken, Folder) else mini(taken))

    def check_space(self, owner: User, size: int) -> None:
        """Complains if a file is too large, for Box or for what its owner has left."""
        settings = self._settings()
        if size > settings.max_upload_size:
            raise BoxError(413, "file_size_limit_exceeded", "File size exceeds the folder owner's limit")
        if self.used[owner.id] + size > settings.space_amount:
            raise BoxError(403, "storage_limit_exceeded", "Account storage limit reached")

    def owner_of_new(self, parent: Folder, user: User) -> User:
        """Who owns what somebody puts into a folder: whoever owns the folder, or themselves at the root."""
        return user if parent is self.root else parent.owner

    def add_folder(self, parent: Folder, name: str, actor: Actor, description: str = "") -> Folder:
        """Makes a folder."""
        self.check_free(parent, name)
        now = datetime.now(UTC)
        folder = Folder(
            id=self.new_id(), name=name, parent=parent, owner=self.owner_of_new(parent, actor.user),
            by=actor.user, modified_by=actor.user, created=now, modified=now, content_created=now,
            content_modified=now, description=description,
        )  # fmt: skip
        self._attach(folder)
        self.journal.record("ITEM_CREATE", actor, folder)
        return folder

    def add_web_link(self, parent: Folder, name: str, url: str, description: str, actor: Actor) -> WebLink:
        """Makes a bookmark."""
        self.check_free(parent, name)
        now = datetime.now(UTC)
        link = WebLink(
            id=self.new_id(), name=name, parent=parent, owner=self.owner_of_new(parent, actor.user),
            by=actor.user, modified_by=actor.user, created=now, modified=now, content_created=now,
            content_modified=now, url=url, description=description,
        )  # fmt: skip
        self._attach(link)
        self.journal.record("ITEM_CREATE", actor, link)
        return link

    def add_file(
        self,
        parent: Folder,
        name: str,
        content: Content,
        sha1: str,
        actor: Actor,
        *,
        created: datetime | None = None,
        modified: datetime | None = None,
    ) -> File:
        """Makes a file; the two times are those of its content."""
        self.check_free(parent, name)
        owner = self.owner_of_new(parent, actor.user)
        self.check_space(owner, len(content))
        now = datetime.now(UTC)
        version = Version(
            id=self.new_id(), name=name, number=1, content=content, sha1=sha1, created=now, by=actor.user
        )
        file = File(
            id=self.new_id(), name=name, parent=parent, owner=owner, by=actor.user, modified_by=actor.user,
            created=now, modified=now, content_created=created or modified or now,
            content_modified=modified or now, versions=[version],
        )  # fmt: skip
        self.used[owner.id] += len(content)
        self._attach(file)
        self.journal.record("ITEM_UPLOAD", actor, file)
        return file

    def add_version(
        self,
        file: File,
        content: Content,
        sha1: str,
        actor: Actor,
        *,
        name: str | None = None,
        modified: datetime | None = None,
    ) -> File:
        """Puts a new content on top of a file, which may get another name at the same time."""
        self.check_unlocked(file, actor)
        if name is not None and file.parent is not None:
            self.check_free(file.parent, name, but=file)
        self.check_space(file.owner, len(content))
        now = datetime.now(UTC)
        self._put_on_top(file, content, sha1, actor.user, now)
        file.content_modified = modified or now
        if name is not None:
            self._rename(file, file.parent, name)
        self.journal.record("ITEM_UPLOAD", actor, file, admin="EDIT")
        return file

    def promote(self, file: File, version: Version, actor: Actor) -> Version:
        """Puts a copy of an old version on top of its file."""
        self.check_unlocked(file, actor)
        self.check_space(file.owner, len(version.content))
        self._put_on_top(file, version.content, version.sha1, actor.user, datetime.now(UTC))
        self.journal.record("ITEM_MAKE_CURRENT_VERSION", actor, file)
        return file.current

    def place(self, item: Item, parent: Folder, name: str, actor: Actor) -> None:
        """Moves and renames; each of the two is an event if it changes something."""
        if parent is item.parent and name == item.name:
            return
        self.check_movable(item, actor, "move")
        self._check_outside(item, parent)
        self.check_free(parent, name, but=item)
        moved, renamed = parent is not item.parent, name != item.name
        self._rename(item, parent, name)
        for happened, kind in ((moved, "ITEM_MOVE"), (renamed, "ITEM_RENAME")):
            if happened:
                item.touch(actor.user, datetime.now(UTC))
                self.journal.record(kind, actor, item)

    def copy(
        self, item: ItemT, parent: Folder, name: str, actor: Actor, version: Version | None = None
    ) -> ItemT:
        """Copies an item with all that is below it, under new ids; one event covers it."""
        if item.parent is None:
            raise forbidden("The root folder cannot be copied")
        self._check_outside(item, parent)
        self.check_free(parent, name)
        owner = self.owner_of_new(parent, actor.user)
        twin = self._twin(item, parent, name, actor.user, owner)
        if isinstance(twin, File) and version is not None:
            twin.current.content, twin.current.sha1 = version.content, version.sha1
        self.check_space(owner, stored_bytes(twin))
        self.used[owner.id] += stored_bytes(twin)
        self._attach(twin)
        self.journal.record("ITEM_COPY", actor, twin)
        return twin

    def trash(self, item: Item, actor: Actor, *, recursive: bool = True) -> None:
        """Puts an item into the trash, with all that is below it."""
        if isinstance(item, Folder) and item.children and not recursive:
            raise BoxError(400, "folder_not_empty", "Cannot delete - folder not empty")
        self.check_movable(item, actor, "delete")
        self._detach(item)
        item.trashed = datetime.now(UTC)
        item.touch(actor.user, item.trashed)
        self.trashed[item.id] = item
        self.journal.record("ITEM_TRASH", actor, item)

    def restore(self, item: Item, actor: Actor, name: str | None, fallback: Folder | None) -> None:
        """Takes an item out of the trash; `fallback` counts if the folder it came from is gone."""
        parent = item.parent if self._exists(item.parent) else fallback
        if parent is None:
            raise forbidden("The folder that it was in is gone: another parent is needed")
        self.check_free(parent, name or item.name)
        del self.trashed[item.id]
        item.trashed, item.parent, item.name = None, parent, name or item.name
        item.touch(actor.user, datetime.now(UTC))
        self._attach(item)
        self.journal.record("ITEM_UNDELETE_VIA_TRASH", actor, item)

    def purge(self, item: Item, actor: Actor) -> None:
        """Deletes what is in the trash for good. Box has no event for it in the user streams."""
        del self.trashed[item.id]
        for gone in walk(item):
            del self._items[gone.id]
        for file in (below for below in walk(item) if isinstance(below, File)):
            self.used[file.owner.id] -= stored_bytes(file)
        self.journal.purged(actor, item)

    def check_unlocked(self, item: Item, actor: Actor) -> None:
        """Complains about a lock that somebody else holds, on the item or below it."""
        now = datetime.now(UTC)
        for file in (below for below in walk(item) if isinstance(below, File)):
            if file.lock is not None and file.lock.expires is not None and file.lock.expires <= now:
                file.lock = None
            if file.lock is not None and file.lock.owner.id != actor.user.id:
                raise BoxError(403, "access_denied_item_locked", "Access denied - item locked")

    def check_movable(self, item: Item, actor: Actor, operation: str) -> None:
        """Complains if an item has to stay: the root, and what a lock holds."""
        if item.parent is None:
            raise forbidden()
        self.check_unlocked(item, actor)
        if isinstance(item, Folder) and self.fixed(item, operation):
            raise forbidden("Folder is locked")

    def by_path(self, path: str) -> Item:
        """The item at a path of names, which only the control routes know."""
        item: Item = self.root
        for name in filter(None, path.split("/")):
            child = item.child(name) if isinstance(item, Folder) else None
            if child is None:
                raise not_found("path", path)
            item = child
        return item

    def place_at(self, path: str, actor: Actor) -> tuple[Folder, str]:
        """The folder and the name that a path stands for; folders that are missing are made."""
        *above, name = [part for part in path.split("/") if part] or [""]
        folder = self.root
        for part in above:
            child = folder.child(part) or self.add_folder(folder, part, actor)
            if not isinstance(child, Folder):
                raise bad_request(f"{path_of(child)} is no folder")
            folder = child
        return folder, name

    def _exists(self, folder: Folder | None) -> bool:
        return folder is not None and not any(near.trashed for near in [folder, *ancestors(folder)])

    def _check_outside(self, item: Item, parent: Folder) -> None:
        if item in [parent, *ancestors(parent)]:
            message = "A folder cannot be put into itself or below itself"
            raise BoxError(400, "cyclical_folder_structure", message)

    def _put_on_top(self, file: File, content: Content, sha1: str, user: User, now: datetime) -> None:
        number = file.current.number + 1
        version = Version(
            id=self.new_id(), name=file.name, number=number, content=content, sha1=sha1, created=now, by=user
        )
        file.versions.append(version)
        file.touch(user, now)
        self.used[file.owner.id] += len(content)

    def _attach(self, item: Item) -> None:
        if item.parent is not None:
            item.parent.children[key_of(item.name)] = item
            item.parent.modified = item.parent.content_modified = datetime.now(UTC)
        self._items.update((below.id, below) for below in walk(item))

    def _detach(self, item: Item) -> None:
        if item.parent is not None:
            del item.parent.children[key_of(item.name)]
            item.parent.modified = item.parent.content_modified = datetime.now(UTC)

    def _rename(self, item: Item, parent: Folder | None, name: str) -> None:
        self._detach(item)
        item.parent, item.name = parent, name
        self._attach(item)

    def _twin(self, item: ItemT, parent: Folder, name: str, user: User, owner: User) -> ItemT:
        twin = copy.copy(item)
        now = datetime.now(UTC)
        twin.id, twin.name, twin.parent, twin.owner = self.new_id(), name, parent, owner
        twin.created, twin.modified, twin.by, twin.modified_by = now, now, user, user
        twin.revision, twin.shared_link, twin.tags, twin.collaborations = 0, None, list(item.tags), []
        twin.metadata = {key: _twin_instance(found) for key, found in item.metadata.items()}
        if isinstance(twin, File):
            current = copy.copy(twin.current)
            current.id, current.number, current.created, current.by = self.new_id(), 1, now, user
            twin.versions, twin.lock, twin.comments = [current], None, []
        if isinstance(twin, Folder):
            children = twin.children.items()
            twin.children = {key: self._twin(child, twin, child.name, user, owner) for key, child in children}
        return twin


def _twin_instance(instance: Instance) -> Instance:
    twin = copy.copy(instance)
    twin.id, twin.values, twin.version = secrets.token_hex(16), dict(instance.values), 0
    return twin
