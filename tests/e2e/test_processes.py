"""The product as its operator runs it: starts, restarts, drains, many workers, a callback that was down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from postgresql import Server
from processes import PATIENCE, House, eventually, house
from sqlalchemy import func, or_, select

from app.store.engine import Database
from app.store.tables import Callback, Delivery, DeliveryStatus, Duty, Poller, table


@pytest.fixture
def home(tmp_path: Path, database: Database, database_url: str) -> Iterator[House]:
    with house(tmp_path, database_url, ENCRYPTION_KEY) as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, f"sqlite:///{tmp_path}/new/gateway.db", "") as made:
        del made.settings["GATEWAY_ENCRYPTION_KEYS"]
        yield made


async def leases(database: Database) -> int:
    """Rows that somebody still holds."""
    found = 0
    duties: tuple[type[Duty], ...] = (Poller, Callback)
    for duty in duties:
        rows = table(duty)
        held = select(func.count()).where(or_(rows.c.fence.is_not(None), rows.c.leased_until.is_not(None)))
        async with database.read() as connection:
            found += await connection.scalar(held) or 0
    return found


def test_the_first_start_prints_the_secrets_once_and_seals_with_a_key_file(embedded: House) -> None:
    first = embedded.serve()
    assert len(re.findall(r"^  (Organization|User) \S+$", first.said(), re.MULTILINE)) == 2
    key_file = embedded.folder / "new/gateway.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    instance = embedded.connect()
    assert first.stop() == 0
    second = embedded.serve()
    assert "secret" not in second.said().lower()
    assert embedded.connect()["id"] == instance["id"] + 1


def test_one_process_does_everything(embedded: House) -> None:
    embedded.serve()
    embedded.connect()
    embedded.await_changes(embedded.change(250, name="many"))
    sizes = [len(delivery["json"]["message"]["events"]) for delivery in embedded.deliveries()]
    assert max(sizes) == 10


def test_a_callback_that_was_down_during_a_restart_gets_everything(embedded: House) -> None:
    gateway = embedded.serve()
    embedded.connect()
    assert embedded.receiver is not None
    embedded.receiver.kill()
    changes = embedded.change(30, name="down")
    eventually(lambda: "retry=" in gateway.said(), "a POST that nobody took")
    assert gateway.stop() == 0
    changes += embedded.change(30, name="stopped")
    embedded.serve()
    embedded.open_receiver()
    embedded.await_changes(changes)


async def test_a_stopped_worker_leaves_no_lease_and_cuts_no_delivery(home: House, database: Database) -> None:
    home.serve("--no-workers")
    home.receiver_behaves(delay=0.6)
    home.connect()
    changes = home.change(120, name="drain")
    worker = home.work()
    eventually(home.deliveries, "a POST in flight")
    assert worker.stop() == 0
    assert await leases(database) == 0
    begun = {delivery["json"]["id"] for delivery in home.deliveries()}
    async with database.read() as connection:
        delivered = await connection.scalars(
            select(table(Delivery).c.notification_id).where(
                table(Delivery).c.status == DeliveryStatus.DELIVERED
            )
        )
        assert {str(item) for item in delivered} == begun
    home.receiver_behaves(delay=0)
    home.work()
    home.await_changes(changes)
    arrived = [delivery["json"]["id"] for delivery in home.deliveries()]
    assert len(arrived) == len(set(arrived))


def test_two_api_processes_and_three_workers_share_one_postgresql(tmp_path: Path, postgresql: Server) -> None:
    url = postgresql.new_database(migrated=False)
    with house(tmp_path, url, ENCRYPTION_KEY) as home:
        home.serve("--no-workers")
        workers = [home.work() for _ in range(3)]
        first = home.gateway_url
        home.serve("--no-workers")
        assert home.gateway_url != first
        for number in range(5):
            home.connect(callback=f"/changes/{number}")
        changes = home.change(100, name="shared")
        eventually(lambda: len(home.deliveries()) >= 50, "ten notifications for each of five accounts")
        home.await_changes_of_each_account(changes, accounts=5)
        assert [worker.stop() for worker in workers] == [0, 0, 0]


def test_a_slow_callback_does_not_delay_another(embedded: House) -> None:
    embedded.receiver_behaves(path="/hang", hang=True)
    embedded.serve()
    embedded.connect(callback="/hang", domain="globex")
    embedded.connect(callback="/healthy")
    embedded.change(200, name="slow", domain="globex")
    eventually(lambda: any(item["path"] == "/hang" for item in embedded.deliveries()), "a POST that hangs")
    changes = set(embedded.change(5, name="healthy"))

    def arrived() -> bool:
        rows = [item for item in embedded.deliveries() if item["path"] == "/healthy"]
        found = {row["event_id"] for item in rows for row in item["json"]["message"]["raw"]["events"]}
        return found >= changes

    eventually(arrived, "the healthy callback's changes")


def test_settings_that_contradict_each_other_are_refused_at_start(embedded: House) -> None:
    process = embedded.start("work", GATEWAY_POLL_LEASE="11", GATEWAY_POLL_TIMEOUT="11.5")
    assert process.process.wait(PATIENCE) == 2
    assert "GATEWAY_POLL_LEASE (11 s) must be longer than GATEWAY_POLL_TIMEOUT (11.5 s)" in process.said()


def test_a_database_that_cannot_be_reached_is_one_sentence(embedded: House) -> None:
    url = "postgresql://nobody:hidden@127.0.0.1:9/none"
    process = embedded.start(
        "work", GATEWAY_DATABASE_URL=url, GATEWAY_ENCRYPTION_KEYS=ENCRYPTION_KEY, GATEWAY_DATABASE_WAIT="2"
    )
    assert process.process.wait(PATIENCE) == 2
    assert "the database cannot be reached yet attempt=1" in process.said()
    assert "GATEWAY_DATABASE_URL cannot be used" in process.said()
    assert "Traceback" not in process.said()
    assert "hidden" not in process.said()


def test_an_organization_can_be_created_and_sees_nothing_of_another(embedded: House) -> None:
    embedded.serve()
    mine = embedded.connect()
    created = embedded.start("organization", "create", "Second")
    assert created.process.wait(PATIENCE) == 0
    embedded.secrets |= dict(re.findall(r"^  (Organization|User) (\S+)$", created.said(), re.MULTILINE))
    answer = httpx.get(f"{embedded.gateway_url}/instances/{mine['id']}", headers=embedded.platform)
    assert answer.status_code == 404
