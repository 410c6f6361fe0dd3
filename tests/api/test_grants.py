"""Grants that come another way than by a code, and the end of all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from acme import REDIRECT_URI, Acme
from box_account import Box
from gateway import Gateway
from sqlalchemy import select, update
from twins import twin_of

from app.polling.poller import PollWorker
from app.store.tables import Account, Event, Instance, Poller, table
from app.upstream import oauth

APP = {"key": "sandbox-client", "secret": "sandbox-secret", "callback_url": REDIRECT_URI}
EVENTS = {
    "event.notification.enabled": "true",
    "event.notification.callback.url": "http://127.0.0.1:2",
    "event.poller.long.poll": "false",
}


def tokens_of(sandbox_url: str, element: str) -> dict[str, str]:
    """The tokens that somebody else got for a code."""
    form = {
        "grant_type": "authorization_code",
        "code": twin_of(element).code(sandbox_url),
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "redirect_uri": REDIRECT_URI,
    }
    path = "/box/oauth2/token" if element == "box" else "/egnyte/acme/puboauth/token"
    answer = httpx.post(sandbox_url + path, data=form)
    found: dict[str, str] = answer.raise_for_status().json()
    return found


async def take_over(gateway: Gateway, element: str, **configuration: Any) -> httpx.Response:
    body = await gateway.order(element, **configuration)
    body |= {"providerData": None, "externalAuthentication": "initial"}
    return await gateway.http.post("/instances", json=body, headers=gateway.platform)


@pytest.mark.parametrize("with_token", [True, False])
async def test_a_grant_of_somebody_else_is_taken_over(gateway: Gateway, box: Box, with_token: bool) -> None:
    tokens = tokens_of(gateway.sandbox_url, "box")
    more = {"oauth.user.token": tokens["access_token"]} if with_token else {}
    answer = await take_over(
        gateway, "box", **{"oauth.user.refresh_token": tokens["refresh_token"]}, **more, **EVENTS
    )
    made = answer.json()
    assert (answer.status_code, made["externalAuthentication"], made["valid"]) == (200, "initial", True)
    assert made["configuration"]["oauth.user.refresh_token"] == "********"
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200
    kept = (await gateway.runtime.credentials.open(made["id"])).values
    assert (kept["oauth.user.refresh_token"] == tokens["refresh_token"]) is with_token
    box.upload("after.txt")
    worker = PollWorker(gateway.runtime, asyncio.Event())
    for poller in await worker.claim(10):
        await worker.run(poller)
    async with gateway.runtime.database.read() as connection:
        found = list(await connection.execute(select(table(Event))))
    assert [row.row["name"] for row in found] == ["after.txt"]


async def test_a_grant_that_is_taken_over_is_kept_when_the_vendor_is_away(
    gateway: Gateway, sandbox: httpx.Client
) -> None:
    tokens = tokens_of(gateway.sandbox_url, "box")
    sandbox.post("/control/box/faults", json={"kind": "500", "path": "/oauth2/token", "times": None})
    answer = await take_over(
        gateway, "box", **{"oauth.user.refresh_token": tokens["refresh_token"]}, **EVENTS
    )
    assert answer.status_code == 200
    async with gateway.runtime.database.read() as connection:
        (poller,) = await connection.execute(select(table(Poller)))
    assert poller.cursor == "now"
    sandbox.delete("/control/box/faults").raise_for_status()
    worker = PollWorker(gateway.runtime, asyncio.Event())
    (claimed,) = await worker.claim(10)
    await worker.run(claimed)
    async with gateway.runtime.database.read() as connection:
        (poller,) = await connection.execute(select(table(Poller)))
    assert poller.cursor.isdecimal()


async def test_without_tokens_there_is_nothing_to_take_over(gateway: Gateway) -> None:
    answer = await take_over(gateway, "box")
    assert (answer.status_code, "oauth.user.refresh_token" in answer.json()["message"]) == (400, True)
    answer = await take_over(gateway, "box", **{"oauth.user.refresh_token": "********"})
    assert (answer.status_code, "covered" in answer.json()["message"]) == (400, True)


async def test_a_new_refresh_token_can_be_given_to_a_live_instance(gateway: Gateway, box: Box) -> None:
    made = await gateway.connect("box")
    tokens = tokens_of(gateway.sandbox_url, "box")
    body = {
        "externalAuthentication": "initial",
        "configuration": {
            "oauth.user.token": tokens["access_token"],
            "oauth.user.refresh_token": tokens["refresh_token"],
        },
    }
    answer = await gateway.http.patch(f"/instances/{made['id']}", json=body, headers=gateway.platform)
    assert (answer.json()["externalAuthentication"], answer.json()["token"]) == ("initial", made["token"])
    kept = (await gateway.runtime.credentials.open(made["id"])).values
    assert kept["oauth.user.refresh_token"] == tokens["refresh_token"]
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200


async def test_an_account_that_is_deleted_meanwhile_gets_no_instance(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = oauth.exchange_code

    async def slow(*values: Any) -> Any:
        async with gateway.runtime.database.write() as connection:
            now = gateway.runtime.clock.now()
            await connection.execute(update(table(Account)).values(deleted_at=now))
        return await exchange(*values)

    monkeypatch.setattr(oauth, "exchange_code", slow)
    answer = await gateway.http.post("/instances", json=await gateway.order(), headers=gateway.platform)
    assert answer.status_code == 404
    async with gateway.runtime.database.read() as connection:
        assert list(await connection.execute(select(table(Instance)))) == []


async def test_of_an_old_grant_nothing_stays_beside_a_new_refresh_token(gateway: Gateway, box: Box) -> None:
    made = await gateway.connect("box")
    old = (await gateway.runtime.credentials.open(made["id"])).values["oauth.user.token"]
    tokens = tokens_of(gateway.sandbox_url, "box")
    body = {"configuration": {"oauth.user.refresh_token": tokens["refresh_token"]}}
    await gateway.http.patch(f"/instances/{made['id']}", json=body, headers=gateway.platform)
    kept = (await gateway.runtime.credentials.open(made["id"])).values
    assert not {"oauth.user.token", "oauth.user.refresh_interval", "oauth.user.refresh_time"} & kept.keys()
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 200
    assert (await gateway.runtime.credentials.open(made["id"])).values["oauth.user.token"] != old


@pytest.mark.parametrize("element", ["box", "egnyte"])
async def test_the_tokens_of_a_deleted_instance_are_revoked_at_the_vendor(
    gateway: Gateway, sandbox: httpx.Client, element: str
) -> None:
    made = await gateway.connect(element)
    token = (await gateway.runtime.credentials.open(made["id"])).values["oauth.user.token"]
    path = "/box/2.0/users/me" if element == "box" else "/egnyte/acme/pubapi/v1/userinfo"
    bearer = {"Authorization": f"Bearer {token}"}
    assert sandbox.get(path, headers=bearer).status_code == 200
    await gateway.http.delete(f"/instances/{made['id']}", headers=gateway.platform)
    assert sandbox.get(path, headers=bearer).status_code == 401


async def test_the_tokens_of_a_deleted_account_are_revoked_at_the_vendor(
    gateway: Gateway, sandbox: httpx.Client
) -> None:
    account = await gateway.http.post("/accounts", json={"name": "Second"}, headers=gateway.platform)
    place = f"/accounts/{account.json()['id']}"
    order = {"emailAddress": "b@example.com", "roles": ["admin"]}
    user = await gateway.http.post(f"{place}/users", json=order, headers=gateway.platform)
    caller = {"Authorization": f"User {user.json()['secret']}, Organization {gateway.secrets.organization}"}
    made = await gateway.http.post("/instances", json=await gateway.order("box"), headers=caller)
    token = (await gateway.runtime.credentials.open(made.json()["id"])).values["oauth.user.token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert sandbox.get("/box/2.0/users/me", headers=bearer).status_code == 200
    assert (await gateway.http.delete(place, headers=gateway.platform)).status_code == 200
    assert sandbox.get("/box/2.0/users/me", headers=bearer).status_code == 401


async def test_a_vendor_that_does_not_listen_does_not_keep_an_instance_alive(
    gateway: Gateway, acme: Acme
) -> None:
    made = await gateway.connect()
    acme.fault("500", path="/tokens/revoke", times=None)
    answer = await gateway.http.delete(f"/instances/{made['id']}", headers=gateway.platform)
    assert answer.status_code == 200
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 401


async def test_the_operators_app_stands_in_for_one_that_is_not_given(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, oauth_apps={"egnyte": APP, "box": APP})
    async with gateways.running(settings, sandbox_url) as gateway:
        for element in ("egnyte", "box"):
            body = await gateway.order(element)
            for key in ("oauth.api.key", "oauth.api.secret", "oauth.callback.url"):
                del body["configuration"][key]
            if element == "box":
                start = (await gateway.http.get("/elements/box/oauth/url/default")).json()
                body["configuration"] |= start["configuration"]
            answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
            made = answer.json()
            assert answer.status_code == 200, answer.text
            assert made["configuration"]["oauth.api.secret"] is None
            again = {"providerData": {"code": twin_of(element).code(sandbox_url)}}
            if element == "box":
                again["configuration"] = start["configuration"]
            path = f"/instances/{made['id']}"
            answer = await gateway.http.patch(path, json=again, headers=gateway.platform)
            assert answer.status_code == 200, answer.text
            assert "sandbox-secret" not in str(await gateway.runtime.credentials.open(made["id"]))
            expire = f"{twin_of(element).control}/tokens/expire"
            sandbox.post(expire, json={"kind": "access"}).raise_for_status()
            ping = await gateway.http.get("/ping", headers=gateway.hub(made["token"]))
            assert ping.status_code == 200, "refreshed with the operator's app"
