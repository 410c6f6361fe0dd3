"""Webhooks at the vendors: they are there while an instance asks for them, and not a step longer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from acme import Acme
from calling_vendor import CALLED, PUBLIC_URL, Scene, Vendor
from gateway import Gateway
from held import Held
from processes import until

from app import event_settings
from app.clock import Clock
from app.errors import GrantRevoked, VendorForbidden, VendorThrottled, VendorUnavailable
from app.ingest.vendor_webhooks import CHECK, FAREWELL, WebhookWorker
from app.provisioning import watching
from app.store import vendor_webhooks
from app.store.tables import Credential, Instance, VendorWebhook
from app.workers import working


class ShiftedClock(Clock):
    """The time in so and so long."""

    def __init__(self, shift: timedelta) -> None:
        self._shift = shift

    def now(self) -> datetime:
        return super().now() + self._shift


@pytest.fixture
async def scene(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url=PUBLIC_URL)
    async with gateways.running(settings, sandbox_url) as running:
        vendor = Vendor()
        vendor.take_over(monkeypatch)
        yield Scene(running, vendor)


async def row(scene: Scene) -> Any:
    [found] = await scene.rows(VendorWebhook)
    return found


@pytest.mark.parametrize("kind", ["webhook", "webhooks", " Webhook "])
async def test_a_webhook_is_made_with_the_url_and_a_secret_of_its_own(scene: Scene, kind: str) -> None:
    instance = await scene.connect(**{"event.vendor.type": kind})
    [(url, secret)] = scene.vendor.hooks.values()
    assert url == f"{PUBLIC_URL}/elements/api-v2/events/egnyte?instance={instance['id']}"
    assert len(secret) >= 32
    sealed = (await row(scene)).sealed
    assert secret.encode() not in sealed
    other = await scene.connect()
    assert list(scene.vendor.hooks.values())[-1][1] != secret
    shown = await scene.shown(other)
    assert shown == {"active": True, "received": 0, "refused": 0}


async def test_polling_goes_on_beside_the_webhook(scene: Scene) -> None:
    instance = await scene.connect()
    answer = await scene.gateway.http.get(f"/instances/{instance['id']}", headers=scene.gateway.platform)
    [poller] = answer.json()["pollers"]
    assert poller["nextPollDate"]
    assert not poller["longPolling"]


@pytest.mark.parametrize("wanted", [{}, {"event.vendor.type": "polling"}, {"event.vendor.type": ""}])
async def test_who_is_polled_has_no_webhook(scene: Scene, wanted: dict[str, str]) -> None:
    events = {key: value for key, value in CALLED.items() if key != "event.vendor.type"}
    instance = await scene.gateway.connect(**events, **wanted)
    assert not await scene.rows(VendorWebhook)
    assert await scene.shown(instance) is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [("carrier pigeon", "'carrier pigeon' is neither"), ("webhook", "GATEWAY_PUBLIC_URL")],
)
async def test_a_way_that_cannot_work_is_refused_by_name(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    Vendor().take_over(monkeypatch)
    order = await gateway.order(**CALLED | {"event.vendor.type": kind})
    answer = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert answer.status_code == 400
    assert "configuration.event.vendor.type" in answer.json()["message"]
    assert words in answer.json()["message"]


async def test_a_vendor_without_webhooks_is_refused_by_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await scene.gateway.connect(**CALLED | {"event.vendor.type": "polling"})
    provider = scene.gateway.runtime.registry.find("egnyte")
    monkeypatch.setattr(provider, "powers", provider.powers - {"webhooks"})
    answer = await scene.patch(instance, **{"event.vendor.type": "webhooks"})
    assert answer.status_code == 400
    assert "the element 'egnyte' has no webhooks" in answer.json()["message"]


async def test_without_events_no_public_url_is_needed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    Vendor().take_over(monkeypatch)
    await gateway.connect(**{"event.vendor.type": "webhook"})


async def test_it_is_renewed_each_day_and_in_time(scene: Scene) -> None:
    now = scene.gateway.runtime.clock.now
    before = now()
    await scene.connect()
    due_at = (await row(scene)).due_at
    assert due_at - before >= CHECK * 0.9
    assert due_at - now() <= CHECK * 1.01
    scene.vendor.expires_at = now() + timedelta(hours=2)
    await scene.make_due()
    await scene.work()
    found = await row(scene)
    assert found.expires_at == scene.vendor.expires_at
    assert timedelta(minutes=50) < found.due_at - now() <= timedelta(hours=1)
    scene.vendor.expires_at = now() - timedelta(hours=2)
    await scene.make_due()
    before = now()
    await scene.work()
    due_at = (await row(scene)).due_at
    assert due_at - before >= timedelta(seconds=50)
    assert due_at - now() <= timedelta(minutes=1)
    assert list(scene.vendor.hooks) == ["hook-1"]
    assert scene.vendor.calls == ["subscribe"] * 3


async def test_one_that_is_gone_at_the_vendor_is_made_again(scene: Scene) -> None:
    await scene.connect()
    scene.vendor.hooks.clear()
    await scene.make_due()
    await scene.work()
    assert list(scene.vendor.hooks) == (await row(scene)).hooks == ["hook-2"]


async def test_a_failing_vendor_is_asked_less_and_less_and_shows(scene: Scene) -> None:
    scene.vendor.error = VendorForbidden(provider_message="no scope")
    instance = await scene.connect()
    shown = await scene.shown(instance)
    assert (shown["active"], "no scope" in shown["error"]) == (False, True)
    rests = []
    for _ in range(3):
        await scene.make_due()
        before = scene.gateway.runtime.clock.now()
        await scene.work()
        rests.append((await row(scene)).due_at - before)
    assert (await row(scene)).failures == 4
    assert timedelta(minutes=4) <= rests[-1] <= timedelta(minutes=9)
    scene.vendor.error = VendorThrottled(retry_after=5000)
    await scene.make_due()
    before = scene.gateway.runtime.clock.now()
    await scene.work()
    assert (await row(scene)).due_at - before >= timedelta(seconds=5000)
    scene.vendor.error = None
    await scene.make_due()
    await scene.work()
    shown = await scene.shown(instance)
    assert shown["active"]
    assert "error" not in shown


async def test_an_error_of_our_own_is_no_end_of_it(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.vendor.error = ZeroDivisionError()
    with caplog.at_level(logging.CRITICAL):
        await scene.connect()
    found = await row(scene)
    assert (found.error, found.fence) == ("internal error: ZeroDivisionError", None)
    assert found.due_at


async def test_without_a_grant_it_rests_until_there_is_one_again(scene: Scene) -> None:
    instance = await scene.gateway.connect(**CALLED)
    scene.vendor.error = GrantRevoked()
    await scene.work()
    assert (await row(scene)).due_at is None
    scene.vendor.error = None
    code = (await scene.gateway.order())["providerData"]
    answer = await scene.gateway.http.patch(
        f"/instances/{instance['id']}", json={"providerData": code}, headers=scene.gateway.platform
    )
    assert answer.status_code == 200
    await scene.work()
    assert list(scene.vendor.hooks) == ["hook-1"]


@pytest.mark.parametrize(
    "change", [{"event.vendor.type": "polling"}, {"event.notification.enabled": "false"}]
)
async def test_it_ends_when_it_is_not_asked_for_any_more(scene: Scene, change: dict[str, str]) -> None:
    instance = await scene.connect()
    assert (await scene.patch(instance, **change)).status_code == 200
    assert scene.vendor.hooks  # the client does not wait for it
    await scene.work()
    assert not scene.vendor.hooks
    assert await scene.shown(instance) is None
    assert (await scene.patch(instance, **CALLED)).status_code == 200
    await scene.work()
    assert list(scene.vendor.hooks) == ["hook-2"]


async def test_it_ends_while_an_instance_is_out_of_use_and_keeps_its_counts(scene: Scene) -> None:
    instance = await scene.connect()
    await scene.announce()
    path, headers = f"/instances/{instance['id']}/enabled", scene.gateway.platform
    await scene.gateway.http.delete(path, headers=headers)
    await scene.work()
    assert not scene.vendor.hooks
    assert (await row(scene)).due_at is None
    shown = await scene.shown(instance)
    assert (shown["active"], shown["received"]) == (False, 1)
    await scene.gateway.http.put(path, headers=headers)
    await scene.work()
    assert list(scene.vendor.hooks) == ["hook-2"]


async def test_a_vendor_that_cannot_be_told_of_the_end_is_told_later(scene: Scene) -> None:
    instance = await scene.connect()
    scene.vendor.error = VendorUnavailable()
    await scene.patch(instance, **{"event.vendor.type": "polling"})
    await scene.work()
    assert (await scene.shown(instance))["error"]
    scene.vendor.error = None
    await scene.make_due()
    await scene.work()
    assert not scene.vendor.hooks
    assert not await scene.rows(VendorWebhook)


async def test_a_deletion_ends_the_webhook_and_then_the_tokens(scene: Scene, acme: Acme) -> None:
    instance = await scene.connect()
    [credential] = await scene.rows(Credential)
    token = scene.gateway.runtime.credentials.unseal(Credential(**credential._mapping)).values[
        "oauth.user.token"
    ]
    path = f"/instances/{instance['id']}"
    await scene.gateway.http.delete(path, headers=scene.gateway.platform)
    assert not scene.vendor.hooks
    assert not await scene.rows(VendorWebhook)
    assert not await scene.rows(Credential)
    answer = acme.http.get("/pubapi/v1/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in {401, 403}


async def test_a_deletion_that_the_vendor_does_not_hear_of_is_finished_later(scene: Scene) -> None:
    instance = await scene.connect()
    scene.vendor.error = VendorUnavailable()
    path = f"/instances/{instance['id']}"
    assert (await scene.gateway.http.delete(path, headers=scene.gateway.platform)).status_code == 200
    assert scene.vendor.hooks
    assert await scene.rows(Credential)  # they are needed to end the webhook
    assert (await scene.gateway.http.get(path, headers=scene.gateway.platform)).status_code == 404
    hub = scene.gateway.hub(instance["token"])
    assert (await scene.gateway.http.get("/ping", headers=hub)).status_code == 401
    scene.vendor.error = None
    await scene.make_due()
    await scene.work()
    assert not scene.vendor.hooks
    assert not await scene.rows(VendorWebhook)
    assert not await scene.rows(Credential)


async def test_a_deletion_beside_a_worker_leaves_nothing_at_the_vendor(scene: Scene) -> None:
    """The worker's webhook is made after the instance has ended."""
    instance = await scene.gateway.connect(**CALLED)
    scene.vendor.busy = asyncio.Event()
    working = asyncio.create_task(scene.work())
    await until(lambda: scene.vendor.calls, "a call")
    path = f"/instances/{instance['id']}"
    await scene.gateway.http.delete(path, headers=scene.gateway.platform)
    scene.vendor.busy.set()
    await working
    assert scene.vendor.hooks
    await scene.work()
    assert not scene.vendor.hooks
    assert not await scene.rows(Credential)


async def test_a_change_beside_a_worker_is_seen_to_behind_it(scene: Scene) -> None:
    instance = await scene.connect()
    scene.vendor.busy = asyncio.Event()
    await scene.patch(instance, **{"event.vendor.type": "polling"})
    ending = asyncio.create_task(scene.work())
    await until(lambda: scene.vendor.calls[-1] == "unsubscribe", "a webhook that is being ended")
    await scene.patch(instance, **CALLED)
    scene.vendor.busy.set()
    await ending
    assert not scene.vendor.hooks
    await scene.work()
    assert list(scene.vendor.hooks) == (await row(scene)).hooks == ["hook-2"]


async def test_the_tokens_of_the_deleted_are_not_kept_for_ever(scene: Scene) -> None:
    instance = await scene.connect()
    scene.vendor.error = VendorUnavailable()
    path = f"/instances/{instance['id']}"
    await scene.gateway.http.delete(path, headers=scene.gateway.platform)
    runtime = scene.gateway.runtime
    later = ShiftedClock(FAREWELL + timedelta(hours=1))
    scene.gateway.runtime = replace(runtime, clock=later)
    await scene.work()
    assert not await scene.rows(VendorWebhook)
    assert not await scene.rows(Credential)


async def test_the_webhooks_of_a_deleted_account_end_too(scene: Scene) -> None:
    headers = scene.gateway.platform
    made = (await scene.gateway.http.post("/accounts", json={"name": "other"}, headers=headers)).json()
    user = {"emailAddress": "o@example.com", "firstName": "O", "lastName": "O"}
    answer = await scene.gateway.http.post(f"/accounts/{made['id']}/users", json=user, headers=headers)
    assert answer.status_code == 200, answer.text
    theirs = {
        "Authorization": f"User {answer.json()['secret']}, Organization {scene.gateway.secrets.organization}"
    }
    for _ in range(2):
        order = await scene.gateway.order(**CALLED)
        assert (await scene.gateway.http.post("/instances", json=order, headers=theirs)).status_code == 200
    await scene.work()
    assert len(scene.vendor.hooks) == 2
    answer = await scene.gateway.http.delete(f"/accounts/{made['id']}", headers=headers)
    assert answer.status_code == 200
    assert not scene.vendor.hooks
    assert not await scene.rows(Credential)


async def test_at_another_place_of_the_vendor_the_secret_is_another(scene: Scene) -> None:
    instance = await scene.connect()
    [(_, before)] = scene.vendor.hooks.values()
    runtime = scene.gateway.runtime
    [found] = await scene.rows(Instance)
    moved = Instance(**found._mapping)
    async with runtime.database.write() as connection:
        wanted = event_settings.read(moved.configuration, runtime.settings)
        await watching.watch(
            connection, runtime, moved, wanted, cursor="1", now=runtime.clock.now(), moved=True
        )
    await scene.work()
    url, after = list(scene.vendor.hooks.values())[-1]
    assert before != after
    assert url.endswith(f"instance={instance['id']}")


async def test_a_stopping_worker_gives_the_row_back(scene: Scene) -> None:
    await scene.gateway.connect(**CALLED)
    scene.vendor.busy = asyncio.Event()
    task = asyncio.create_task(scene.work())
    await until(lambda: scene.vendor.calls, "a call")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = await row(scene)
    assert (found.fence, found.leased_until) == (None, None)
    assert found.due_at


async def test_a_worker_that_stops_while_a_failure_is_noted_gives_the_row_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.gateway.connect(**CALLED)
    scene.vendor.error = VendorForbidden()
    held = Held(monkeypatch, vendor_webhooks, "fail")
    await held.cut(asyncio.create_task(scene.work()))
    found = await row(scene)
    assert (found.fence, found.leased_until) == (None, None)
    assert found.due_at


async def test_a_worker_does_all_of_it_by_itself(scene: Scene) -> None:
    async with working(scene.gateway.runtime):
        instance = await scene.gateway.connect(**CALLED)
        await until(lambda: scene.vendor.hooks, "a webhook")
        await scene.patch(instance, **{"event.vendor.type": "polling"})
        await until(lambda: not scene.vendor.hooks, "no webhook")


async def test_a_vendor_that_hangs_is_given_up(scene: Scene) -> None:
    runtime = scene.gateway.runtime
    quick = runtime.settings.model_copy(update={"vendor_webhook_timeout": timedelta(milliseconds=50)})
    scene.gateway.runtime = replace(runtime, settings=quick)
    scene.vendor.busy = asyncio.Event()
    instance = await scene.connect()
    assert "GATEWAY_VENDOR_WEBHOOK_TIMEOUT" in (await scene.shown(instance))["error"]


async def test_a_lost_lease_writes_nothing(scene: Scene) -> None:
    await scene.gateway.connect(**CALLED)
    worker = WebhookWorker(scene.gateway.runtime)
    [claimed] = await worker.claim(1)
    claimed.fence = (claimed.fence or 0) + 1
    await worker.run(claimed)
    assert (await row(scene)).hooks == []


async def test_neither_an_answer_nor_a_log_line_has_the_secret(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="app"):
        instance = await scene.connect()
        await scene.announce()
    [(_, secret)] = scene.vendor.hooks.values()
    answer = await scene.gateway.http.get(f"/instances/{instance['id']}", headers=scene.gateway.platform)
    assert secret not in answer.text
    assert secret not in caplog.text + json.dumps([str(record.__dict__) for record in caplog.records])
