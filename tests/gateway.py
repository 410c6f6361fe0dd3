"""The gateway in the test process, and what tests say to it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from acme import REDIRECT_URI
from fastapi import FastAPI
from processes import PATIENCE
from sqlalchemy.ext.asyncio import AsyncConnection
from twins import twin_of

from app.errors import DatabaseUnavailable
from app.main import BASE_PATH, create_app, with_inside
from app.runtime import Runtime, open_runtime
from app.settings import Settings, load
from app.store import migrations
from app.store.engine import Database
from app.tenancy import tenants
from app.tenancy.tenants import NewSecrets
from app.workers import working


def look_up(host: str, port: None, family: int, kind: int, protocol: int, flags: int) -> Any:
    """Finds this machine, and addresses that are written as such; asks no network for other names."""
    if host.lower().rstrip(".") == "localhost":
        host = "localhost"
    else:
        flags |= socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, family, kind, protocol, flags)


def settings_for(folder: Path, sandbox_url: str, **overrides: Any) -> Settings:
    """Settings of a gateway that is quick to try again, and that gives nobody up who is merely slow."""
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/gateway.db",
        "provider_base_urls": {"egnyte": sandbox_url + "/egnyte/{subdomain}", "box": sandbox_url + "/box"},
        "callback_allowed_networks": ["127.0.0.0/8"],
        "poll_interval_floor": timedelta(milliseconds=50),
        "worker_idle": timedelta(milliseconds=50),
        "vendor_timeout": timedelta(seconds=30),
        "vendor_budget": timedelta(seconds=31),
        "callback_timeout": timedelta(seconds=PATIENCE),
        "callback_turn": timedelta(seconds=PATIENCE),
        "callback_lease": timedelta(seconds=3 * PATIENCE),
        "drain_timeout": timedelta(seconds=PATIENCE + 1),
    }
    return load(_env_file=None, **(values | overrides))


def cut_after(
    write: Callable[[], AbstractAsyncContextManager[AsyncConnection]], *, times: int = 1
) -> Callable[[], AbstractAsyncContextManager[AsyncConnection]]:
    """`Database.write` of a database whose connection is lost after the commit, so many times."""
    left = times

    @asynccontextmanager
    async def cut() -> AsyncIterator[AsyncConnection]:
        nonlocal left
        async with write() as connection:
            yield connection
        left -= 1
        if left >= 0:
            raise DatabaseUnavailable(ConnectionResetError("cut"))

    return cut


@dataclass
class Gateway:
    """The surface, called without a network between, as one user of one organization."""

    runtime: Runtime
    http: httpx.AsyncClient
    secrets: NewSecrets
    sandbox_url: str

    @property
    def platform(self) -> dict[str, str]:
        return {"Authorization": f"User {self.secrets.user}, Organization {self.secrets.organization}"}

    def hub(self, token: str) -> dict[str, str]:
        return {"Authorization": f"User {self.secrets.user}, Element {token}"}

    async def order(self, element: str = "egnyte", /, **configuration: Any) -> dict[str, Any]:
        """A body for `POST /instances` with a fresh code; `configuration` is added to it."""
        twin = twin_of(element)
        return {
            "element": {"key": element},
            "providerData": {"code": twin.code(self.sandbox_url)},
            "configuration": {
                "oauth.callback.url": REDIRECT_URI,
                "oauth.api.key": "sandbox-client",
                "oauth.api.secret": "sandbox-secret",
                **twin.configuration,
                **configuration,
            },
            "tags": ["Docs"],
            "name": "Acme files",
        }

    async def connect(self, element: str = "egnyte", /, **configuration: Any) -> dict[str, Any]:
        """An instance, connected by a real code exchange."""
        order = await self.order(element, **configuration)
        answer = await self.http.post("/instances", json=order, headers=self.platform)
        assert answer.status_code == 200, answer.text
        instance: dict[str, Any] = answer.json()
        return instance


@cache
def _application() -> FastAPI:
    """All routes, built once; each test gives them a runtime of its own."""
    return create_app(load(_env_file=None), with_workers=False)


_migrated: list[bytes] = []
"""The file of an empty SQLite database with the newest schema, made by the first test that needs it."""


async def _prepare(settings: Settings) -> None:
    path = settings.database.database
    if not settings.embedded or path is None or Path(path).exists():
        return
    if not _migrated:
        database = Database(settings.database)
        await migrations.upgrade(database)
        await database.close()
        _migrated.append(Path(path).read_bytes())
    Path(path).write_bytes(_migrated[0])


@asynccontextmanager
async def running(
    settings: Settings, sandbox_url: str, *, with_workers: bool = False
) -> AsyncIterator[Gateway]:
    """A gateway with a migrated database, one organization, and no network in front of it."""
    await _prepare(settings)
    app = _application()
    async with AsyncExitStack() as stack:
        runtime = with_inside(await stack.enter_async_context(open_runtime(settings, look_up=look_up)), app)
        app.state.runtime = runtime
        if with_workers:
            await stack.enter_async_context(working(runtime))
        secrets = await tenants.create_organization(
            runtime.database, "Test", email="test@example.com", now=runtime.clock.now()
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url=f"http://gateway{BASE_PATH}")
        yield Gateway(runtime, await stack.enter_async_context(http), secrets, sandbox_url)
