"""What runs during a torture: the sandbox, the receiver, and the gateway's processes with their settings."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.errors import GatewayError
from app.torture import accounts
from app.torture.processes import Process, free_port, secrets_of

LEASE = 4.0
"""The longest lease of a run, in seconds, but for the one of a refresh."""

REFRESH_LEASE = 33.0
"""A refresh is held for the vendor's time-out and 30 seconds."""

_PATIENCE = 90.0  # seconds until a process must be ready, on a machine that is busy with its suite as well
_RESTING = 0.05  # seconds between two looks

_KEYS = "GATEWAY_ENCRYPTION_KEYS"
_ROTATIONS = 60  # tries; each ends early where the database is away

_SHORT = {
    "GATEWAY_POLL_INTERVAL_FLOOR": "0.2",
    "GATEWAY_POLL_BACKOFF_LONGEST": "3",
    "GATEWAY_WORKER_IDLE": "0.1",
    "GATEWAY_VENDOR_TIMEOUT": "3",
    "GATEWAY_VENDOR_BUDGET": "4",
    "GATEWAY_POLL_TIMEOUT": "3.5",
    "GATEWAY_POLL_LEASE": "4",
    "GATEWAY_CALLBACK_TIMEOUT": "1",
    "GATEWAY_CALLBACK_TURN": "0.5",
    "GATEWAY_CALLBACK_LEASE": "2",
    "GATEWAY_DRAIN_TIMEOUT": "5",
    "GATEWAY_DATABASE_TIMEOUT": "10",
}


_ONE: Mapping[str, Sequence[str]] = {"gateway": ("serve",)}
_MANY: Mapping[str, Sequence[str]] = {
    "api-1": ("serve", "--no-workers"),
    "api-2": ("serve", "--no-workers"),
    "worker-1": ("work",),
    "worker-2": ("work",),
    "worker-3": ("work",),
}


def names(*, many: bool) -> list[str]:
    """The processes of the gateway."""
    return list(_MANY if many else _ONE)


@dataclass
class Fleet:
    """All processes. `gateways` are those that are tortured; `apis` are the ones among them that answer."""

    sandbox: Process
    receiver: Process
    gateways: dict[str, Process]
    died: int = 0
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def api_urls(self) -> list[str]:
        """Where the API is; any of them may be away."""
        return [one.url + "/elements/api-v2" for one in self.gateways.values() if one.port]

    @property
    def platform(self) -> dict[str, str]:
        """The header of the first user."""
        return {"Authorization": f"User {self.secrets['User']}, Organization {self.secrets['Organization']}"}

    async def start(self) -> None:
        """Starts everything; the first API makes the schema and prints the secrets. Raises GatewayError where
        something does not start."""
        first, *others = self.gateways.values()
        await _all(self._ready(one) for one in (self.sandbox, self.receiver, first))
        self.secrets = secrets_of(first.life)
        await _all(self._ready(one) for one in others)

    async def _ready(self, process: Process) -> None:
        process.start()
        deadline = time.monotonic() + _PATIENCE
        while not process.is_up:
            if not process.life.runs or time.monotonic() > deadline:
                tail = "\n".join(process.life.said().splitlines()[-20:])
                raise GatewayError(f"{process.name} did not start; its log ends with:\n{tail}")
            await asyncio.sleep(_RESTING)

    def revive(self) -> None:
        """Starts again what has died by itself, and counts it."""
        for one in self.gateways.values():
            if one.has_died:
                self.died += 1
                one.start()

    async def rotate_keys(self) -> None:
        """The second key is the first one of whatever starts from now on, one process at once, and everything
        is sealed with it. Raises GatewayError where that is not done although it was tried many times."""
        restarted = next(iter(self.gateways.values()))
        for one in self.gateways.values():
            first, second = one.environment[_KEYS].split(",")
            one.environment = {**one.environment, _KEYS: f"{second},{first}"}
        if restarted.kill():  # else whoever has killed it starts it again
            restarted.start()
        rotation = Process("keys", ["keys", "rotate"], restarted.environment, restarted.folder)
        try:
            for _ in range(_ROTATIONS):
                rotation.start()
                if await asyncio.to_thread(rotation.life.process.wait) == 0:
                    return
        finally:
            rotation.kill()
        raise GatewayError(f"the keys were not rotated: {rotation.life.said()[-500:]}")

    def mark(self) -> None:
        """From now on each process has to work anew."""
        for one in self.gateways.values():
            one.mark()

    async def hung(self, http: httpx.AsyncClient) -> list[str]:
        """The processes that have done nothing since they were marked: no poll, or no answer on `/ready`."""
        return [one.name for one in self.gateways.values() if not await self._works(one, http)]

    async def _works(self, process: Process, http: httpx.AsyncClient) -> bool:
        if process.port is not None:
            try:
                answer = await http.get(process.url + "/ready")
            except httpx.TransportError:
                return False
            if not answer.is_success:
                return False
        return process.has_worked or not process.works

    def kill(self) -> None:
        """Ends every process at once."""
        for one in (*self.gateways.values(), self.receiver, self.sandbox):
            if one.lives:
                one.kill()


@asynccontextmanager
async def running(folder: Path, database_url: str, *, many: bool) -> AsyncIterator[Fleet]:
    """Two APIs and three workers where there are `many`, else one process that does everything. All have
    ended afterwards; where the harness itself is killed, they end with it on Linux."""
    sandbox = _witness("sandbox", folder)
    receiver = _witness("receiver", folder, "--signature-key", accounts.SIGNATURE_KEY)
    commands = _MANY if many else _ONE
    ports = {name: free_port() for name, words in commands.items() if "serve" in words}
    public_url = f"http://127.0.0.1:{next(iter(ports.values()))}"
    environment = _environment(database_url, sandbox.url, public_url)
    gateways = {
        name: Process(
            name, words, environment | {"GATEWAY_PORT": str(ports.get(name, 0))}, folder, ports.get(name)
        )
        for name, words in commands.items()
    }
    made = Fleet(sandbox, receiver, gateways)
    try:
        yield made
    finally:
        made.kill()


def _witness(name: str, folder: Path, *words: str) -> Process:
    """A process that is not tortured."""
    port = free_port()
    return Process(name, [name, "--port", str(port), *words], {}, folder, port)


def _environment(database_url: str, sandbox_url: str, public_url: str) -> dict[str, str]:
    return {
        "GATEWAY_DATABASE_URL": database_url,
        _KEYS: ",".join(base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2)),
        "GATEWAY_PROVIDER_BASE_URLS": accounts.base_urls(sandbox_url),
        "GATEWAY_CALLBACK_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "GATEWAY_PUBLIC_URL": public_url,
        **_SHORT,
    }


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """At the same time. Raises what the first of them raises that fails."""
    await asyncio.gather(*steps)
