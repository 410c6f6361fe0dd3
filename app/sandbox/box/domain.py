"""The enterprise behind the fake Box: its people, its files, its grants, and what hangs on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.sandbox.box.errors import not_found
from app.sandbox.box.items import Collaboration, Comment, Content, File, Folder, Item
from app.sandbox.box.journal import Journal
from app.sandbox.box.settings import BoxSettings
from app.sandbox.box.tree import Tree
from app.sandbox.box.webhook_calls import Webhooks
from app.sandbox.faults import Faults
from app.sandbox.grants import Grants, RegisteredApp, Terms
from app.sandbox.history import User

DEFAULT_APP = RegisteredApp("sandbox-client", "sandbox-secret", ("*",))
ENTERPRISE_ID = "27335"
ENTERPRISE_NAME = "Sandbox Enterprise"
ENTERPRISE_SCOPE = f"enterprise_{ENTERPRISE_ID}"

ANN = User(11446498, "ann", "Ann", "Lee", "ann@example.com", is_admin=True)
BOB = User(11446499, "bob", "Bob", "Ray", "bob@example.com")


@dataclass(slots=True)
class FolderLock:
    """A lock that keeps a folder from being moved, deleted, or both."""

    id: str
    folder: Folder
    by: User
    created: datetime
    operations: dict[str, bool]


@dataclass(slots=True)
class Template:
    """A metadata template."""

    id: str
    scope: str
    key: str
    name: str
    hidden: bool
    copied: bool
    fields: list[dict[str, Any]]


@dataclass(slots=True)
class Part:
    """A piece of a file that arrives in pieces."""

    id: str
    offset: int
    sha1: str
    content: Content


@dataclass(slots=True)
class UploadSession:
    """A file that arrives in pieces: a new one in `folder`, or a version of `file`."""

    id: str
    size: int
    part_size: int
    expires: datetime
    folder: Folder | None
    file: File | None
    name: str | None
    parts: dict[int, Part] = field(default_factory=dict)
    commits: int = 0


@dataclass(frozen=True, slots=True)
class Download:
    """A content behind an address that works for a while."""

    name: str
    content: Content
    until: float


class Calls:
    """Calls of each user in the current window of time."""

    def __init__(self) -> None:
        self._windows: dict[int, tuple[float, int]] = {}

    def count(self, user: User, limit: int, seconds: float) -> float:
        """Counts a call; answers how long to wait if there were too many, and otherwise 0."""
        now = time.monotonic()
        began, count = self._windows.get(user.id, (now, 0))
        if now >= began + seconds:
            began, count = now, 0
        self._windows[user.id] = (began, count + 1)
        return began + seconds - now if count >= limit else 0


class Enterprise:
    """Everything that belongs to the one company that the fake Box has."""

    def __init__(self) -> None:
        self.apps: dict[str, RegisteredApp] = {}
        self.users: dict[str, User] = {}
        self.webhooks = Webhooks(lambda: self.settings)
        self.reset()

    def reset(self) -> None:
        """Back to two people and an empty root."""
        self.apps = {DEFAULT_APP.client_id: DEFAULT_APP}
        self.users = {user.username: user for user in (ANN, BOB)}
        self.settings = BoxSettings()
        self.grants = Grants(self._terms)
        self.faults = Faults()
        self.calls = Calls()
        self.journal = Journal(self.settings.event_retention)
        self.webhooks.reset()
        self.journal.listener = self.webhooks.hear
        self.tree = Tree(ANN, self.journal, lambda: self.settings)
        self.tree.fixed = self._is_fixed
        self.comments: dict[str, Comment] = {}
        self.collaborations: dict[str, Collaboration] = {}
        self.folder_locks: dict[str, FolderLock] = {}
        self.templates: dict[tuple[str, str], Template] = {
            ("global", "properties"): Template(
                "properties", "global", "properties", "properties", False, True, []
            )
        }
        self.shared: dict[str, Item] = {}
        self.sessions: dict[str, UploadSession] = {}
        self.downloads: dict[str, Download] = {}

    def configure(self, settings: BoxSettings) -> None:
        """Switches over; tokens and events that are there already stay as they are."""
        self.settings = settings
        self.journal.history.keep = settings.event_retention
        self.journal.history.trim()

    def user(self, user_id: str) -> User:
        """The user with that id."""
        return self._one_user("user", user_id, lambda user: str(user.id) == user_id)

    def user_by_login(self, login: str) -> User | None:
        """The user with that address, if it is one of this enterprise."""
        return next((user for user in self.users.values() if user.email == login), None)

    def named(self, username: str) -> User:
        """The user of that name, or with that address or id; the control routes are not strict."""
        return self._one_user(
            "username", username, lambda user: username in (user.username, user.email, str(user.id))
        )

    def session(self, session_id: str) -> UploadSession:
        """The upload session with that id, unless it has ended."""
        now = datetime.now(UTC)
        for ended in [known for known in self.sessions.values() if known.expires <= now]:
            del self.sessions[ended.id]
        if session_id not in self.sessions:
            raise not_found("upload_session", session_id)
        return self.sessions[session_id]

    def shared_item(self, token: str) -> Item:
        """The item behind a shared link, unless the link has ended or the item is in the trash."""
        item = self.shared.get(token)
        link = item.shared_link if item is not None else None
        if item is None or link is None or link.token != token:
            raise not_found("shared_link", token)
        if link.unshared_at is not None and link.unshared_at <= datetime.now(UTC):
            raise not_found("shared_link", token)
        return self.tree.find(type(item), item.id)

    def _one_user(self, name: str, value: str, fits: Callable[[User], bool]) -> User:
        found = next((user for user in self.users.values() if fits(user)), None)
        if found is None:
            raise not_found(name, value)
        return found

    def _is_fixed(self, folder: Folder, operation: str) -> bool:
        locks = (lock for lock in self.folder_locks.values() if lock.folder is folder)
        return any(lock.operations.get(operation) for lock in locks)

    def _terms(self) -> Terms:
        settings = self.settings
        return Terms(
            settings.code_seconds,
            settings.access_token_seconds,
            settings.refresh_token_seconds,
            refresh="rotate" if settings.refresh_tokens == "single_use" else "reuse",
        )
