"""The one PUT of Box that renames, moves, describes, tags, shares and locks."""

from datetime import UTC, datetime
from typing import Literal

from app.sandbox.box.access import Body, Reference
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import forbidden
from app.sandbox.box.items import File, Item, Lock, WebLink
from app.sandbox.box.links import LinkWish, share, unshare
from app.sandbox.box.times import aware
from app.sandbox.history import Actor


class LockWish(Body):
    """A lock to put on a file."""

    access: Literal["lock", "unlock"] = "lock"
    expires_at: datetime | None = None
    is_download_prevented: bool = False


class ItemChange(Body):
    """What a PUT changes; what it does not name stays."""

    name: str | None = None
    parent: Reference | None = None
    description: str | None = None
    tags: list[str] | None = None
    url: str | None = None
    shared_link: LinkWish | None = None
    lock: LockWish | None = None

    def names(self, field: str) -> bool:
        """Whether the body has that field, be it null."""
        return field in self.model_fields_set


def change_item(enterprise: Enterprise, actor: Actor, item: Item, wish: ItemChange, base: str) -> None:
    """Does what the body says; `base` is where a shared link begins."""
    if wish.names("lock") and isinstance(item, File):
        set_lock(enterprise, actor, item, wish.lock)
    if wish.name is not None or wish.parent is not None:
        _place(enterprise, actor, item, wish)
    if wish.description is not None or wish.tags is not None or wish.url is not None:
        _describe(enterprise, actor, item, wish)
    if wish.names("shared_link") and wish.shared_link is not None:
        share(enterprise, item, wish.shared_link, base, actor)
    elif wish.names("shared_link"):
        unshare(enterprise, item, actor)


def set_lock(enterprise: Enterprise, actor: Actor, file: File, wish: LockWish | None) -> None:
    """Locks or unlocks a file. An administrator gets past the lock of somebody else."""
    tree = enterprise.tree
    held = file.lock
    if not actor.user.is_admin:
        tree.check_unlocked(file, actor)
    if wish is None or wish.access == "unlock":
        if held is not None:
            file.lock = None
            _note_lock("LOCK_DESTROY", enterprise, actor, file)
        return
    now, expires = datetime.now(UTC), aware(wish.expires_at) if wish.expires_at else None
    if expires is not None and expires <= now:
        raise forbidden("The lock would have ended already")
    file.lock = Lock(
        id=tree.new_id(),
        owner=actor.user,
        created=now,
        expires=expires,
        prevents_download=wish.is_download_prevented,
    )
    _note_lock("LOCK_CREATE", enterprise, actor, file)


def _note_lock(kind: str, enterprise: Enterprise, actor: Actor, file: File) -> None:
    file.touch(actor.user, datetime.now(UTC))
    enterprise.journal.record(kind, actor, file)


def _place(enterprise: Enterprise, actor: Actor, item: Item, wish: ItemChange) -> None:
    tree = enterprise.tree
    if item.parent is None:
        raise forbidden("The root folder stays where it is")
    parent = tree.folder(wish.parent.id) if wish.parent is not None else item.parent
    tree.place(item, parent, item.name if wish.name is None else wish.name, actor)


def _describe(enterprise: Enterprise, actor: Actor, item: Item, wish: ItemChange) -> None:
    enterprise.tree.check_movable(item, actor, "describe")
    if wish.description is not None:
        item.description = wish.description[:255]
    if isinstance(item, WebLink) and wish.url is not None:
        item.url = wish.url
    tagged = bool(set(wish.tags or ()) - set(item.tags))
    if wish.tags is not None:
        item.tags = list(wish.tags)
    item.touch(actor.user, datetime.now(UTC))
    # A new tag shows in the streams of users, another description only in those of the enterprise.
    if tagged:
        enterprise.journal.record("TAG_ITEM_CREATE", actor, item)
    else:
        enterprise.journal.record_for_admins("ITEM_MODIFY", actor, item)
