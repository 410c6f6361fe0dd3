"""The meaning of changes in the light of what is known: pure, one change after the other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from app.hubs import paths
from app.hubs.documents import Change
from app.hubs.entries import object_key
from app.store.known_objects import Fell, Following, Known, Moved, Rose, folded

REMEMBERED = frozenset({"file", "folder", "web_link"})
_MOVES = frozenset({"move", "rename"})
_MILLISECOND = timedelta(milliseconds=1)


class Recollection:
    """The memory of one instance while a page of its changes is read, as far as the page needs it.

    `known` begins with what was unseen the longest. `following` is what happened to everything below
    folders, in its order, for those objects that were not asked for. What was there before the account was
    connected is not known: its first change is told as the vendor says it, an Egnyte `create` as CREATED. A
    change that comes late is told as what it is, and what is known stays.
    """

    def __init__(self, known: Iterable[Known], now: datetime) -> None:
        self._now = now
        self._objects: dict[str, Known] = {}
        self._at: dict[str, dict[str, Known]] | None = None  # made when somebody asks for a path
        self._touched: dict[str, Known] = {}
        self.following: list[Following] = []
        for item in known:
            self._put(object_key(item.object_type, item.object_id), item)

    def touched(self) -> Iterable[Known]:
        """The objects that are known otherwise than before."""
        return self._touched.values()

    def meaning(self, change: Change) -> Change | None:
        """The change as it is meant, or None for one that says nothing new. It is remembered."""
        if change.object_type not in REMEMBERED or change.body is not None:
            return change
        change = self._identified(change)
        key = object_key(change.object_type, change.object_id)
        known = self._objects.get(key)
        if change.event_type == "UNKNOWN":
            return change
        if change.change == "purge" and known is not None and known.deleted_at is not None:
            return None
        late = known is not None and _is_late(change, known)
        if not late:
            change = self._typed(change, known)
        change = self._completed(change, known, late)
        if not late:
            self._remember(key, change, known)
        return change

    # What the vendor left out

    def _identified(self, change: Change) -> Change:
        """A change that has its path for an id gets the id that was last known there."""
        if not change.by_path:
            return change
        fresh = change.event_type == "CREATED" and change.change != "restore"
        places = (change.path,) if fresh else (change.previous_path, change.path)
        for path in places:
            found = self._found(change.object_type, path, living=fresh)
            if found is not None:
                return replace(change, object_id=found.object_id)
        if fresh and self._has_moved_away(change):
            return replace(change, object_id=f"{change.object_id}#{change.event_id}")
        return change

    def _has_moved_away(self, change: Change) -> bool:
        """Whether the id that this path would be belongs to what was here once and is elsewhere now."""
        known = self._objects.get(object_key(change.object_type, change.object_id))
        if known is None or known.path is None or change.path is None:
            return False
        return folded(known.path) != folded(change.path)

    def _typed(self, change: Change, known: Known | None) -> Change:
        if change.if_known is None:
            return change
        if known is not None:
            seen = known.deleted_at is None
        else:  # a vendor that numbers the changes of an object is sure of its ids
            there = self._found(change.object_type, change.path, living=True)
            seen = there is not None and change.sequence is None and change.object_type == "file"
        if not seen:
            return change
        event_type, verb = change.if_known
        return replace(change, event_type=event_type, change=verb)

    def _completed(self, change: Change, known: Known | None, late: bool) -> Change:
        """Path, previous path and parent as they were known last, where the vendor tells nothing of them."""
        missing: dict[str, str] = {}
        moves = change.change in _MOVES
        path = change.path
        if path is None and (path := self._reckoned(change, known, late)):
            missing["path"] = path
        if known is not None and not late:
            if moves and change.previous_path is None and known.path not in {None, path}:
                missing["previous_path"] = known.path or ""
            if change.parent_object_id is None and known.parent_object_id and change.change != "move":
                missing["parent_object_id"] = known.parent_object_id
        if change.name is None and path is not None:
            missing["name"] = paths.split(path)[1]
        return replace(change, **missing) if missing else change  # type: ignore[arg-type]

    def _reckoned(self, change: Change, known: Known | None, late: bool) -> str | None:
        """Where an object must be: in its parent, if that is known, or where it was."""
        is_new = known is None or change.change in _MOVES
        if is_new and change.name is not None:
            parent_id = change.parent_object_id
            if parent_id is None and known is not None and change.change == "rename":
                if known.path is not None:
                    return paths.join(paths.split(known.path)[0], change.name)
                parent_id = known.parent_object_id
            parent = self._objects.get(object_key("folder", parent_id)) if parent_id else None
            if parent is not None and parent.path is not None:
                return paths.join(parent.path, change.name)
        if known is None or late or change.change in _MOVES:
            return None
        return known.path

    def _found(self, object_type: str, path: str | None, *, living: bool) -> Known | None:
        """What is at a path: what lives there, or else what was there last."""
        if path is None:
            return None
        here = [item for item in self._there(path).values() if item.object_type == object_type]
        alive = [item for item in here if item.deleted_at is None]
        if alive or living:
            return alive[-1] if alive else None
        return here[-1] if here else None

    # What is known from now on

    def _remember(self, key: str, change: Change, known: Known | None) -> None:
        before = known or Known(change.object_type, change.object_id, path=change.previous_path)
        deleted_at = before.deleted_at
        if change.event_type == "DELETED":
            deleted_at = _fall(change)
        elif known is not None and _revives(change, known):
            deleted_at = None
        moved = change.change in _MOVES
        after = Known(
            before.object_type,
            before.object_id,
            path=change.path if change.path is not None or moved else before.path,
            parent_object_id=change.parent_object_id
            if change.parent_object_id is not None or change.change == "move"
            else before.parent_object_id,
            sequence=before.sequence if change.sequence is None else change.sequence,
            deleted_at=deleted_at,
            seen_at=self._now,
        )
        if after.object_type == "folder" and (known is not None or moved or deleted_at is not None):
            self._lead(key, before, after, change)
        self._touched[key] = after
        self._put(key, after)

    def _lead(self, key: str, before: Known, after: Known, change: Change) -> None:
        """Takes along what lies below a folder."""
        if before.deleted_at is not None and after.deleted_at is None and before.path is not None:
            self._follow(key, Rose(before.path, before.deleted_at))
        start = change.previous_path if change.change in _MOVES and change.previous_path else before.path
        if start is not None and after.path is not None and start != after.path:
            self._follow(key, Moved(start, after.path))
        if change.event_type == "DELETED" and after.path is not None and after.deleted_at is not None:
            self._follow(key, Fell(after.path, after.deleted_at))

    def _follow(self, folder: str, step: Following) -> None:
        self.following.append(step)
        below = folded(step.path) + "/"
        for key, item in list(self._objects.items()):
            if key == folder or item.path is None or not folded(item.path).startswith(below):
                continue
            path, deleted_at = item.path, item.deleted_at
            match step:
                case Fell(at=at):
                    deleted_at = deleted_at or at
                case Rose(fell_at=fell_at) if deleted_at == fell_at:
                    deleted_at = None
                case Moved(path=start, to=to):
                    path = to + path[len(start) :]
            if (path, deleted_at) != (item.path, item.deleted_at):
                moved = self._touched[key] = replace(item, path=path, deleted_at=deleted_at)
                self._put(key, moved)

    def _put(self, key: str, item: Known) -> None:
        """Keeps an object, last in the order; and its place, where places are asked for."""
        before = self._objects.pop(key, None)
        self._objects[key] = item
        if self._at is None:
            return
        if before is not None and before.path is not None:
            self._at.get(folded(before.path), {}).pop(key, None)
        if item.path is not None:
            self._at.setdefault(folded(item.path), {})[key] = item

    def _there(self, path: str) -> dict[str, Known]:
        """What is at a path by its keys, that which came there last at the end."""
        if self._at is None:
            self._at = {}
            for key, item in self._objects.items():
                if item.path is not None:
                    self._at.setdefault(folded(item.path), {})[key] = item
        return self._at.get(folded(path), {})


def _is_late(change: Change, known: Known) -> bool:
    """Whether more recent things are known of the object: by its number, or by the time of its deletion."""
    if change.sequence is not None and known.sequence is not None and change.sequence < known.sequence:
        return True
    return known.deleted_at is not None and known.deleted_at - change.date > _MILLISECOND


def _revives(change: Change, known: Known) -> bool:
    """Whether a deleted object lives again; a remark about it does not wake it."""
    if known.deleted_at is None or change.event_type == "CREATED" or change.change in _MOVES:
        return True
    return change.sequence is not None and known.sequence is not None and change.sequence > known.sequence


def _fall(change: Change) -> datetime:
    """The time of a deletion, made its own by microseconds that the vendor does not use."""
    whole = change.date.replace(microsecond=change.date.microsecond // 1000 * 1000)
    return whole + timedelta(microseconds=zlib.crc32(change.event_id.encode(errors="replace")) % 1000)
