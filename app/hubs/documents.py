"""The documents hub: what a provider of files must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from app.errors import NotSupported
from app.hubs.entries import (
    Collaboration,
    Comment,
    CommentPage,
    Download,
    Entry,
    EntryPage,
    FieldTemplate,
    FieldValues,
    Link,
    Lock,
    Profile,
    Revision,
    Search,
    Slice,
    Sort,
    Storage,
    Target,
    Upload,
)
from app.upstream.client import Refusal, Upstream
from app.upstream.oauth import OAuthSpec

HUB_ID = 4
HUB_KEY = "documents"

NEWEST = "now"  # the cursor that stands for the end of the stream


class Power(StrEnum):
    """What a provider may be able to do, in the words of the surface. What it does not declare is never
    asked of it."""

    PING = "ping"
    CHANGES = "changes"
    LONG_POLL = "long poll"
    WEBHOOKS = "webhooks"
    ME = "me"
    STORAGE = "storage"
    METADATA = "metadata"
    CONTENTS = "folder contents"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    CREATE_FOLDER = "folder creation"
    MOVE = "move and rename"
    COPY = "copy"
    DELETE = "delete"
    EMPTY_TRASH = "emptyTrash"
    DESCRIPTION = "description"
    TAGS = "tags"
    SEARCH = "search"
    LINKS = "links"
    REVISIONS = "revisions"
    RESTORE = "revision restore"
    COMMENTS = "comments"
    EDIT_COMMENTS = "comment edit"
    LOCK = "lock"
    COLLABORATIONS = "collaborations"
    PROPERTIES = "metadata properties"
    CUSTOM_FIELDS = "custom fields"
    REMOVE_CUSTOM_FIELDS = "custom field removal"


@dataclass(frozen=True)
class Field:
    """One configuration key of an element, as `GET /elements/{key}` shows it.

    `pattern` is a regular expression that the whole value must match; `example` is shown when it does not.
    """

    key: str
    name: str
    description: str
    kind: str = "TEXTFIELD_128"
    default: str | None = None
    required: bool = False
    hidden: bool = False
    pattern: str | None = None
    example: str | None = None


@dataclass(frozen=True)
class Change:
    """One change at the vendor. `event_id` is the vendor's own id of it; `raw` is its untouched body.

    `event_type` is Cloud Elements' CREATED, UPDATED, DELETED or UNKNOWN; `change` keeps the finer verb.
    What a vendor does not tell, the memory of earlier events may (`app/ingest/memory.py`): `if_known` is the
    type and verb that the change has where its object is not new (an upload may be a first version or a later
    one), and one that is `by_path` has its path for an id. `sequence` rises with the changes of one object.
    `body` is the row as the polled resource had it, where that is not the one of the events API.
    """

    event_id: str
    event_type: str
    object_type: str
    object_id: str
    date: datetime
    change: str
    raw: Mapping[str, Any]
    path: str | None = None
    previous_path: str | None = None
    name: str | None = None
    parent_object_id: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    version_id: str | None = None
    copied_from: str | None = None
    sequence: int | None = None
    if_known: tuple[str, str] | None = None
    by_path: bool = False
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Channel:
    """Where a vendor lets its clients wait for news. It is asked anew after `retries` waits, and given up
    after `timeout` without a word."""

    url: str
    timeout: timedelta
    retries: int


@dataclass(frozen=True)
class News:
    """What a wait ended with: something has changed, or nothing has; and the channel to wait on next, or
    None to ask for another."""

    changed: bool
    channel: Channel | None


@dataclass(frozen=True)
class Call:
    """A request that came to `/events/{elementKey}`, as it came; the names of headers are in lower case."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True)
class Hooks:
    """What a vendor has promised to call for: its ids of that, and when it ends if it is not renewed."""

    ids: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Announcement:
    """What a vendor's call says. `raw` is its body; `ended` that the vendor will not call again; `note` why,
    or what else an owner should know of the connection; `hook` the vendor's id of what it calls for, where
    the proof of a call does not cover whom it is for."""

    changes: Sequence[Change]
    raw: Any
    ended: bool = False
    note: str | None = None
    hook: str | None = None


@dataclass(frozen=True)
class ChangePage:
    """One page of the event stream, oldest first. `cursor` resumes behind it. `more` says that another page
    is ready now. `gap` says that the cursor asked for was older than what the vendor keeps: events between
    it and the first one here are lost at the vendor."""

    changes: list[Change]
    cursor: str
    more: bool
    gap: bool = False


@dataclass(frozen=True)
class Native:
    """How a vendor's own API is passed through. Everything is a regular expression over
    `METHOD path`, the path without its leading slash, percent-decoded.

    `allowed` is what may be asked at all. `hosts` sends what matches to one of the provider's other hosts,
    with the path rewritten by a template in the way of `re.Match.expand`. `links` are the calls whose
    answers carry URLs that the client calls next, and that therefore have to lead back to the gateway,
    if they are on the provider's hosts or below one of its `domains`. No token ever goes elsewhere.
    """

    allowed: str
    hosts: Sequence[tuple[str, str, str]] = ()
    links: str = r"(?!)"
    domains: Sequence[str] = ()


class DocumentsProvider(Protocol):
    """A vendor of files. Built for each call around an `Upstream` that is bound to one account; it keeps
    no state of its own and never sees the database. What it does not declare among its `powers` it need not
    write either.
    """

    key: ClassVar[str]
    element_id: ClassVar[int]
    name: ClassVar[str]
    description: ClassVar[str]
    powers: ClassVar[frozenset[Power]]
    fields: ClassVar[tuple[Field, ...]]
    oauth: ClassVar[OAuthSpec]
    base_url: ClassVar[str]  # a template over configuration keys: "https://{subdomain}.egnyte.com"
    hosts: ClassVar[Mapping[str, str]]  # the vendor's others by name: {"upload": "https://upload.box.com"}
    page_limit: ClassVar[int]  # the most changes that the vendor gives at once
    shortest_search: ClassVar[int]  # characters that a search needs
    notes: ClassVar[tuple[str, ...]]  # what an operator should know of the vendor, a sentence each
    native: ClassVar[Native]
    webhook_keys: ClassVar[tuple[str, ...]] = ()  # one of these configuration keys proves the vendor's calls

    def __init__(self, upstream: Upstream, configuration: Mapping[str, str | None]) -> None: ...

    @staticmethod
    def refusal(answer: Refusal) -> Exception:
        """The VendorError that an answer of 400 or above, or a body that is not JSON, stands for."""

    async def ping(self) -> None:
        """Returns when the vendor answers and accepts the account's token. Raises a VendorError otherwise."""

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        """The changes behind `cursor`, at most `limit` (which is 1..page_limit).

        None starts at the oldest change that the vendor still has; NEWEST answers an empty page whose
        cursor is the end of the stream. Any other cursor is one that an earlier page carried; a malformed
        one raises BadRequest. An empty page carries a cursor too. Repeating a call is safe. A change that
        cannot be interpreted is UNKNOWN and is never left out.
        """

    @staticmethod
    def stream(configuration: Mapping[str, str | None]) -> str:
        """Which stream this configuration asks for: a cursor of one means nothing in another."""
        return ""

    @staticmethod
    def can_wait(configuration: Mapping[str, str | None]) -> bool:
        """Whether the stream that this configuration asks for is one that can be waited for."""
        return True

    async def wait(self, cursor: str, channel: Channel | None) -> News:
        """Returns when something has changed behind `cursor`, or the vendor wants to be asked again. Holds
        one connection meanwhile. Raises a VendorError."""
        raise NotSupported

    async def subscribe(self, url: str, secret: str, hooks: Sequence[str]) -> Hooks:
        """Lets the vendor call `url` when something changes, with `secret` in its calls where it signs
        nothing itself; renews what is there of `hooks` (ids of an earlier answer) and makes what is missing.
        Repeating it is safe."""
        raise NotSupported

    async def unsubscribe(self, hooks: Sequence[str]) -> None:
        """Ends the vendor's calls. What it no longer knows is no error."""
        raise NotSupported

    @staticmethod
    def owner_of(call: Call) -> tuple[str, str] | None:
        """The configuration key and its value that tell whose call it is, where its URL does not."""
        return None

    @staticmethod
    def is_genuine(call: Call, secret: str | None, configuration: Mapping[str, str | None]) -> bool:
        """Whether the vendor made this call and made it now. `secret` is the one that the vendor was given;
        `configuration` is the instance's, with its secrets."""
        return False

    @staticmethod
    def announced(call: Call) -> Announcement:
        """What a genuine call says. Raises BadRequest for a body that makes no sense."""
        raise NotSupported

    async def me(self) -> Profile:
        """The user behind the token."""
        raise NotSupported

    async def storage(self) -> Storage:
        """The space that the account has and uses."""
        raise NotSupported

    async def entry(self, target: Target) -> Entry:
        """The file or folder. Raises VendorNotFound where there is none of that kind."""
        raise NotSupported

    async def contents(
        self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
    ) -> EntryPage:
        """What lies directly in a folder, behind `cursor`. The order is the vendor's and stays the same from
        call to call; `sort` is kept to where the vendor can. A page may have fewer entries than `limit`
        and more may follow. Raises VendorNotFound for a missing folder, BadRequest for a foreign cursor."""
        raise NotSupported

    async def search(self, search: Search, cursor: str | None, limit: int) -> EntryPage:
        """Files and folders whose name has `text` in it, at any depth, in the vendor's order."""
        raise NotSupported

    async def download(
        self, file: Target, *, byte_range: str | None = None, revision_id: str | None = None
    ) -> Download:
        """Opens the bytes of a file. `byte_range` is a Range header. Raises RangeNotSatisfiable."""
        raise NotSupported

    async def upload(self, upload: Upload) -> Entry:
        """Makes a file, and the folders of `parent` if it is named by path. Nothing of it can be seen before
        every byte has come and its checksum is right. Raises Conflict for an existing name that may not
        be overwritten, without a change to what is there."""
        raise NotSupported

    async def create_folder(self, path: str) -> Entry:
        """Makes a folder and those above it. Raises Conflict where it exists."""
        raise NotSupported

    async def move(self, entry: Entry, path: str) -> Entry:
        """Gives a file or folder another path, and makes the folders above it. Raises Conflict."""
        raise NotSupported

    async def copy(self, entry: Entry, path: str) -> Entry:
        """Copies a file or a whole folder. Raises Conflict where something exists at `path`."""
        raise NotSupported

    async def delete(self, entry: Entry, *, empty_trash: bool) -> None:
        """Deletes a file or a folder with everything in it; `empty_trash` leaves nothing to restore."""
        raise NotSupported

    async def describe(self, entry: Entry, *, description: str | None, tags: Sequence[str] | None) -> Entry:
        """Replaces the description or the tags; None leaves them as they are."""
        raise NotSupported

    async def link(self, entry: Entry, expires_at: datetime | None) -> Link:
        """The link to a file or folder that works for anyone; the same one as long as it exists."""
        raise NotSupported

    async def unlink(self, entry: Entry) -> None:
        """Ends the links to a file or folder. Repeating it is safe."""
        raise NotSupported

    async def revisions(self, file: Target) -> Sequence[Revision]:
        """The versions of a file that the vendor lists, newest first."""
        raise NotSupported

    async def restore(self, file: Target, revision_id: str) -> Entry:
        """Makes an older version the newest one; the versions between stay."""
        raise NotSupported

    async def comments(self, file: Target, part: Slice) -> CommentPage:
        raise NotSupported

    async def comment(self, file: Target, comment_id: str) -> Comment:
        raise NotSupported

    async def add_comment(self, file: Target, words: str) -> Comment:
        raise NotSupported

    async def edit_comment(self, file: Target, comment_id: str, words: str) -> Comment:
        raise NotSupported

    async def delete_comment(self, file: Target, comment_id: str) -> None:
        raise NotSupported

    async def lock(self, file: Target, lock: Lock) -> None:
        """Keeps others from changing a file."""
        raise NotSupported

    async def unlock(self, file: Target) -> None:
        raise NotSupported

    async def collaborations(self, folder: Target) -> Sequence[Collaboration]:
        raise NotSupported

    async def set_properties(self, entry: Entry, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sets free properties of a file or folder, and answers all that it has."""
        raise NotSupported

    async def field_templates(self, scope: str | None) -> Sequence[FieldTemplate]:
        raise NotSupported

    async def custom_fields(self, entry: Entry) -> Sequence[FieldValues]:
        """Every set of custom fields that has a value on this file or folder."""
        raise NotSupported

    async def set_custom_fields(
        self, entry: Entry, template: str, scope: str | None, values: Mapping[str, Any]
    ) -> FieldValues:
        """Sets these fields of a template and leaves its others as they are."""
        raise NotSupported

    async def remove_custom_fields(self, entry: Entry, template: str, scope: str | None) -> None:
        raise NotSupported
