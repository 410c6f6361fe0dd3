"""/instances/events: the log of what was reported, page by page, and what it adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway import Gateway
from people import asked, settle
from sqlalchemy import select, update

from app import event_log
from app.hubs.documents import Change
from app.ingest import intake
from app.ingest.events import Origin
from app.store import event_log as store
from app.store import instances
from app.store.tables import Delivery, Event, Notification, Via, table

EVENTS = {
    "event.notification.enabled": True,
    "event.notification.callback.url": "http://u:hidden@callback.example.com",
}


async def report(
    gateway: Gateway, instance: dict[str, Any], keys: Sequence[str], *, more: dict[str, Any] | None = None
) -> None:
    """Changes of an account, one file each, as a poll brings them in."""
    now = gateway.runtime.clock.now()
    values: dict[str, Any] = {"event_type": "CREATED", "object_type": "file", "change": "create"} | (
        more or {}
    )
    changes = [
        Change(event_id=key, object_id=f"file-{key}", date=now, raw={"vendor": key}, path=f"/{key}", **values)
        for key in keys
    ]
    origin = Origin(Via.POLLING, "events", 20, cursor="41", next_cursor="42")
    async with gateway.runtime.database.write() as connection:
        found = await instances.for_worker(connection, instance["id"])
        assert found
        await intake.take_in(connection, found[0], found[1], changes, origin, now=now)


async def get(gateway: Gateway, path: str, status: int = 200, /, **query: Any) -> Any:
    headers = query.pop("headers", gateway.platform)
    answer = await gateway.http.get(path, params=query, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def walk(gateway: Gateway, path: str, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list."""
    found, token = [], ""
    while True:
        answer = await gateway.http.get(path, params={**query, "nextPage": token}, headers=gateway.platform)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        token = answer.headers.get("Elements-Next-Page-Token", "")
        if not token:
            return found


async def mark(gateway: Gateway, status: str) -> None:
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Delivery)).values(status=status, due_at=None))


async def test_an_event_is_shown_with_everything_that_clients_read(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    (row,) = await get(gateway, f"/instances/{instance['id']}/events")
    assert isinstance(row["id"], str)
    assert (row["status"], row["sequence"], row["notifiedData"]) == ("DISPATCHED", 1, [])
    assert row["eventDate"].endswith("Z")
    assert '"vendor":"a"' in row["providerData"]
    (part,) = row["eventElementInstances"]
    assert part["elementInstanceId"] == instance["id"]
    assert part["eventId"] == row["id"]
    assert part["objectIds"] == [{"value": "file-a"}]
    assert part["notificationId"].isdigit()
    for path in (f"/instances/{instance['id']}/events/{row['id']}", f"/instances/events/{row['id']}"):
        assert await get(gateway, path) == row


@pytest.mark.parametrize(
    ("delivery", "event"),
    [
        ("created", "DISPATCHED"),
        ("retry", "DISPATCHED"),
        ("queued", "RECEIVED"),
        ("delivered", "NOTIFIED"),
        ("notified", "CONSUMED"),
    ],
)
async def test_the_status_of_an_event_is_that_of_its_deliveries(
    gateway: Gateway, delivery: str, event: str
) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    await mark(gateway, delivery)
    (row,) = await get(gateway, "/instances/events")
    assert row["status"] == event
    assert bool(row["notifiedData"]) == (event in {"NOTIFIED", "CONSUMED"})


async def test_an_event_without_a_subscription_is_received(gateway: Gateway) -> None:
    instance = await gateway.connect()
    await report(gateway, instance, ["a"])
    (row,) = await get(gateway, "/instances/events")
    assert row["status"] == "RECEIVED"


async def test_pages_show_every_event_once_the_newest_first(gateway: Gateway) -> None:
    instance, other = await gateway.connect(), await gateway.connect()
    await report(gateway, instance, [str(number) for number in range(7)])
    await report(gateway, other, ["x"])
    of_one = await walk(gateway, f"/instances/{instance['id']}/events", pageSize=3)
    assert [row["sequence"] for row in of_one] == [7, 6, 5, 4, 3, 2, 1]
    of_all = await walk(gateway, "/instances/events", pageSize=3)
    assert [row["eventElementInstances"][0]["elementInstanceId"] for row in of_all] == [
        other["id"], *[instance["id"]] * 7,
    ]  # fmt: skip
    by_page = [
        row
        for page in (1, 2, 3)
        for row in await get(gateway, f"/instances/{instance['id']}/events", pageSize=3, page=page)
    ]
    assert by_page == of_one


async def test_an_element_token_shows_the_events_of_its_instance(gateway: Gateway) -> None:
    instance, other = await gateway.connect(), await gateway.connect()
    await report(gateway, instance, ["a"])
    await report(gateway, other, ["b"])
    (row,) = await get(gateway, "/instances/events", headers=gateway.hub(instance["token"]))
    assert row["eventElementInstances"][0]["elementInstanceId"] == instance["id"]
    (foreign,) = await get(gateway, f"/instances/{other['id']}/events")
    path = f"/instances/events/{foreign['id']}"
    await get(gateway, path, 404, headers=gateway.hub(instance["token"]))
    await get(gateway, f"/instances/{instance['id']}/events/{foreign['id']}", 404)


async def test_filters_find_what_they_name(gateway: Gateway) -> None:
    instance = await gateway.connect()
    await report(gateway, instance, ["a", "b"])
    await report(gateway, instance, ["c"], more={"event_type": "DELETED", "object_type": "folder"})
    path = f"/instances/{instance['id']}/events"

    async def ids(**query: Any) -> list[str]:
        return [row["objectId"] for row in await get(gateway, path, **query)]

    assert await ids(eventType="DELETED") == ["file-c"]
    assert await ids(objectType="file") == ["file-b", "file-a"]
    assert await ids(objectId="file-a") == ["file-a"]
    assert await ids(objectId="nobody") == []
    now = datetime.now(UTC)
    assert len(await ids(**{"from": (now - timedelta(hours=1)).isoformat()})) == 3
    assert await ids(**{"from": (now + timedelta(hours=1)).isoformat()}) == []
    assert await ids(to="2025-01-01T00:00:00") == []
    await get(gateway, path, 400, **{"from": "yesterday"})
    await get(gateway, path, 400, **{"from": "0001-01-01T00:00:00+14:00"})


async def test_a_filtered_page_ends_its_search_and_says_where_to_go_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SCANNED", 3)
    instance = await gateway.connect()
    await report(gateway, instance, [str(number) for number in range(10)])
    for path in (f"/instances/{instance['id']}/events", "/instances/events"):
        answer = await gateway.http.get(path, params={"objectId": "file-0"}, headers=gateway.platform)
        assert answer.json() == []
        assert answer.headers["Elements-Next-Page-Token"]
        (row,) = await walk(gateway, path, objectId="file-0")
        assert row["objectId"] == "file-0"
        error = await get(gateway, path, 400, objectId="file-0", page=2)
        assert error["message"].startswith("page: ")


async def test_pages_of_a_log_that_was_searched_to_its_end_can_be_counted(gateway: Gateway) -> None:
    instance = await gateway.connect()
    await report(gateway, instance, ["a", "b", "c"])
    pages = [
        await get(gateway, "/instances/events", objectType="file", pageSize=2, page=page)
        for page in (1, 2, 3)
    ]
    assert [len(page) for page in pages] == [2, 1, 0]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("events", "objectId", "a\0b"),
        ("events", "eventType", "\0"),
        ("events", "objectType", "\0"),
        ("events/analytics", "accountIds[]", str(2**63)),
    ],
)
async def test_what_no_database_holds_is_refused(gateway: Gateway, path: str, name: str, value: str) -> None:
    error = await get(gateway, f"/instances/{path}", 400, **dict[str, Any]({name: value}))
    assert error["message"].startswith(name)


async def test_events_are_their_accounts_alone(gateway: Gateway) -> None:
    people = await settle(gateway)
    instance = await gateway.connect()
    await report(gateway, instance, ["a"])
    (row,) = await get(gateway, "/instances/events")
    for stranger in (people.other, people.stranger):
        assert (await asked(gateway, stranger, "GET", "/instances/events")).json() == []
        for path in (
            f"events/{row['id']}",
            f"{instance['id']}/events",
            f"{instance['id']}/events/{row['id']}",
        ):
            assert (await asked(gateway, stranger, "GET", f"/instances/{path}")).status_code == 404
    assert (await asked(gateway, people.ann, "GET", "/instances/events")).json() == [row]


async def test_a_page_that_is_too_far_behind_is_refused(gateway: Gateway) -> None:
    error = await get(gateway, "/instances/events", 400, page=1000)
    assert error["message"].startswith("page: ")


async def test_an_hour_has_61_buckets_of_a_minute(gateway: Gateway) -> None:
    instance = await gateway.connect()
    await report(gateway, instance, ["a", "b"])
    now = datetime.now(UTC)
    span: dict[str, Any] = {
        "from": (now - timedelta(hours=1)).isoformat(),
        "to": (now + timedelta(seconds=1)).isoformat(),
        "interval": "minute",
    }
    found = await get(gateway, "/instances/events/analytics", **span)
    assert len(found) in {61, 62}
    assert sum(bucket["count"] for bucket in found) == 2
    assert [bucket["timestamp"] for bucket in found] == sorted(bucket["timestamp"] for bucket in found)
    whole: dict[str, Any] = {
        "from": "2026-01-05T10:00:00Z",
        "to": "2026-01-05T11:00:00Z",
        "interval": "minute",
    }
    assert len(await get(gateway, "/instances/events/analytics", **whole)) == 61


async def test_events_are_counted_by_instance_and_by_account(gateway: Gateway) -> None:
    one, two = await gateway.connect(), await gateway.connect()
    await report(gateway, one, ["a", "b"])
    await report(gateway, two, ["c"])
    for interval in ("year", "month", "week", "day", "hour", "second"):
        query: dict[str, Any] = {"interval": interval}
        buckets = await get(gateway, "/instances/events/analytics/instances", **query)
        assert sum(bucket["total"] for bucket in buckets) == 3
        counts: dict[int, int] = {}
        for bucket in buckets:
            for record in bucket["records"]:
                counts[record["elementInstanceId"]] = (
                    counts.get(record["elementInstanceId"], 0) + record["count"]
                )
        assert counts == {one["id"]: 2, two["id"]: 1}
    buckets = await get(gateway, "/instances/events/analytics/accounts")
    me = await get(gateway, "/accounts/me")
    assert [bucket["records"] for bucket in buckets if bucket["total"]] == [
        [{"accountId": me["id"], "count": 3}]
    ]


async def test_with_an_element_token_the_events_of_its_instance_are_counted(gateway: Gateway) -> None:
    one, two = await gateway.connect(), await gateway.connect()
    await report(gateway, one, ["a", "b"])
    await report(gateway, two, ["c"])
    headers = gateway.platform
    both = {"Authorization": f"{headers['Authorization']}, Element {one['token']}"}
    for asked_with in (both, gateway.hub(one["token"])):
        path = "/instances/events/analytics"
        assert sum(item["count"] for item in await get(gateway, path, headers=asked_with)) == 2
        for part in ("instances", "accounts"):
            buckets = await get(gateway, f"{path}/{part}", headers=asked_with)
            assert sum(bucket["total"] for bucket in buckets) == 2
        me = await get(gateway, "/accounts/me")
        named: dict[str, Any] = {"accountIds[]": me["id"], "headers": asked_with}
        assert sum(item["count"] for item in await get(gateway, path, **named)) == 2
        await get(gateway, path, 403, **named | {"accountIds[]": me["id"] + 1})


async def test_it_is_said_when_not_all_accounts_are_counted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/instances/events/analytics"
    answer = await gateway.http.get(path, headers=gateway.platform)
    assert "Elements-Error" not in answer.headers
    monkeypatch.setattr(event_log, "MOST_ACCOUNTS", 1)
    await settle(gateway)
    answer = await gateway.http.get(path, headers=gateway.platform)
    assert "only the first 1 accounts" in answer.headers["Elements-Error"]


@pytest.mark.parametrize(
    "query",
    [
        {"interval": "fortnight"},
        {"from": "2026-01-05T10:00:00Z", "to": "2026-01-04T10:00:00Z"},
        {"from": "2026-01-05T10:00:00Z", "to": "2026-01-06T10:00:01Z", "interval": "second"},
        {"from": "2020-01-05T10:00:00Z", "to": "2026-01-06T10:00:01Z", "interval": "minute"},
        {"from": "soon"},
    ],
)
async def test_a_time_that_cannot_be_analysed_is_refused(gateway: Gateway, query: dict[str, str]) -> None:
    await get(gateway, "/instances/events/analytics", 400, **dict[str, Any](query))


async def test_only_accounts_of_his_own_are_counted_for_a_caller(gateway: Gateway) -> None:
    people = await settle(gateway)
    path = f"/instances/events/analytics/accounts?accountIds[]={people.other.account_id}"
    assert (await asked(gateway, None, "GET", path)).status_code == 200
    for stranger in (people.admin, people.ann, people.stranger):
        assert (await asked(gateway, stranger, "GET", path)).status_code == 403


async def test_a_disposition_says_what_happened_without_a_password(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Delivery)).values(status="retry", last_error="HTTP 502"))
    (row,) = await get(gateway, "/instances/events/dispositions")
    assert row["elementInstanceId"] == instance["id"]
    (told,) = row["notificationData"]
    assert told["message"] == "Error delivering event to http://u:********@callback.example.com: HTTP 502"
    assert await get(gateway, "/instances/events/dispositions", to="2025-01-01T00:00:00Z") == []


async def test_events_outlive_their_notification(gateway: Gateway) -> None:
    instance = await gateway.connect()
    await report(gateway, instance, ["a"])
    async with gateway.runtime.database.write() as connection:
        await connection.execute(table(Notification).delete())
        assert await connection.scalar(select(table(Event).c.id))
    (row,) = await get(gateway, "/instances/events")
    assert row["status"] == "RECEIVED"
