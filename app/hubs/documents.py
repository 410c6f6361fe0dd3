"""The documents hub: what a provider of files must be able to do, and the types that it speaks in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from app.upstream.client import Refusal, Upstream
from app.upstream.oauth import OAuthSpec

HUB_ID = 4
HUB_KEY = "documents"

NEWEST = "now"
"""The cursor that stands for the end of the stream."""


class Power(StrEnum):
    """What a provider may be able to do. What it does not declare is never asked of it."""

    PING = "ping"
    CHANGES = "changes"


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


@dataclass(frozen=True)
class ChangePage:
    """One page of the event stream, oldest first.

    `cursor` resumes behind it. `more` says that another page is ready now. `gap` says that the cursor
    asked for was older than what the vendor keeps: events between it and the first one here are lost at
    the vendor.
    """

    changes: list[Change]
    cursor: str
    more: bool
    gap: bool = False


class DocumentsProvider(Protocol):
    """A vendor of files. Built for each call around an `Upstream` that is bound to one account; it keeps
    no state of its own and never sees the database."""

    key: ClassVar[str]
    element_id: ClassVar[int]
    name: ClassVar[str]
    description: ClassVar[str]
    powers: ClassVar[frozenset[Power]]
    fields: ClassVar[tuple[Field, ...]]
    oauth: ClassVar[OAuthSpec]
    base_url: ClassVar[str]  # a template over configuration keys: "https://{subdomain}.egnyte.com"
    page_limit: ClassVar[int]  # the most changes that the vendor gives at once

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
