"""Changing a live instance: what is not named stays, what concerns events counts from the next poll on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from acme import Acme, consent
from conftest import ENCRYPTION_KEY
from gateway import Gateway
from processes import until
from sqlalchemy import select
from twins import twin_of

from app.configuration import is_secret
from app.delivery.dispatcher import DispatchWorker
from app.polling.poller import PollWorker
from app.provisioning import updates
from app.store import events
from app.store.tables import (
    Callback,
    Credential,
    Delivery,
    Event,
    Instance,
    KnownObject,
    Poller,
    Subscription,
    table,
)
from app.upstream import oauth

URL = "event.notification.callback.url"
ENABLED = "event.notification.enabled"
STARS = "********"


@pytest.fixture
async def gateway(
    database_url: str, tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> AsyncIterator[Gateway]:
    """On both databases: what may run into each other here does so only on one of them."""
    settings = gateways.settings_for(
        tmp_path, sandbox_url, database_url=database_url, encryption_keys=ENCRYPTION_KEY
    )
    async with gateways.running(settings, sandbox_url) as made:
        yield made


async def patch(gateway: Gateway, instance: dict[str, Any], body: Any, status: int = 200) -> dict[str, Any]:
    path = f"/instances/{instance['id']}"
    answer = await gateway.http.patch(path, json=body, headers=gateway.platform)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rows(gateway: Gateway, model: Any) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list(await connection.execute(select(table(model)).order_by(table(model).c.id)))


async def poll(gateway: Gateway) -> int:
    """Polls what is due, and answers how many accounts that were."""
    worker = PollWorker(gateway.runtime, asyncio.Event())
    claimed = await worker.claim(10)
    for poller in claimed:
        await worker.run(poller)
    return len(claimed)


async def deliver(gateway: Gateway) -> None:
    worker = DispatchWorker(gateway.runtime, asyncio.Event())
    for callback in await worker.claim(10):
        await worker.run(callback)


def watched(receiver_url: str, path: str = "/first") -> dict[str, Any]:
    return {ENABLED: True, URL: receiver_url + path, "event.poller.refresh_interval": "60"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_is_not_named_stays_as_it_is(gateway: Gateway, method: str) -> None:
    made = await gateway.connect(**{"my.number": "1", "other.number": "2"})
    path = f"/instances/{made['id']}"
    body = {"configuration": {"my.number": 5, "new.flag": True, "other.number": None}}
    answer = await gateway.http.request(method, path, json=body, headers=gateway.platform)
    changed = answer.json()
    assert changed["configuration"] == made["configuration"] | {
        "my.number": "5", "new.flag": "true", "other.number": None
    }  # fmt: skip
    for field in ("id", "token", "name", "tags", "createdDate", "valid", "user"):
        assert changed[field] == made[field]
    assert changed == (await gateway.http.get(path, headers=gateway.platform)).json()


async def test_name_and_tags_are_replaced_and_an_empty_list_clears(gateway: Gateway) -> None:
    made = await gateway.connect()
    changed = await patch(gateway, made, {"name": "New name", "tags": ["a", "b"]})
    assert (changed["name"], changed["tags"]) == ("New name", ["a", "b"])
    assert (await patch(gateway, made, {"tags": []}))["tags"] == []
    assert (await patch(gateway, made, {"name": None, "tags": None}))["name"] == "New name"
    for name in ("", "<b></b>"):
        assert (await patch(gateway, made, {"name": name}, 400))["message"].startswith("name: ")


async def test_the_whole_instance_can_be_sent_back(gateway: Gateway) -> None:
    made = await gateway.connect(**{"password": "kept", URL: "http://u:secret@callback.example.com/x"})
    assert made["configuration"][URL] == f"http://u:{STARS}@callback.example.com/x"
    before = await gateway.runtime.credentials.open(made["id"])
    answer = await gateway.http.put(f"/instances/{made['id']}", json=made, headers=gateway.platform)
    assert answer.json() | {"updatedDate": ""} == made | {"updatedDate": ""}
    assert await gateway.runtime.credentials.open(made["id"]) == before
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200


async def test_a_secret_is_changed_by_another_value_and_not_by_stars(gateway: Gateway) -> None:
    made = await gateway.connect(password="first")
    await patch(gateway, made, {"configuration": {"password": STARS, "oauth.api.secret": STARS}})
    assert (await gateway.runtime.credentials.open(made["id"])).values["password"] == "first"
    shown = await patch(gateway, made, {"configuration": {"password": "second"}})
    assert shown["configuration"]["password"] == STARS
    assert (await gateway.runtime.credentials.open(made["id"])).values["password"] == "second"
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200


@pytest.mark.parametrize("element", ["egnyte", "box"])
async def test_a_new_code_authenticates_again_and_keeps_id_and_token(
    gateway: Gateway, sandbox: httpx.Client, element: str
) -> None:
    made = await gateway.connect(element)
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200
    before = await gateway.runtime.credentials.open(made["id"])
    code = twin_of(element).code(gateway.sandbox_url)
    changed = await patch(gateway, made, {"providerData": {"code": code}})
    after = await gateway.runtime.credentials.open(made["id"])
    assert (changed["id"], changed["token"], changed["valid"]) == (made["id"], made["token"], True)
    assert after.values["oauth.user.token"] != before.values["oauth.user.token"]
    assert after.token == before.token
    live = await gateway.runtime.credentials.fresh(
        (await rows(gateway, Instance))[0],
        gateway.runtime.registry.find(element),
        None,
    )
    assert live == after.values["oauth.user.token"]


async def test_a_dead_grant_comes_to_life_by_a_new_code(
    gateway: Gateway, sandbox: httpx.Client, receiver_url: str
) -> None:
    box = twin_of("box")
    made = await gateway.connect("box", **watched(receiver_url), **{"event.poller.long.poll": "false"})
    sandbox.post(
        "/control/box/tokens/revoke", json={"token": (await opened(gateway, made))["oauth.user.token"]}
    )
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 401
    path = f"/instances/{made['id']}"
    dead = (await gateway.http.get(path, headers=gateway.platform)).json()
    assert dead["valid"] is False
    assert "nextPollDate" not in dead["pollers"][0]
    alive = await patch(gateway, made, {"providerData": {"code": box.code(gateway.sandbox_url)}})
    assert alive["valid"] is True
    assert "nextPollDate" in alive["pollers"][0]
    assert "error" not in alive["pollers"][0]
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200
    assert await poll(gateway) == 1


async def opened(gateway: Gateway, instance: dict[str, Any]) -> Any:
    return (await gateway.runtime.credentials.open(instance["id"])).values


async def test_a_refused_code_changes_nothing(gateway: Gateway) -> None:
    made = await gateway.connect()
    before = await gateway.runtime.credentials.open(made["id"])
    error = await patch(gateway, made, {"name": "X", "providerData": {"code": "wrong"}}, 400)
    assert "invalid_grant" in error["providerMessage"]
    assert await gateway.runtime.credentials.open(made["id"]) == before
    assert (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).json() == made


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"configuration": {"subdomain": "other"}}, "another place"),
        ({"configuration": {"subdomain": None}}, "subdomain"),
        ({"configuration": {"event.poller.refresh_interval": "often"}}, "event.poller.refresh_interval"),
        ({"configuration": {URL: "ftp://x"}}, URL),
        ({"element": {"key": "box"}}, "element"),
        ({"externalAuthentication": "x"}, "externalAuthentication"),
        ({"tags": "a"}, "tags"),
        ([], "body"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_whole(gateway: Gateway, body: Any, named: str) -> None:
    made = await gateway.connect()
    error = await patch(gateway, made, body if isinstance(body, list) else body | {"name": "X"}, 400)
    assert named in error["message"]
    assert (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).json() == made


async def test_changes_at_the_same_time_all_count(gateway: Gateway) -> None:
    made = await gateway.connect()
    bodies = [{"configuration": {f"key.{n}": n, f"password.{n}.secret": str(n)}} for n in range(8)]
    await asyncio.gather(*(patch(gateway, made, body) for body in bodies))
    shown = (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).json()
    assert {f"key.{n}": str(n) for n in range(8)}.items() <= shown["configuration"].items()
    values = await opened(gateway, made)
    assert {f"password.{n}.secret": str(n) for n in range(8)}.items() <= values.items()


async def test_a_refresh_in_flight_and_a_changed_secret_both_count(
    gateway: Gateway, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes while the vendor is asked, and has to be made again behind it."""
    refresh, write = oauth.refresh, updates._write
    in_flight, overtaken = asyncio.Event(), asyncio.Event()

    async def slowly(*given: Any) -> Any:
        in_flight.set()
        await overtaken.wait()
        return await refresh(*given)

    async def write_behind_it(*given: Any) -> None:
        try:
            await write(*given)
        except updates._Overtaken:
            overtaken.set()
            raise

    monkeypatch.setattr(oauth, "refresh", slowly)
    monkeypatch.setattr(updates, "_write", write_behind_it)
    made = await gateway.connect("box")
    sandbox.post("/control/box/tokens/expire", json={"kind": "access"}).raise_for_status()
    before = await opened(gateway, made)
    ping = asyncio.create_task(gateway.http.get("/ping", headers=gateway.hub(made["token"])))
    await in_flight.wait()
    await patch(gateway, made, {"configuration": {"my.secret": "s"}})
    assert overtaken.is_set()
    assert (await ping).status_code == 200
    after = await opened(gateway, made)
    assert after["my.secret"] == "s"
    assert after["oauth.user.refresh_token"] != before["oauth.user.refresh_token"]
    sandbox.post("/control/box/tokens/expire", json={"kind": "access"}).raise_for_status()
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200


async def test_a_new_callback_url_gets_what_follows_and_what_the_old_one_did_not_take(
    gateway: Gateway, acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    acme.change("upload", "/Shared/one.txt", content="x")
    await poll(gateway)
    await patch(gateway, made, {"configuration": {URL: receiver_url + "/second"}})
    acme.change("upload", "/Shared/two.txt", content="x")
    assert await poll(gateway) == 1, "due at once"
    await deliver(gateway)
    got = receiver.get("/deliveries").json()
    assert sorted(item["path"] for item in got) == ["/second", "/second"]
    assert {item.status for item in await rows(gateway, Delivery)} == {"delivered"}
    assert len(await rows(gateway, Subscription)) == 1


async def test_a_new_callback_url_brings_a_deactivated_subscription_back(
    gateway: Gateway, acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**watched("http://127.0.0.1:2"))
    acme.change("upload", "/Shared/one.txt", content="x")
    await poll(gateway)
    await patch(gateway, made, {"configuration": {URL: None}})
    assert [item.status for item in await rows(gateway, Delivery)] == ["queued"]
    acme.change("upload", "/Shared/two.txt", content="x")
    await poll(gateway)
    assert [item.status for item in await rows(gateway, Delivery)] == ["queued", "queued"]
    await patch(gateway, made, {"configuration": {URL: receiver_url + "/back"}})
    await deliver(gateway)
    assert [item["path"] for item in receiver.get("/deliveries").json()] == ["/back", "/back"]


async def test_the_first_callback_url_can_come_later(
    gateway: Gateway, acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**{ENABLED: True})
    assert await rows(gateway, Subscription) == []
    await patch(gateway, made, {"configuration": {URL: receiver_url + "/late"}})
    acme.change("upload", "/Shared/one.txt", content="x")
    await poll(gateway)
    await deliver(gateway)
    assert [item["path"] for item in receiver.get("/deliveries").json()] == ["/late"]


async def test_a_new_signature_key_signs_from_the_next_notification_on(
    gateway: Gateway, acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await patch(gateway, made, {"configuration": {"event.notification.signature.key": "top-secret"}})
    acme.change("upload", "/Shared/one.txt", content="x")
    await poll(gateway)
    await deliver(gateway)
    assert [item["signature"] for item in receiver.get("/deliveries").json()] == ["ok"]


async def test_a_new_interval_counts_from_the_next_poll_on(gateway: Gateway, receiver_url: str) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await poll(gateway)
    assert await poll(gateway) == 0
    await patch(gateway, made, {"configuration": {"event.poller.refresh_interval": "2"}})
    assert await poll(gateway) == 1
    (poller,) = await rows(gateway, Poller)
    assert timedelta(minutes=1.9) < poller.due_at - poller.polled_at <= timedelta(minutes=2)


async def test_a_new_name_alone_costs_the_vendor_no_poll(gateway: Gateway, receiver_url: str) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await poll(gateway)
    await patch(gateway, made, {"name": "X", "configuration": {"my.number": "1"}})
    assert await poll(gateway) == 0


async def test_a_poll_that_was_under_way_stores_nothing_by_the_old_settings(
    gateway: Gateway, acme: Acme, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    worker = PollWorker(gateway.runtime, asyncio.Event())
    (claimed,) = await worker.claim(1)
    acme.change("upload", "/Shared/one.txt", content="x")
    await patch(gateway, made, {"configuration": {ENABLED: False}})
    await worker.run(claimed)
    assert await rows(gateway, Event) == []


async def test_events_can_be_enabled_later_and_start_from_then(
    gateway: Gateway, acme: Acme, receiver_url: str
) -> None:
    made = await gateway.connect()
    assert "pollers" not in made or made["pollers"] == []
    acme.change("upload", "/Shared/before.txt", content="x")
    shown = await patch(gateway, made, {"configuration": watched(receiver_url)})
    assert shown["eventsEnabled"] is True
    acme.change("upload", "/Shared/after.txt", content="x")
    assert await poll(gateway) == 1
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["after.txt"]
    await patch(gateway, made, {"configuration": {ENABLED: "false"}})
    assert await rows(gateway, Poller) == []
    acme.change("upload", "/Shared/meanwhile.txt", content="x")
    await patch(gateway, made, {"configuration": {ENABLED: "true"}})
    acme.change("upload", "/Shared/again.txt", content="x")
    await poll(gateway)
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["after.txt", "again.txt"]


async def test_a_vendor_that_is_away_refuses_the_enabling_and_nothing_has_changed(
    gateway: Gateway, acme: Acme, receiver_url: str
) -> None:
    made = await gateway.connect()
    acme.fault("500", path="/pubapi/v1/events/cursor", times=None)
    await patch(gateway, made, {"name": "X", "configuration": watched(receiver_url)}, 502)
    assert (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).json() == made
    assert await rows(gateway, Poller) == []


async def test_another_resource_of_the_stream_begins_where_the_known_one_stands(
    gateway: Gateway, acme: Acme
) -> None:
    def resources(*names: str) -> dict[str, Any]:
        return {name: {"url": "/hubs/documents/events"} for name in names}

    configuration = {ENABLED: True, "event.poller.configuration": resources("events")}
    made = await gateway.connect(**configuration)
    acme.change("upload", "/Shared/one.txt", content="x")
    wish = {"event.poller.configuration": resources("events", "more")}
    await patch(gateway, made, {"configuration": wish})
    before, fresh = await rows(gateway, Poller)
    assert (before.resource, fresh.resource) == ("events", "more")
    assert before.cursor == fresh.cursor
    assert await poll(gateway) == 2
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["one.txt"]
    await patch(gateway, made, {"configuration": {"event.poller.configuration": resources("more")}})
    assert [row.resource for row in await rows(gateway, Poller)] == ["more"]


CONTENTS = {"url": "/hubs/documents/folders/contents?path=/Shared", "idField": "id"}


@pytest.mark.parametrize(
    "wish",
    [
        {"event.poller.configuration": {"documents": {"url": "/hubs/documents/events"}}},
        {"event.poller.configuration": "", "event.poller.urls": "documents"},
    ],
)
async def test_under_another_name_the_stream_goes_on_where_it_stood(
    gateway: Gateway, acme: Acme, wish: dict[str, Any]
) -> None:
    old = {"old": {"url": "/hubs/documents/events"}, "list": CONTENTS}
    made = await gateway.connect(**{ENABLED: True, "event.poller.configuration": old})
    acme.change("upload", "/Shared/one.txt", content="x")
    acme.fault("500", path="/pubapi/v1/events/cursor", times=1)
    await patch(gateway, made, {"configuration": wish})
    assert [row.resource for row in await rows(gateway, Poller)] == ["documents"]
    await poll(gateway)
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["one.txt"]


async def test_a_resource_that_becomes_the_stream_begins_at_its_end(gateway: Gateway, acme: Acme) -> None:
    made = await gateway.connect(**{ENABLED: True, "event.poller.configuration": {"events": CONTENTS}})
    wish = {"event.poller.configuration": {"events": {"url": "/hubs/documents/events"}}}
    await patch(gateway, made, {"configuration": wish})
    (poller,) = await rows(gateway, Poller)
    assert (poller.reading, poller.cursor != "now") == (None, True)
    acme.change("upload", "/Shared/one.txt", content="x")
    await poll(gateway)
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["one.txt"]


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        ({}, {"box.events.stream": "changes"}, True),
        ({"box.events.stream": "admin_logs"}, {"box.events.created.after": "2026-01-01T00:00:00Z"}, False),
        ({}, {"box.events.stream": "admin_logs_streaming"}, False),
    ],
)
async def test_a_cursor_of_another_stream_is_not_gone_on_with(
    gateway: Gateway, before: dict[str, str], after: dict[str, str], goes_on: bool
) -> None:
    resources = {"event.poller.configuration": {"s": {"url": "/events"}, "list": CONTENTS}}
    made = await gateway.connect(
        "box", **{ENABLED: True, "event.poller.long.poll": "false"}, **resources, **before
    )
    async with gateway.runtime.database.write() as connection:
        await connection.execute(table(Poller).update().values(cursor="12345678901234567890"))
    await patch(gateway, made, {"configuration": after})
    stream, listed = await rows(gateway, Poller)
    assert (stream.resource, stream.cursor == "12345678901234567890") == ("s", goes_on)
    assert listed.cursor == "12345678901234567890"
    assert stream.cursor == "0" or "box.events.created.after" not in after


@pytest.mark.parametrize("twin", ["id", "token"])
async def test_a_disabled_instance_is_refused_everywhere_and_not_polled(
    gateway: Gateway, acme: Acme, receiver_url: str, twin: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await poll(gateway)
    path, headers = enabled_at(gateway, made, twin)
    answer = await gateway.http.delete(path, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    hub = gateway.hub(made["token"])
    native = "/native/pubapi/v1/userinfo"
    for refused in ("/ping", "/hubs/documents/ping", "/files?path=/x", "/events", native):
        answer = await gateway.http.get(refused, headers=hub)
        assert answer.status_code == 403, refused
        assert answer.json()["message"] == f"The instance {made['id']} is disabled"
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert (await gateway.http.get(native, headers=bearer)).status_code == 403
    assert (await gateway.http.get("/objects", headers=hub)).status_code == 200
    shown = (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).json()
    assert shown["disabled"] is True
    assert "nextPollDate" not in shown["pollers"][0]
    await patch(gateway, made, {"configuration": {"event.poller.refresh_interval": "5"}})
    acme.change("upload", "/Shared/meanwhile.txt", content="x")
    assert await poll(gateway) == 0
    assert (await gateway.http.put(path, headers=headers)).status_code == 200
    assert (await gateway.http.get("/ping", headers=hub)).status_code == 200
    assert await poll(gateway) == 1
    assert [row.row["name"] for row in await rows(gateway, Event)] == ["meanwhile.txt"]


def enabled_at(gateway: Gateway, made: dict[str, Any], twin: str) -> tuple[str, dict[str, str]]:
    if twin == "id":
        return f"/instances/{made['id']}/enabled", gateway.platform
    everything = gateway.platform["Authorization"] + f", Element {made['token']}"
    return "/instances/enabled", {"Authorization": everything}


async def test_a_poll_under_way_does_not_bring_a_disabled_instance_back(
    gateway: Gateway, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    worker = PollWorker(gateway.runtime, asyncio.Event())
    (claimed,) = await worker.claim(1)
    await gateway.http.delete(f"/instances/{made['id']}/enabled", headers=gateway.platform)
    await worker.run(claimed)
    assert [row.due_at for row in await rows(gateway, Poller)] == [None]


async def polled(gateway: Gateway) -> bool:
    return (await rows(gateway, Poller))[0].polled_at is not None


async def test_workers_take_a_change_up_at_once(
    tmp_path: Path,
    sandbox: httpx.Client,
    acme: Acme,
    sandbox_url: str,
    receiver: httpx.Client,
    receiver_url: str,
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url)
    async with gateways.running(settings, sandbox_url, with_workers=True) as gateway:
        made = await gateway.connect(**watched(receiver_url))
        await patch(gateway, made, {"configuration": watched(receiver_url, "/new")})
        await until(lambda: polled(gateway), "a poll")
        acme.change("upload", "/Shared/one.txt", content="x")
        fast = {"event.poller.refresh_interval": "0.001"}
        await patch(gateway, made, {"configuration": fast})
        await until(lambda: receiver.get("/deliveries").json(), "a delivery")
    assert {item["path"] for item in receiver.get("/deliveries").json()} == {"/new"}


async def test_the_items_of_a_configuration_can_be_listed_read_and_changed(gateway: Gateway) -> None:
    made = await gateway.connect(**{"my.number": 1})
    path = f"/instances/{made['id']}/configuration"
    items = (await gateway.http.get(path, headers=gateway.platform)).json()
    assert {item["key"]: item["propertyValue"] for item in items} == made["configuration"]
    assert len({item["id"] for item in items}) == len(items)
    (enabled,) = [item for item in items if item["key"] == ENABLED]
    assert enabled.keys() >= {
        "id", "name", "key", "description", "propertyValue", "active", "required", "type", "hideFromConsole"
    }  # fmt: skip
    one = f"{path}/{enabled['id']}"
    changed = enabled | {"propertyValue": "true"}
    answer = await gateway.http.patch(one, json=changed, headers=gateway.platform)
    assert answer.json() == changed == (await gateway.http.get(one, headers=gateway.platform)).json()
    assert [poller.resource for poller in await rows(gateway, Poller)] == ["events"]
    (own,) = [item for item in items if item["key"] == "my.number"]
    answer = await gateway.http.patch(
        f"{path}/{own['id']}", json={"propertyValue": 7}, headers=gateway.platform
    )
    assert answer.json()["propertyValue"] == "7"
    by_key = await gateway.http.get(f"{path}/my.number", headers=gateway.platform)
    assert by_key.json() == answer.json()
    assert (await gateway.http.get(f"{path}/77", headers=gateway.platform)).status_code == 404


async def test_a_callback_that_two_instances_share_is_left_to_the_other(
    gateway: Gateway, receiver_url: str
) -> None:
    first, second = [await gateway.connect(**watched(receiver_url)) for _ in range(2)]
    await patch(gateway, first, {"configuration": {URL: receiver_url + "/other"}})
    assert len(await rows(gateway, Callback)) == 2
    urls = {row.id: row.url for row in await rows(gateway, Callback)}
    found = {row.instance_id: urls[row.callback_id] for row in await rows(gateway, Subscription)}
    assert found == {first["id"]: receiver_url + "/other", second["id"]: receiver_url + "/first"}


async def test_polls_turns_and_changes_of_one_instance_do_not_end_each_other(
    gateway: Gateway, acme: Acme, receiver_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    always = watched(receiver_url) | {"event.poller.refresh_interval": "0.0001"}
    made = [await gateway.connect(**always) for _ in range(3)]
    done = asyncio.Event()

    async def work(worker: Any) -> None:
        while not done.is_set():
            claimed = await worker.claim(10)
            await asyncio.gather(*(worker.run(row) for row in claimed))
            await asyncio.sleep(0.01)

    async def change(instance: dict[str, Any]) -> None:
        for number in range(12):
            acme_path = f"/Shared/{instance['id']}-{number}.txt"
            await asyncio.to_thread(acme.change, "upload", acme_path, content="x")
            path = receiver_url + ("/a" if number % 2 else "/b")
            body = {URL: path, "event.notification.signature.key": f"k{number}"}
            await patch(gateway, instance, {"configuration": body})
        answer = await gateway.http.delete(f"/instances/{instance['id']}", headers=gateway.platform)
        assert answer.status_code == 200

    workers = [
        asyncio.create_task(work(kind(gateway.runtime, asyncio.Event())))
        for kind in (PollWorker, DispatchWorker)
    ]
    await asyncio.gather(*(change(instance) for instance in made))
    done.set()
    await asyncio.gather(*workers)
    assert await rows(gateway, Poller) == []
    assert not [record.message for record in caplog.records if "unexpectedly" in record.message]


async def test_a_deletion_beside_a_change_leaves_no_poller(gateway: Gateway, receiver_url: str) -> None:
    for _ in range(5):
        made = await gateway.connect()
        path = f"/instances/{made['id']}"
        body = {"configuration": watched(receiver_url)}
        changed, deleted = await asyncio.gather(
            gateway.http.patch(path, json=body, headers=gateway.platform),
            gateway.http.delete(path, headers=gateway.platform),
        )
        assert (changed.status_code in {200, 404}, deleted.status_code) == (True, 200)
        assert await rows(gateway, Poller) == []


async def known_objects(gateway: Gateway) -> int:
    async with gateway.runtime.database.read() as connection:
        return len((await connection.execute(select(table(KnownObject).c.object_key))).all())


async def test_a_poll_that_ends_while_the_account_moves_is_one_of_the_old_place(
    gateway: Gateway, acme: Acme, sandbox: httpx.Client, receiver_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    acme.change("upload", "/Shared/one.txt", content="x")
    sandbox.put("/control/egnyte/globex").raise_for_status()
    body = {
        "configuration": {"subdomain": "globex"},
        "providerData": {"code": consent(f"{gateway.sandbox_url}/egnyte/globex")},
    }
    worker, storing, moving = PollWorker(gateway.runtime, asyncio.Event()), asyncio.Event(), asyncio.Event()
    (claimed,) = await worker.claim(10)
    append, write = events.append, gateway.runtime.database.write

    async def slowly(*given: Any, **named: Any) -> None:
        storing.set()
        await moving.wait()
        await append(*given, **named)

    def write_behind_it() -> Any:
        if storing.is_set():
            moving.set()
        return write()

    monkeypatch.setattr(events, "append", slowly)
    monkeypatch.setattr(gateway.runtime.database, "write", write_behind_it)
    polling = asyncio.create_task(worker.run(claimed))
    await storing.wait()
    await patch(gateway, made, body)
    await polling
    keys = [row.key for row in await rows(gateway, Event)]
    assert [key[:6] for key in keys] == ["until "]


async def test_at_another_place_the_same_ids_are_other_events(
    gateway: Gateway, acme: Acme, sandbox: httpx.Client, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    acme.change("upload", "/Shared/{n}.txt", content="x", count=5)
    await poll(gateway)
    before = {row.key for row in await rows(gateway, Event)}
    assert len(before) == 5
    assert await known_objects(gateway) == 5
    sandbox.put("/control/egnyte/globex").raise_for_status()
    code = consent(f"{gateway.sandbox_url}/egnyte/globex")
    body = {"configuration": {"subdomain": "globex"}, "providerData": {"code": code}}
    await patch(gateway, made, body)
    assert await known_objects(gateway) == 0, "what was at the old place says nothing of the new one"
    order = {"action": "upload", "path": "/Shared/{n}.txt", "content": "x", "count": 8}
    sandbox.post("/control/egnyte/globex/changes", json=order).raise_for_status()
    await poll(gateway)
    after = [row.key for row in await rows(gateway, Event)]
    assert len(after) == 13
    assert len({key for key in after if not key.startswith("until ")}) == 8


async def test_a_code_is_not_lost_with_an_answer_about_events(
    gateway: Gateway, acme: Acme, receiver_url: str
) -> None:
    made = await gateway.connect()
    acme.fault("500", path="/pubapi/v1/events/cursor", times=None)
    code = twin_of("egnyte").code(gateway.sandbox_url)
    body = {"providerData": {"code": code}, "configuration": watched(receiver_url)}
    await patch(gateway, made, body)
    (poller,) = await rows(gateway, Poller)
    assert poller.cursor == "now"


async def test_enabling_what_is_enabled_disturbs_nobody(gateway: Gateway, receiver_url: str) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await poll(gateway)
    before = await rows(gateway, Poller)
    path = f"/instances/{made['id']}/enabled"
    assert (await gateway.http.put(path, headers=gateway.platform)).status_code == 200
    assert await rows(gateway, Poller) == before


async def test_a_configuration_item_without_a_value_is_no_change(gateway: Gateway) -> None:
    made = await gateway.connect(**{"my.number": 1})
    path = f"/instances/{made['id']}/configuration/my.number"
    answer = await gateway.http.patch(path, json={"value": 2}, headers=gateway.platform)
    assert (answer.status_code, answer.json()["message"][:13]) == (400, "propertyValue")
    assert (await gateway.http.get(path, headers=gateway.platform)).json()["propertyValue"] == "1"
    answer = await gateway.http.patch(path, json={"propertyValue": None}, headers=gateway.platform)
    assert answer.json()["propertyValue"] is None


async def test_a_password_in_a_url_is_not_replaced_by_stars(gateway: Gateway) -> None:
    made = await gateway.connect(**{URL: "https://u:secret@callback.example.com/x"})
    shown = made["configuration"][URL]
    error = await patch(gateway, made, {"configuration": {URL: shown + "?v=2"}}, 400)
    assert "covered by stars" in error["message"]


async def test_a_configuration_does_not_grow_without_end(gateway: Gateway) -> None:
    made = await gateway.connect()
    for values in ({f"k{n}": n for n in range(600)}, {"long": "x" * 300_000}):
        assert "holds more than" in (await patch(gateway, made, {"configuration": values}, 400))["message"]


UNREADABLE = [
    ({"event.notification.callback.headers": "abc"}, {"event.notification.callback.headers": "A: b"}),
    ({"event.notification.basic.username": "a:b"}, {"event.notification.basic.username": "a"}),
    ({"event.poller.urls": "crm|/hubs/crm/accounts"}, {"event.poller.urls": ""}),
    ({"event.vendor.type": "webhooks"}, {"event.vendor.type": "polling"}),
]


async def let_in(gateway: Gateway, instance: dict[str, Any], **values: str) -> None:
    """Writes a configuration that older versions took."""
    instances = table(Instance)
    async with gateway.runtime.database.write() as connection:
        which = instances.c.id == instance["id"]
        known = await connection.scalar(select(instances.c.configuration).where(which)) or {}
        plain = {**known, **{key: value for key, value in values.items() if not is_secret(key)}}
        await connection.execute(instances.update().where(which).values(configuration=plain))
        secrets = await gateway.runtime.credentials.open(instance["id"])
        secret = {key: value for key, value in values.items() if is_secret(key)}
        secrets = replace(secrets, values={**secrets.values, **secret})
        sealed = gateway.runtime.credentials.seal(instance["id"], secrets)
        credentials = table(Credential)
        which = credentials.c.instance_id == instance["id"]
        await connection.execute(credentials.update().where(which).values(sealed=sealed))


@pytest.mark.parametrize(("stored", "repair"), UNREADABLE)
async def test_what_older_versions_let_in_can_be_lived_with_and_repaired(
    gateway: Gateway, receiver_url: str, stored: dict[str, str], repair: dict[str, str]
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await let_in(gateway, made, **stored)
    assert (await patch(gateway, made, {"name": "Other"}))["name"] == "Other"
    await patch(gateway, made, {"configuration": {"event.poller.refresh_interval": "30"}}, 400)
    assert len(await rows(gateway, Poller)) == 1
    await patch(gateway, made, {"configuration": {ENABLED: False}})
    assert await rows(gateway, Poller) == []
    await patch(gateway, made, {"configuration": {ENABLED: True}}, 400)
    await patch(gateway, made, {"configuration": {ENABLED: True, **repair}})
    assert [row.resource for row in await rows(gateway, Poller)] == ["events"]


async def test_what_nobody_can_read_does_not_hinder_a_new_grant(gateway: Gateway, receiver_url: str) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await let_in(gateway, made, **UNREADABLE[0][0])
    async with gateway.runtime.database.write() as connection:
        await connection.execute(table(Poller).update().values(due_at=None))
    await patch(gateway, made, {"configuration": {"oauth.user.token": "new"}})
    assert (await rows(gateway, Poller))[0].due_at is not None


async def test_a_deleted_subscription_comes_back_when_its_callback_is_named_again(
    gateway: Gateway, receiver_url: str
) -> None:
    made = await gateway.connect(**watched(receiver_url))
    (subscription,) = await rows(gateway, Subscription)
    path = f"/notifications/subscriptions/{subscription.id}"
    assert (await gateway.http.delete(path, headers=gateway.platform)).status_code == 200
    await patch(gateway, made, {"name": "Other"})
    assert await rows(gateway, Subscription) == []
    await patch(gateway, made, {"configuration": {URL: f"{receiver_url}/first"}})
    assert len(await rows(gateway, Subscription)) == 1


async def test_a_switch_that_cannot_be_read_changes_nothing(gateway: Gateway, receiver_url: str) -> None:
    made = await gateway.connect(**watched(receiver_url))
    await patch(gateway, made, {"configuration": {ENABLED: 1}}, 400)
    assert len(await rows(gateway, Poller)) == 1
    await let_in(gateway, made, **{ENABLED: " true", "event.notification.ordered": "sure"})
    renamed = await patch(gateway, made, {"name": "Other"})
    assert renamed["eventsEnabled"] is True
    assert (await patch(gateway, made, {"configuration": {ENABLED: " TRUE"}}))["eventsEnabled"] is True
    assert len(await rows(gateway, Poller)) == 1
