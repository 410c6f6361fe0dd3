"""What many tests need: the sandbox, a receiver, both databases, a gateway."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import gateway as gateways
import httpx
import postgresql as servers
import pytest
from acme import Acme
from box_account import Box, opened
from gateway import Gateway
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from postgresql import Server
from processes import PATIENCE
from serving import served

from app import logs
from app.sandbox.receiver import create_receiver
from app.sandbox.server import create_sandbox
from app.settings import Settings
from app.store import migrations
from app.store.engine import Database

# A machine that is busy with something else is no failure of a property.
hypothesis_settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("unhurried")

# Nor of a request: what asks with httpx and names no time-out would give up after five seconds.
vars(DEFAULT_TIMEOUT_CONFIG).update(vars(httpx.Timeout(PATIENCE)))

SIGNATURE_KEY = "top-secret"
ENCRYPTION_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's shell or .env reaches a test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with served(create_sandbox()) as url:
        yield url


@pytest.fixture
def sandbox(sandbox_url: str) -> Iterator[httpx.Client]:
    """The whole sandbox, as it begins."""
    with httpx.Client(base_url=sandbox_url) as client:
        client.post("/control/reset").raise_for_status()
        yield client


@pytest.fixture
def acme(sandbox: httpx.Client, sandbox_url: str) -> Iterator[Acme]:
    """The sandbox's Egnyte domain acme, with a token of its user jsmith."""
    url = f"{sandbox_url}/egnyte/acme"
    with httpx.Client(base_url=url) as http:
        acme = Acme(url, http, sandbox)
        http.headers["Authorization"] = f"Bearer {acme.token()['access_token']}"
        yield acme


@pytest.fixture
def box(sandbox: httpx.Client, sandbox_url: str) -> Iterator[Box]:
    """The sandbox's Box, with a token of its administrator Ann."""
    with opened(sandbox, sandbox_url) as account:
        yield account


@pytest.fixture(scope="session")
def receiver_url() -> Iterator[str]:
    with served(create_receiver(SIGNATURE_KEY, keep=5000, echo=False)) as url:
        yield url


@pytest.fixture
def receiver(receiver_url: str) -> Iterator[httpx.Client]:
    """A callback receiver without deliveries and without faults."""
    with httpx.Client(base_url=receiver_url) as client:
        client.delete("/deliveries").raise_for_status()
        yield client


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with servers.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with the newest schema, on each of the two kinds."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.new_database()
    return f"sqlite:///{tmp_path}/gateway.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    settings = Settings(_env_file=None, database_url=database_url, encryption_keys=ENCRYPTION_KEY)
    opened = Database(settings.database)
    if opened.embedded:
        await migrations.upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def gateway(tmp_path: Path, sandbox: httpx.Client, sandbox_url: str) -> AsyncIterator[Gateway]:
    """A gateway on SQLite, without workers, in front of the sandbox."""
    settings = gateways.settings_for(tmp_path, sandbox_url)
    async with gateways.running(settings, sandbox_url) as running:
        yield running


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that the process logs, in both forms, down to debug."""
    written: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.extend([logs.TextLines().format(record), logs.JsonLines().format(record)])

    logs.quiet_libraries()
    handler, root = Collect(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)
