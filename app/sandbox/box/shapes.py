"""Box's JSON for users, files, folders and web links: mini, standard, or the fields that somebody names."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from app.sandbox.box.items import File, Folder, Instance, Item, Lock, SharedLink, Version, ancestors, size_of
from app.sandbox.box.times import timestamp
from app.sandbox.history import User

Shape = dict[str, Any]

# https://support.box.com: what is in the trash is gone after 30 days.
_TRASH_LIVES = timedelta(days=30)
_RANK = {"folder": 0, "file": 1, "web_link": 2}

_PERMISSIONS = {
    "file": ("download", "preview", "upload", "comment", "rename", "delete", "share", "set_share_access",
             "invite_collaborator", "annotate", "view_annotations_all", "view_annotations_self",
             "create_annotations", "view_annotations"),
    "folder": ("download", "upload", "rename", "delete", "share", "set_share_access", "invite_collaborator"),
    "web_link": ("rename", "delete", "share", "set_share_access"),
}  # fmt: skip

MINI = ("type", "id", "sequence_id", "etag", "name", "sha1", "file_version", "url")
STANDARD = (
    "type", "id", "file_version", "sequence_id", "etag", "sha1", "name", "url", "description", "size",
    "path_collection", "created_at", "modified_at", "trashed_at", "purged_at", "content_created_at",
    "content_modified_at", "created_by", "modified_by", "owned_by", "shared_link", "folder_upload_email",
    "parent", "item_status",
)  # fmt: skip


def rank(item: Item) -> int:
    """Listings have folders first, then files, then web links."""
    return _RANK[item.kind]


def user_mini(user: User) -> Shape:
    """Somebody, wherever a user is named."""
    return {"type": "user", "id": str(user.id), "name": user.full_name, "login": user.email}


def version_mini(version: Version) -> Shape:
    """A version as its file shows it."""
    return {"type": "file_version", "id": version.id, "sha1": version.sha1}


def mini(item: Item) -> Shape:
    """An item as other things name it."""
    return show(item, MINI)


def standard(item: Item) -> Shape:
    """An item as most routes answer it."""
    return show(item, STANDARD)


def selected(item: Item, fields: str | None, usual: Iterable[str] = STANDARD) -> Shape:
    """The fields that a request names, by commas; without any the usual ones."""
    if not fields:
        return show(item, usual)
    names = [name.strip() for name in fields.split(",")]
    shape = show(item, ["type", "id", "etag", *names])
    if any(name.startswith("metadata.") for name in names):
        shape["metadata"] = _metadata(item, names)
    return shape


def show(item: Item, names: Iterable[str]) -> Shape:
    """The named fields, as far as items of that kind have them."""
    getters = _FIELDS[item.kind]
    return {name: getters[name](item) for name in names if name in getters}


def listing(entries: list[Shape], total: int, offset: int, limit: int) -> Shape:
    """A page of something that is paged by offset."""
    return {"total_count": total, "entries": entries, "offset": offset, "limit": limit}


def instance_shape(item: Item, instance: Instance) -> Shape:
    """A metadata instance."""
    return {
        "$id": instance.id,
        "$type": f"{instance.template}-{instance.scope}",
        "$parent": f"{item.kind}_{item.id}",
        "$template": instance.template,
        "$scope": instance.scope,
        "$version": instance.version,
        "$typeVersion": 0,
        "$canEdit": True,
        **instance.values,
    }


def _metadata(item: Item, names: list[str]) -> Shape:
    shape: Shape = {}
    for name in names:
        _, scope, template = [*name.split("."), "", ""][:3]
        for (of_scope, of_template), instance in item.metadata.items():
            if template == of_template and of_scope.startswith(scope):
                shape.setdefault(scope, {})[template] = instance_shape(item, instance)
    return shape


def _revision(item: Item) -> str | None:
    return None if item.parent is None else str(item.revision)


def _path_collection(item: Item) -> Shape:
    above = ancestors(item)
    return {"total_count": len(above), "entries": [mini(folder) for folder in above]}


def _status(item: Item) -> str:
    return "trashed" if any(near.trashed for near in [item, *ancestors(item)]) else "active"


def _permissions(item: Item) -> Shape:
    return {f"can_{name}": True for name in _PERMISSIONS[item.kind]}


def _purged_at(item: Item) -> str | None:
    return timestamp(item.trashed + _TRASH_LIVES) if item.trashed else None


def link_shape(item: Item, link: SharedLink) -> Shape:
    """A shared link, with addresses at which the fake really answers."""
    allowed = "can_edit" if link.can_edit else "can_download" if link.can_download else "can_preview"
    static = f"{link.base}/shared/static/{link.token}{PurePosixPath(item.name).suffix}"
    return {
        "url": f"{link.base}/s/{link.token}",
        "download_url": static if isinstance(item, File) and link.can_download else None,
        "vanity_url": f"{link.base}/v/{link.vanity_name}" if link.vanity_name else None,
        "vanity_name": link.vanity_name,
        "access": link.access,
        "effective_access": link.access,
        "effective_permission": allowed,
        "unshared_at": timestamp(link.unshared_at),
        "is_password_enabled": link.password is not None,
        "permissions": {"can_download": link.can_download, "can_preview": True, "can_edit": link.can_edit},
        "download_count": link.downloads,
        "preview_count": 0,
    }


def lock_shape(lock: Lock) -> Shape:
    """A lock, as the field of its file."""
    return {
        "type": "lock",
        "id": lock.id,
        "created_by": user_mini(lock.owner),
        "created_at": timestamp(lock.created),
        "expired_at": timestamp(lock.expires),
        "is_download_prevented": lock.prevents_download,
    }


_COMMON: Mapping[str, Callable[[Item], Any]] = {
    "type": lambda item: item.kind,
    "id": lambda item: item.id,
    "sequence_id": _revision,
    "etag": _revision,
    "name": lambda item: item.name,
    "description": lambda item: item.description,
    "path_collection": _path_collection,
    "created_at": lambda item: timestamp(item.created),
    "modified_at": lambda item: timestamp(item.modified),
    "trashed_at": lambda item: timestamp(item.trashed),
    "purged_at": _purged_at,
    "created_by": lambda item: user_mini(item.by),
    "modified_by": lambda item: user_mini(item.modified_by),
    "owned_by": lambda item: user_mini(item.owner),
    "shared_link": lambda item: link_shape(item, item.shared_link) if item.shared_link else None,
    "parent": lambda item: mini(item.parent) if item.parent else None,
    "item_status": _status,
    "permissions": _permissions,
    "tags": lambda item: list(item.tags),
    "is_externally_owned": lambda item: False,
    "is_accessible_via_shared_link": lambda item: item.shared_link is not None,
    "allowed_shared_link_access_levels": lambda item: ["open", "company", "collaborators"],
    "has_collaborations": lambda item: bool(item.collaborations),
    "classification": lambda item: None,
}
_CONTENT_TIMES: Mapping[str, Callable[[Item], Any]] = {
    "size": size_of,
    "content_created_at": lambda item: timestamp(item.content_created),
    "content_modified_at": lambda item: timestamp(item.content_modified),
}
_FILE: Mapping[str, Callable[[File], Any]] = {
    "sha1": lambda file: file.current.sha1,
    "file_version": lambda file: version_mini(file.current),
    "version_number": lambda file: str(file.current.number),
    "extension": lambda file: PurePosixPath(file.name).suffix.removeprefix("."),
    "lock": lambda file: lock_shape(file.lock) if file.lock else None,
    "comment_count": lambda file: len(file.comments),
    "is_package": lambda file: False,
    "uploader_display_name": lambda file: file.current.by.full_name,
}
_FOLDER: Mapping[str, Callable[[Folder], Any]] = {
    "folder_upload_email": lambda folder: None,
    "sync_state": lambda folder: "synced",
    "can_non_owners_invite": lambda folder: True,
    "can_non_owners_view_collaborators": lambda folder: True,
    "is_collaboration_restricted_to_enterprise": lambda folder: False,
}
_FIELDS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "file": {**_COMMON, **_CONTENT_TIMES, **_FILE},
    "folder": {**_COMMON, **_CONTENT_TIMES, **_FOLDER},
    "web_link": {**_COMMON, "url": lambda link: link.url},
}
