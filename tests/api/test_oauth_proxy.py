"""The OAuth proxy: one callback URL of the gateway for many applications, and the operator's own app."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import gateway as gateways
import httpx
import pytest
from gateway import Gateway
from sqlalchemy import select

from app import logs
from app.errors import SettingsError
from app.main import BASE_PATH
from app.store import oauth_states
from app.store.engine import Database
from app.store.tables import OAuthState, table

APP = {"apiKey": "sandbox-client", "apiSecret": "sandbox-secret", "subdomain": "acme"}
TARGET = "https://app.example.com/connected"
PROXY = f"http://gateway{BASE_PATH}/oauth/proxy"
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
OPERATOR = {"key": "sandbox-client", "secret": "sandbox-secret"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def decide(url: str, decision: str = "allow") -> str:
    """Where the sandbox's consent page sends the browser after this decision."""
    form = query_of(url) | {"username": "jsmith", "user": "ann", "decision": decision}
    answer = httpx.post(urljoin(url, "consent"), data=form)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def ask(gateway: Gateway, element: str = "egnyte", /, **more: Any) -> str:
    """The page of the vendor, asked for by a known caller."""
    parameters = APP | {"isOauthProxy": "true", "state": TARGET} | more
    path = f"/elements/{element}/oauth/url"
    answer = await gateway.http.get(path, params=parameters, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["oauthUrl"]
    return url


async def refused(gateway: Gateway, target: str, /, **headers: str) -> httpx.Response:
    parameters = APP | {"isOauthProxy": "true", "state": target}
    answer = await gateway.http.get("/elements/egnyte/oauth/url", params=parameters, headers=headers)
    assert answer.json()["message"].startswith("state: ")
    return answer


async def states(database: Database) -> list[OAuthState]:
    async with database.read() as connection:
        rows = await connection.execute(select(table(OAuthState)))
        return [OAuthState(**row) for row in rows.mappings()]


@pytest.mark.parametrize("element", ["egnyte", "box"])
async def test_an_account_is_connected_through_the_proxy(gateway: Gateway, element: str) -> None:
    url = await ask(gateway, element)
    assert query_of(url)["redirect_uri"] == PROXY
    led_back = decide(url)
    assert led_back.startswith(f"{PROXY}?")
    answer = await gateway.http.get(led_back, headers=BROWSER)
    assert answer.status_code == 302
    target = answer.headers["Location"]
    assert target.startswith(f"{TARGET}?")
    assert query_of(target) == {"state": element, "code": query_of(led_back)["code"]}
    assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    order = await gateway.order(element, **{"oauth.callback.url": PROXY})
    order["providerData"] = query_of(target)
    made = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert made.status_code == 200, made.text
    ping = await gateway.http.get("/ping", headers=gateway.hub(made.json()["token"]))
    assert ping.status_code == 200


async def test_the_answer_is_taken_at_both_base_paths(gateway: Gateway) -> None:
    for path in ("http://gateway/oauth/proxy", PROXY):
        state = query_of(await ask(gateway, callbackUrl=path))["state"]
        answer = await gateway.http.get(path, params={"code": "c", "state": state})
        assert answer.headers["Location"] == f"{TARGET}?state=egnyte&code=c"


async def test_a_refusal_of_the_owner_is_passed_on(gateway: Gateway) -> None:
    answer = await gateway.http.get(decide(await ask(gateway, "box"), "deny"))
    found = query_of(answer.headers["Location"])
    assert found.keys() == {"error", "error_description", "state"}
    assert (found["error"], found["state"]) == ("access_denied", "box")


async def test_a_state_is_long_random_and_kept_as_a_hash(gateway: Gateway) -> None:
    first, second = [query_of(await ask(gateway))["state"] for _ in range(2)]
    assert first != second
    assert len(first) >= 32
    kept = await states(gateway.runtime.database)
    assert len(kept) == 2
    assert not [row for row in kept if first in row.hash or first in row.target_url]
    left = kept[0].expires_at - gateway.runtime.clock.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_a_state_works_once(gateway: Gateway) -> None:
    led_back = decide(await ask(gateway))
    assert (await gateway.http.get(led_back)).status_code == 302
    answer = await gateway.http.get(led_back)
    assert answer.status_code == 400
    assert answer.json().keys() == {"requestId", "message"}
    assert answer.json()["message"].startswith("state: ")
    assert "Location" not in answer.headers


async def test_a_state_ends(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    state = query_of(await ask(gateway))["state"]
    later = gateway.runtime.clock.now() + gateway.runtime.settings.oauth_state_lifetime
    monkeypatch.setattr(gateway.runtime.clock, "now", lambda: later)
    answer = await gateway.http.get(PROXY, params={"code": "c", "state": state})
    assert answer.status_code == 400


async def test_an_answer_without_a_code_does_not_use_the_state_up(gateway: Gateway) -> None:
    state = query_of(await ask(gateway))["state"]
    answer = await gateway.http.get(PROXY, params={"state": state})
    assert (answer.status_code, answer.json()["message"]) == (400, "code: is required")
    answer = await gateway.http.get(PROXY, params={"state": state, "code": "c"})
    assert answer.status_code == 302


@pytest.mark.parametrize("query", ["code=c&state=unknown", "code=c", "", "error=<b>x</b>&state=%00"])
async def test_a_browser_is_told_in_a_page_without_a_script(gateway: Gateway, query: str) -> None:
    answer = await gateway.http.get(f"{PROXY}?{query}", headers=BROWSER)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "not connected" in answer.text
    assert answer.headers["Elements-Request-Id"] in answer.text
    assert "<script" not in answer.text
    assert "<b>" not in answer.text
    told = await gateway.http.get(f"{PROXY}?{query}")
    assert told.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("target", "led_to"),
    [
        ("https://app.example.com", "https://app.example.com?state=egnyte&code=c%2B%26&scope=a+b"),
        (f"{TARGET}?", f"{TARGET}?state=egnyte&code=c%2B%26&scope=a+b"),
        (f"{TARGET}?tenant=7%20x&flag", f"{TARGET}?tenant=7%20x&flag&state=egnyte&code=c%2B%26&scope=a+b"),
        (f"{TARGET}?state=mine", f"{TARGET}?state=mine&code=c%2B%26&scope=a+b"),
        (f"{TARGET}?code=planted&c%6fde=too&a=1", f"{TARGET}?a=1&state=egnyte&code=c%2B%26&scope=a+b"),
    ],
)
async def test_the_answer_joins_the_query_of_the_target(gateway: Gateway, target: str, led_to: str) -> None:
    """Of what the vendor says nothing can be planted; a state of the application's own comes back to it."""
    state = query_of(await ask(gateway, state=target))["state"]
    parameters = {"code": "c+&", "state": state, "scope": "a b"}
    answer = await gateway.http.get(PROXY, params=parameters)
    assert answer.headers["Location"] == led_to


async def test_a_callback_url_may_stand_before_the_proxy(gateway: Gateway) -> None:
    query = query_of(await ask(gateway, callbackUrl="https://connect.example.com/back"))
    assert query["redirect_uri"] == "https://connect.example.com/back"
    assert len(query["state"]) >= 32


@pytest.mark.parametrize("wish", [{"callbackProxy": "True"}, {"callbackUrl": PROXY}])
async def test_the_proxy_is_asked_for_in_several_ways(gateway: Gateway, wish: dict[str, str]) -> None:
    parameters = APP | {"state": TARGET, "oauthProxyName": "mine"} | wish
    path = "/elements/egnyte/oauth/url"
    asked = await gateway.http.get(path, params=parameters, headers=gateway.platform)
    posted = await gateway.http.post(path, json=parameters, headers=gateway.platform)
    for answer in (asked, posted):
        query = query_of(answer.json()["oauthUrl"])
        assert query["redirect_uri"] == PROXY
        assert re.fullmatch(r"[\w-]{32,}", query["state"])


@pytest.mark.parametrize(
    "target",
    [
        *("", "egnyte", "/connected", "//app.example.com", "com.example.app:/oauth", "javascript:alert(1)"),
        *("ftp://app.example.com", "https://", "https:///x", "https:app.example.com", "https://app:99999/"),
        *("https://user@app.example.com/", "https://app.example.com@evil.example.net/", "https://[::1/"),
        *(
            f"{TARGET}#",
            f"{TARGET}#/route",
            f"{TARGET}\r\nX: y",
            f"{TARGET}\\x",
            f" {TARGET}",
            f"{TARGET} x",
        ),
        *(f"{TARGET}/../x", f"{TARGET}/%2e%2E/x", f"{TARGET}/%252e./x", f"{TARGET}/..%2fx", f"{TARGET}/.."),
        *(f"{TARGET}/..;/x", f"{TARGET}/..;a=b/x", f"{TARGET}/..%3b/x", f"{TARGET}/.;/x", f"{TARGET}/..;"),
        *(f"{TARGET}/é", f"{TARGET}/{'x' * 2000}"),
    ],
)
async def test_a_target_that_can_be_read_in_two_ways_is_refused(gateway: Gateway, target: str) -> None:
    assert (await refused(gateway, target, **gateway.platform)).status_code == 400
    assert await states(gateway.runtime.database) == []


@pytest.mark.parametrize("header", ["", "nonsense", "User wrong, Organization wrong", "Bearer wrong"])
async def test_strangers_may_name_no_target(gateway: Gateway, header: str) -> None:
    answer = await refused(gateway, TARGET, Authorization=header)
    assert answer.status_code == 401
    assert "GATEWAY_OAUTH_PROXY_TARGETS" in answer.json()["message"]
    assert await states(gateway.runtime.database) == []


async def test_strangers_may_name_what_the_operator_allows(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    allowed = ["https://app.example.com/oauth", "http://localhost:3000", "https://other.example.com/in/"]
    settings = gateways.settings_for(tmp_path, sandbox_url, oauth_proxy_targets=allowed)
    async with gateways.running(settings, sandbox_url) as gateway:
        for target in (
            "https://app.example.com/oauth",
            "https://app.example.com/oauth?tenant=1",
            "https://APP.example.com:443/oauth/box",
            "http://localhost:3000",
            "http://localhost:3000/any/path",
            "https://other.example.com/in/",
        ):
            parameters = APP | {"isOauthProxy": "true", "state": target}
            answer = await gateway.http.get("/elements/egnyte/oauth/url", params=parameters)
            assert answer.status_code == 200, target
            followed = await gateway.http.get(decide(answer.json()["oauthUrl"]))
            assert followed.headers["Location"].startswith(target)
        for target in (
            "http://app.example.com/oauth",
            "https://app.example.com:8443/oauth",
            "https://app.example.com/oauthx",
            "https://app.example.com/OAUTH",
            "https://app.example.com/",
            "https://app.example.com.evil.example.net/oauth",
            "https://evil.example.net/https://app.example.com/oauth",
            "http://localhost/",
            "https://other.example.com/in",
        ):
            assert (await refused(gateway, target)).status_code == 401, target
        assert (await refused(gateway, "https://app.example.com/oauth/../x")).status_code == 400


@pytest.mark.parametrize(
    "allowed",
    ["*", "app.example.com", "ftp://a", "https://", "https://*.example.com", "https://u@a", "http://["],
)
def test_a_target_of_the_operator_that_is_no_beginning_of_urls_is_refused(
    tmp_path: Path, allowed: str
) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_OAUTH_PROXY_TARGETS"):
        gateways.settings_for(tmp_path, "http://sandbox", oauth_proxy_targets=[allowed])


async def test_the_proxy_is_where_clients_reach_the_gateway(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url="https://gw.example.com/open/")
    async with gateways.running(settings, sandbox_url) as gateway:
        query = query_of(await ask(gateway))
        assert query["redirect_uri"] == f"https://gw.example.com/open{BASE_PATH}/oauth/proxy"


async def test_neither_codes_nor_states_nor_secrets_reach_a_log_line(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    logs.quiet_libraries()
    caplog.set_level(logging.DEBUG)
    led_back = decide(await ask(gateway))
    for headers in (BROWSER, BROWSER, {}):
        await gateway.http.get(led_back, headers=headers)
    written = "\n".join(logs.JsonLines().format(record) for record in caplog.records)
    assert "/oauth/proxy" in written
    for secret in (*query_of(led_back).values(), "sandbox-secret", gateway.secrets.user):
        assert secret not in written


async def test_the_default_app_is_the_operators(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    app = OPERATOR | {"callback_url": "https://app.example.com/back"}
    settings = gateways.settings_for(tmp_path, sandbox_url, oauth_apps={"egnyte": app})
    async with gateways.running(settings, sandbox_url) as gateway:
        path, parameters = "/elements/4016/oauth/url/default", {"siteAddress": "acme", "scope": "Egnyte.user"}
        answer = await gateway.http.get(path, params=parameters)
        assert "sandbox-secret" not in answer.text
        body = answer.json()
        assert body["element"] == "egnyte"
        assert body["configuration"] == {
            "oauth.api.key": "sandbox-client",
            "oauth.callback.url": "https://app.example.com/back",
            "oauth.api.secret": "********",
            "secret": "********",
        }
        assert query_of(body["oauthUrl"]) == {
            "response_type": "code",
            "client_id": "sandbox-client",
            "redirect_uri": "https://app.example.com/back",
            "scope": "Egnyte.user",
            "state": "egnyte",
        }
        own = parameters | {"callbackUrl": "https://app.example.com/mine", "state": "s"}
        query = query_of((await gateway.http.get(path, params=own)).json()["oauthUrl"])
        assert (query["redirect_uri"], query["state"]) == ("https://app.example.com/mine", "s")
        answer = await gateway.http.get("/elements/box/oauth/url/default")
        assert (answer.status_code, answer.json()["message"]) == (404, "No default OAuth app of 'box' found")


async def test_an_account_is_connected_by_the_default_app_through_the_proxy(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, oauth_apps={"egnyte": OPERATOR})
    async with gateways.running(settings, sandbox_url) as gateway:
        path, parameters = "/elements/egnyte/oauth/url/default", {"subdomain": "acme", "state": TARGET}
        assert (await gateway.http.get(path, params=parameters)).status_code == 401
        without = await gateway.http.get(path, params={"subdomain": "acme"}, headers=gateway.platform)
        assert (without.status_code, without.json()["message"][:7]) == (400, "state: ")
        answer = (await gateway.http.get(path, params=parameters, headers=gateway.platform)).json()
        assert answer["configuration"]["oauth.callback.url"] == PROXY
        led_on = await gateway.http.get(decide(answer["oauthUrl"]))
        order = {
            "element": {"key": "egnyte"},
            "providerData": query_of(led_on.headers["Location"]),
            "configuration": {"subdomain": "acme", "oauth.callback.url": PROXY},
        }
        made = await gateway.http.post("/instances", json=order, headers=gateway.platform)
        assert made.status_code == 200, made.text
        assert "sandbox-secret" not in made.text


def state(number: int, expires_at: datetime) -> OAuthState:
    return OAuthState(hash=f"hash-{number}", target_url=f"{TARGET}?{number}", expires_at=expires_at)


async def test_of_several_who_take_a_state_one_gets_it(database: Database) -> None:
    async def take() -> str | None:
        async with database.write() as connection:
            return await oauth_states.take(connection, "hash-1", now=NOW)

    async with database.write() as connection:
        await oauth_states.keep(connection, state(1, NOW + timedelta(seconds=1)))
        await oauth_states.keep(connection, state(2, NOW))
    taken = await asyncio.gather(*(take() for _ in range(5)))
    assert sorted(taken, key=str) == [None, None, None, None, f"{TARGET}?1"]
    async with database.write() as connection:
        assert await oauth_states.take(connection, "hash-2", now=NOW) is None


async def test_ended_states_are_forgotten_a_few_at_a_time(database: Database) -> None:
    async with database.write() as connection:
        for number in range(-3, 3):
            await oauth_states.keep(connection, state(number, NOW + timedelta(seconds=number)))
        await oauth_states.forget_ended(connection, limit=3, now=NOW)
    assert {row.hash for row in await states(database)} == {"hash-0", "hash-1", "hash-2"}
    async with database.write() as connection:
        await oauth_states.forget_ended(connection, limit=3, now=NOW)
    assert {row.hash for row in await states(database)} == {"hash-1", "hash-2"}


async def test_a_new_state_sweeps_up_ended_ones(gateway: Gateway) -> None:
    long_ago = gateway.runtime.clock.now() - timedelta(days=1)
    async with gateway.runtime.database.write() as connection:
        for number in range(30):
            await oauth_states.keep(connection, state(number, long_ago))
    counts = []
    for _ in range(3):
        await ask(gateway)
        counts.append(len(await states(gateway.runtime.database)))
    assert counts == [11, 2, 3]
