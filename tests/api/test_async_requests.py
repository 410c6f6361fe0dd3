"""`Elements-Async-Request`: folders copied and deleted later, and the callback told of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from acme import Acme
from gateway import Gateway
from held import Held
from processes import PATIENCE
from sqlalchemy import select, update

from app.async_requests import RequestWorker
from app.polling.poller import PollWorker
from app.store import async_requests, outbox
from app.store.tables import AsyncRequest, Callback, Delivery, Instance, Notification, Subscription, table
from app.vault.sealing import Sealer

CALLBACK = "https://app.example.com/done"
LATER = {"Elements-Async-Request": "True", "Elements-Async-Callback-Url": CALLBACK}

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def made(gateway: Gateway) -> dict[str, Any]:
    return await gateway.connect()


@pytest.fixture
def ask(gateway: Gateway, made: dict[str, Any]) -> Ask:
    async def ask(method: str, url: str, headers: dict[str, str] = LATER, /, **body: Any) -> httpx.Response:
        asked = gateway.hub(made["token"]) | headers
        return await gateway.http.request(method, url, headers=asked, json=body or None)

    return ask


@pytest.fixture
def folder(acme: Acme) -> str:
    acme.change("folder", "/Shared/old")
    acme.change("upload", "/Shared/old/a.txt", content="x")
    return "/Shared/old"


async def rows(gateway: Gateway, model: Any) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list(await connection.execute(select(table(model)).order_by(table(model).c.id)))


async def work(gateway: Gateway, *, runs: int = 1) -> None:
    """Runs what is due, also what was only postponed."""
    worker = RequestWorker(gateway.runtime)
    for _ in range(runs):
        async with gateway.runtime.database.write() as connection:
            requests = table(AsyncRequest)
            past = gateway.runtime.clock.now() - timedelta(hours=1)
            waiting = requests.c.due_at.is_not(None)
            await connection.execute(
                update(requests).where(waiting).values(due_at=past, fence=None, leased_until=None)
            )
        for request in await worker.claim(10):
            assert await worker.run(request) is False


async def told(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(row.body) for row in await rows(gateway, Notification)]


async def exists(ask: Ask, path: str) -> bool:
    return (await ask("GET", f"/folders/metadata?path={path}", {})).status_code == 200


async def test_a_copy_is_dispatched_at_once_and_done_later(gateway: Gateway, ask: Ask, folder: str) -> None:
    answer = await ask("POST", f"/hubs/documents/folders/copy?path={folder}", path="/Shared/copy")
    (request,) = await rows(gateway, AsyncRequest)
    assert answer.status_code == 200
    assert answer.json() == {"eventId": request.id, "eventStatus": "dispatched"}
    assert not await exists(ask, "/Shared/copy")
    await work(gateway)
    assert await exists(ask, "/Shared/copy")
    (body,) = await told(gateway)
    assert (body["eventId"], body["instanceId"]) == (request.id, request.instance_id)
    assert body["response"]["status"] == 200
    assert body["response"]["body"]["path"] == "/Shared/copy"
    (notification,) = await rows(gateway, Notification)
    assert body["notificationId"] == str(notification.id)


async def test_its_answer_is_delivered_to_the_url_of_the_header(
    gateway: Gateway, ask: Ask, folder: str
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    await work(gateway)
    (delivery,), (callback,) = await rows(gateway, Delivery), await rows(gateway, Callback)
    assert (callback.url, delivery.callback_id) == (CALLBACK, callback.id)
    assert (delivery.status, callback.due_at) == ("created", delivery.due_at)


async def test_a_folder_is_deleted_by_its_id_too(gateway: Gateway, ask: Ask, folder: str) -> None:
    found = (await ask("GET", f"/folders/metadata?path={folder}", {})).json()
    answer = await ask("DELETE", f"/elements/api-v2/folders/{found['id']}".removeprefix("/elements/api-v2"))
    assert answer.json()["eventStatus"] == "dispatched"
    await work(gateway)
    assert not await exists(ask, folder)
    assert (await told(gateway))[0]["response"] == {"status": 200}


async def test_a_copy_by_id_goes_where_it_was_to_go(gateway: Gateway, ask: Ask, folder: str) -> None:
    found = (await ask("GET", f"/folders/metadata?path={folder}", {})).json()
    await ask("POST", f"/folders/{found['id']}/copy", path="/Shared/b y/\u00fc")
    await work(gateway)
    assert await exists(ask, "/Shared/b%20y/%C3%BC")


@pytest.mark.parametrize("word", ["true", "TRUE", " True "])
async def test_the_word_true_is_known_in_any_case(gateway: Gateway, ask: Ask, word: str, folder: str) -> None:
    answer = await ask("DELETE", f"/folders?path={folder}", LATER | {"Elements-Async-Request": word})
    assert answer.json()["eventStatus"] == "dispatched"


@pytest.mark.parametrize("word", ["False", "", "1"])
async def test_with_any_other_word_the_client_waits(
    gateway: Gateway, ask: Ask, word: str, folder: str
) -> None:
    answer = await ask("DELETE", f"/folders?path={folder}", LATER | {"Elements-Async-Request": word})
    assert (answer.status_code, answer.content) == (200, b"")
    assert await rows(gateway, AsyncRequest) == []
    assert not await exists(ask, folder)


async def test_somebody_has_to_be_told(gateway: Gateway, ask: Ask, folder: str) -> None:
    answer = await ask("DELETE", f"/folders?path={folder}", {"Elements-Async-Request": "True"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Elements-Async-Callback-Url: is required")
    assert await rows(gateway, AsyncRequest) == []


@pytest.mark.parametrize("url", ["nowhere", "ftp://a.example.com", "http://"])
async def test_a_url_that_cannot_be_called_is_refused(ask: Ask, folder: str, url: str) -> None:
    answer = await ask("DELETE", f"/folders?path={folder}", LATER | {"Elements-Async-Callback-Url": url})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Elements-Async-Callback-Url:")
    assert await exists(ask, folder)


async def test_a_request_that_cannot_be_is_refused_at_once(gateway: Gateway, ask: Ask) -> None:
    answer = await ask("POST", "/folders/copy?path=/Shared/old", path="copy")
    assert (answer.status_code, answer.json()["message"].partition(":")[0]) == (400, "path")
    answer = await ask("POST", "/folders/copy?path=/Shared/old", wrong="copy")
    assert answer.status_code == 400
    assert await rows(gateway, AsyncRequest) == []


async def test_without_the_header_the_instances_callback_is_told_and_signed(
    gateway: Gateway, folder: str
) -> None:
    configured = {"event.notification.callback.url": CALLBACK, "event.notification.signature.key": "secret-k"}
    made = await gateway.connect(**configured, **{"event.notification.enabled": "true"})
    headers = gateway.hub(made["token"]) | {"Elements-Async-Request": "True"}
    for _ in range(2):
        await gateway.http.delete(f"/folders?path={folder}", headers=headers)
    own, later = await rows(gateway, Subscription)
    assert (own.configured, later.configured) == (True, False)
    assert own.callback_id == later.callback_id
    sealer: Sealer = gateway.runtime.sealer
    assert b"secret-k" in sealer.open(later.sealed, outbox.row_name(later.id))


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://APP.example.com:443/elsewhere", True),
        ("http://app.example.com/done", False),
        ("https://app.example.com:8443/done", False),
        ("https://other.example.com/done", False),
    ],
)
async def test_passwords_go_to_the_place_that_they_were_configured_for(
    gateway: Gateway, folder: str, url: str, *, trusted: bool
) -> None:
    secrets = {"signature.key": "secret-k", "basic.username": "ann", "basic.password": "secret-p"}
    secrets |= {"callback.headers": "X-Api: secret-h", "callback.url": CALLBACK}
    made = await gateway.connect(**{f"event.notification.{key}": value for key, value in secrets.items()})
    headers = gateway.hub(made["token"]) | LATER | {"Elements-Async-Callback-Url": url}
    await gateway.http.delete(f"/folders?path={folder}", headers=headers)
    (later,) = await rows(gateway, Subscription)
    carried = gateway.runtime.sealer.open(later.sealed, outbox.row_name(later.id))
    found = [word for word in (b"secret-k", b"secret-p", b"secret-h") if word in carried]
    assert found == ([b"secret-k", b"secret-p", b"secret-h"] if trusted else [b"secret-k"])


async def test_what_older_versions_let_in_does_not_hinder_a_request(
    gateway: Gateway, ask: Ask, folder: str
) -> None:
    stored = {"event.notification.basic.username": "a:b", "event.poller.urls": "crm|/hubs/crm/accounts"}
    async with gateway.runtime.database.write() as connection:
        instances = table(Instance)
        known = await connection.scalar(select(instances.c.configuration)) or {}
        await connection.execute(update(instances).values(configuration=known | stored))
    answer = await ask("DELETE", f"/folders?path={folder}")
    assert answer.status_code == 200
    assert len(await rows(gateway, AsyncRequest)) == 1


async def test_events_do_not_go_to_the_urls_of_async_requests(
    gateway: Gateway, acme: Acme, folder: str
) -> None:
    made = await gateway.connect(
        **{
            "event.notification.enabled": "true",
            "event.notification.callback.url": "http://events.example.com",
        }
    )
    headers = gateway.hub(made["token"]) | LATER
    await gateway.http.delete(f"/folders?path={folder}", headers=headers)
    changed = {"configuration": {"event.notification.callback.url": "http://other.example.com"}}
    await gateway.http.patch(f"/instances/{made['id']}", json=changed, headers=gateway.platform)
    acme.change("upload", "/Shared/a.txt", content="x")
    poll = PollWorker(gateway.runtime, asyncio.Event())
    for poller in await poll.claim(10):
        await poll.run(poller)
    own, *later = await rows(gateway, Subscription)
    assert {row.subscription_id for row in await rows(gateway, Delivery)} == {own.id}
    urls = {row.id: row.url for row in await rows(gateway, Callback)}
    assert [urls[item.callback_id] for item in later] == [CALLBACK]


async def test_a_failure_is_told_with_its_error(gateway: Gateway, ask: Ask, folder: str) -> None:
    await ask("POST", "/folders/copy?path=/Shared/none", path="/Shared/copy")
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 404
    assert body["response"]["body"].keys() >= {"requestId", "message"}


async def test_a_vendor_that_is_away_is_asked_again(
    gateway: Gateway, ask: Ask, acme: Acme, folder: str
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    acme.fault("500", path="/pubapi/v1/fs", times=100)
    await work(gateway)
    (request,) = await rows(gateway, AsyncRequest)
    assert request.due_at > gateway.runtime.clock.now()
    assert (request.attempts, request.fence, request.ended_at) == (1, None, None)
    assert await told(gateway) == []


async def test_a_vendor_that_stays_away_is_given_up(
    gateway: Gateway, ask: Ask, acme: Acme, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.async_requests._ATTEMPTS", 2)
    await ask("DELETE", f"/folders?path={folder}")
    acme.fault("500", path="/pubapi/v1/fs", times=100)
    await work(gateway, runs=3)
    (request,) = await rows(gateway, AsyncRequest)
    assert (request.attempts, request.answer_status, request.due_at) == (2, 502, None)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 502


async def test_a_delete_that_is_run_again_after_a_crash_is_done(
    gateway: Gateway, ask: Ask, folder: str
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    await crash(gateway)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"] == {"status": 200}


async def test_a_copy_that_is_run_again_after_a_crash_is_done(
    gateway: Gateway, ask: Ask, folder: str
) -> None:
    await ask("POST", f"/folders/copy?path={folder}", path="/Shared/a copy")
    await crash(gateway)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 200
    assert body["response"]["body"]["path"] == "/Shared/a copy"


async def test_a_destination_that_was_there_before_is_a_conflict_after_a_crash_too(
    gateway: Gateway, ask: Ask, acme: Acme, folder: str
) -> None:
    acme.change("folder", "/Shared/copy")
    await ask("POST", f"/folders/copy?path={folder}", path="/Shared/copy")
    later = gateway.runtime.clock.now() + timedelta(hours=1)
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(AsyncRequest)).values(created_at=later))
    await crash(gateway)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 409


async def test_a_vendor_may_take_longer_than_while_a_client_waits(
    gateway: Gateway, ask: Ask, acme: Acme, folder: str
) -> None:
    await ask("POST", f"/folders/copy?path={folder}", path="/Shared/copy")
    gateway.runtime.vendors.timeout = httpx.Timeout(PATIENCE, read=0.2)
    acme.fault("slow", path="/pubapi/v1/fs", seconds=0.5, times=100)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 200


async def test_a_delete_that_was_throttled_has_deleted_nothing(
    gateway: Gateway, ask: Ask, acme: Acme
) -> None:
    await ask("DELETE", "/folders?path=/Shared/none")
    acme.fault("429", path="/pubapi/v1/fs", times=5)
    await work(gateway)
    (request,) = await rows(gateway, AsyncRequest)
    assert (request.attempts, request.ended_at) == (1, None)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 404


async def test_a_request_that_kills_its_workers_is_given_up(
    gateway: Gateway, ask: Ask, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.async_requests._ATTEMPTS", 2)
    await ask("DELETE", f"/folders?path={folder}")
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(AsyncRequest)).values(attempts=2, may_be_done=True))
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 502
    assert await exists(ask, folder)


async def test_an_instance_has_answers_sent_to_so_many_urls_and_no_more(
    gateway: Gateway, ask: Ask, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.async_requests.MOST_URLS", 1)
    other = LATER | {"Elements-Async-Callback-Url": "https://app.example.com/other"}
    for headers, status in ((LATER, 200), (other, 409), (LATER, 200)):
        assert (await ask("DELETE", f"/folders?path={folder}", headers)).status_code == status
    assert len(await rows(gateway, Subscription)) == 1


async def crash(gateway: Gateway) -> None:
    """A worker runs what is due, and dies before it can write that down."""
    before = await rows(gateway, AsyncRequest)
    await work(gateway)
    async with gateway.runtime.database.write() as connection:
        requests = table(AsyncRequest)
        undone = {"due_at": before[0].due_at, "ended_at": None, "answer_status": None}
        await connection.execute(update(requests).values(undone))
        await connection.execute(table(Delivery).delete())
        await connection.execute(table(Notification).delete())


async def test_a_worker_that_has_lost_its_lease_tells_nobody(gateway: Gateway, ask: Ask, folder: str) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    worker = RequestWorker(gateway.runtime)
    (stale,) = await worker.claim(10)
    await work(gateway)
    await worker.run(stale)
    assert len(await told(gateway)) == 1


async def test_a_receiver_that_was_given_up_is_called_again_when_it_is_named_again(
    gateway: Gateway, ask: Ask, folder: str
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Subscription)).values(active=False, inactive_reason="410"))
    await work(gateway)
    assert [row.status for row in await rows(gateway, Delivery)] == ["queued"]
    await ask("DELETE", f"/folders?path={folder}")
    (subscription,) = await rows(gateway, Subscription)
    assert (subscription.active, subscription.inactive_reason) == (True, None)
    assert [row.status for row in await rows(gateway, Delivery)] == ["created"]


async def test_a_subscription_ends_after_its_requests(gateway: Gateway, ask: Ask, folder: str) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    (later,) = await rows(gateway, Subscription)
    path = f"/notifications/subscriptions/{later.id}"
    assert (await gateway.http.delete(path, headers=gateway.platform)).status_code == 409
    assert await rows(gateway, Subscription) == [later]
    await work(gateway)
    answer = await gateway.http.delete(path, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    assert await rows(gateway, AsyncRequest) == []
    assert (await ask("DELETE", f"/folders?path={folder}")).status_code == 200  # and makes another one


async def test_a_deleted_instance_is_told_of(gateway: Gateway, made: Any, ask: Ask, folder: str) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    await gateway.http.delete(f"/instances/{made['id']}", headers=gateway.platform)
    await work(gateway)
    (body,) = await told(gateway)
    assert body["response"]["status"] == 404


async def test_a_stop_does_not_cut_the_storing_of_an_answer(
    gateway: Gateway, ask: Ask, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    held = Held(monkeypatch, async_requests, "end")
    await held.cut(asyncio.create_task(work(gateway)))
    assert (await told(gateway))[0]["response"] == {"status": 200}


async def test_a_stop_before_a_request_has_begun_gives_it_back(
    gateway: Gateway, ask: Ask, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask("DELETE", f"/folders?path={folder}")
    held = Held(monkeypatch, async_requests, "begin")
    await held.cut(asyncio.create_task(work(gateway)))
    (request,) = await rows(gateway, AsyncRequest)
    assert (request.fence, request.attempts) == (None, 0)
    assert request.due_at is not None
