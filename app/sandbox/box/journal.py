"""What has happened in the enterprise, and who waits for the next thing to happen."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from app.sandbox.box.items import Item, path_of
from app.sandbox.box.shapes import standard
from app.sandbox.history import Actor, Change, History, Ref

# Above 2^53, as positions are at Box: whoever reads them as floats loses events.
FIRST_EVENT_ID = 1_152_922_976_252_290_886

# The types of the user streams and what the enterprise streams call the same.
_ADMIN_TYPES = {
    "ITEM_CREATE": "UPLOAD",
    "ITEM_UPLOAD": "UPLOAD",
    "ITEM_MOVE": "MOVE",
    "ITEM_COPY": "COPY",
    "ITEM_RENAME": "RENAME",
    "ITEM_TRASH": "DELETE",
    "ITEM_UNDELETE_VIA_TRASH": "UNDELETE",
    "ITEM_MAKE_CURRENT_VERSION": "FILE_VERSION_RESTORE",
    "ITEM_DOWNLOAD": "DOWNLOAD",
    "ITEM_SHARED_CREATE": "SHARE",
    "ITEM_SHARED": "ITEM_SHARED_UPDATE",
    "ITEM_SHARED_UNSHARE": "UNSHARE",
    "TAG_ITEM_CREATE": "ITEM_MODIFY",
    "LOCK_CREATE": "LOCK",
    "LOCK_DESTROY": "UNLOCK",
    "COMMENT_CREATE": "COMMENT_CREATE",
    "COMMENT_DELETE": "COMMENT_DELETE",
    "COLLAB_ADD_COLLABORATOR": "COLLABORATION_ACCEPT",
    "COLLAB_INVITE_COLLABORATOR": "COLLABORATION_INVITE",
    "COLLAB_REMOVE_COLLABORATOR": "COLLABORATION_REMOVE",
    "COLLAB_ROLE_CHANGE": "COLLABORATION_ROLE_CHANGE",
}


PURGE = "PURGE"
"""What no stream shows, but webhooks do."""

Listener = Callable[[str, Actor, Item, Mapping[str, Any]], None]
"""Somebody who hears of everything: what happened, who did it, to what, and the source of the event."""


class Journal:
    """The events of every stream in one history."""

    def __init__(self, keep: int) -> None:
        self.history = History(FIRST_EVENT_ID, keep)
        self._waiting: set[asyncio.Event] = set()
        self.listener: Listener = lambda _kind, _actor, _item, _source: None

    def record(
        self, kind: str, actor: Actor, item: Item, *, source: Mapping[str, Any] | None = None, admin: str = ""
    ) -> Change:
        """Notes an event of the user streams; its source is the item, unless another one is given."""
        return self._note(kind, admin or _ADMIN_TYPES[kind], actor, item, source or standard(item))

    def record_for_admins(self, kind: str, actor: Actor, item: Item) -> Change:
        """Notes an event that only the enterprise streams show."""
        return self._note("", kind, actor, item, standard(item))

    def purged(self, actor: Actor, item: Item) -> None:
        """Tells the listener of what no stream shows."""
        self.listener(PURGE, actor, item, standard(item))

    async def wait(self, seconds: float) -> None:
        """Returns at the next event, or when the time is over."""
        news = asyncio.Event()
        self._waiting.add(news)
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(news)

    def _note(self, kind: str, admin: str, actor: Actor, item: Item, source: Mapping[str, Any]) -> Change:
        detail = {"source": source, "admin": admin}
        change = self.history.record(kind, actor, Ref(path_of(item), item.id), detail=detail)
        for news in self._waiting:
            news.set()
        self.listener(kind or admin, actor, item, source)
        return change
