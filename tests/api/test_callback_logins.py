"""Users and passwords in the URLs of callbacks: sealed, sent, shown covered, and taken out of older rows."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any

import httpx
import pytest
from gateway import Gateway
from sqlalchemy import insert, select, update

from app.async_requests import RequestWorker
from app.delivery.dispatcher import DispatchWorker
from app.ingest import events, intake
from app.ingest.events import Origin
from app.store import instances, outbox
from app.store.tables import Callback, Credential, Delivery, Instance, Subscription, Via, table
from app.vault.credentials import Secrets

URL = "event.notification.callback.url"
_NUMBERS = itertools.count(1)
ENABLED_KEY = "event.notification.enabled"
ENABLED = {ENABLED_KEY: True}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def named(url: str, login: str) -> str:
    return url.replace("//", f"//{login}@") + "/changes"


async def call(gateway: Gateway, method: str, path: str, status: int = 200, **request: Any) -> Any:
    answer = await gateway.http.request(method, path, headers=gateway.platform, **request)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def rows(gateway: Gateway, model: Any) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list((await connection.execute(select(table(model)).order_by(table(model).c.id))).all())


async def set_rows(gateway: Gateway, model: Any, **values: Any) -> None:
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(model)).values(**values))


async def deliver(gateway: Gateway, *instance_ids: int) -> None:
    """Takes in a change of each of these instances, and serves the callbacks that are due for one turn."""
    runtime, now = gateway.runtime, gateway.runtime.clock.now()
    for instance_id in instance_ids:
        async with runtime.database.write() as connection:
            found = await instances.for_worker(connection, instance_id)
            assert found
            change = events.grant_revoked(instance_id, next(_NUMBERS), "test", now)
            await intake.take_in(connection, *found, [change], Origin(Via.GATEWAY, "gateway", 20), now=now)
    worker = DispatchWorker(runtime, asyncio.Event())
    for callback in await worker.claim(10):
        await worker.run(callback)


def authorizations(receiver: httpx.Client) -> list[str | None]:
    return [item["headers"].get("authorization") for item in receiver.get("/deliveries").json()]


async def test_two_instances_with_different_passwords_share_the_callback_of_a_url(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    made = [
        await gateway.connect(**ENABLED, **{URL: named(receiver_url, login)})
        for login in ("ann:one%2Fp%40ss", "ann@example.com:two:p@ss")
    ]
    covered = [
        named(receiver_url, "ann:********"),
        named(receiver_url, "ann@example.com:********"),
    ]
    assert [item["configuration"][URL] for item in made] == covered
    shown = await call(gateway, "GET", "/notifications/subscriptions")
    assert [item["config"]["url"] for item in shown] == covered
    (callback,) = await rows(gateway, Callback)
    assert callback.url == receiver_url + "/changes"
    assert "ss" not in str([row.configuration[URL] for row in await rows(gateway, Instance)])
    await deliver(gateway, *(item["id"] for item in made))
    sent = [basic("ann", "one/p@ss"), basic("ann@example.com", "two:p@ss")]
    assert sorted(map(str, authorizations(receiver))) == sorted(sent)


async def test_what_was_shown_is_unchanged_and_a_new_password_is_a_new_receiver(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**ENABLED, **{URL: named(receiver_url, "ann:old-password")})
    (subscription,) = await rows(gateway, Subscription)
    async with gateway.runtime.database.write() as connection:
        given_up = Subscription(**subscription._mapping)
        await outbox.deactivate(connection, given_up, "gave up", now=gateway.runtime.clock.now())
    own = f"/instances/{made['id']}"
    await call(gateway, "PATCH", own, json={"configuration": {URL: made["configuration"][URL]}})
    assert [row.active for row in await rows(gateway, Subscription)] == [False]
    new = named(receiver_url, "ann:new-password")
    changed = await call(gateway, "PUT", own, json={"configuration": {URL: new}})
    assert changed["configuration"][URL] == made["configuration"][URL]
    assert [row.active for row in await rows(gateway, Subscription)] == [True]
    await deliver(gateway, made["id"])
    bare = receiver_url + "/changes"
    await call(gateway, "PATCH", own, json={"configuration": {URL: bare}})
    await deliver(gateway, made["id"])
    assert authorizations(receiver) == [basic("ann", "new-password"), None]
    (shown,) = await call(gateway, "GET", "/notifications/subscriptions")
    assert shown["config"] == {"url": bare}


async def test_what_is_configured_apart_takes_the_place_of_the_user_in_the_url(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    apart = {"event.notification.basic.username": "bob", "event.notification.basic.password": "secret"}
    header = {"event.notification.callback.headers": "authorization: Bearer x"}
    made = [
        await gateway.connect(**ENABLED, **more, **{URL: named(receiver_url, "ann:password")})
        for more in (apart, header)
    ]
    await deliver(gateway, *(item["id"] for item in made))
    assert sorted(map(str, authorizations(receiver))) == [basic("bob", "secret"), "Bearer x"]


async def test_who_subscribes_with_another_password_has_it_from_then_on(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect()
    topic = f"instance-{made['id']}-egnyte-events"
    ids = [
        (
            await call(
                gateway,
                "POST",
                "/notifications/subscriptions",
                json={"topics": [topic], "config": {"url": named(receiver_url, login)}},
            )
        )["id"]
        for login in ("ann:one", "ann:one", "bob:one", "ann:two")
    ]
    assert ids == [ids[0], ids[0], ids[2], ids[0]]
    await deliver(gateway, made["id"])
    assert sorted(map(str, authorizations(receiver))) == [basic("ann", "two"), basic("bob", "one")]
    found = "config.url='" + named(receiver_url, "ann:********") + "' and status='delivered'"
    path = "/notifications/subscriptions/deliveries"
    assert len(await call(gateway, "GET", path, params={"where": found})) == 1


async def test_a_configured_password_is_not_changed_by_a_subscription(
    gateway: Gateway, receiver_url: str
) -> None:
    made = await gateway.connect(**ENABLED, **{URL: named(receiver_url, "ann:one")})
    topic = f"instance-{made['id']}-egnyte-events"
    for login, status in (("ann:one", 200), ("ann:two", 409)):
        order = {"topics": [topic], "config": {"url": named(receiver_url, login)}}
        await call(gateway, "POST", "/notifications/subscriptions", status, json=order)


async def test_the_answer_of_an_async_request_comes_with_the_login_of_its_url(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**{URL: named(receiver_url, "ann:own")})
    later = gateway.hub(made["token"]) | {"Elements-Async-Request": "true"}
    for more in ({}, {"Elements-Async-Callback-Url": named(receiver_url, "bob:named")}):
        answer = await gateway.http.delete("/folders", params={"path": "/Shared/none"}, headers=later | more)
        assert answer.status_code == 200, answer.text
    worker = RequestWorker(gateway.runtime)
    for request in await worker.claim(10):
        await worker.run(request)
    await deliver(gateway)
    assert sorted(map(str, authorizations(receiver))) == [basic("ann", "own"), basic("bob", "named")]


async def made_by_an_older_version(gateway: Gateway, url: str) -> int:
    """An instance, and a subscription that was added to it, with the URL as it was stored once."""
    made = await gateway.connect(**ENABLED, **{URL: url})
    instance_id: int = made["id"]
    order = {
        "topics": [f"instance-{instance_id}-egnyte-events"],
        "config": {"url": url.replace("ann:", "bob:"), "signatureKey": "a-key"},
    }
    added = (await call(gateway, "POST", "/notifications/subscriptions", json=order))["id"]
    runtime = gateway.runtime
    secrets = await runtime.credentials.open(instance_id)
    (instance,) = await rows(gateway, Instance)
    values = {key: value for key, value in secrets.values.items() if key != URL}
    await set_rows(gateway, Instance, configuration=instance.configuration | {URL: url})
    sealed = runtime.credentials.seal(instance_id, Secrets(secrets.token, values))
    async with runtime.database.write() as connection:
        await connection.execute(update(table(Credential)).values(sealed=sealed))
    await set_rows(gateway, Callback, url=url)
    await set_rows(gateway, Subscription, sealed=None, shown_url=None)
    key = runtime.sealer.seal(b"a-key", outbox.row_name(added))
    async with runtime.database.write() as connection:
        await outbox.seal_subscription(connection, added, key)
        other = insert(table(Callback)).values(account_id=1, url=url.replace("ann:", "bob:"), slow=False)
        added_row: Any = await connection.execute(other)
        other_id = added_row.inserted_primary_key[0]
        of_added = table(Subscription).c.id == added
        await connection.execute(update(table(Subscription)).where(of_added).values(callback_id=other_id))
    return instance_id


@pytest.mark.parametrize("change", [{"name": "new"}, {"configuration": {ENABLED_KEY: "false"}}])
async def test_older_rows_work_as_they_are_and_are_taken_apart_with_the_next_change(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str, change: dict[str, Any]
) -> None:
    url = named(receiver_url, "ann:old-password")
    instance_id = await made_by_an_older_version(gateway, url)
    before = await call(gateway, "GET", "/notifications/subscriptions")
    await deliver(gateway, instance_id)
    logins = [basic("ann", "old-password"), basic("bob", "old-password")]
    assert sorted(map(str, authorizations(receiver))) == logins
    (first, _) = await rows(gateway, Subscription)
    async with gateway.runtime.database.write() as connection:
        now = gateway.runtime.clock.now()
        await outbox.deactivate(connection, Subscription(**first._mapping), "gave up", now=now)
    receiver.delete("/deliveries")
    await call(gateway, "PATCH", f"/instances/{instance_id}", json=change)
    everything = [
        *await rows(gateway, Callback),
        *await rows(gateway, Instance),
        *await rows(gateway, Subscription),
    ]
    assert "old-password" not in str(everything)
    assert [row.active for row in await rows(gateway, Subscription)] == [False, True]
    after = await call(gateway, "GET", "/notifications/subscriptions")
    assert [item["config"]["url"] for item in after] == [item["config"]["url"] for item in before]
    secrets = await gateway.runtime.credentials.open(instance_id)
    assert secrets.values[URL] == url
    (receiving, *_) = [row for row in await rows(gateway, Callback) if "@" not in row.url]
    assert {row.callback_id for row in await rows(gateway, Subscription)} == {receiving.id}
    await deliver(gateway, instance_id)
    assert authorizations(receiver) == [basic("bob", "old-password")]


async def test_an_older_subscription_is_known_again_by_its_url(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    instance_id = await made_by_an_older_version(gateway, named(receiver_url, "ann:old-password"))
    before = [row.id for row in await rows(gateway, Subscription)]
    topic = f"instance-{instance_id}-egnyte-events"
    order = {"topics": [topic], "config": {"url": named(receiver_url, "bob:old-password")}}
    assert (await call(gateway, "POST", "/notifications/subscriptions", json=order))["id"] == before[1]
    assert [row.id for row in await rows(gateway, Subscription)] == before
    await deliver(gateway, instance_id)
    assert all(item["headers"].get("authorization") for item in receiver.get("/deliveries").json())
    assert [row.status for row in await rows(gateway, Delivery)] == ["delivered"] * 2
