"""What has a lifetime: opened once per process, closed once, handed down as an argument."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app import __version__, registry
from app.audit import Noted
from app.clock import Clock
from app.delivery.egress import Egress
from app.errors import SettingsError
from app.hints import Hints
from app.http_client import LookUp, checked_sockets
from app.polling.inside import Inside
from app.rates import Rates
from app.registry import Registry
from app.settings import Settings
from app.store import encryption_keys
from app.store.engine import Database
from app.tenancy.sessions import Sessions
from app.tenancy.tenants import Session
from app.upstream.client import open_client
from app.vault.codes import Codes
from app.vault.credentials import Credentials
from app.vault.sealing import Sealer, key_from_file, parse_keys

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
    elsewhere: httpx.AsyncClient
    egress: Egress
    credentials: Credentials
    hints: Hints
    codes: Codes
    sessions: Sessions[Session]
    rates: Rates
    wakeups: Wakeups
    noted: Noted = field(default_factory=Noted)
    inside: Inside | None = None
    """The surface in this process; whoever has built the application puts it here, before work begins."""


def open_database(settings: Settings) -> Database:
    return Database(
        settings.database,
        connections=settings.database_connections,
        timeout=settings.database_timeout,
        statement_timeout=settings.database_statement_timeout,
    )


def open_sealer(settings: Settings) -> Sealer:
    """Raises SettingsError when a key is not one, and when the key file is gone from beside a database that
    has secrets: a fresh one would open none of them."""
    if settings.encryption_keys is not None:
        return Sealer(parse_keys(settings.encryption_keys.get_secret_value()))
    path, database = settings.key_file, Path(settings.database.database or "")
    if not path.exists() and encryption_keys.file_has_secrets(database):
        raise SettingsError(
            f"the key file {path} is gone, and {database} has secrets that only its key opens: put it back, "
            "or its key into GATEWAY_ENCRYPTION_KEYS (docs/operating.md, Encryption keys)"
        )
    return Sealer(parse_keys(key_from_file(path), source=str(path)))


@asynccontextmanager
async def open_runtime(
    settings: Settings, clock: Clock | None = None, *, look_up: LookUp = socket.getaddrinfo
) -> AsyncIterator[Runtime]:
    """Opens the database and the clients; closes them whatever happens. `look_up` finds the addresses of
    callbacks."""
    clock = clock or Clock()
    elements = registry.discover(settings.provider_base_urls)
    sealer = open_sealer(settings)
    async with AsyncExitStack() as opened:
        database = open_database(settings)
        opened.push_async_callback(database.close)
        vendors = open_client(
            connections=settings.vendor_connections, timeout=settings.vendor_timeout, agent=AGENT
        )
        opened.push_async_callback(vendors.aclose)
        # Connections that are held for minutes, in a pool of their own.
        waits = open_client(
            connections=settings.long_polls_at_once, timeout=settings.vendor_timeout, agent=AGENT
        )
        opened.push_async_callback(waits.aclose)
        # Hosts that a vendor's answer names and that are not its own: by the rules for callbacks.
        elsewhere = open_client(
            connections=settings.vendor_connections,
            timeout=settings.vendor_timeout,
            agent=AGENT,
            socket_factory=checked_sockets(settings.callback_allowed_networks),
        )
        opened.push_async_callback(elsewhere.aclose)
        egress = Egress(
            timeout=settings.callback_timeout,
            allowed=settings.callback_allowed_networks,
            connections=settings.callbacks_at_once * settings.callback_concurrency,
            agent=AGENT,
            look_up=look_up,
        )
        opened.push_async_callback(egress.close)
        credentials = Credentials(database, sealer, vendors, elements, clock, settings.oauth_apps)
        opened.push_async_callback(credentials.close, patience=settings.drain_timeout)
        yield Runtime(
            settings=settings,
            clock=clock,
            database=database,
            sealer=sealer,
            registry=elements,
            vendors=vendors,
            waits=waits,
            elsewhere=elsewhere,
            egress=egress,
            credentials=credentials,
            hints=Hints(_HINTS),
            codes=Codes(),
            sessions=Sessions(),
            rates=Rates(callers=settings.caller_rate, failures=settings.failed_authentications),
            wakeups=Wakeups(),
        )
