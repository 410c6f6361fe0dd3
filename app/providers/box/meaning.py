"""What Box's events mean: one table for the streams of users, those of the enterprise, and webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from app.hubs.documents import Change
from app.providers.box.items import is_in_trash, path_of
from app.upstream.reading import date, fingerprint, mapping, number, text

NOTHING = ""
"""The event type of what creates, updates and deletes nothing: somebody has only read or synchronised."""

TASK = "task"
"""The verb of what concerns tasks, which few want to hear of."""

# Event type of Cloud Elements, finer verb, and the names of it: in the streams of users
# (https://developer.box.com/guides/events/user-events/for-user/), in those of the enterprise
# (https://developer.box.com/reference/resources/event/), and the triggers of webhooks
# (https://developer.box.com/guides/webhooks/triggers/). A star stands for every ending.
TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    ("CREATED", "create", "ITEM_CREATE", "", "FOLDER.CREATED"),
    ("CREATED", "upload", "ITEM_UPLOAD", "UPLOAD", "FILE.UPLOADED"),
    ("UPDATED", "version", "ITEM_MAKE_CURRENT_VERSION", "EDIT ITEM_MODIFY FILE_VERSION_RESTORE", ""),
    ("CREATED", "copy", "ITEM_COPY", "COPY", "FILE.COPIED FOLDER.COPIED"),
    ("UPDATED", "move", "ITEM_MOVE", "MOVE", "FILE.MOVED FOLDER.MOVED"),
    ("UPDATED", "rename", "ITEM_RENAME", "RENAME", "FILE.RENAMED FOLDER.RENAMED"),
    ("DELETED", "trash", "ITEM_TRASH", "DELETE", "FILE.TRASHED FOLDER.TRASHED"),
    ("DELETED", "purge", "", "", "FILE.DELETED FOLDER.DELETED"),
    ("CREATED", "restore", "ITEM_UNDELETE_VIA_TRASH", "UNDELETE", "FILE.RESTORED FOLDER.RESTORED"),
    ("UPDATED", "lock", "LOCK_CREATE", "LOCK", "FILE.LOCKED"),
    ("UPDATED", "unlock", "LOCK_DESTROY", "UNLOCK", "FILE.UNLOCKED"),
    ("UPDATED", "share", "ITEM_SHARED_CREATE ITEM_SHARED ITEM_SHARED_UPDATE",
     "SHARE UPDATE_SHARE_EXPIRATION SHARE_EXPIRATION", "SHARED_LINK.CREATED SHARED_LINK.UPDATED"),
    ("UPDATED", "unshare", "ITEM_SHARED_UNSHARE", "UNSHARE", "SHARED_LINK.DELETED"),
    ("UPDATED", "permission",
     "COLLAB_ADD_COLLABORATOR COLLAB_INVITE_COLLABORATOR COLLAB_ROLE_CHANGE COLLAB_REMOVE_COLLABORATOR",
     "COLLABORATION_* UPDATE_COLLABORATION_EXPIRATION CHANGE_FOLDER_PERMISSION",
     ("COLLABORATION.CREATED COLLABORATION.ACCEPTED COLLABORATION.REJECTED COLLABORATION.REMOVED "
      "COLLABORATION.UPDATED")),
    ("UPDATED", "comment", "COMMENT_CREATE COMMENT_EDIT COMMENT_DELETE", "",
     "COMMENT.CREATED COMMENT.UPDATED COMMENT.DELETED"),
    ("UPDATED", TASK, "TASK_CREATE TASK_ASSIGNMENT_CREATE", "TASK_*",
     "TASK_ASSIGNMENT.CREATED TASK_ASSIGNMENT.UPDATED"),
    ("UPDATED", "tag", "TAG_ITEM_CREATE", "", ""),
    ("UPDATED", "metadata", "", "METADATA_INSTANCE_*",
     "METADATA_INSTANCE.CREATED METADATA_INSTANCE.UPDATED METADATA_INSTANCE.DELETED"),
    (NOTHING, "sync", "ITEM_SYNC ITEM_UNSYNC", "", ""),
    (NOTHING, "access", "ITEM_DOWNLOAD ITEM_PREVIEW",
     "DOWNLOAD PREVIEW ITEM_OPEN CONTENT_ACCESS FILE_WATERMARKED_DOWNLOAD",
     "FILE.DOWNLOADED FILE.PREVIEWED FOLDER.DOWNLOADED"),
)  # fmt: skip
# People, devices, policies, logins: about no file or folder.
_ABOUT_NO_ITEM = re.compile(
    r"(GROUP|MASTER|SHIELD|SIGN|SIGNER|LEGAL_HOLD|RETENTION|DATA_RETENTION|EDR|BOX_AI|AI|WORKFLOW"
    r"|CONTENT_WORKFLOW|TERMS_OF_SERVICE|APPLICATION|EMAIL_ALIAS)_.*|SIGN_REQUEST\..*|.*(DEVICE|TOKEN).*"
    r"|(ENABLE|DISABLE)_.*_AUTH|ACCESS_(GRANTED|REVOKED)|(NEW|EDIT|DELETE)_USER|CHANGE_ADMIN_ROLE"
    r"|(ADMIN_|FAILED_)?LOGIN"
)

Meaning = tuple[str, str]


def _named() -> dict[str, Meaning]:
    return {
        name: (event_type, verb)
        for event_type, verb, *columns in TABLE
        for column in columns
        for name in column.split()
    }


_BY_NAME = _named()
_BY_BEGINNING = {name[:-1]: meaning for name, meaning in _BY_NAME.items() if name.endswith("*")}


@lru_cache(maxsize=1024)  # Box has some 300 names; the rest is for those that it will think of
def meaning_of(name: str) -> Meaning:
    """Event type and verb of a name in any of Box's three languages; an unknown name is its own verb."""
    found = _BY_NAME.get(name)
    if found is None:
        found = next((known for start, known in _BY_BEGINNING.items() if name.startswith(start)), None)
    if found is None and _ABOUT_NO_ITEM.fullmatch(name):
        return NOTHING, "access"
    return found or ("UNKNOWN", name)


def changes_in(events: Iterable[Mapping[str, Any]], *, tasks: bool) -> list[Change]:
    """The changes among the events of a page, in their order, each once."""
    found: dict[str, Change] = {}
    for event in events:
        meaning = meaning_of(str(event.get("event_type")))
        if is_told(meaning, tasks=tasks):
            event_id = str(event.get("event_id") or fingerprint(event))
            found[event_id] = told(event, meaning, event_id)
    return list(found.values())


def is_told(meaning: Meaning, *, tasks: bool) -> bool:
    """Whether it becomes an event at all."""
    event_type, verb = meaning
    return event_type != NOTHING and (tasks or verb != TASK)


def told(event: Mapping[str, Any], meaning: Meaning, event_id: str) -> Change:
    """The change that an event of a stream or the body of a webhook tells."""
    source = mapping(event.get("source"))
    item = source
    if "item" in source:  # of a comment, a task or a collaboration
        item = mapping(source["item"]) or source
    kind, item_id, name = _identity(item)
    actor = mapping(event.get("created_by"))
    event_type, verb, if_known = _decided(meaning, item)
    has_place = not is_in_trash(item)
    return Change(
        event_id=event_id,
        event_type=event_type if item_id else "UNKNOWN",
        object_type=kind or "unknown",
        object_id=item_id or event_id,
        date=date(event.get("created_at")) or datetime.now(UTC),
        change=verb,
        raw=event,
        path=path_of(item, name) if name and has_place and item.get("path_collection") else None,
        name=name,
        parent_object_id=text(mapping(item.get("parent")).get("id")) if has_place else None,
        actor_id=text(actor.get("id")),
        actor_name=text(actor.get("name")),
        version_id=_version(item, event),
        sequence=number(source.get("sequence_id")) if item is source else None,
        if_known=if_known,
    )


def _identity(item: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Type, id and name: the streams of the enterprise spell them in another way, or in a third one for
    collaborations."""
    item_id = item.get("id") or item.get("item_id")
    if item_id:
        kind, name = item.get("type") or item.get("item_type"), item.get("name") or item.get("item_name")
        return text(kind), str(item_id), text(name)
    kind = next((kind for kind in ("folder", "file") if item.get(f"{kind}_id")), None)
    return (kind, str(item[f"{kind}_id"]), text(item.get(f"{kind}_name"))) if kind else (None, None, None)


def _decided(meaning: Meaning, item: Mapping[str, Any]) -> tuple[str, str, Meaning | None]:
    """Type and verb, and those for the case that the item is known. Box has the same name for the upload of
    a file and of a new version; the etag counts the changes of a file, where it is sent."""
    event_type, verb = meaning
    if verb != "upload":
        return event_type, verb, None
    etag = item.get("etag")
    if etag is None:
        return event_type, verb, ("UPDATED", "version")
    return (event_type, verb, None) if str(etag) == "0" else ("UPDATED", "version", None)


def _version(item: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    version = item.get("file_version")
    if version is not None:
        return text(mapping(version).get("id"))
    return text(mapping(event.get("additional_details")).get("version_id"))
