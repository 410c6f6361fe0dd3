"""/events/{elementKeyOrId}: what the vendor says is stored once, and nothing that somebody else says."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from calling_vendor import CALLED, PAST, PUBLIC_URL, Scene, Vendor, change
from sqlalchemy import update

from app.hubs.documents import Power
from app.store.tables import Delivery, Event, Notification, Poller, VendorWebhook, table


@pytest.fixture
async def scene(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    settings = gateways.settings_for(
        tmp_path,
        sandbox_url,
        public_url=PUBLIC_URL,
        poll_interval=timedelta(hours=1),
        poll_interval_floor=timedelta(hours=1),
    )
    async with gateways.running(settings, sandbox_url) as running:
        vendor = Vendor()
        vendor.take_over(monkeypatch)
        yield Scene(running, vendor)


async def rest_the_pollers(scene: Scene) -> None:
    """Polled just now, and due again in an hour."""
    later = scene.gateway.runtime.clock.now() + timedelta(hours=1)
    async with scene.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(due_at=later, hinted_at=None))


async def is_polled_now(scene: Scene) -> bool:
    now = scene.gateway.runtime.clock.now()
    return any(row.due_at <= now for row in await scene.rows(Poller))


async def test_a_genuine_call_becomes_a_notification_with_the_vendors_body(scene: Scene) -> None:
    instance = await scene.connect()
    answer = await scene.announce(change(1), change(2), hello="there")
    assert (answer.status_code, answer.content) == (200, b"")
    [notification] = await scene.rows(Notification)
    message = json.loads(notification.body)["message"]
    assert [event["objectId"] for event in message["events"]] == ["file-1", "file-2"]
    assert "pollDate" not in message["events"][0]
    assert (message["raw"]["hello"], len(message["raw"]["changes"])) == ("there", 2)
    assert notification.via == "webhook"
    assert [row.due_at is not None for row in await scene.rows(Delivery)] == [True]
    shown = await scene.shown(instance)
    assert (shown["active"], shown["received"], shown["refused"]) == (True, 1, 0)
    assert shown["receivedDate"].endswith("Z")


async def test_a_notification_of_a_webhook_has_twenty_events_at_most(scene: Scene) -> None:
    await scene.connect()
    await scene.announce(*(change(number) for number in range(45)))
    bodies = [json.loads(row.body)["message"] for row in await scene.rows(Notification)]
    assert [len(body["events"]) for body in bodies] == [20, 20, 5]
    assert {len(body["raw"]["changes"]) for body in bodies} == {45}


async def test_a_call_that_comes_twice_is_told_once(scene: Scene) -> None:
    instance = await scene.connect()
    for _ in range(2):
        assert (await scene.announce(change(1))).status_code == 200
    assert len(await scene.rows(Event)) == 1
    assert (await scene.shown(instance))["received"] == 2


async def test_a_call_that_the_vendor_did_not_make_is_refused_and_counted(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    instance = await scene.connect()
    await rest_the_pollers(scene)
    [(url, _)] = scene.vendor.hooks.values()
    with caplog.at_level(logging.DEBUG):
        answer = await scene.call(url, {"changes": [change(1, words="confidential")]}, **{"X-Secret": "x"})
    assert answer.status_code == 401
    assert answer.json().keys() == {"requestId", "message"}
    assert not await scene.rows(Event)
    assert not await is_polled_now(scene)
    shown = await scene.shown(instance)
    assert (shown["received"], shown["refused"]) == (0, 1)
    assert shown["refusedDate"]
    assert shown["error"] == "a call was refused: its signature or secret is not that of this instance"
    assert shown["errorDate"] == shown["refusedDate"]
    assert "vendor call refused" in caplog.text
    assert "confidential" not in caplog.text


async def test_both_bases_both_methods_and_the_elements_id_are_answered(scene: Scene) -> None:
    instance = await scene.connect()
    [(_, secret)] = scene.vendor.hooks.values()
    paths = [
        f"{base}/events/{key}{slash}"
        for base in ("", "/elements/api-v2")
        for key in ("egnyte", "4016")
        for slash in ("", "/")
    ]
    for number, path in enumerate(paths):
        for method in ("POST", "GET"):
            answer = await scene.gateway.http.request(
                method,
                f"http://gateway{path}",
                params={"instance": instance["id"]},
                content=json.dumps({"changes": [change(number)]}),
                headers={"X-Secret": secret, "Content-Type": "text/strange", "Accept": "image/png"},
            )
            assert answer.status_code == 200, (method, path, answer.text)
    assert len(await scene.rows(Event)) == len(paths)


async def test_a_header_may_name_the_instances(scene: Scene) -> None:
    one = await scene.connect()
    [(_, secret)] = scene.vendor.hooks.values()
    body = {"changes": [change(1)]}
    headers = {"Element-Instances": f"{one['id']}", "X-Secret": secret}
    assert (await scene.call("/events/egnyte", body, **headers)).status_code == 200
    two = await scene.connect()
    headers["Element-Instances"] = f"{one['id']}, {two['id']}"
    answer = await scene.call("/events/egnyte", {"changes": [change(2)]}, **headers)
    assert answer.status_code == 401  # the secret is not that of both, and nothing of it is stored
    assert [row.key for row in await scene.rows(Event)] == ["webhook:1"]
    assert [(await scene.shown(item))["refused"] for item in (one, two)] == [0, 1]


@pytest.mark.parametrize("which", ["0", "99999", "x", "-1", "9" * 30, "1,99999", "1," * 50, "\u0661"])
async def test_a_stranger_does_not_learn_which_instances_there_are(scene: Scene, which: str) -> None:
    instance = await scene.connect()
    known, unknown = [
        await scene.gateway.http.post("/events/egnyte", params={"instance": item}, content=b"{}")
        for item in (instance["id"], which)
    ]
    assert (known.status_code, unknown.status_code) == (401, 401)
    assert known.json()["message"] == unknown.json()["message"]


async def test_who_expects_no_call_is_not_told_apart_from_who_is_not_there(scene: Scene) -> None:
    headers = scene.gateway.platform
    polled = await scene.gateway.connect(**CALLED | {"event.vendor.type": "polling"})
    disabled, deleted, other = [await scene.connect() for _ in range(3)]
    await scene.gateway.http.delete(f"/instances/{disabled['id']}/enabled", headers=headers)
    await scene.gateway.http.delete(f"/instances/{deleted['id']}", headers=headers)
    answers = [
        await scene.call(f"/events/{key}?instance={item['id']}", {"changes": []})
        for key, item in (("egnyte", polled), ("egnyte", disabled), ("egnyte", deleted), ("box", other))
    ]
    assert {(answer.status_code, answer.json()["message"]) for answer in answers} == {
        (401, "This call cannot be verified")
    }
    assert (await scene.call("/events/nothing?instance=1", {})).status_code == 404
    assert (await scene.call("/events/egnyte", {})).status_code == 401


async def test_a_webhook_that_is_being_ended_is_not_heard_any_more(scene: Scene) -> None:
    instance = await scene.connect()
    assert (await scene.patch(instance, **{"event.vendor.type": "polling"})).status_code == 200
    assert (await scene.announce(change(1))).status_code == 401
    assert not await scene.rows(Event)


async def test_a_body_that_makes_no_sense_is_counted_and_found_by_the_pollers(scene: Scene) -> None:
    instance = await scene.connect()
    await rest_the_pollers(scene)
    [(url, secret)] = scene.vendor.hooks.values()
    answer = await scene.call(url, b"\xff{", **{"X-Secret": secret})
    assert answer.status_code == 400
    assert not await scene.rows(Event)
    assert await is_polled_now(scene)
    shown = await scene.shown(instance)
    assert (shown["received"], shown["refused"]) == (1, 0)
    assert "could not be read" in shown["error"]


async def test_a_call_for_another_webhook_is_a_hint_and_no_event(scene: Scene) -> None:
    """The signature of Box covers neither the URL nor the webhook, so anybody may hand a call on."""
    instance = await scene.connect()
    await rest_the_pollers(scene)
    answer = await scene.announce(change(1), hook="hook-of-another-account", ended=True, note="over")
    assert answer.status_code == 200
    assert not await scene.rows(Event)
    assert await is_polled_now(scene)
    shown = await scene.shown(instance)
    assert (shown["received"], shown.get("error")) == (1, None)
    await scene.announce(change(1), hook="hook-1")
    assert len(await scene.rows(Event)) == 1


async def test_a_stranger_who_names_many_instances_costs_one_of_them_a_count(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    instances = [await scene.connect() for _ in range(3)]
    ids = ",".join(str(item["id"]) for item in instances)
    for _ in range(3):
        answer = await scene.call("/events/egnyte", {}, **{"Element-Instances": ids})
        assert answer.status_code == 401
    assert [(await scene.shown(item))["refused"] for item in instances] == [3, 0, 0]
    lines = [record for record in caplog.records if record.message == "vendor call refused"]
    assert 1 <= len(lines) <= 2  # one per minute, and a minute may end meanwhile


async def test_a_body_above_the_limit_is_refused_unread(scene: Scene) -> None:
    await scene.connect()
    [(url, secret)] = scene.vendor.hooks.values()
    body = b"x" * (int(scene.gateway.runtime.settings.body_limit) + 1)
    assert (await scene.call(url, body, **{"X-Secret": secret})).status_code == 413


async def test_a_genuine_call_has_the_account_polled_but_not_again_at_once(scene: Scene) -> None:
    await scene.connect()
    await rest_the_pollers(scene)
    await scene.announce()  # the vendor may have dropped what it wanted to say before
    assert await is_polled_now(scene)
    await rest_the_pollers(scene)
    await scene.announce(change(1))
    assert not await is_polled_now(scene)
    async with scene.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(VendorWebhook)).values(hinted_at=PAST))
    await scene.announce(change(2))
    assert await is_polled_now(scene)


async def test_a_call_with_more_than_can_be_taken_from_it_is_a_hint(scene: Scene) -> None:
    await scene.connect()
    await rest_the_pollers(scene)
    answer = await scene.announce(*(change(number) for number in range(201)))
    assert answer.status_code == 200
    assert not await scene.rows(Event)
    assert await is_polled_now(scene)


async def test_a_call_that_names_a_user_and_proves_nothing_is_a_hint_and_no_event(scene: Scene) -> None:
    instance = await scene.connect()
    await rest_the_pollers(scene)
    [row] = await scene.rows(VendorWebhook)
    path = f"/events/egnyte?user={row.owner}"
    assert (await scene.call(path, {"changes": [change(1)]})).status_code == 200
    assert await is_polled_now(scene)
    assert not await scene.rows(Event)
    await rest_the_pollers(scene)
    assert (await scene.call(path, {"changes": [change(1)]})).status_code == 200
    assert not await is_polled_now(scene)  # one hint in GATEWAY_POLL_INTERVAL_FLOOR
    assert (await scene.shown(instance))["refused"] == 2
    assert (
        await scene.call("/events/egnyte?user=4712", {})
    ).status_code == 200  # who knows him, nobody learns


async def test_all_accounts_of_a_user_are_polled(scene: Scene) -> None:
    made = [await scene.connect() for _ in range(3)]
    [user] = {row.owner for row in await scene.rows(VendorWebhook)}
    await rest_the_pollers(scene)
    assert (await scene.call(f"/events/egnyte?user={user}", {})).status_code == 200
    now = scene.gateway.runtime.clock.now()
    assert [row.due_at <= now for row in await scene.rows(Poller)] == [True] * 3
    assert [(await scene.shown(item))["refused"] for item in made] == [1] * 3


async def test_the_user_of_an_account_is_found_out_where_nobody_has_said_it(scene: Scene) -> None:
    await scene.connect()
    [row] = await scene.rows(VendorWebhook)
    assert row.owner
    assert (await scene.call(f"/events/egnyte?user={row.owner}", {})).status_code == 200


async def test_nobody_can_claim_another_accounts_user(scene: Scene) -> None:
    await scene.connect(**{"oauth.user.id": "4711"})
    [row] = await scene.rows(VendorWebhook)
    assert row.owner not in {None, "4711"}


async def test_a_user_that_the_vendor_does_not_tell_is_the_configured_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    egnyte = scene.gateway.runtime.registry.find("egnyte")
    monkeypatch.setattr(egnyte, "powers", egnyte.powers - {Power.ME})
    await scene.connect(**{"oauth.user.id": "4711"})
    assert [row.owner for row in await scene.rows(VendorWebhook)] == ["4711"]


async def test_a_genuine_call_that_names_only_a_user_is_taken_in(scene: Scene) -> None:
    await scene.connect()
    [(_, secret)] = scene.vendor.hooks.values()
    [row] = await scene.rows(VendorWebhook)
    path = f"/events/egnyte?user={row.owner}"
    answer = await scene.call(path, {"changes": [change(1)]}, **{"X-Secret": secret})
    assert answer.status_code == 200
    assert len(await scene.rows(Event)) == 1


async def test_a_webhook_that_the_vendor_has_ended_is_made_again(scene: Scene) -> None:
    instance = await scene.connect()
    await scene.announce(ended=True, note="auto_cleanup")
    shown = await scene.shown(instance)
    assert shown["error"] == "auto_cleanup"
    assert shown["errorDate"]
    assert not await scene.rows(Event)
    scene.vendor.hooks.clear()
    await scene.work()
    assert list(scene.vendor.hooks) == ["hook-2"]
    assert "error" not in await scene.shown(instance)


async def test_a_note_of_the_vendor_is_shown_and_changes_nothing(scene: Scene) -> None:
    instance = await scene.connect()
    await scene.announce(note="the quota is almost used up")
    assert (await scene.shown(instance))["error"] == "the quota is almost used up"
    await scene.work()
    assert scene.vendor.calls == ["subscribe"]


async def test_the_hubs_own_events_are_still_there(scene: Scene) -> None:
    instance = await scene.connect()
    hub = scene.gateway.hub(instance["token"])
    for path in ("/events", "/hubs/documents/events"):
        answer = await scene.gateway.http.get(path, headers=hub)
        assert (answer.status_code, answer.json()) == (200, [])


async def test_an_element_says_that_it_can_be_called(gateway: gateways.Gateway) -> None:
    found: dict[str, Any] = (await gateway.http.get("/elements/box/metadata")).json()
    assert found["events"]["methods"] == ["polling", "webhook"]
    assert found["events"]["webhook"]["file"]["eventTypes"] == ["created", "updated", "deleted"]
