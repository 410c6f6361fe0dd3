"""What the documents hub speaks in: files and folders, and what is known of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import httpx

from app.errors import BadRequest
from app.upstream.content import Content


class Kind(StrEnum):
    """The two things that a vendor of files keeps."""

    FILE = "file"
    FOLDER = "folder"


_LONGEST_KEY = 200  # characters, so that the key of an index never outgrows its page


def object_key(object_type: str, object_id: str) -> str:
    """Type and id in one text of at most 200 characters, the same for the same object at all times; of what
    is longer the id is a fingerprint."""
    key = f"{object_type}:{object_id}"
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{object_type[:32]}#{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class Target:
    """Which file or folder a call is about: by its id, or by its path, which begins with "/" and is "/" for
    the root."""

    kind: Kind
    id: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Entry:
    """A file or folder as the vendor has it now. `path` is the whole path with the name in it; `raw` is the
    vendor's own body."""

    id: str
    kind: Kind
    name: str
    path: str
    size: int | None
    created_at: datetime | None
    modified_at: datetime | None
    parent_id: str | None
    raw: Mapping[str, Any] = field(repr=False)
    mime_type: str | None = None
    tags: Sequence[str] = ()
    description: str | None = None

    @property
    def target(self) -> Target:
        return Target(self.kind, id=self.id)


@dataclass(frozen=True)
class Slice:
    """Which part of a short list is wanted."""

    offset: int
    limit: int


def offset_of(cursor: str | None) -> int:
    """The cursor of a vendor that counts. Raises BadRequest for what is none."""
    if cursor is not None and not re.fullmatch(r"\d{1,12}", cursor, re.ASCII):
        raise BadRequest("nextPage: is not a token of this list")
    return int(cursor or 0)


@dataclass(frozen=True)
class Sort:
    """An order of a list; `field` is one of name, modifiedDate, size."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class EntryPage:
    """A part of a list of files and folders. `cursor` resumes behind it and is None at the end; `sorted`
    says that the vendor kept to the order that was asked for, among folders and among files at least."""

    entries: Sequence[Entry]
    cursor: str | None
    total: int | None = None
    sorted: bool = False


@dataclass(frozen=True)
class Search:
    """What is searched. All but `text` are hints that a vendor may use to find less: whoever asks looks at
    each result again."""

    text: str
    folder: Target | None = None
    kind: Kind | None = None
    extension: str | None = None
    created: tuple[datetime | None, datetime | None] = (None, None)
    modified: tuple[datetime | None, datetime | None] = (None, None)


@dataclass(frozen=True)
class Upload:
    """A file to be made in `parent`, or its next version where it exists and `overwrite` allows it."""

    parent: Target
    name: str
    content: Content
    overwrite: bool = False


@dataclass(frozen=True)
class Download:
    """An open answer of the vendor with the bytes of a file, or of the range that was asked for. Whoever
    gets it closes it. `name` is None where only the answer's Content-Disposition knows it."""

    name: str | None
    response: httpx.Response


@dataclass(frozen=True)
class Profile:
    """The user whose account is connected."""

    id: str
    name: str | None
    login: str | None
    email: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Storage:
    """The space of an account, in bytes; None for what the vendor does not tell."""

    used: int | None
    total: int | None
    shared: int | None = None


@dataclass(frozen=True)
class Link:
    """A link that the vendor serves itself. `download_url` leads to the bytes, `view_url` to a page."""

    download_url: str | None
    view_url: str | None
    expires_at: datetime | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Revision:
    """One version of a file."""

    id: str
    file_name: str | None
    size: int | None
    modified_at: datetime | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Comment:
    """What somebody wrote about a file."""

    id: str
    text: str
    created_at: datetime | None
    modified_at: datetime | None
    author_id: str | None
    author_name: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class CommentPage:
    comments: Sequence[Comment]
    more: bool


@dataclass(frozen=True)
class Lock:
    """How a file is locked; without `expires_at` for as long as the vendor allows."""

    expires_at: datetime | None = None
    is_download_prevented: bool = False


@dataclass(frozen=True)
class Collaboration:
    """Who may do what in a folder."""

    id: str
    role: str
    subject_type: str
    subject_id: str | None
    subject_name: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class FieldTemplate:
    """A named set of custom fields that an account may put on its files and folders."""

    key: str
    name: str
    scope: str
    fields: Sequence[Mapping[str, Any]]
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class FieldValues:
    """The custom fields of one template on one file or folder."""

    template: str
    scope: str
    values: Mapping[str, Any]
    raw: Mapping[str, Any]
