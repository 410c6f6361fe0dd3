"""Changes that somebody else makes in the fake Box, as if through its own clients."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.box.changing import ItemChange, change_item
from app.sandbox.box.collaborations import collaborate
from app.sandbox.box.comments import add_comment, find_comment, remove_comment
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import not_found
from app.sandbox.box.items import File, Folder, Item, path_of
from app.sandbox.box.versions import find_version
from app.sandbox.history import Actor

Action = Literal[
    "upload", "folder", "web_link", "move", "rename", "copy", "delete", "restore", "purge", "promote",
    "describe", "tag", "comment", "comment_delete", "share", "unshare", "lock", "unlock", "collaborate",
    "download",
]  # fmt: skip


class ChangeOrder(BaseModel):
    """What somebody does, and how many times; `{n}` in a text is the number of the turn, from 0."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    path: str = Field("", description="What is changed, by its names: /Docs/a.txt.")
    destination: str = Field("", description="New path of a move, rename or copy; a name alone renames.")
    content: str = Field("", description="Text of a file, comment or description; a tag; a web address.")
    comment_id: str = Field("", description="The comment to delete.")
    version_id: str = Field("", description="The version to promote; without one the oldest.")
    access: Literal["open", "company", "collaborators"] = Field("open", description="Of a shared link.")
    login: str = Field("bob@example.com", description="Who is made a collaborator.")
    role: str = Field("editor", description="The role of a collaborator.")
    user: str = Field("bob", description="Who does it.")
    count: int = Field(1, ge=1, le=1_000_000)

    def turn(self, n: int) -> "ChangeOrder":
        """The order for one turn."""
        if self.count == 1:
            return self
        texts = ("path", "destination", "content")
        return self.model_copy(update={name: getattr(self, name).replace("{n}", str(n)) for name in texts})


class Work:
    """One turn of an order; `base` is the address that the fake has for those who ask."""

    def __init__(self, enterprise: Enterprise, actor: Actor, order: ChangeOrder, base: str) -> None:
        self.enterprise = enterprise
        self.actor = actor
        self.order = order
        self.base = base
        self.tree = enterprise.tree

    @property
    def item(self) -> Item:
        """What is at the path."""
        return self.tree.by_path(self.order.path)

    @property
    def file(self) -> File:
        """The file at the path."""
        item = self.item
        if not isinstance(item, File):
            raise not_found("file", self.order.path)
        return item

    def change(self, **fields: object) -> Item:
        """Changes what is at the path as a PUT does."""
        item = self.item
        change_item(self.enterprise, self.actor, item, ItemChange.model_validate(fields), self.base)
        return item

    def destination(self) -> tuple[Folder, str]:
        """The folder and the name at the destination."""
        wanted = self.order.destination
        if "/" not in wanted and self.item.parent is not None:
            return self.item.parent, wanted
        return self.tree.place_at(wanted, self.actor)


def _upload(work: Work) -> Item:
    content = work.order.content.encode()
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    folder, name = work.tree.place_at(work.order.path, work.actor)
    found = folder.child(name)
    if isinstance(found, File):
        return work.tree.add_version(found, content, sha1, work.actor)
    return work.tree.add_file(folder, name, content, sha1, work.actor)


def _folder(work: Work) -> Item:
    folder, name = work.tree.place_at(work.order.path, work.actor)
    return work.tree.add_folder(folder, name, work.actor)


def _web_link(work: Work) -> Item:
    folder, name = work.tree.place_at(work.order.path, work.actor)
    return work.tree.add_web_link(folder, name, work.order.content, "", work.actor)


def _move(work: Work) -> Item:
    item = work.item
    work.tree.place(item, *work.destination(), work.actor)
    return item


def _copy(work: Work) -> Item:
    return work.tree.copy(work.item, *work.destination(), work.actor)


def _delete(work: Work) -> Item:
    item = work.item
    work.tree.trash(item, work.actor)
    return item


def _restore(work: Work) -> Item:
    item = _in_trash(work)
    work.tree.restore(item, work.actor, None, work.tree.root)
    return item


def _purge(work: Work) -> Item:
    item = _in_trash(work)
    work.tree.purge(item, work.actor)
    return item


def _in_trash(work: Work) -> Item:
    """What was deleted last at the path; its parents still know where it was."""
    wanted = "/" + work.order.path.strip("/")
    found = [item for item in work.tree.trashed.values() if path_of(item) == wanted]
    if not found:
        raise not_found("path", work.order.path)
    return found[-1]


def _promote(work: Work) -> Item:
    file, wanted = work.file, work.order.version_id
    version = find_version(file, wanted) if wanted else file.versions[0]
    work.tree.promote(file, version, work.actor)
    return file


def _comment(work: Work) -> Item:
    return add_comment(work.enterprise, work.file, work.order.content, work.actor).file


def _comment_delete(work: Work) -> Item:
    comment = find_comment(work.enterprise, work.order.comment_id)
    remove_comment(work.enterprise, comment, work.actor)
    return comment.file


def _collaborate(work: Work) -> Item:
    order, enterprise = work.order, work.enterprise
    user = enterprise.user_by_login(order.login)
    invited = order.login if user is None else None
    return collaborate(enterprise, work.item, order.role, user, invited, work.actor).item


def _download(work: Work) -> Item:
    work.enterprise.journal.record("ITEM_DOWNLOAD", work.actor, work.file)
    return work.file


_ACTIONS: Mapping[Action, Callable[[Work], Item]] = {
    "upload": _upload,
    "folder": _folder,
    "web_link": _web_link,
    "move": _move,
    "rename": _move,
    "copy": _copy,
    "delete": _delete,
    "restore": _restore,
    "purge": _purge,
    "promote": _promote,
    "describe": lambda work: work.change(description=work.order.content),
    "tag": lambda work: work.change(tags=[*work.item.tags, work.order.content]),
    "comment": _comment,
    "comment_delete": _comment_delete,
    "share": lambda work: work.change(shared_link={"access": work.order.access}),
    "unshare": lambda work: work.change(shared_link=None),
    "lock": lambda work: work.change(lock={"access": "lock"}),
    "unlock": lambda work: work.change(lock=None),
    "collaborate": _collaborate,
    "download": _download,
}


def apply(enterprise: Enterprise, order: ChangeOrder, base: str) -> dict[str, object]:
    """Carries the order out; answers the positions that it spans and the item that was changed last."""
    actor, history = Actor(enterprise.named(order.user)), enterprise.journal.history
    before, item_id = history.latest_id, ""
    for n in range(order.count):
        item_id = _ACTIONS[order.action](Work(enterprise, actor, order.turn(n), base)).id
    return {
        "changes": order.count,
        "id": item_id,
        "after_position": str(before),
        "latest_position": str(history.latest_id),
    }
