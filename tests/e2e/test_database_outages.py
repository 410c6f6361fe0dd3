"""The processes ride over a PostgreSQL that comes late, crashes, is restarted, and cuts its connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import postgresql as servers
import pytest
from conftest import ENCRYPTION_KEY
from postgresql import OwnServer
from processes import PATIENCE, House, Process, eventually, house


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with servers.running_own() as started:
        yield started


@pytest.fixture
def url(server: OwnServer) -> str:
    return server.new_database(migrated=False)


@pytest.fixture
def alone(tmp_path: Path, url: str) -> Iterator[House]:
    """Processes of the gateway and nothing around them."""
    with ExitStack() as stack:
        settings = {"GATEWAY_DATABASE_URL": url, "GATEWAY_ENCRYPTION_KEYS": ENCRYPTION_KEY}
        yield House(tmp_path, url, "", "", settings, stack)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[House]:
    with house(tmp_path, url, ENCRYPTION_KEY) as made:
        yield made


def is_well(process: Process) -> bool:
    """It lives, and nothing has happened that it did not expect."""
    return process.process.poll() is None and "Traceback" not in process.said()


def ready(house: House) -> httpx.Response:
    return httpx.get(house.gateway_url.removesuffix("/elements/api-v2") + "/ready")


def test_a_process_that_comes_before_its_database_waits_for_it(server: OwnServer, alone: House) -> None:
    server.stop()
    late = alone.start("work")
    eventually(lambda: "the database cannot be reached yet" in late.said(), "a first try")
    server.start()
    eventually(lambda: "worker started" in late.said(), "worker started")
    assert is_well(late)


def test_what_will_not_come_is_said_at_once(server: OwnServer, alone: House) -> None:
    process = alone.start("work", GATEWAY_DATABASE_URL=server.url("nowhere"), GATEWAY_DATABASE_WAIT="3600")
    assert process.process.wait(PATIENCE) == 2
    assert 'database "nowhere" does not exist' in process.said()
    assert "attempt=" not in process.said()


def test_an_api_without_its_database_says_so_and_recovers(server: OwnServer, alone: House) -> None:
    process = alone.serve("--no-workers")
    instances = f"{alone.gateway_url}/instances"
    assert httpx.get(instances, headers=alone.platform).status_code == 200
    server.stop()
    answer = httpx.get(instances, headers=alone.platform)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json().keys() == {"requestId", "message"}
    away = ready(alone)
    assert (away.status_code, away.json()["database"]) == (503, "unreachable")
    assert away.json()["reason"].endswith("Error")
    assert httpx.get(str(away.url).replace("ready", "health")).status_code == 200
    server.start()
    assert ready(alone).status_code == 200
    assert httpx.get(instances, headers=alone.platform).status_code == 200
    assert is_well(process)


def test_workers_deliver_everything_across_crashes_and_cuts(server: OwnServer, home: House, url: str) -> None:
    processes = [home.serve("--no-workers"), home.work(), home.work()]
    home.receiver_behaves(delay=0.2)
    home.connect()
    changes = home.change(60, name="before")
    eventually(home.deliveries, "a POST in flight")
    server.stop()
    changes += home.change(20, name="while-it-is-away")
    server.start()
    changes += home.change(20, name="after")
    server.cut(url)
    home.await_changes(changes)
    assert all(is_well(process) for process in processes)
    assert [process.stop() for process in processes] == [0, 0, 0]
