"""/accounts: customers that see nothing of each other, their settings, and their end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from gateway import Gateway
from people import People, asked, called, hire, settle, works
from sqlalchemy import func, select

from app.delivery.dispatcher import DispatchWorker
from app.store import outbox
from app.store.tables import (
    Credential,
    Delivery,
    FileLink,
    Instance,
    Notification,
    Poller,
    Secret,
    Subscription,
    User,
    table,
)

POLICY = "notification.webhook.failure.policy"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def people(gateway: Gateway) -> People:
    return await settle(gateway)


async def test_an_account_is_made_changed_and_deleted(gateway: Gateway) -> None:
    made = await called(
        gateway, "POST", "/accounts", name="Acme", externalId="17", description="Files\nof Acme"
    )
    path = f"/accounts/{made['id']}"
    assert made == await called(gateway, "GET", path)
    assert made | {"name": "Acme", "externalId": "17", "description": "Files\nof Acme"} == made
    assert (made["defaultAccount"], made["createdDate"]) == (False, made["updatedDate"])
    changed = await called(gateway, "PATCH", path, externalId="18")
    assert (changed["name"], changed["externalId"]) == ("Acme", "18")
    assert changed["updatedDate"] >= made["updatedDate"]
    assert "description" not in await called(gateway, "PATCH", path, description=None)
    replaced = await called(gateway, "PUT", path, **made | {"name": "Acme 2", "externalId": None})
    assert (replaced["name"], replaced["description"]) == ("Acme 2", "Files\nof Acme")
    assert "externalId" not in replaced
    answer = await asked(gateway, None, "DELETE", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await asked(gateway, None, "GET", path)).status_code == 404
    assert (await asked(gateway, None, "DELETE", path)).status_code == 404


async def test_the_first_account_is_the_default_one(gateway: Gateway, people: People) -> None:
    shown = (await asked(gateway, None, "GET", "/accounts")).json()
    assert [(item["name"], item["defaultAccount"]) for item in shown] == [("Test", True), ("Second", False)]
    assert (await called(gateway, "GET", "/accounts/me", by=people.olga))["defaultAccount"] is False
    assert (await called(gateway, "GET", "/accounts/me", by=people.ann))["defaultAccount"] is True
    boss = await hire(gateway, "b@example.com", "org-admin", path=f"/accounts/{people.olga.account_id}/users")
    await called(gateway, "DELETE", f"/accounts/{people.owner.account_id}", by=boss)
    assert (await called(gateway, "GET", "/accounts/me", by=people.olga))["defaultAccount"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "<b></b>"}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "Acme", "externalId": "x" * 256}, "externalId"),
        ({"name": "Acme", "description": "x" * 5001}, "description"),
        ({"name": "Acme", "description": 5}, "description"),
    ],
)
async def test_a_malformed_account_is_refused(gateway: Gateway, body: dict[str, Any], field: str) -> None:
    for method, path in (("POST", "/accounts"), ("PUT", "/accounts/1")):
        answer = await gateway.http.request(method, path, headers=gateway.platform, json=body)
        assert answer.status_code == 400
        assert field in answer.json()["message"]
    assert len((await asked(gateway, None, "GET", "/accounts")).json()) == 1


async def test_html_is_taken_out_of_a_name(gateway: Gateway) -> None:
    made = await called(gateway, "POST", "/accounts", name="<a href='x'>Acme</a> & sons")
    assert made["name"] == "Acme & sons"


async def test_an_account_is_seen_by_its_users_and_by_administrators(
    gateway: Gateway, people: People
) -> None:
    first, second = people.owner.account_id, people.olga.account_id
    for person, expected in (
        (people.owner, {first: 200, second: 200}),
        (people.admin, {first: 200, second: 403}),
        (people.ann, {first: 200, second: 403}),
        (people.olga, {first: 403, second: 200}),
        (people.stranger, {first: 404, second: 404}),
    ):
        for account, status in expected.items():
            for path in ("", "/settings", "/users"):
                answer = await asked(gateway, person, "GET", f"/accounts/{account}{path}")
                assert answer.status_code == status, (person.email, answer.url)
        listed = (await asked(gateway, person, "GET", "/accounts")).json()
        allowed = [account for account, status in expected.items() if status == 200]
        assert [item["id"] for item in listed] == (allowed or [people.stranger.account_id])


async def test_only_an_organizations_administrator_changes_accounts(gateway: Gateway, people: People) -> None:
    own = f"/accounts/{people.admin.account_id}"
    for person in (people.admin, people.ann, people.other):
        assert (await asked(gateway, person, "POST", "/accounts", name="X")).status_code == 403
        for method in ("PUT", "PATCH", "DELETE"):
            assert (await asked(gateway, person, method, own, name="X")).status_code == 403
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await asked(gateway, people.stranger, method, own, name="X")).status_code == 404
    assert [item["name"] for item in (await asked(gateway, None, "GET", "/accounts")).json()] == [
        "Test",
        "Second",
    ]


async def test_a_list_has_pages(gateway: Gateway, people: People) -> None:
    for number in range(3):
        await called(gateway, "POST", "/accounts", name=f"More {number}")
    names, page = [], ""
    while True:
        path = f"/accounts?pageSize=2&returnTotalCount=true&nextPage={page}"
        answer = await asked(gateway, None, "GET", path)
        names += [item["name"] for item in answer.json()]
        assert answer.headers["Elements-Total-Count"] == "5"
        page = answer.headers.get("Elements-Next-Page-Token", "")
        if not page:
            break
    assert names == ["Test", "Second", "More 0", "More 1", "More 2"]
    answer = await asked(gateway, people.ann, "GET", "/accounts?page=2&returnTotalCount=true")
    assert (answer.json(), answer.headers["Elements-Total-Count"]) == ([], "1")


async def test_settings_are_kept_as_text_and_answered_with_their_defaults(gateway: Gateway) -> None:
    assert await called(gateway, "GET", "/accounts/settings") == {POLICY: "retry"}
    body = {"my.flag": True, "my.number": 1.5, "my.text": "x", "my.none": None}
    answer = await gateway.http.patch("/accounts/settings", headers=gateway.platform, json=body)
    kept = {"my.flag": "true", "my.number": "1.5", "my.text": "x"}
    assert answer.json() == {POLICY: "retry"} | kept
    more = {POLICY: "queue", "my.flag": None}
    answer = await gateway.http.post("/accounts/1/settings", headers=gateway.platform, json=more)
    expected = {POLICY: "queue", "my.number": "1.5", "my.text": "x"}
    assert answer.json() == expected == await called(gateway, "GET", "/accounts/1/settings")
    answer = await gateway.http.patch("/accounts/1/settings", headers=gateway.platform, json={POLICY: None})
    assert answer.json()[POLICY] == "retry"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({POLICY: "drop"}, POLICY),
        ({POLICY: True}, POLICY),
        ({"my.object": {}}, "my.object"),
        ({"my.list": [1]}, "my.list"),
        ({"my.text": "x" * 2001}, "my.text"),
        ({"": "x"}, "settings"),
        ({"x" * 201: "x"}, "settings"),
        ({f"key{number}": "x" for number in range(101)}, "100"),
        ([], "body"),
    ],
)
async def test_settings_that_cannot_be_are_refused_by_name(gateway: Gateway, body: Any, said: str) -> None:
    before = await called(gateway, "PATCH", "/accounts/settings", mine="1")
    answer = await gateway.http.patch("/accounts/settings", headers=gateway.platform, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert await called(gateway, "GET", "/accounts/settings") == before


async def test_settings_are_changed_by_an_administrator(gateway: Gateway, people: People) -> None:
    own = f"/accounts/{people.admin.account_id}/settings"
    for method, path in (("PATCH", "/accounts/settings"), ("PATCH", own), ("POST", own)):
        assert (await asked(gateway, people.admin, method, path, mine="1")).status_code == 200
        assert (await asked(gateway, people.ann, method, path, mine="2")).status_code == 403
    assert (await asked(gateway, people.other, "PATCH", own, mine="2")).status_code == 403
    assert (await asked(gateway, people.stranger, "PATCH", own, mine="2")).status_code == 404
    assert (await called(gateway, "GET", "/accounts/settings", by=people.ann))["mine"] == "1"
    assert await called(gateway, "GET", "/accounts/settings", by=people.olga) == {POLICY: "retry"}


async def test_settings_that_are_changed_at_once_are_all_kept(gateway: Gateway) -> None:
    changes = (
        asked(gateway, None, "PATCH", "/accounts/settings", **{f"key{number}": "x"}) for number in range(10)
    )
    await asyncio.gather(*changes)
    assert len(await called(gateway, "GET", "/accounts/settings")) == 11


async def deliver(gateway: Gateway, url: str) -> None:
    """One notification of the first account, due to be sent there."""
    common: dict[str, Any] = {"id": 1, "account_id": 1, "instance_id": 1, "created_at": LONG_AGO}
    async with gateway.runtime.database.write() as connection:
        callback_id = await outbox.callback_id(connection, account_id=1, url=url)
        subscription_id = await outbox.subscribe(
            connection,
            account_id=1,
            instance_id=1,
            callback_id=callback_id,
            topic="topic",
            created_at=LONG_AGO,
        )
        delivery = Delivery(
            **common,
            notification_id=1,
            subscription_id=subscription_id,
            callback_id=callback_id,
            status="created",
            due_at=LONG_AGO,
            last_error=None,
            updated_at=LONG_AGO,
        )
        notification = Notification(**common, topic="topic", resource="events", via="polling", body=b"{}")
        await outbox.append(connection, [notification], [delivery], now=LONG_AGO)


@pytest.mark.parametrize(
    ("policy", "answered", "status", "active"),
    [
        ("retry", 500, "retry", True),
        ("queue", 500, "queued", True),
        ("queue", 200, "delivered", True),
        ("queue", 410, "queued", False),
    ],
)
async def test_the_failure_policy_decides_what_becomes_of_a_failed_delivery(
    gateway: Gateway,
    receiver: httpx.Client,
    receiver_url: str,
    policy: str,
    answered: int,
    status: str,
    active: bool,
) -> None:
    wanted: dict[str, Any] = {POLICY: policy}
    await called(gateway, "PATCH", "/accounts/settings", **wanted)
    receiver.post("/control", json={"status": answered})
    await deliver(gateway, f"{receiver_url}/here")
    worker = DispatchWorker(gateway.runtime, asyncio.Event())
    for callback in await worker.claim(9):
        await worker.run(callback)
    async with gateway.runtime.database.read() as connection:
        delivery = (await connection.execute(select(table(Delivery)))).one()
        subscription = (await connection.execute(select(table(Subscription)))).one()
    assert (delivery.status, delivery.attempts, delivery.last_status) == (status, 1, answered)
    assert (delivery.due_at is not None) is (status == "retry")
    assert subscription.active is active


async def count(gateway: Gateway, model: Any, **where: Any) -> int:
    """How many rows there are; of what can be deleted, those that live."""
    rows = table(model)
    conditions = [rows.c[key] == value for key, value in where.items()]
    if "deleted_at" in rows.c:
        conditions.append(rows.c.deleted_at.is_(None))
    async with gateway.runtime.database.read() as connection:
        found = await connection.scalar(select(func.count()).select_from(rows).where(*conditions))
    return found or 0


async def test_with_an_account_end_its_users_and_its_instances(gateway: Gateway, people: People) -> None:
    second, hers = people.olga.account_id, people.olga.headers
    order = await gateway.order(**{"event.notification.enabled": True})
    made = (await gateway.http.post("/instances", json=order, headers=hers)).json()
    mine = await gateway.connect(**{"event.notification.enabled": True})
    hub = {"Authorization": f"User {people.olga.secret}, Element {made['token']}"}
    file = {"path": "/Shared/a.txt"}
    await gateway.http.post("/files", params=file, files={"file": ("a.txt", b"a")}, headers=hub)
    await gateway.http.get("/files/links", params=file, headers=hub)
    assert (await gateway.http.get("/hubs/documents/ping", headers=hub)).status_code == 200
    belongings: tuple[Any, ...] = (Instance, Credential, Poller, FileLink)
    for model in belongings:
        assert await count(gateway, model, account_id=second) == 1
    await called(gateway, "DELETE", f"/accounts/{second}")
    assert (await gateway.http.get("/hubs/documents/ping", headers=hub)).status_code == 401
    assert not await works(gateway, hers)
    assert not await works(gateway, people.other.headers)
    for model in (*belongings, User):
        assert await count(gateway, model, account_id=second) == 0
    assert await count(gateway, Secret, user_id=people.olga.id) == 0
    for model in (Instance, Credential, Poller):
        assert await count(gateway, model, account_id=people.owner.account_id) == 1
    assert await works(gateway, people.ann.headers)
    mine_still = gateway.hub(mine["token"])
    assert (await gateway.http.get("/hubs/documents/ping", headers=mine_still)).status_code == 200
    assert (await asked(gateway, None, "GET", f"/users/{people.olga.id}")).status_code == 404


async def test_the_last_account_and_the_own_one_stay(gateway: Gateway, people: People) -> None:
    own = f"/accounts/{people.owner.account_id}"
    answer = await asked(gateway, None, "DELETE", own)
    assert (answer.status_code, "own" in answer.json()["message"]) == (409, True)
    await called(gateway, "DELETE", f"/accounts/{people.olga.account_id}")
    answer = await asked(gateway, None, "DELETE", own)
    assert (answer.status_code, "last" in answer.json()["message"]) == (409, True)
    assert await works(gateway, gateway.platform)


async def test_users_of_an_account_are_listed_to_who_may_see_them(gateway: Gateway, people: People) -> None:
    first, second = f"/accounts/{people.owner.account_id}/users", f"/accounts/{people.olga.account_id}/users"
    everybody = [people.owner.id, people.admin.id, people.ann.id, people.bob.id]
    for person, path, expected in (
        (people.owner, first, everybody),
        (people.owner, second, [people.other.id, people.olga.id]),
        (people.admin, first, everybody),
        (people.other, second, [people.other.id, people.olga.id]),
        (people.ann, first, [people.ann.id]),
    ):
        shown = (await asked(gateway, person, "GET", path)).json()
        assert [item["id"] for item in shown] == expected


async def test_a_user_is_made_in_an_account_by_who_manages_it(gateway: Gateway, people: People) -> None:
    path = f"/accounts/{people.olga.account_id}/users"
    for person, status in (
        (people.owner, 200),
        (people.other, 200),
        (people.olga, 403),
        (people.admin, 403),
        (people.stranger, 404),
    ):
        body = {"emailAddress": f"new{person.id}@example.com"}
        answer = await asked(gateway, person, "POST", path, **body)
        assert answer.status_code == status
        if status == 200:
            assert answer.json()["accountId"] == people.olga.account_id
    assert (await asked(gateway, None, "POST", "/accounts/99/users", emailAddress="a@b")).status_code == 404


@pytest.mark.parametrize("number", ["0", "x", "99999999999999999999"])
async def test_an_id_is_a_positive_number(gateway: Gateway, number: str) -> None:
    assert (await asked(gateway, None, "GET", f"/accounts/{number}")).status_code == 400
