"""Files, folders and what belongs to them, as the documents hub spells them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from app import ceql
from app.hubs.entries import (
    Collaboration,
    Comment,
    Entry,
    FieldTemplate,
    FieldValues,
    Kind,
    Link,
    Profile,
    Revision,
    Storage,
)
from app.wire import dates

ENTRY_FIELDS = frozenset(
    {
        "id",
        "name",
        "path",
        "size",
        "directory",
        "createdDate",
        "modifiedDate",
        "parentFolderId",
        "description",
        "mimeType",
        "extension",
    }
)
"""What `where` and `orderBy` of a list may name."""


SPELLINGS = {
    "extension": lambda value: value.removeprefix(".").lower(),
    "directory": lambda value: ceql.one_of(["true", "false"])(value.lower()),
    "size": ceql.a_number,
    "createdDate": ceql.a_time,
    "modifiedDate": ceql.a_time,
}
"""How the values in a `where` are written in a row."""


class CloudFileBody(BaseModel):
    """A file or a folder."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "46952245141",
                "name": "report.pdf",
                "path": "/Shared/report.pdf",
                "size": 629644,
                "directory": False,
                "createdDate": "2026-01-05T10:00:00Z",
                "modifiedDate": "2026-01-05T10:00:00Z",
                "tags": [],
                "parentFolderId": "777",
                "properties": {"mimeType": "application/pdf"},
            }
        }
    )

    id: str
    name: str
    path: str
    size: int | None = None
    directory: bool
    createdDate: str | None = None
    modifiedDate: str | None = None
    tags: list[str]
    description: str | None = None
    parentFolderId: str | None = None
    properties: dict[str, Any]
    raw: dict[str, Any] | None = None


class CloudLinkBody(BaseModel):
    """Links to a file. `cloudElementsLink` needs no credentials and leads through this gateway; the others
    are the vendor's own."""

    cloudElementsLink: str | None = None
    providerLink: str | None = None
    providerViewLink: str | None = None
    expires: str | None = None
    providerLinkExpires: str | None = None
    raw: dict[str, Any] | None = None


class CloudStorageBody(BaseModel):
    """The space of an account, in bytes."""

    shared: int | None = None
    total: int | None = None
    used: int | None = None


class ProfileBody(BaseModel):
    """The user whose account is connected: what all vendors know of him, beside the vendor's own fields."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str | None = None
    login: str | None = None
    email: str | None = None


class PongBody(BaseModel):
    """The vendor answered and accepts the account's token."""

    endpoint: str
    dateTime: str
    valid: bool = True


class RevisionBody(BaseModel):
    """One version of a file."""

    id: str
    fileName: str | None = None
    size: int | None = None
    modifiedDate: str | None = None
    raw: dict[str, Any] | None = None


class AuthorBody(BaseModel):
    id: str | None = None
    name: str | None = None


class CommentBody(BaseModel):
    """What somebody wrote about a file."""

    id: str
    comment: str
    createdDate: str | None = None
    modifiedDate: str | None = None
    createdBy: AuthorBody | None = None
    raw: dict[str, Any] | None = None


class CollaborationBody(BaseModel):
    """Who may do what in a folder."""

    id: str
    role: str
    type: str
    userId: str | None = None
    userName: str | None = None
    raw: dict[str, Any] | None = None


class FieldTemplateBody(BaseModel):
    """A named set of custom fields."""

    key: str
    name: str
    scope: str
    fields: list[dict[str, Any]]


class FieldValuesBody(BaseModel):
    """The custom fields of one template on a file or folder."""

    templateKey: str
    scope: str
    fields: dict[str, Any]


def entry(found: Entry, *, raw: bool = False) -> dict[str, Any]:
    """A CloudFile. Ids are text and sizes are whole numbers, whatever the vendor makes of them."""
    body = {
        "id": found.id,
        "name": found.name,
        "path": found.path,
        "size": found.size,
        "directory": found.kind is Kind.FOLDER,
        "createdDate": _date(found.created_at),
        "modifiedDate": _date(found.modified_at),
        "tags": list(found.tags),
        "description": found.description,
        "parentFolderId": found.parent_id,
        "properties": {"mimeType": found.mime_type} if found.mime_type else {},
    }
    return body | {"raw": found.raw} if raw else body


def entry_row(found: Entry) -> dict[str, Any]:
    """The fields of an entry by which lists are filtered and ordered; an extension has no dot."""
    return {
        "id": found.id,
        "name": found.name,
        "path": found.path,
        "size": found.size,
        "directory": found.kind is Kind.FOLDER,
        "createdDate": _date(found.created_at),
        "modifiedDate": _date(found.modified_at),
        "parentFolderId": found.parent_id,
        "description": found.description,
        "tags": found.tags,
        "mimeType": found.mime_type,
        "extension": PurePosixPath(found.name).suffix.removeprefix(".").lower() or None
        if found.kind is Kind.FILE
        else None,
    }


def link(found: Link, *, gateway_url: str | None, expires_at: datetime | None, raw: bool) -> dict[str, Any]:
    body = {
        "cloudElementsLink": gateway_url,
        "providerLink": found.download_url,
        "providerViewLink": found.view_url,
        "expires": _date(expires_at or found.expires_at),
        "providerLinkExpires": _date(found.expires_at),
    }
    return body | {"raw": found.raw} if raw else body


def storage(found: Storage) -> dict[str, Any]:
    return {"shared": found.shared, "total": found.total, "used": found.used}


def profile(found: Profile) -> dict[str, Any]:
    """The vendor's own body, with the keys that all vendors' bodies have here."""
    known = {"id": found.id, "name": found.name, "login": found.login, "email": found.email}
    return {**found.raw, **known}


def revision(found: Revision, *, raw: bool) -> dict[str, Any]:
    body = {
        "id": found.id,
        "fileName": found.file_name,
        "size": found.size,
        "modifiedDate": _date(found.modified_at),
    }
    return body | {"raw": found.raw} if raw else body


def comment(found: Comment, *, raw: bool) -> dict[str, Any]:
    body = {
        "id": found.id,
        "comment": found.text,
        "createdDate": _date(found.created_at),
        "modifiedDate": _date(found.modified_at),
        "createdBy": {"id": found.author_id, "name": found.author_name},
    }
    return body | {"raw": found.raw} if raw else body


def collaboration(found: Collaboration, *, raw: bool) -> dict[str, Any]:
    body = {
        "id": found.id,
        "role": found.role,
        "type": found.subject_type,
        "userId": found.subject_id,
        "userName": found.subject_name,
    }
    return body | {"raw": found.raw} if raw else body


def field_template(found: FieldTemplate) -> dict[str, Any]:
    return {
        "key": found.key,
        "name": found.name,
        "scope": found.scope,
        "fields": [dict(field) for field in found.fields],
    }


def field_values(found: FieldValues) -> dict[str, Any]:
    return {"templateKey": found.template, "scope": found.scope, "fields": dict(found.values)}


def selected(body: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """The part of a body that `fields=id,properties.mimeType` names; all of it where it names nothing."""
    names = [name.strip() for name in fields.split(",") if name.strip()]
    if not names:
        return dict(body)
    found: dict[str, Any] = {}
    for name in names:
        outer, _, inner = name.partition(".")
        if outer not in body:
            continue
        if inner and isinstance(body[outer], Mapping):
            found.setdefault(outer, {}).update(selected(body[outer], inner))
        else:
            found[outer] = body[outer]
    return found


def without_nulls(body: Any) -> Any:
    """Leaves the nulls out of an answer, but not out of the vendor's own words."""
    if isinstance(body, dict):
        return {
            key: value if key == "raw" else without_nulls(value)
            for key, value in body.items()
            if value is not None
        }
    return [without_nulls(item) for item in body] if isinstance(body, list) else body


def _date(moment: datetime | None) -> str | None:
    return dates.seconds(moment) if moment else None
