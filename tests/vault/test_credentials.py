"""Tokens are refreshed early, once, and by whoever comes first; a dead grant is said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from acme import Acme
from box_account import Box
from gateway import Gateway
from held import Held
from processes import PATIENCE, until
from sqlalchemy import select

from app.errors import (
    DatabaseUnavailable,
    GrantRefused,
    GrantRevoked,
    NotFound,
    VendorRefused,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.providers.box import Box as BoxProvider
from app.providers.egnyte import Egnyte
from app.store import instances, pollers
from app.store.tables import Delivery, Event, Instance, table
from app.upstream import oauth
from app.upstream.oauth import Tokens
from app.vault import unsaved
from app.vault.credentials import Credentials, Secrets


@pytest.fixture
async def instance(gateway: Gateway) -> Instance:
    return await stored(gateway, (await gateway.connect())["id"])


async def stored(gateway: Gateway, instance_id: int) -> Instance:
    async with gateway.runtime.database.read() as connection:
        found = await instances.for_worker(connection, instance_id)
    assert found is not None
    return found[0]


def token_requests(sandbox: httpx.Client) -> int:
    requests = sandbox.get("/control/requests").json()["requests"]
    return sum(item["method"] == "POST" and item["path"].endswith("/puboauth/token") for item in requests)


class Later:
    """A clock that is ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now().astimezone() + self._ahead


def let_time_pass(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    let_time_pass_for(gateway.runtime.credentials, monkeypatch, ahead)


def let_time_pass_for(process: Credentials, monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    monkeypatch.setattr(process, "_clock", Later(ahead))


async def test_a_token_is_used_as_long_as_it_lives(
    gateway: Gateway, instance: Instance, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = token_requests(sandbox)
    let_time_pass(gateway, monkeypatch, timedelta(days=29, hours=23))
    source = gateway.runtime.credentials.token_source(instance, Egnyte)
    assert await source() == await source()
    assert token_requests(sandbox) == before


async def test_a_token_is_refreshed_before_it_ends(
    gateway: Gateway, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    let_time_pass(gateway, monkeypatch, timedelta(days=30) - timedelta(minutes=4))
    fresh = await credentials.token_source(instance, Egnyte)()
    assert fresh != old
    assert (await credentials.open(instance.id)).values["oauth.user.token"] == fresh
    assert await credentials.token_source(instance, Egnyte)() == fresh


async def test_many_calls_refresh_once(gateway: Gateway, instance: Instance, sandbox: httpx.Client) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    before = token_requests(sandbox)
    sources = [credentials.token_source(instance, Egnyte) for _ in range(10)]
    tokens = await asyncio.gather(*(source(rejected=old) for source in sources))
    assert token_requests(sandbox) == before + 1
    assert len(set(tokens)) == 1
    assert tokens[0] != old


async def test_a_legacy_token_is_never_refreshed(
    gateway: Gateway, acme: Acme, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.configure(token_mode="legacy")
    instance = await stored(gateway, (await gateway.connect())["id"])
    before = token_requests(sandbox)
    let_time_pass(gateway, monkeypatch, timedelta(days=4000))
    source = gateway.runtime.credentials.token_source(instance, Egnyte)
    token = await source()
    with pytest.raises(VendorUnauthorized):
        await source(rejected=token)
    assert token_requests(sandbox) == before


async def test_who_loses_the_race_takes_what_the_winner_stored(
    gateway: Gateway, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = gateway.runtime.credentials
    secrets = await credentials.open(instance.id)
    newer = {"oauth.user.token": "of-the-winner", "oauth.user.refresh_token": "of the winner, too"}
    winner = Secrets(secrets.token, {**secrets.values, **newer})
    refresh = credentials._refresh

    async def beaten(*args: Any) -> Any:
        async with gateway.runtime.database.write() as connection:
            sealed = credentials.seal(instance.id, winner)
            assert await instances.save_credential(
                connection, instance.id, version=secrets.version, sealed=sealed
            )
        return await refresh(*args)

    monkeypatch.setattr(credentials, "_refresh", beaten)
    old = secrets.values["oauth.user.token"]
    assert await credentials.token_source(instance, Egnyte)(rejected=old) == "of-the-winner"


async def test_a_refused_refresh_is_a_dead_grant(gateway: Gateway, instance: Instance, acme: Acme) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    acme.control("tokens/expire", kind="all")
    with pytest.raises(GrantRevoked) as caught:
        await credentials.token_source(instance, Egnyte)(rejected=old)
    assert "invalid_grant" in (caught.value.provider_message or "")
    assert not (await stored(gateway, instance.id)).valid


@pytest.mark.parametrize("kind", ["409", "429", "mashery_qps", "503", "cut"])
async def test_a_refresh_that_the_vendor_could_not_answer_says_nothing_about_the_grant(
    gateway: Gateway, instance: Instance, acme: Acme, kind: str
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    acme.fault(kind, path="/puboauth/token", retry_after=7)
    with pytest.raises((VendorThrottled, VendorUnavailable)):
        await credentials.token_source(instance, Egnyte)(rejected=old)
    assert (await stored(gateway, instance.id)).valid
    assert await credentials.token_source(instance, Egnyte)(rejected=old) != old


async def test_a_secret_that_is_wrong_meanwhile_does_not_end_the_grant(
    gateway: Gateway, instance: Instance, sandbox: httpx.Client
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    app = {"client_id": "sandbox-client", "client_secret": "rotated", "redirect_uris": ["*"]}
    sandbox.post("/control/egnyte/apps", json=app).raise_for_status()
    with pytest.raises(VendorRefused, match="refused"):
        await credentials.token_source(instance, Egnyte)(rejected=old)
    assert (await stored(gateway, instance.id)).valid


async def test_a_vendor_that_changes_to_tokens_without_end_is_not_asked_to_refresh_them(
    gateway: Gateway,
    instance: Instance,
    acme: Acme,
    sandbox: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(instance, Egnyte)()
    acme.configure(token_mode="legacy")
    fresh = await credentials.token_source(instance, Egnyte)(rejected=old)
    before = token_requests(sandbox)
    let_time_pass(gateway, monkeypatch, timedelta(days=4000))
    assert await credentials.token_source(instance, Egnyte)() == fresh
    assert token_requests(sandbox) == before


async def test_a_refresh_that_another_process_made_first_is_no_dead_grant(
    gateway: Gateway, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process slept through its lease; the vendor refuses it what the other has used by then."""
    credentials = gateway.runtime.credentials
    used = await credentials.open(instance.id)
    newer = Secrets(used.token, {**used.values, "oauth.user.token": "newer"})

    async def too_late(*_: Any) -> None:
        async with gateway.runtime.database.write() as connection:
            sealed = credentials.seal(instance.id, newer)
            await instances.save_credential(connection, instance.id, version=1, sealed=sealed)
        raise GrantRefused

    monkeypatch.setattr(oauth, "refresh", too_late)
    assert await credentials.fresh(instance, Egnyte, used.values["oauth.user.token"]) == "newer"
    assert (await stored(gateway, instance.id)).valid


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing new can be stored."""

    async def full(*_: Any, **__: Any) -> bool:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(instances, "save_credential", full)
        yield


async def test_tokens_that_could_not_be_stored_are_not_lost(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor has used up the old ones; the new ones exist nowhere but here."""
    credentials, before = gateway.runtime.credentials, box_refreshes(box)
    old = await credentials.token_source(box_instance, BoxProvider)()
    with full_disk(monkeypatch):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    fresh = await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    assert fresh != old
    assert (await another_process(gateway).open(box_instance.id)).values["oauth.user.token"] == fresh
    assert box_refreshes(box) == before + 1


async def test_tokens_that_could_not_be_stored_are_stored_without_a_further_call(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsaved, "_AGAIN", 0.01)
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    with full_disk(monkeypatch):
        with pytest.raises(DatabaseUnavailable):
            await credentials.token_source(box_instance, BoxProvider)(rejected=old)
        await asyncio.sleep(0.05)

    async def replaced() -> bool:
        return (await credentials.open(box_instance.id)).values["oauth.user.token"] != old

    await until(replaced, "new tokens that are stored")


async def test_a_stop_waits_for_tokens_that_could_not_be_stored(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    with full_disk(monkeypatch), pytest.raises(DatabaseUnavailable):
        await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    await credentials.close(patience=timedelta(seconds=PATIENCE))
    assert (await credentials.open(box_instance.id)).values["oauth.user.token"] != old


async def test_a_stop_in_the_middle_of_a_refresh_ends_and_stores_it(
    gateway: Gateway, box: Box, box_instance: Instance
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    box.fault("slow", path="/oauth2/token", seconds=0.3)
    call = asyncio.create_task(credentials.fresh(box_instance, BoxProvider, old))
    while not credentials._unsaved._expected:  # looked at in each step of the loop: it does not last
        await asyncio.sleep(0)
    call.cancel()
    await credentials.close(patience=timedelta(seconds=PATIENCE))
    assert (await credentials.open(box_instance.id)).values["oauth.user.token"] != old


async def test_a_stop_waits_for_a_refresh_that_is_about_to_ask_the_vendor(
    gateway: Gateway, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    held = Held(monkeypatch, instances, "claim_refresh")
    call = asyncio.create_task(credentials.fresh(box_instance, BoxProvider, old))
    await held.begun.wait()
    call.cancel()
    closing = asyncio.create_task(credentials.close(patience=timedelta(seconds=PATIENCE)))
    await asyncio.sleep(0)
    held.go_on.set()
    await closing
    assert (await credentials.open(box_instance.id)).values["oauth.user.token"] != old


async def test_a_stop_gives_up_on_a_database_that_stays_away(
    gateway: Gateway,
    box: Box,
    box_instance: Instance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    with full_disk(monkeypatch):
        with pytest.raises(DatabaseUnavailable):
            await credentials.token_source(box_instance, BoxProvider)(rejected=old)
        await credentials.close(patience=timedelta(0))
    assert "new tokens could not be stored" in caplog.text


async def test_tokens_that_come_after_others_took_the_grant_for_dead_bring_it_back(
    gateway: Gateway, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process was stopped with the answer of the vendor in its hands, for longer than its lease; to the
    next one the vendor said that the refresh token had been used."""
    made = await gateway.connect("box", **{"event.notification.enabled": "true"})
    instance = await stored(gateway, made["id"])
    sleeper, awake = gateway.runtime.credentials, another_process(gateway)
    old = await sleeper.token_source(instance, BoxProvider)()
    keep = sleeper._keep

    async def too_late(*arguments: Any) -> Any:
        let_time_pass_for(awake, monkeypatch, timedelta(hours=2))
        with pytest.raises(GrantRevoked):
            await awake.token_source(instance, BoxProvider)(rejected=old)
        assert not (await stored(gateway, instance.id)).valid
        return await keep(*arguments)

    monkeypatch.setattr(sleeper, "_keep", too_late)
    fresh = await sleeper.token_source(instance, BoxProvider)(rejected=old)
    revived = await stored(gateway, instance.id)
    assert revived.valid
    assert await another_process(gateway).token_source(revived, BoxProvider)() == fresh
    async with gateway.runtime.database.read() as connection:
        (poller,) = (await pollers.of_instances(connection, [instance.id]))[instance.id]
    assert poller.due_at is not None


async def change_signature_key(gateway: Gateway, instance: Instance) -> None:
    order = {"configuration": {"event.notification.signature.key": "changed-meanwhile"}}
    answer = await gateway.http.patch(f"/instances/{instance.id}", json=order, headers=gateway.platform)
    assert answer.status_code == 200, answer.text


async def kept_both(gateway: Gateway, instance: Instance, fresh: str) -> None:
    """For whoever comes next, the new tokens stand beside what was changed meanwhile, and they can be
    refreshed."""
    process = another_process(gateway)
    secrets = await process.open(instance.id)
    assert secrets.values["event.notification.signature.key"] == "changed-meanwhile"
    assert secrets.values["oauth.user.token"] == fresh
    assert await process.token_source(instance, BoxProvider)(rejected=fresh) != fresh
    assert (await stored(gateway, instance.id)).valid


async def test_a_change_of_another_secret_does_not_lose_the_tokens_that_are_in_hand(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process was stopped with the answer of the vendor in its hands, for longer than its lease; a PATCH
    has waited for its end."""
    credentials = gateway.runtime.credentials
    old, keep = await credentials.token_source(box_instance, BoxProvider)(), credentials._keep
    monkeypatch.setattr(credentials, "lease", timedelta(0))

    async def too_late(*arguments: Any) -> Any:
        await change_signature_key(gateway, box_instance)
        return await keep(*arguments)

    monkeypatch.setattr(credentials, "_keep", too_late)
    fresh = await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    assert fresh != old
    await kept_both(gateway, box_instance, fresh)


@pytest.mark.parametrize("asked_for", [True, False])
async def test_a_change_of_another_secret_does_not_lose_tokens_that_could_not_be_stored(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch, asked_for: bool
) -> None:
    credentials, before = gateway.runtime.credentials, box_refreshes(box)
    old = await credentials.token_source(box_instance, BoxProvider)()
    monkeypatch.setattr(credentials, "lease", timedelta(0))
    monkeypatch.setattr(unsaved, "_AGAIN", 0.01)

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable(ConnectionResetError())

    with monkeypatch.context() as broken:
        broken.setattr(credentials, "_save", away)
        with pytest.raises(DatabaseUnavailable):
            await credentials.token_source(box_instance, BoxProvider)(rejected=old)
        await change_signature_key(gateway, box_instance)
    if asked_for:
        assert await credentials.token_source(box_instance, BoxProvider)(rejected=old) != old
    else:
        await credentials.close(patience=timedelta(seconds=PATIENCE))
    assert box_refreshes(box) == before + 1
    await kept_both(
        gateway, box_instance, (await credentials.open(box_instance.id)).values["oauth.user.token"]
    )


async def test_a_new_grant_is_not_replaced_by_the_tokens_of_the_old_one(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner has authenticated the instance again while this process was stopped with the answer of the
    vendor in its hands."""
    credentials = gateway.runtime.credentials
    old, keep = await credentials.token_source(box_instance, BoxProvider)(), credentials._keep
    monkeypatch.setattr(credentials, "lease", timedelta(0))
    granted: list[str] = []

    async def too_late(*arguments: Any) -> Any:
        path, order = f"/instances/{box_instance.id}", await gateway.order("box")
        answer = await gateway.http.patch(path, json=order, headers=gateway.platform)
        assert answer.status_code == 200, answer.text
        granted.append((await credentials.open(box_instance.id)).values["oauth.user.token"])
        return await keep(*arguments)

    monkeypatch.setattr(credentials, "_keep", too_late)
    assert await credentials.token_source(box_instance, BoxProvider)(rejected=old) == granted[0]
    assert (await another_process(gateway).open(box_instance.id)).values["oauth.user.token"] == granted[0]


async def test_a_refusal_that_comes_after_a_change_does_not_answer_the_rejected_token(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, refresh = gateway.runtime.credentials, oauth.refresh
    old = await credentials.token_source(box_instance, BoxProvider)()
    monkeypatch.setattr(credentials, "lease", timedelta(0))
    box.control("tokens/expire", kind="refresh")

    async def changed_meanwhile(*arguments: Any) -> Tokens:
        monkeypatch.setattr(oauth, "refresh", refresh)
        await change_signature_key(gateway, box_instance)
        return await refresh(*arguments)

    monkeypatch.setattr(oauth, "refresh", changed_meanwhile)
    with pytest.raises(GrantRevoked):
        await credentials.token_source(box_instance, BoxProvider)(rejected=old)


async def test_tokens_that_come_after_the_deletion_of_their_instance_are_revoked(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, refresh = gateway.runtime.credentials, oauth.refresh
    old = await credentials.token_source(box_instance, BoxProvider)()
    given: list[Tokens] = []

    async def deleted_meanwhile(*arguments: Any) -> Tokens:
        given.append(await refresh(*arguments))
        answer = await gateway.http.delete(f"/instances/{box_instance.id}", headers=gateway.platform)
        assert answer.status_code == 200
        return given[0]

    monkeypatch.setattr(oauth, "refresh", deleted_meanwhile)
    with pytest.raises(NotFound):
        await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    bearer = {"Authorization": f"Bearer {given[0].access_token}"}
    assert box.http.get("/2.0/users/me", headers=bearer).status_code == 401


async def test_tokens_that_the_vendor_gives_late_are_taken(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    monkeypatch.setattr(gateway.runtime.vendors, "timeout", httpx.Timeout(PATIENCE, read=0.01))
    monkeypatch.setattr(oauth, "grace", lambda _: PATIENCE)
    box.fault("slow", path="/oauth2/token", seconds=0.3)
    fresh = await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    assert (await credentials.open(box_instance.id)).values["oauth.user.token"] == fresh != old


async def test_the_secrets_of_a_deleted_instance_are_gone(gateway: Gateway, instance: Instance) -> None:
    await gateway.http.delete(f"/instances/{instance.id}", headers=gateway.platform)
    with pytest.raises(NotFound):
        await gateway.runtime.credentials.open(instance.id)


async def test_secrets_do_not_show(gateway: Gateway, instance: Instance) -> None:
    secrets = await gateway.runtime.credentials.open(instance.id)
    assert secrets.token not in repr(secrets)
    assert secrets.values["oauth.user.token"] not in repr(secrets)


async def test_a_refresh_is_stored_even_if_nobody_waits_for_it_any_more(
    gateway: Gateway, instance: Instance, acme: Acme
) -> None:
    acme.configure(refresh_rotation="rotate")
    credentials = gateway.runtime.credentials
    old = (await credentials.open(instance.id)).values["oauth.user.token"]
    acme.fault("slow", path="/puboauth/token", seconds=0.3)
    call = asyncio.create_task(credentials.fresh(instance, Egnyte, old))
    while not credentials._unsaved._expected:  # looked at in each step of the loop: it does not last
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert call.cancelled()
    assert (await credentials.open(instance.id)).values["oauth.user.token"] != old


# Box's refresh tokens work once


@pytest.fixture
async def box_instance(gateway: Gateway, box: Box) -> Instance:
    return await stored(gateway, (await gateway.connect("box"))["id"])


def another_process(gateway: Gateway) -> Credentials:
    """What a second process on the same database has: its own lock, the same rows."""
    runtime = gateway.runtime
    return Credentials(runtime.database, runtime.sealer, runtime.vendors, runtime.registry, runtime.clock, {})


def box_refreshes(box: Box) -> int:
    requests = box.steering.get("/control/requests").json()["requests"]
    return sum(row["path"] == "/box/oauth2/token" for row in requests)


async def test_many_processes_refresh_a_single_use_token_once(
    gateway: Gateway, box: Box, box_instance: Instance
) -> None:
    old = await gateway.runtime.credentials.token_source(box_instance, BoxProvider)()
    before = box_refreshes(box)
    processes = [another_process(gateway) for _ in range(5)]
    sources = [item.token_source(box_instance, BoxProvider) for item in processes for _ in range(4)]
    tokens = set(await asyncio.gather(*(source(rejected=old) for source in sources)))
    assert box_refreshes(box) == before + 1
    assert len(tokens) == 1
    assert tokens != {old}
    assert (await stored(gateway, box_instance.id)).valid


async def test_again_and_again_no_account_is_lost_to_a_race(
    gateway: Gateway, box: Box, box_instance: Instance
) -> None:
    processes = [another_process(gateway) for _ in range(3)]
    for _ in range(10):
        sources = [item.token_source(box_instance, BoxProvider) for item in processes]
        token = await sources[0]()
        box.control("tokens/expire", kind="access")
        await asyncio.gather(*(source(rejected=token) for source in sources))
    assert (await stored(gateway, box_instance.id)).valid


async def test_new_tokens_are_stored_before_they_are_used(
    gateway: Gateway, box: Box, box_instance: Instance
) -> None:
    credentials = gateway.runtime.credentials
    old = await credentials.token_source(box_instance, BoxProvider)()
    fresh = await credentials.token_source(box_instance, BoxProvider)(rejected=old)
    secrets = await another_process(gateway).open(box_instance.id)
    assert secrets.values["oauth.user.token"] == fresh
    assert secrets.version == 2


async def test_a_refresh_that_failed_lets_the_next_one_try(
    gateway: Gateway, box: Box, box_instance: Instance
) -> None:
    source = gateway.runtime.credentials.token_source(box_instance, BoxProvider)
    old = await source()
    box.fault("503", path="/oauth2/token")
    with pytest.raises(VendorUnavailable):
        await source(rejected=old)
    assert await source(rejected=old) != old


async def test_a_process_that_died_while_it_refreshed_is_followed_by_another(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, now = gateway.runtime.credentials, datetime.now().astimezone()
    old = await credentials.token_source(box_instance, BoxProvider)()
    async with gateway.runtime.database.write() as connection:
        assert await instances.claim_refresh(
            connection, box_instance.id, version=1, fence=1, now=now, until=now + timedelta(seconds=1)
        )
    assert await credentials.token_source(box_instance, BoxProvider)(rejected=old) != old


async def test_a_token_that_still_lives_is_used_while_another_process_refreshes(
    gateway: Gateway, box: Box, box_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, now = gateway.runtime.credentials, datetime.now().astimezone()
    old = await credentials.token_source(box_instance, BoxProvider)()
    async with gateway.runtime.database.write() as connection:
        await instances.claim_refresh(
            connection, box_instance.id, version=1, fence=1, now=now, until=now + timedelta(hours=2)
        )
    let_time_pass(gateway, monkeypatch, timedelta(minutes=56))
    assert await credentials.token_source(box_instance, BoxProvider)() == old


async def test_a_dead_grant_ends_the_polling_and_is_told_once(gateway: Gateway, box: Box) -> None:
    made = await gateway.connect(
        "box",
        **{
            "event.notification.enabled": "true",
            "event.notification.callback.url": "http://127.0.0.1:2/changes",
        },
    )
    instance = await stored(gateway, made["id"])
    box.control("tokens/expire", kind="access")
    box.control("tokens/expire", kind="refresh")
    before = box_refreshes(box)
    for _ in range(2):
        answer = await gateway.http.get("/ping", headers=gateway.hub(made["token"]))
        assert answer.status_code == 401
    assert box_refreshes(box) == before + 1
    assert not (await stored(gateway, instance.id)).valid
    async with gateway.runtime.database.read() as connection:
        (poller,) = (await pollers.of_instances(connection, [instance.id]))[instance.id]
        told = (await connection.execute(select(table(Event)))).mappings().all()
        waiting = (await connection.execute(select(table(Delivery)))).mappings().all()
    assert poller.due_at is None
    assert poller.error
    (event,) = told
    assert (event["row"]["event_type"], event["row"]["change"]) == ("UNKNOWN", "grant_revoked")
    assert event["row"]["event_object_id"] == str(instance.id)
    assert len(waiting) == 1
