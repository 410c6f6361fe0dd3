"""One Egnyte domain: a world, its grants, and what hangs on its files."""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from app.sandbox.egnyte.custom_metadata import CustomMetadata
from app.sandbox.egnyte.hooks import Hooks
from app.sandbox.egnyte.settings import DomainSettings
from app.sandbox.egnyte.storage import Storage
from app.sandbox.faults import Faults
from app.sandbox.grants import Grants, RegisteredApp, Terms
from app.sandbox.history import Actor, History, User
from app.sandbox.world import File, MissingError, Node, path_of, ref_to

DEFAULT_DOMAINS = ("acme", "globex")
DEFAULT_APP = RegisteredApp("sandbox-client", "sandbox-secret", ("*",))
FIRST_EVENT_ID = 4686

_USERS = (
    User(121, "jsmith", "Jane", "Smith", "jsmith@example.com", is_admin=True),
    User(122, "adoe", "Alex", "Doe", "adoe@example.com"),
)


@dataclass(slots=True)
class Note:
    """A comment on a file."""

    id: str
    file: File
    message: str
    user: User
    created: datetime


@dataclass(slots=True)
class Link:
    """A shared link; `wishes` are the parameters it was made with."""

    id: str
    node: Node
    kind: str
    accessibility: str
    user: User
    created: datetime
    wishes: dict[str, Any]
    recipients: list[str]
    clicks: int = 0

    @property
    def path(self) -> str:
        """Where the file or folder is now, or was before it was deleted."""
        return path_of(self.node)

    def is_expired(self, grace: int = 0) -> bool:
        """Whether its day is over, or its clicks are used up by more than `grace`."""
        last_day, clicks = self.wishes.get("expiry_date"), self.wishes.get("expiry_clicks")
        if last_day is not None and date.fromisoformat(last_day) < datetime.now(UTC).date():
            return True
        return clicks is not None and self.clicks >= clicks + grace


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some content with its checksum."""

    content: bytes
    checksum: str


@dataclass(slots=True)
class ChunkedUpload:
    """A file that arrives in pieces."""

    id: str
    path: str
    began: datetime
    chunks: list[Chunk] = field(default_factory=list)


class Domain:
    """Everything that belongs to `<name>.egnyte.com`."""

    def __init__(
        self, name: str, apps: dict[str, RegisteredApp], *, first_event_id: int = FIRST_EVENT_ID
    ) -> None:
        self.name = name
        self.apps = apps
        self.settings = DomainSettings()
        self.grants = Grants(self._terms)
        self.faults = Faults()
        history = History(first_event_id, self.settings.event_retention)
        self.world = Storage(roots=("Shared", "Private"), history=history, new_id=lambda: str(uuid.uuid4()))
        self.world.users.update((user.username, user) for user in _USERS)
        self.custom_metadata = CustomMetadata()
        self.notes: dict[str, Note] = {}
        self.links: dict[str, Link] = {}
        self.uploads: dict[str, ChunkedUpload] = {}
        self.hooks = Hooks(name, lambda: self.settings, self.faults)
        history.listeners.append(self.hooks.hear)

    def configure(self, settings: DomainSettings) -> None:
        """Switches over; tokens and events that are there already stay as they are."""
        self.settings = settings
        self.world.history.keep = settings.event_retention
        self.world.history.trim()

    def _terms(self) -> Terms:
        settings = self.settings
        legacy = settings.token_mode == "legacy"
        return Terms(
            settings.code_seconds,
            None if legacy else settings.access_token_seconds,
            settings.refresh_token_seconds,
            refreshable=not legacy,
            refresh="rotate" if settings.refresh_rotation == "rotate" else "same",
        )

    def add_note(self, path: str, message: str, actor: Actor) -> Note:
        """Puts a comment on a file."""
        file = self.world.file(path)
        note = Note(str(uuid.uuid4()), file, message, actor.user, datetime.now(UTC))
        self.notes[note.id] = note
        self.world.history.record("note", actor, ref_to(file), detail={"note_id": note.id})
        return note

    def note(self, note_id: str) -> Note:
        """The comment with that id."""
        if note_id not in self.notes:
            raise MissingError(f"No note {note_id}")
        return self.notes[note_id]

    def delete_note(self, note_id: str, actor: Actor) -> None:
        """Takes a comment away."""
        note = self.note(note_id)
        del self.notes[note_id]
        self.world.history.record("note_delete", actor, ref_to(note.file), detail={"note_id": note_id})

    def holds(self, node: Node) -> bool:
        """Whether a file or folder is there and not in the trash."""
        try:
            return self.world.by_id(node.id) is node
        except MissingError:
            return False

    def add_link(self, path: str, kind: str, user: User, wishes: dict[str, Any]) -> Link:
        """Shares what is at a path."""
        link = Link(
            secrets.token_urlsafe(8),
            self.world.find(path),
            kind,
            str(wishes.get("accessibility", "anyone")),
            user,
            datetime.now(UTC),
            wishes,
            list(wishes.get("recipients") or []),
        )
        self.links[link.id] = link
        return link


class Egnyte:
    """All domains and the apps that are registered with the vendor."""

    def __init__(self) -> None:
        self.domains: dict[str, Domain] = {}
        self.apps: dict[str, RegisteredApp] = {}
        self.reset()

    def reset(self) -> None:
        """Back to two empty domains and one app."""
        for domain in self.domains.values():
            domain.hooks.stop()
        self.domains.clear()
        self.domains.update((name, Domain(name, self.apps)) for name in DEFAULT_DOMAINS)
        self.apps.clear()
        self.apps[DEFAULT_APP.client_id] = DEFAULT_APP

    def create(self, name: str, first_event_id: int) -> Domain:
        """A new domain; one of that name is replaced by an empty one."""
        if name in self.domains:
            self.domains[name].hooks.stop()
        self.domains[name] = Domain(name, self.apps, first_event_id=first_event_id)
        return self.domains[name]
