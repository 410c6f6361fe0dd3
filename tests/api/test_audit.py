"""/audit: every change leaves its entry, in its own transaction; who may read it, and what it never tells."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import Gateway, running, settings_for
from people import PASSWORD, asked, called, found, hire, logged_in, settle
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, main
from app.audit import Action
from app.errors import DatabaseUnavailable
from app.hubs.documents import Change
from app.ingest import intake
from app.ingest.events import Origin
from app.store import audit as store
from app.store import instances, outbox
from app.store.audit import Wanted
from app.store.engine import Database
from app.store.tables import AuditEntry, Notification, Subscription, Via, metadata, table

CALLBACK = "http://127.0.0.1:8099/hook?key=not-to-be-told"
EVENTS = {
    "event.notification.enabled": True,
    "event.notification.callback.url": CALLBACK,
    "event.notification.signature.key": "not-to-be-told-either",
}
_write, _add = Database.write, store.add
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass
class Call:
    """A request that changes something, and the actions of the entries that it leaves."""

    method: str
    path: str
    actions: list[Action]
    json: Any = None
    params: dict[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, gateway: Gateway) -> httpx.Response:
        headers = gateway.platform | self.headers
        return await gateway.http.request(
            self.method, self.path, json=self.json, params=self.params, headers=headers
        )


Make = Callable[[Gateway], Awaitable[Call]]
ROUTES: dict[str, Make] = {}
"""By method and path of the route: what to do first, and what is called then."""

EXCEPTIONS = {
    "/native/{rest:path}": "the vendor's own API: the gateway stores nothing, the request log has the line",
    "/events/{keyOrId}": "what a vendor says of its accounts is in the event log",
    "/events/{keyOrId}/": "the same",
}


def route(*names: str) -> Callable[[Callable[[Gateway, str, str], Awaitable[Call]]], None]:
    """Registers what makes the call of some routes; it is given the method and the path."""

    def register(make: Callable[[Gateway, str, str], Awaitable[Call]]) -> None:
        for name in names:
            method, path = name.split(" ")
            ROUTES[name] = lambda gateway, method=method, path=path: make(gateway, method, path)  # type: ignore[misc]

    return register


@route("POST /instances", "POST /elements/{keyOrId}/instances")
async def _create(gateway: Gateway, method: str, path: str) -> Call:
    body = await gateway.order(**EVENTS)
    return Call(method, path.format(keyOrId="egnyte"), [Action.INSTANCE_CREATED], body)


@route(
    *(f"{method} {path}" for method in ("PUT", "PATCH", "DELETE")
      for path in ("/instances", "/instances/{id}", "/elements/{keyOrId}/instances/{id}")),
    *(f"{method} {path}" for method in ("PUT", "DELETE")
      for path in ("/instances/enabled", "/instances/{id}/enabled")),
    "PATCH /instances/configuration/{configId}",
    "PATCH /instances/{id}/configuration/{configId}",
)  # fmt: skip
async def _instance(gateway: Gateway, method: str, path: str) -> Call:
    made = await gateway.connect(**EVENTS)
    url = path.format(keyOrId="egnyte", id=made["id"], configId="event.poller.refresh_interval")
    headers = {} if "{id}" in path else gateway.hub(made["token"])
    action, body = {
        "PUT": (Action.INSTANCE_CHANGED, {"name": "New"}),
        "PATCH": (Action.INSTANCE_CHANGED, {"tags": ["new"]}),
        "DELETE": (Action.INSTANCE_DELETED, None),
    }[method]
    if "configuration" in path:
        body = {"propertyValue": "7"}
    if "enabled" in path:
        action, body = Action.INSTANCE_DISABLED, None
        if method == "PUT":
            await called(gateway, "DELETE", f"/instances/{made['id']}/enabled")
            action = Action.INSTANCE_ENABLED
    return Call(method, url, [action], body, headers=headers)


@route("POST /elements/{keyOrId}/oauth/url")
async def _consent(gateway: Gateway, method: str, path: str) -> Call:
    body = {"apiKey": "key", "apiSecret": "s", "state": "https://app.example.com/?a", "isOauthProxy": True}
    return Call(method, path.format(keyOrId="box"), [Action.CONSENT_ASKED], body)


@route("POST /notifications/subscriptions")
async def _subscribe(gateway: Gateway, method: str, path: str) -> Call:
    made = await gateway.connect(**EVENTS)
    config = {"url": f"{CALLBACK}&more", "signatureKey": "not-to-be-told-at-all"}
    body = {"channel": "webhook", "topics": [f"instance-{made['id']}-egnyte-events"], "config": config}
    return Call(method, path, [Action.SUBSCRIPTION_CREATED], body)


@route("DELETE /notifications/subscriptions/{id}")
async def _unsubscribe(gateway: Gateway, method: str, path: str) -> Call:
    await (await _call(gateway, "POST /notifications/subscriptions")).send(gateway)
    newest = (await _rows(gateway, Subscription))[-1]
    return Call(method, path.format(id=newest.id), [Action.SUBSCRIPTION_DELETED])


@route("PUT /notifications/subscriptions/deliveries")
async def _redeliver(gateway: Gateway, method: str, path: str) -> Call:
    instance_id = await _reported(gateway)
    async with gateway.runtime.database.write() as connection:
        for row in await _rows(gateway, Subscription):
            if row.instance_id == instance_id:
                ended = Subscription(**row._mapping)
                await outbox.deactivate(connection, ended, "gave up", now=gateway.runtime.clock.now())
    where = {"where": f"instanceId = {instance_id} and config.url != 'not-to-be-told'"}
    return Call(method, path, [Action.SUBSCRIPTION_REDELIVERED], params=where)


@route("PUT /notifications/{id}/acknowledge")
async def _acknowledge(gateway: Gateway, method: str, path: str) -> Call:
    await _reported(gateway)
    newest = (await _rows(gateway, Notification))[-1]
    return Call(method, path.format(id=newest.id), [Action.NOTIFICATION_ACKNOWLEDGED])


@route("POST /authentication")
async def _log_in(gateway: Gateway, method: str, path: str) -> Call:
    ann = await hire(gateway, _address(), "user")
    return Call(method, path, [Action.LOGIN_CREATED], {"username": ann.email, "password": PASSWORD})


@route("DELETE /authentication")
async def _log_out(gateway: Gateway, method: str, path: str) -> Call:
    ann = await hire(gateway, _address(), "user")
    return Call(method, path, [Action.LOGIN_DELETED], headers=await logged_in(gateway, ann.email))


@route("PUT /organizations/me/secret", "PUT /users/{emailOrId}/secret")
async def _new_secret(gateway: Gateway, method: str, path: str) -> Call:
    action = Action.USER_SECRET if "users" in path else Action.ORGANIZATION_SECRET
    return Call(method, path.format(emailOrId="me"), [action], params={"overlap": "3600"})


@route(
    "POST /accounts", "PUT /accounts/{id}", "PATCH /accounts/{id}", "DELETE /accounts/{id}",
    "PATCH /accounts/settings", "PATCH /accounts/{id}/settings", "POST /accounts/{id}/settings",
)  # fmt: skip
async def _account(gateway: Gateway, method: str, path: str) -> Call:
    if path == "/accounts":
        return Call(method, path, [Action.ACCOUNT_CREATED], {"name": "New"})
    made = await called(gateway, "POST", "/accounts", name="Account")
    if "settings" in path:
        body = {"any.setting": "not-to-be-told"}
        return Call(method, path.format(id=made["id"]), [Action.ACCOUNT_SETTINGS], body)
    if method == "DELETE":
        await hire(gateway, _address(), "user", path=f"/accounts/{made['id']}/users")
        return Call(method, path.format(id=made["id"]), [Action.USER_DELETED, Action.ACCOUNT_DELETED])
    return Call(method, path.format(id=made["id"]), [Action.ACCOUNT_CHANGED], {"name": "Other"})


@route(
    "POST /users", "POST /accounts/{id}/users",
    "PUT /users/{emailOrId}", "PATCH /users/{emailOrId}", "DELETE /users/{emailOrId}",
)  # fmt: skip
async def _user(gateway: Gateway, method: str, path: str) -> Call:
    body = {"emailAddress": _address(), "firstName": "A", "lastName": "B", "password": PASSWORD + "!"}
    if method == "POST":
        account_id = (await called(gateway, "GET", "/accounts/me"))["id"]
        return Call(method, path.format(id=account_id), [Action.USER_CREATED], body)
    ann = await hire(gateway, _address(), "user")
    actions = [Action.USER_PASSWORD, Action.USER_CHANGED] if method != "DELETE" else [Action.USER_DELETED]
    return Call(method, path.format(emailOrId=ann.id), actions, body if method != "DELETE" else None)


_people = iter(range(1_000_000))


def _address() -> str:
    return f"user{next(_people)}@example.com"


async def _call(gateway: Gateway, name: str) -> Call:
    return await ROUTES[name](gateway)


async def _rows(gateway: Gateway, model: Any) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list((await connection.execute(select(table(model)).order_by(table(model).c.id))).all())


async def _reported(gateway: Gateway) -> int:
    """An instance with a delivery that waits."""
    made = await gateway.connect(**EVENTS)
    now = gateway.runtime.clock.now()
    async with gateway.runtime.database.write() as connection:
        instance = await instances.for_worker(connection, made["id"])
        assert instance
        change = Change(event_id="a", date=now, raw={}, event_type="CREATED", object_type="file",
                        change="create", object_id="a")  # fmt: skip
        origin = Origin(Via.POLLING, "events", 20)
        await intake.take_in(connection, *instance, [change], origin, now=now)
    return int(made["id"])


async def entries(gateway: Gateway, wanted: Wanted | None = None) -> list[AuditEntry]:
    return await audit.newest(gateway.runtime.database, wanted or Wanted(), limit=10_000)


async def everything(gateway: Gateway) -> dict[str, list[str]]:
    """All that the database holds."""
    async with gateway.runtime.database.read() as connection:
        return {
            name: sorted(map(repr, await connection.execute(select(rows))))
            for name, rows in metadata.tables.items()
        }


def test_every_route_that_changes_something_is_known_here() -> None:
    changing = {
        f"{method} {route.path}"  # type: ignore[attr-defined]
        for route in main._PLATFORM.routes
        for method in route.methods & CHANGING  # type: ignore[attr-defined]
        if route.path not in EXCEPTIONS  # type: ignore[attr-defined]
    }
    assert changing == ROUTES.keys()


async def test_a_change_and_its_entry_are_there_together_or_not_at_all(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every route is called three times: without the audit, without an end of its transaction, and well."""
    secrets = {gateway.secrets.user, gateway.secrets.organization, PASSWORD, "not-to-be-told"}
    for name in ROUTES:
        call, before = await _call(gateway, name), await everything(gateway)
        for target, broken in ((store, "add"), (Database, "write")):
            with monkeypatch.context() as patched:
                patched.setattr(target, broken, _full if broken == "add" else _cut_off)
                assert (await call.send(gateway)).status_code == 500, name
            if "providerData" in (call.json or {}):
                call = await _call(gateway, name)  # the code was used
            assert await everything(gateway) == before, name
        known = len(await entries(gateway))
        answer = await call.send(gateway)
        assert answer.status_code == 200, (name, answer.text)
        left = (await entries(gateway))[known:]
        assert [item.action for item in left] == call.actions, name
        for entry in left:
            assert entry.request_id == answer.headers["Elements-Request-Id"], name
            assert (entry.address, entry.organization_id) == ("127.0.0.1", 1), name
            assert entry.user_id, name
            assert entry.actor.endswith("@example.com"), name
        secrets |= _shown(answer) | {value.split(" ")[-1] for value in call.headers.values()}
    text = "\n".join(map(repr, await entries(gateway)))
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in text] == []


async def _full(*_: object) -> None:
    raise RuntimeError("the table is full")


@asynccontextmanager
async def _cut_off(database: Database) -> AsyncIterator[AsyncConnection]:
    async with _write(database) as connection:
        yield connection
        raise RuntimeError("the power is gone")


def _shown(answer: httpx.Response) -> set[str]:
    """The secrets in an answer."""
    body = answer.json() if answer.content else {}
    names = ("token", "secret", "userSecret", "organizationSecret")
    return {str(body[name]) for name in names if isinstance(body, dict) and name in body}


async def test_an_entry_names_what_was_changed_and_no_value(gateway: Gateway) -> None:
    made = await gateway.connect(**EVENTS)
    body: dict[str, Any] = {
        "name": "New",
        "configuration": {"box.any.secret": "not-told", "event.poller.refresh_interval": 9},
    }
    await called(gateway, "PATCH", f"/instances/{made['id']}", **body)
    newest = (await entries(gateway))[-1]
    changed = ["name", "configuration.box.any.secret", "configuration.event.poller.refresh_interval"]
    assert (newest.subject, newest.details) == (f"instance {made['id']}", {"changed": changed})
    order = await gateway.order()
    again = {"providerData": order["providerData"]}
    await called(gateway, "PATCH", f"/instances/{made['id']}", **again)
    newest = (await entries(gateway))[-1]
    assert (newest.action, newest.details) == (Action.INSTANCE_AUTHENTICATED, {"changed": []})


async def test_the_reading_of_tokens_is_written_once_an_hour(gateway: Gateway) -> None:
    first, second = await gateway.connect(), await gateway.connect()
    before = len(await entries(gateway))
    for path in (
        "/instances",
        "/instances",
        f"/instances/{first['id']}",
        "/accounts/instances",
        "/instances",
    ):
        answer = await gateway.http.get(path, headers=gateway.platform)
        assert answer.status_code == 200
    (listed,) = (await entries(gateway))[before:]
    assert (listed.action, listed.subject) == (Action.INSTANCE_READ, "account 1")
    assert listed.details == {"instances": [first["id"], second["id"]]}
    assert (listed.actor, listed.address) == ("test@example.com", "127.0.0.1")
    other = await hire(gateway, "ann@example.com", "user")
    before = len(await entries(gateway))
    await asked(gateway, other, "GET", f"/instances/{second['id']}")
    third = await gateway.connect()
    await gateway.http.get("/elements/egnyte/instances", headers=gateway.platform)
    read = [item for item in (await entries(gateway))[before:] if item.action == Action.INSTANCE_READ]
    assert [(item.actor, item.subject, item.details) for item in read] == [
        ("ann@example.com", f"instance {second['id']}", {}),
        ("test@example.com", f"instance {third['id']}", {}),
    ]


async def test_tokens_that_nobody_could_note_are_not_shown(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await gateway.connect()
    with monkeypatch.context() as patched:
        patched.setattr(store, "add", _full)
        for path in ("/instances", f"/instances/{made['id']}"):
            answer = await gateway.http.get(path, headers=gateway.platform)
            assert answer.status_code == 500
            assert made["token"] not in answer.text
    await gateway.http.get("/instances", headers=gateway.platform)
    assert (await entries(gateway))[-1].action == Action.INSTANCE_READ


async def test_logins_and_what_they_are_given_are_written(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    headers = await logged_in(gateway, ann.email)
    await gateway.http.get("/authentication/secrets", headers=headers)
    await gateway.http.delete("/authentication", headers=headers)
    newest = (await entries(gateway))[-3:]
    assert [item.action for item in newest] == [
        Action.LOGIN_CREATED, Action.LOGIN_SECRETS, Action.LOGIN_DELETED
    ]  # fmt: skip
    assert {(item.actor, item.subject, item.user_id) for item in newest} == {
        (ann.email, f"user {ann.id}", ann.id)
    }


async def test_a_refused_login_is_written_to_whom_it_was_aimed_at(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    before = len(await entries(gateway))
    for name in (ann.email, ann.email, "nobody@example.com"):
        body = {"username": name, "password": "my-other-password"}
        assert (await gateway.http.post("/authentication", json=body)).status_code == 401
    left = (await entries(gateway))[before:]
    assert [(item.actor, item.action, item.subject, item.account_id) for item in left] == [
        ("unknown", Action.LOGIN_REFUSED, f"user {ann.id}", ann.account_id),
        ("unknown", Action.LOGIN_REFUSED, "unknown user", None),
    ]
    assert {item.address for item in left} == {"127.0.0.1"}
    assert "nobody@" not in repr(left)


async def test_a_flood_of_refused_logins_leaves_a_few_entries(gateway: Gateway) -> None:
    database, noted = gateway.runtime.database, gateway.runtime.noted
    before = len(await entries(gateway))
    for number in range(100):
        now = gateway.runtime.clock.now()
        await audit.record_refusal(database, noted, str(number), [], at=now)
    assert len(await entries(gateway)) - before == 60
    ann = await hire(gateway, "ann@example.com", "user")
    body = {"username": ann.email, "password": "my-other-password"}
    assert (await gateway.http.post("/authentication", json=body)).status_code == 401
    assert (await entries(gateway))[-1].subject == f"user {ann.id}"


async def lost(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    await _add(connection, entries)
    raise DatabaseUnavailable(ConnectionResetError("in the middle of the transaction"))


async def test_a_refusal_that_could_not_be_written_is_written_the_next_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(await entries(gateway))
    body = {"username": "nobody@example.com", "password": "my-other-password"}
    with monkeypatch.context() as patched:
        patched.setattr(store, "add", lost)
        assert (await gateway.http.post("/authentication", json=body)).status_code == 503
    for _ in range(2):
        assert (await gateway.http.post("/authentication", json=body)).status_code == 401
    assert [item.action for item in (await entries(gateway))[before:]] == [Action.LOGIN_REFUSED]


async def test_what_a_vendor_refuses_is_written_as_the_gateways(
    gateway: Gateway, sandbox: httpx.Client
) -> None:
    made = await gateway.connect()
    sandbox.post("/control/egnyte/acme/tokens/expire", json={"kind": "all"}).raise_for_status()
    assert (await gateway.http.get("/ping", headers=gateway.hub(made["token"]))).status_code == 401
    newest = (await entries(gateway))[-1]
    assert (newest.actor, newest.user_id, newest.address) == ("gateway", None, None)
    assert (newest.action, newest.subject) == (Action.INSTANCE_REFUSED, f"instance {made['id']}")
    assert newest.organization_id == 1


async def test_links_are_written(gateway: Gateway) -> None:
    headers = gateway.hub((await gateway.connect())["token"])
    where = {"path": "/Shared/Documents/report.txt"}
    upload = await gateway.http.post("/files", params=where, files={"file": b"x"}, headers=headers)
    assert upload.status_code == 200, upload.text
    before = len(await entries(gateway))
    for method in ("GET", "GET", "DELETE", "DELETE"):
        await gateway.http.request(method, "/files/links", params=where, headers=headers)
    left = (await entries(gateway))[before:]
    assert [item.action for item in left] == [Action.LINK_CREATED, Action.LINK_DELETED]
    assert {item.actor for item in left} == {"test@example.com"}


async def test_what_the_gateway_asks_of_itself_is_its_own_doing(gateway: Gateway) -> None:
    made = await gateway.connect()
    headers = gateway.hub(made["token"])
    upload = await gateway.http.post("/files?path=/Shared/a.txt", files={"file": b"x"}, headers=headers)
    assert upload.status_code == 200, upload.text
    async with gateway.runtime.database.read() as connection:
        instance = await instances.by_id(connection, made["id"], 1)
    assert instance
    assert gateway.runtime.inside
    await gateway.runtime.inside.call(instance, "GET", "/files/links?path=/Shared/a.txt")
    newest = (await entries(gateway))[-1]
    assert (newest.action, newest.actor, newest.user_id) == (Action.LINK_CREATED, "gateway", None)
    assert newest.address is None
    assert newest.request_id


async def test_everybody_reads_the_part_that_he_manages(gateway: Gateway) -> None:
    people = await settle(gateway)
    await gateway.connect()
    pages = {}
    for name in ("owner", "admin", "other", "stranger"):
        answer = await asked(gateway, getattr(people, name), "GET", "/audit")
        assert answer.status_code == 200, answer.text
        pages[name] = answer.json()
    for name in ("ann", "bob", "olga"):
        assert (await asked(gateway, getattr(people, name), "GET", "/audit")).status_code == 403
    accounts = {name: {item["accountId"] for item in page} for name, page in pages.items()}
    assert accounts["owner"] == {people.owner.account_id, people.other.account_id}
    assert accounts["admin"] == {people.admin.account_id}
    assert accounts["other"] == {people.other.account_id}
    assert accounts["stranger"] == {people.stranger.account_id}
    assert {item["organizationId"] for item in pages["stranger"]} == {2}
    assert {item["organizationId"] for item in pages["owner"]} == {1}
    for filters in ({"subject": "organization 2"}, {"user": people.stranger.email}, {"user": "me"}):
        answer = await gateway.http.get("/audit", params=filters, headers=people.owner.headers)
        assert answer.json() == []


async def test_entries_are_asked_for_by_what_they_say(gateway: Gateway) -> None:
    made = await gateway.connect()
    await called(gateway, "DELETE", f"/instances/{made['id']}")
    await hire(gateway, "ann@example.com", "user")

    async def subjects(**filters: str) -> list[str]:
        answer = await gateway.http.get("/audit", params=filters, headers=gateway.platform)
        assert answer.status_code == 200, answer.text
        return [item["action"] for item in answer.json()]

    everything = ["user.created", "instance.deleted", "instance.created", "organization.created"]
    assert await subjects() == everything
    assert await subjects(subject=f"instance {made['id']}") == everything[1:3]
    assert await subjects(action="instance.") == everything[1:3]
    assert await subjects(action="instance.deleted") == ["instance.deleted"]
    assert await subjects(user="1") == await subjects(user="Test@example.com") == everything[:3]
    assert await subjects(user="gateway") == ["organization.created"]
    assert await subjects(to="2026-01-01T00:00:00Z", **{"from": "2025-01-01"}) == []
    assert await subjects(**{"from": "2025-01-01"}) == everything


async def test_pages_go_on_where_the_last_one_ended(gateway: Gateway) -> None:
    await gateway.connect()
    await hire(gateway, "ann@example.com", "user")
    seen: list[str] = []
    token = ""
    for _ in range(3):
        more = {"pageSize": "1"} | ({"nextPage": token} if token else {})
        answer = await gateway.http.get("/audit", params=more, headers=gateway.platform)
        seen += [item["action"] for item in answer.json()]
        token = answer.headers.get("Elements-Next-Page-Token", "")
    assert seen == ["user.created", "instance.created", "organization.created"]
    assert token == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "action=nothing",
        "action=inst",
        "from=yesterday",
        "to=x",
        "subject=%00",
        "user=%00",
        "nextPage=x",
        "page=2",
    ],
)
async def test_a_wrong_parameter_is_named(gateway: Gateway, wrong: str) -> None:
    answer = await gateway.http.get(f"/audit?{wrong}", headers=gateway.platform)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(wrong.partition("=")[0] + ":")


def test_every_action_is_in_the_page_about_the_audit() -> None:
    page = (Path(main.__file__).parent.parent / "docs/audit.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+\.[\w.]+)` \|", page, re.MULTILINE)) == sorted(Action)


async def test_no_route_changes_an_entry(gateway: Gateway) -> None:
    for method in sorted(CHANGING):
        for path in ("/audit", "/audit/1"):
            answer = await gateway.http.request(method, path, headers=gateway.platform)
            assert answer.status_code in {404, 405}, (method, path)


async def test_consents_that_nobody_has_to_prove_anything_for_are_bounded(
    tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [f"https://app{number}.example.com/" for number in range(70)]
    settings = settings_for(tmp_path, sandbox_url, oauth_proxy_targets=targets)

    async with running(settings, sandbox_url) as gateway:

        async def ask(target: str) -> int:
            query = {"apiKey": "key", "apiSecret": "s", "state": target, "isOauthProxy": "true"}
            return (await gateway.http.get("/elements/box/oauth/url", params=query)).status_code

        before = len(await entries(gateway))
        with monkeypatch.context() as patched:
            patched.setattr(store, "add", lost)
            assert await ask(targets[0]) == 503
        assert {await ask(target) for target in (targets[0], *targets)} == {200}
        hosts = [item.details["host"] for item in (await entries(gateway))[before:]]
    assert hosts == [f"app{number}.example.com" for number in range(60)]


async def test_the_first_user_of_another_organization_leaves_his_own(gateway: Gateway) -> None:
    stranger = await found(gateway, "stranger@example.com")
    answer = await asked(gateway, stranger, "GET", "/audit")
    assert [(item["action"], item["actor"]) for item in answer.json()] == [
        ("organization.created", "gateway")
    ]
    assert answer.json()[0]["details"] == {"name": "Other", "emailAddress": "stranger@example.com"}
