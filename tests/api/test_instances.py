"""/instances: accounts are connected whole or not at all, shown without secrets, seen by their owner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from acme import REDIRECT_URI
from gateway import Gateway, cut_after
from sqlalchemy import func, select

from app.store.tables import Callback, Credential, Instance, Poller, Subscription, table
from app.tenancy import tenants

# The body of the vendor's own guide, with its unbalanced quote.
POLLER_CONFIGURATION = {
    "events": {
        "url": "/hubs/documents/events",
        "idField": "event_object_id",
        "datesConfiguration": {
            "updatedDateField": "event_date",
            "updatedDateFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "updatedDateTimezone": "GMT",
            "createdDateField": "event_date",
            "createdDateFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX'",
            "createdDateTimezone": "GMT",
        },
    }
}
EVENTS = {
    "event.notification.enabled": True,
    "event.notification.callback.url": "http://mycoolapp.example.com",
    "event.poller.refresh_interval": "15",
    "event.poller.configuration": POLLER_CONFIGURATION,
}


async def rows(gateway: Gateway) -> dict[str, int]:
    """How much is stored of what an instance consists of."""
    found = {}
    async with gateway.runtime.database.read() as connection:
        for model in (Instance, Credential, Poller, Subscription, Callback):
            found[model.__name__] = (
                await connection.scalar(select(func.count()).select_from(table(model))) or 0
            )
    return found


async def refused(gateway: Gateway, body: Any, status: int) -> dict[str, Any]:
    """POSTs what must fail, and checks that nothing was half-created."""
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert answer.status_code == status, answer.text
    assert set((await rows(gateway)).values()) == {0}
    error: dict[str, Any] = answer.json()
    assert error["requestId"] == answer.headers["Elements-Request-Id"]
    return error


async def test_the_documented_body_connects_an_account(gateway: Gateway) -> None:
    body = await gateway.order(**EVENTS)
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert answer.status_code == 200
    instance = answer.json()
    assert isinstance(instance["id"], int)
    assert len(instance["token"]) == 44
    assert instance["element"]["id"] == instance["elementId"] == 4016
    assert instance["element"] | {"key": "egnyte", "hub": "documents"} == instance["element"]
    assert instance["element"]["authentication"] == {"type": "oauth2"}
    assert (instance["name"], instance["tags"]) == ("Acme files", ["Docs"])
    assert (instance["valid"], instance["disabled"], instance["eventsEnabled"]) == (True, False, True)
    assert instance["externalAuthentication"] == "none"
    assert instance["provisionInteractions"] == []
    assert (instance["maxCacheSize"], instance["cacheTimeToLive"]) == (0, 0)
    assert (instance["traceLoggingEnabled"], instance["cachingEnabled"]) == (False, False)
    assert instance["createdDate"].endswith("Z")
    assert instance["user"].keys() == {"id", "emailAddress", "firstName", "lastName"}
    assert "providerData" not in instance
    assert body["providerData"]["code"] not in answer.text
    assert set((await rows(gateway)).values()) == {1}


async def test_configuration_is_answered_as_strings_with_secrets_masked(gateway: Gateway) -> None:
    shown = (
        await gateway.connect(
            **EVENTS,
            **{
                "event.notification.signature.key": "do-not-show",
                "password": "do-not-show",
                "username": "jsmith",
                "my.number": 15,
                "my.flag": False,
                "my.list": [1, {"a": None}],
                "my.null": None,
            },
        )
    )["configuration"]
    assert shown["event.notification.enabled"] == "true"
    assert json.loads(shown["event.poller.configuration"]) == POLLER_CONFIGURATION
    assert (shown["my.number"], shown["my.flag"]) == ("15", "false")
    assert json.loads(shown["my.list"]) == [1, {"a": None}]
    assert (shown["username"], shown["my.null"]) == ("jsmith", None)
    masked = {key for key, value in shown.items() if value == "********"}
    assert masked == {
        "oauth.api.key",
        "oauth.api.secret",
        "oauth.user.token",
        "oauth.user.refresh_token",
        "event.notification.signature.key",
        "password",
    }
    assert shown["oauth.user.refresh_interval"] == "2592000"
    assert shown["oauth.user.refresh_time"].isdigit()
    assert "do-not-show" not in json.dumps(shown)


async def test_an_instance_has_every_field_that_clients_read(gateway: Gateway) -> None:
    made = await gateway.connect()
    assert made.keys() >= {
        *("id", "name", "createdDate", "token", "element", "elementId", "tags", "provisionInteractions"),
        *("valid", "disabled", "maxCacheSize", "cacheTimeToLive", "configuration", "eventsEnabled"),
        *("traceLoggingEnabled", "cachingEnabled", "externalAuthentication", "user"),
    }
    assert made["element"].keys() >= {
        *("id", "name", "hookName", "key", "description", "image", "active", "deleted", "typeOauth"),
        *("trialAccount", "configDescription", "resources", "transformationsEnabled", "bulkDownloadEnabled"),
        *("bulkUploadEnabled", "cloneable", "extendable", "beta", "authentication", "extended", "hub"),
        *("protocolType", "parameters", "private"),
    }
    assert made["user"]["emailAddress"] == "test@example.com"
    assert all(isinstance(made["user"][name], str) for name in ("firstName", "lastName"))
    assert all(isinstance(value, str | None) for value in made["configuration"].values())
    (listed,) = (await gateway.http.get("/instances", headers=gateway.platform)).json()
    assert listed == made


async def test_fields_that_are_null_are_as_good_as_absent(gateway: Gateway) -> None:
    body = await gateway.order() | {"name": None, "tags": None, "externalAuthentication": None}
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert (answer.status_code, answer.json()["name"], answer.json()["tags"]) == (200, "Egnyte", [])
    body = {"element": {"key": "egnyte"}, "configuration": None, "providerData": None}
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert "providerData.code" in answer.json()["message"]


async def test_keys_that_nobody_knows_do_no_harm(gateway: Gateway) -> None:
    body = await gateway.order() | {"x": {"deep": [1]}, "element": {"key": "egnyte", "name": "Egnyte"}}
    body["providerData"] |= {"state": "egnyte", "scope": ["a"]}
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert answer.status_code == 200
    assert "x" not in answer.json()


async def test_a_key_that_is_not_set_is_shown_as_null(gateway: Gateway) -> None:
    shown = (await gateway.connect())["configuration"]
    assert shown["event.notification.callback.url"] is None
    assert shown["event.notification.enabled"] == "false"


@pytest.mark.parametrize("form", [POLLER_CONFIGURATION, json.dumps(POLLER_CONFIGURATION), {}, "", None])
async def test_a_poller_configuration_is_taken_in_every_form(gateway: Gateway, form: Any) -> None:
    instance = await gateway.connect(**EVENTS | {"event.poller.configuration": form})
    assert [poller["resource"] for poller in instance["pollers"]] == ["events"]


async def test_secrets_are_sealed_in_the_database(gateway: Gateway, tmp_path: Path) -> None:
    instance = await gateway.connect(
        **EVENTS, **{"event.notification.signature.key": "do-not-store", "password": "do-not-store"}
    )
    async with gateway.runtime.database.write():
        pass  # whatever is in the write-ahead log is in one of the files
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    for secret in ("do-not-store", "sandbox-secret", instance["token"], gateway.secrets.user):
        assert secret.encode() not in stored
    assert b"Acme files" in stored


async def test_every_missing_key_is_named_at_once(gateway: Gateway) -> None:
    error = await refused(gateway, {"element": {"key": "egnyte"}, "configuration": {"subdomain": ""}}, 400)
    for key in ("oauth.api.key", "oauth.api.secret", "oauth.callback.url", "subdomain", "providerData.code"):
        assert key in error["message"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"subdomain": "evil.example.com/"}, "configuration.subdomain"),
        ({"subdomain": "a@b"}, "configuration.subdomain"),
        ({"egnyte.events.version": "v3"}, "configuration.egnyte.events.version"),
        ({"event.notification.callback.url": "ftp://x"}, "configuration.event.notification.callback.url"),
        ({"event.notification.callback.url": "http://"}, "configuration.event.notification.callback.url"),
        ({"event.poller.refresh_interval": "often"}, "configuration.event.poller.refresh_interval"),
        ({"event.poller.refresh_interval": 0}, "configuration.event.poller.refresh_interval"),
        ({"event.poller.configuration": "{"}, "configuration.event.poller.configuration"),
        ({"event.poller.configuration": [1]}, "configuration.event.poller.configuration"),
        ({"event.poller.configuration": {"events": {}}}, "event.poller.configuration.events.url"),
        ({"event.poller.configuration": {"c": {"url": "/hubs/crm/x"}}}, "event.poller.configuration.c.url"),
        ({"event.poller.configuration": {"c": {"url": "http://["}}}, "event.poller.configuration.c.url"),
        (
            {"event.poller.configuration": {"events": {"url": "/events", "pageSize": "²"}}},
            "event.poller.configuration.events.pageSize",
        ),
    ],
)
async def test_a_value_that_cannot_be_used_is_named(
    gateway: Gateway, changes: dict[str, Any], named: str
) -> None:
    error = await refused(gateway, await gateway.order(**EVENTS | changes), 400)
    assert named in error["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "element"),
        ({"element": {}}, "element.key"),
        ({"element": "egnyte"}, "element"),
        ({"element": {"key": "egnyte"}, "configuration": []}, "configuration"),
        ({"element": {"key": "egnyte"}, "providerData": "code"}, "providerData"),
        ({"element": {"key": "egnyte"}, "tags": [{"id": 1}]}, "tags.0"),
        ({"element": {"key": "egnyte"}, "name": "a\0b"}, "cannot be stored"),
        ({"element": {"id": "x"}}, "element.id"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_body_of_another_form_is_refused_with_the_field_named(
    gateway: Gateway, body: Any, named: str
) -> None:
    assert named in (await refused(gateway, body, 400))["message"]


@pytest.mark.parametrize(
    "content", ["", "{", '{"element": {"key": "egnyte"}, "name": "\\ud800"}', "[" * 5000]
)
async def test_a_body_that_is_not_json_or_not_text_is_refused(gateway: Gateway, content: str) -> None:
    answer = await gateway.http.post("/instances", content=content, headers=gateway.platform)
    assert answer.status_code == 400
    assert answer.json().keys() == {"requestId", "message"}
    assert int(answer.headers["Content-Length"]) == len(answer.content)


async def test_an_unknown_element_is_not_found(gateway: Gateway) -> None:
    body = await gateway.order() | {"element": {"key": "nobox"}}
    assert "nobox" in (await refused(gateway, body, 404))["message"]


async def test_an_element_can_be_named_by_its_id(gateway: Gateway) -> None:
    body = await gateway.order() | {"element": {"id": 4016}}
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert answer.status_code == 200


async def test_a_used_code_is_refused_with_the_words_of_the_vendor(gateway: Gateway) -> None:
    body = await gateway.order()
    async with httpx.AsyncClient() as somebody:
        form = {
            "grant_type": "authorization_code",
            "code": body["providerData"]["code"],
            "client_id": "sandbox-client",
            "client_secret": "sandbox-secret",
            "redirect_uri": REDIRECT_URI,
        }
        url = f"{gateway.sandbox_url}/egnyte/acme/puboauth/token"
        assert (await somebody.post(url, data=form)).status_code == 200
    assert "invalid_grant" in (await refused(gateway, body, 400))["providerMessage"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("oauth.callback.url", "https://other.example.com", "invalid_grant"),
        ("oauth.api.key", "other-client", "invalid_client"),
        ("oauth.api.secret", "other-secret", "invalid_client"),
    ],
)
async def test_a_wrong_app_is_refused_with_the_words_of_the_vendor(
    gateway: Gateway, key: str, value: str, words: str
) -> None:
    error = await refused(gateway, await gateway.order(**{key: value}), 400)
    assert words in error["providerMessage"]
    assert value not in error["message"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "503", "path": "/puboauth"}, 502),
        ({"kind": "cut", "path": "/puboauth"}, 502),
        ({"kind": "bad_json", "path": "/puboauth"}, 502),
        ({"kind": "409", "path": "/puboauth", "retry_after": 7}, 429),
        ({"kind": "500", "path": "/pubapi/v1/events/cursor", "times": None}, 502),
        ({"kind": "403", "path": "/pubapi/v1/events/cursor"}, 403),
    ],
)
async def test_a_vendor_that_fails_leaves_nothing_behind(
    gateway: Gateway, sandbox: httpx.Client, fault: dict[str, Any], status: int
) -> None:
    body = await gateway.order(**EVENTS)
    sandbox.post("/control/egnyte/acme/faults", json=fault).raise_for_status()
    await refused(gateway, body, status)


async def test_a_vendor_that_is_down_is_a_bad_gateway(tmp_path: Path, sandbox_url: str) -> None:
    settings = gateways.settings_for(
        tmp_path, sandbox_url, provider_base_urls={"egnyte": "http://127.0.0.1:9/{subdomain}"}
    )
    async with gateways.running(settings, sandbox_url) as gateway:
        error = await refused(gateway, await gateway.order(), 502)
    assert "127.0.0.1/acme/puboauth/token" in error["message"]


async def test_an_instance_can_be_read_again(gateway: Gateway) -> None:
    made = await gateway.connect(**EVENTS)
    answer = await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)
    assert answer.json() == made
    assert made["pollers"][0].keys() == {"resource", "longPolling", "nextPollDate", "failures"}


async def test_a_list_is_paged_by_its_token(gateway: Gateway) -> None:
    ids = [(await gateway.connect())["id"] for _ in range(5)]
    found: list[int] = []
    token: str | None = ""
    while token is not None:
        parameters: dict[str, str | int] = {"pageSize": 2, "nextPage": token}
        answer = await gateway.http.get("/instances", params=parameters, headers=gateway.platform)
        assert int(answer.headers["Elements-Returned-Count"]) == len(answer.json()) <= 2
        found += [item["id"] for item in answer.json()]
        token = answer.headers.get("Elements-Next-Page-Token")
    assert found == ids


@pytest.mark.parametrize(
    "query", ["pageSize=0", "pageSize=x", "nextPage=x", f"nextPage={10**30}", "nextPage=" + "1" * 5000]
)
async def test_a_bad_page_is_refused(gateway: Gateway, query: str) -> None:
    answer = await gateway.http.get(f"/instances?{query}", headers=gateway.platform)
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["message"]


async def test_a_huge_page_is_clamped(gateway: Gateway) -> None:
    await gateway.connect()
    answer = await gateway.http.get("/instances?pageSize=2147483647", headers=gateway.platform)
    assert len(answer.json()) == 1


@pytest.mark.parametrize("identity", ["0", "-1", "abc", str(2**63), str(10**40)])
async def test_an_id_that_cannot_be_one_is_refused(gateway: Gateway, identity: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await gateway.http.request(method, f"/instances/{identity}", headers=gateway.platform)
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("id:")


async def test_a_deleted_instance_is_gone_and_its_token_refused(gateway: Gateway) -> None:
    made = await gateway.connect(**EVENTS)
    hub = gateway.hub(made["token"])
    assert (await gateway.http.get("/hubs/documents/ping", headers=hub)).status_code == 200
    path = f"/instances/{made['id']}"
    answer = await gateway.http.delete(path, headers=gateway.platform)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await gateway.http.get("/hubs/documents/ping", headers=hub)).status_code == 401
    assert (await gateway.http.get(path, headers=gateway.platform)).status_code == 404
    assert (await gateway.http.delete(path, headers=gateway.platform)).status_code == 404
    assert (await gateway.http.get("/instances", headers=gateway.platform)).json() == []
    assert (await rows(gateway)) | {"Poller": 0, "Credential": 0} == await rows(gateway)


async def test_an_instance_of_one_account_is_invisible_to_another(gateway: Gateway) -> None:
    made = await gateway.connect()
    runtime = gateway.runtime
    other = await tenants.create_organization(
        runtime.database, "Other", email="other@example.com", now=runtime.clock.now()
    )
    stranger = {"Authorization": f"User {other.user}, Organization {other.organization}"}
    for method in ("GET", "DELETE"):
        answer = await gateway.http.request(method, f"/instances/{made['id']}", headers=stranger)
        assert answer.status_code == 404
    assert (await gateway.http.get("/instances", headers=stranger)).json() == []
    mixed = {"Authorization": f"User {other.user}, Element {made['token']}"}
    assert (await gateway.http.get("/hubs/documents/ping", headers=mixed)).status_code == 401
    assert (await gateway.http.get(f"/instances/{made['id']}", headers=gateway.platform)).status_code == 200


async def test_a_secret_of_another_organization_does_not_fit(gateway: Gateway) -> None:
    runtime = gateway.runtime
    other = await tenants.create_organization(
        runtime.database, "Other", email="other@example.com", now=runtime.clock.now()
    )
    for value in (
        f"User {gateway.secrets.user}, Organization {other.organization}",
        f"User {gateway.secrets.user}",
        f"Organization {gateway.secrets.organization}",
        f"User {gateway.secrets.organization}, Organization {gateway.secrets.user}",
        "Bearer abc",
        "",
    ):
        answer = await gateway.http.get("/instances", headers={"Authorization": value})
        assert answer.status_code == 401
        assert answer.json().keys() == {"requestId", "message"}


async def test_an_account_whose_commit_nobody_knows_of_is_stored_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await gateway.order()
    database = gateway.runtime.database
    monkeypatch.setattr(database, "write", cut_after(database.write))
    answer = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    found = (await gateway.http.get("/instances", headers=gateway.platform)).json()
    assert (answer.status_code, [item["id"] for item in found]) == (200, [answer.json()["id"]])


async def test_a_database_that_is_away_is_503_in_the_form_of_every_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await gateway.connect()
    database = gateway.runtime.database
    monkeypatch.setattr(database, "write", cut_after(database.write))
    path = f"/instances/{instance['id']}"
    answer = await gateway.http.patch(path, json={"name": "x"}, headers=gateway.platform)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json().keys() == {"requestId", "message"}
