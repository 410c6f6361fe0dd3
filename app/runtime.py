"""What has a lifetime: opened once per process, closed once, handed down as an argument."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from app import __version__, registry
from app.clock import Clock
from app.credentials import Credentials
from app.delivery.egress import Egress
from app.hints import Hints
from app.polling.inside import Inside
from app.registry import Registry
from app.sealing import Sealer, key_from_file, parse_keys
from app.sessions import Sessions
from app.settings import Settings
from app.store.engine import Database
from app.upstream.client import open_client

_HINTS = 100_000  # of some 200 bytes each
AGENT = f"elements-gateway/{__version__}"


@dataclass(frozen=True)
class Wakeups:
    """Set by whoever makes work in this process, and by `store.wakeups.listen` for the others."""

    pollers: asyncio.Event = field(default_factory=asyncio.Event)
    callbacks: asyncio.Event = field(default_factory=asyncio.Event)
    requests: asyncio.Event = field(default_factory=asyncio.Event)
    vendor_webhooks: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[int, set[Callable[[], None]]] = field(default_factory=dict)
    """What ends the waits for the vendors of these instances, in this process."""

    def hint(self, instance_id: int) -> None:
        """After `store.pollers.hint`: the instance is read now, also where this process waits for news of it.
        A wait in another process needs no hint: it is the vendor's own answer to the same change."""
        self.pollers.set()
        for wake in tuple(self.waiting.get(instance_id, ())):
            wake()


@dataclass(frozen=True)
class Runtime:
    settings: Settings
    clock: Clock
    database: Database
    sealer: Sealer
    registry: Registry
    vendors: httpx.AsyncClient
    waits: httpx.AsyncClient
    egress: Egress
    credentials: Credentials
    hints: Hints
    sessions: Sessions
    wakeups: Wakeups
    inside: Inside | None = None
    """The surface in this process; whoever has built the application puts it here, before work begins."""


def open_database(settings: Settings) -> Database:
    return Database(
        settings.database, connections=settings.database_connections, timeout=settings.database_timeout
    )


def open_sealer(settings: Settings) -> Sealer:
    """Raises SettingsError when a key is not one."""
    if settings.encryption_keys is not None:
        return Sealer(parse_keys(settings.encryption_keys.get_secret_value()))
    return Sealer(parse_keys(key_from_file(settings.key_file)))


@asynccontextmanager
async def open_runtime(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Runtime]:
    """Opens the database and the clients; closes them whatever happens."""
    clock = clock or Clock()
    elements = registry.discover(settings.provider_base_urls)
    sealer = open_sealer(settings)
    database = open_database(settings)
    vendors = open_client(
        connections=settings.vendor_connections, timeout=settings.vendor_timeout, agent=AGENT
    )
    # Connections that are held for minutes, in a pool of their own.
    waits = open_client(connections=settings.long_polls_at_once, timeout=settings.vendor_timeout, agent=AGENT)
    egress = Egress(
        timeout=settings.callback_timeout,
        allowed=settings.callback_allowed_networks,
        connections=settings.callbacks_at_once * settings.callback_concurrency,
        agent=AGENT,
    )
    try:
        yield Runtime(
            settings=settings,
            clock=clock,
            database=database,
            sealer=sealer,
            registry=elements,
            vendors=vendors,
            waits=waits,
            egress=egress,
            credentials=Credentials(database, sealer, vendors, elements, clock, settings.oauth_apps),
            hints=Hints(_HINTS),
            sessions=Sessions(),
            wakeups=Wakeups(),
        )
    finally:
        await egress.close()
        await waits.aclose()
        await vendors.aclose()
        await database.close()
