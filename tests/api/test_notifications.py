"""/notifications: what can be pulled, who is pushed to, and what is sent once more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from gateway import Gateway
from people import asked, settle
from sqlalchemy import func, select, update

from app.delivery import carried, notifications, subscribing
from app.hubs.documents import Change
from app.ingest import intake
from app.ingest.events import Origin
from app.store import instances, outbox
from app.store.tables import (
    NO_CALLBACK,
    Callback,
    Delivery,
    DeliveryObject,
    Notification,
    Subscription,
    Via,
    table,
)

URL = "http://callback.example.com/a?b=c"
EVENTS = {"event.notification.enabled": True, "event.notification.callback.url": URL}
QUEUED = f"channel='webhook' and status='queued' and config.url='{URL}'"
DELIVERIES = "/notifications/subscriptions/deliveries"


async def report(gateway: Gateway, instance: dict[str, Any], keys: Sequence[str], **more: Any) -> None:
    """Changes of an account, each in a notification of its own."""
    now = gateway.runtime.clock.now()
    values: dict[str, Any] = {"event_type": "CREATED", "object_type": "file", "change": "create"} | more
    async with gateway.runtime.database.write() as connection:
        found = await instances.for_worker(connection, instance["id"])
        assert found
        for key in keys:
            change = Change(event_id=key, date=now, raw={}, **{"object_id": f"file-{key}"} | values)
            origin = Origin(Via.POLLING, "events", 20)
            await intake.take_in(connection, found[0], found[1], [change], origin, now=now)


async def call(gateway: Gateway, method: str, path: str, status: int = 200, **request: Any) -> Any:
    answer = await gateway.http.request(method, path, headers=gateway.platform, **request)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def set_deliveries(gateway: Gateway, **values: Any) -> None:
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Delivery)).values(**values))


async def give_up(gateway: Gateway, reason: str = "gave up") -> None:
    """Deactivates every subscription, as the dispatcher does after the last attempt."""
    async with gateway.runtime.database.write() as connection:
        for row in (await connection.execute(select(table(Subscription)))).mappings().all():
            await outbox.deactivate(connection, Subscription(**row), reason, now=gateway.runtime.clock.now())


async def rows(gateway: Gateway, model: Any) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list((await connection.execute(select(table(model)).order_by(table(model).c.id))).all())


def topic(instance: dict[str, Any]) -> str:
    return f"instance-{instance['id']}-egnyte-events"


async def subscribe(gateway: Gateway, instance: dict[str, Any], **config: Any) -> dict[str, Any]:
    body = {
        "channel": "webhook",
        "topics": [topic(instance)],
        "config": {"url": "http://b.example.com"} | config,
    }
    made: dict[str, Any] = await call(gateway, "POST", "/notifications/subscriptions", json=body)
    return made


async def test_notifications_are_listed_by_topic_the_newest_first(gateway: Gateway) -> None:
    instance, other = await gateway.connect(**EVENTS), await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b"])
    await report(gateway, other, ["c"])
    await report(gateway, instance, ["d"])
    path = "/notifications"
    found = await call(gateway, "GET", path, params={"topics[]": topic(instance)})
    assert [item["message"]["events"][0]["objectId"] for item in found] == ["file-d", "file-b", "file-a"]
    assert found[0] | {"severity": "low", "topic": topic(instance), "acknowledged": False} == found[0]
    both = {"topics[]": [topic(instance), topic(other), topic(other)]}
    assert len(await call(gateway, "GET", path, params=both)) == 4
    answer = await gateway.http.get(path, params={**both, "pageSize": 3}, headers=gateway.platform)
    token = answer.headers["Elements-Next-Page-Token"]
    rest = await call(gateway, "GET", path, params={**both, "nextPage": token})
    assert [item["message"]["events"][0]["objectId"] for item in rest] == ["file-a"]
    assert await call(gateway, "GET", f"{path}/{found[0]['id']}") == found[0]


async def test_a_list_of_notifications_needs_a_topic_and_an_unknown_one_has_none(gateway: Gateway) -> None:
    error = await call(gateway, "GET", "/notifications", 400)
    assert "topics[]" in error["message"]
    for unknown in (
        "nothing",
        "instance-1-box-events",
        "instance-1-\0-events",
        "instance-9-x",
        "instance-" + "9" * 30 + "-x-events",
    ):
        assert await call(gateway, "GET", "/notifications", params={"topics[]": unknown}) == []
    await call(gateway, "GET", "/notifications", 400, params={"topics[]": [f"t{n}" for n in range(21)]})


async def test_a_body_of_another_form_is_the_message(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Notification)).values(body=b'{"eventId": 7}'))
    (found,) = await call(gateway, "GET", "/notifications", params={"topics[]": topic(instance)})
    assert (found["message"], found["topic"]) == ({"eventId": 7}, topic(instance))
    assert found["id"].isdigit()


async def test_what_is_acknowledged_is_sent_no_more(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b"])
    first, second = await rows(gateway, Delivery)
    told = await call(gateway, "PUT", f"/notifications/{first.notification_id}/acknowledge")
    assert told["acknowledged"]
    assert told["acknowledgedDate"]
    again = await call(gateway, "PUT", f"/notifications/{first.notification_id}/acknowledge")
    assert again == told
    done, waiting = await rows(gateway, Delivery)
    assert (done.status, done.due_at) == ("notified", None)
    assert (waiting.status, waiting.due_at) == ("created", second.due_at)
    await call(gateway, "PUT", "/notifications/1/acknowledge", 404)


async def test_what_was_delivered_stays_delivered_when_it_is_acknowledged(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    await set_deliveries(gateway, status="delivered", due_at=None)
    (delivery,) = await rows(gateway, Delivery)
    await call(gateway, "PUT", f"/notifications/{delivery.notification_id}/acknowledge")
    assert [row.status for row in await rows(gateway, Delivery)] == ["delivered"]


async def test_what_waited_for_an_acknowledged_notification_may_leave(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS, **{"event.notification.ordered": True})
    await report(gateway, instance, ["a", "b"], object_id="same", object_type="file")
    first, second = await rows(gateway, Delivery)
    assert second.due_at is None
    await call(gateway, "PUT", f"/notifications/{first.notification_id}/acknowledge")
    assert (await rows(gateway, Delivery))[1].due_at is not None


async def test_a_subscription_is_shown_without_its_secrets(gateway: Gateway) -> None:
    url = "http://user:hidden@callback.example.com"
    instance = await gateway.connect(
        **EVENTS | {"event.notification.callback.url": url}, **{"event.notification.signature.key": "hidden"}
    )
    (shown,) = await call(gateway, "GET", "/notifications/subscriptions")
    assert (shown["channel"], shown["topics"], shown["active"]) == ("webhook", [topic(instance)], True)
    assert shown["config"] == {
        "url": "http://user:********@callback.example.com",
        "signatureKey": "********",
    }
    assert await call(gateway, "GET", f"/notifications/subscriptions/{shown['id']}") == shown
    await call(gateway, "GET", "/notifications/subscriptions/99", 404)


async def test_an_added_subscription_gets_what_follows_with_its_own_key(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    made = await subscribe(gateway, instance, signatureKey="of-its-own")
    assert not made["configured"]
    await report(gateway, instance, ["b"])
    assert sum(row.subscription_id == made["id"] for row in await rows(gateway, Delivery)) == 1
    (row,) = [row for row in await rows(gateway, Subscription) if row.id == made["id"]]
    plain = gateway.runtime.sealer.open(row.sealed, outbox.row_name(row.id))
    assert carried.unpack(plain).keys == ("of-its-own",)


async def test_a_change_of_the_configuration_leaves_added_subscriptions_alone(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    made = await subscribe(gateway, instance, signatureKey="of-its-own")
    change = {"configuration": {"event.notification.callback.url": "http://elsewhere.example.com"}}
    await call(gateway, "PATCH", f"/instances/{instance['id']}", json=change)
    urls = [item["config"]["url"] for item in await call(gateway, "GET", "/notifications/subscriptions")]
    assert urls == ["http://elsewhere.example.com", "http://b.example.com"]
    assert await call(gateway, "GET", f"/notifications/subscriptions/{made['id']}") == made
    await call(gateway, "DELETE", f"/instances/{instance['id']}")
    assert await call(gateway, "GET", "/notifications/subscriptions") == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"topics": []}, "topics"),
        ({"topics": ["a", "b"]}, "topics"),
        ({"topics": ["instance-1-box-events"]}, "topics"),
        ({"channel": "email"}, "channel"),
        ({"config": {}}, "config.url"),
        ({"config": {"url": "ftp://a.example.com"}}, "config.url"),
        ({"config": {"url": "   "}}, "config.url"),
        ({"config": {"url": URL, "signatureKey": "whsec_é"}}, "config.signatureKey"),
    ],
)
async def test_a_subscription_that_cannot_work_is_refused(
    gateway: Gateway, change: dict[str, Any], named: str
) -> None:
    instance = await gateway.connect()
    body = {"topics": [topic(instance)], "config": {"url": URL}} | change
    error = await call(gateway, "POST", "/notifications/subscriptions", 400, json=body)
    assert error["message"].startswith(named)
    assert await rows(gateway, Subscription) == []
    await call(gateway, "POST", "/notifications/subscriptions", 400, json={})


async def test_an_instance_has_so_many_subscriptions_and_no_more(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "MOST_SUBSCRIPTIONS", 1)
    instance = await gateway.connect()
    await subscribe(gateway, instance)
    body = {"topics": [topic(instance)], "config": {"url": URL}}
    await call(gateway, "POST", "/notifications/subscriptions", 409, json=body)


async def test_a_deleted_subscription_takes_along_what_it_has_not_delivered(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "BATCH", 2)
    instance = await gateway.connect(**EVENTS, **{"event.notification.ordered": True})
    await report(gateway, instance, ["a"])
    await set_deliveries(gateway, status="delivered", due_at=None)
    await report(gateway, instance, ["b", "c", "d", "e", "f"], object_id="same", object_type="file")
    (subscription,) = await rows(gateway, Subscription)
    await call(gateway, "DELETE", f"/notifications/subscriptions/{subscription.id}")
    assert await rows(gateway, Subscription) == []
    assert [row.status for row in await rows(gateway, Delivery)] == ["delivered"]
    async with gateway.runtime.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(table(DeliveryObject))) == 0
    await call(gateway, "DELETE", f"/notifications/subscriptions/{subscription.id}", 404)
    change = {"configuration": {"event.poller.refresh_interval": "20"}}
    await call(gateway, "PATCH", f"/instances/{instance['id']}", json=change)
    assert len(await rows(gateway, Subscription)) == 1


async def test_the_deliveries_of_a_notification_can_be_hydrated(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    (delivery,) = await rows(gateway, Delivery)
    path = f"/notifications/{delivery.notification_id}/subscriptions/{delivery.subscription_id}/deliveries"
    (bare,) = await call(gateway, "GET", path)
    assert bare["status"] == "created"
    assert "notification" not in bare
    assert "subscription" not in bare
    (full,) = await call(gateway, "GET", path, params={"hydrate": "True"})
    assert full["notification"]["topic"] == topic(instance)
    assert full["subscription"]["config"] == {"url": URL}
    assert full["notificationId"] == full["notification"]["id"]
    await call(gateway, "GET", f"/notifications/1/subscriptions/{delivery.subscription_id}/deliveries", 404)


async def test_the_documented_put_reactivates_and_redelivers(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b"])
    await give_up(gateway)
    await report(gateway, instance, ["c"])
    found = await call(gateway, "GET", DELIVERIES, params={"where": QUEUED})
    assert [item["status"] for item in found] == ["queued"] * 3
    await set_deliveries(gateway, attempts=9)
    assert await call(gateway, "PUT", DELIVERIES, params={"where": QUEUED}) == {"redelivered": 3}
    sent = await rows(gateway, Delivery)
    assert {(row.status, row.attempts) for row in sent} == {("created", 0)}
    assert all(row.due_at for row in sent)
    (subscription,) = await rows(gateway, Subscription)
    assert (subscription.active, subscription.inactive_reason) == (True, None)
    assert all(row.due_at for row in await rows(gateway, Callback))
    assert await call(gateway, "PUT", DELIVERIES, params={"where": QUEUED}) == {"redelivered": 0}


async def test_only_what_is_queued_is_redelivered_unless_a_status_is_named(gateway: Gateway) -> None:
    url = "http://callback.example.com/status"
    instance = await gateway.connect(**EVENTS | {"event.notification.callback.url": url})
    await report(gateway, instance, ["a"])
    await set_deliveries(gateway, status="delivered", due_at=None)
    await report(gateway, instance, ["b"])
    await give_up(gateway)
    where = f"channel='webhook' or config.url='{url}'"
    assert await call(gateway, "PUT", DELIVERIES, params={"where": where}) == {"redelivered": 1}
    where = "channel='webhook' and status='delivered'"
    assert await call(gateway, "PUT", DELIVERIES, params={"where": where}) == {"redelivered": 1}
    assert {row.status for row in await rows(gateway, Delivery)} == {"created"}


async def test_a_condition_asks_for_instance_type_and_time(gateway: Gateway) -> None:
    instance, other = await gateway.connect(**EVENTS), await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    await report(gateway, other, ["b"])
    await report(gateway, other, ["c"], event_type="DELETED", change="delete")
    now = gateway.runtime.clock.now()
    soon, past = (now + timedelta(hours=1)).isoformat(), (now - timedelta(hours=1)).isoformat()

    async def count(where: str) -> int:
        return len(await call(gateway, "GET", DELIVERIES, params={"where": where}))

    assert await count("") == 3
    assert await count(f"instanceId={other['id']}") == 2
    assert await count(f"instanceId = '{instance['id']}' and eventType = 'CREATED'") == 1
    assert await count("eventType='DELETED'") == 1
    assert await count(f"instanceId={instance['id']} or eventType='DELETED'") == 2
    assert await count(f"createdDate >= '{past}' and createdDate < '{soon}'") == 3
    assert await count(f"createdDate >= '{soon}'") == 0
    assert await count(f"createdDate < '{past}'") == 0
    assert await count("status IN ('created', 'queued') and config.url LIKE 'http://callback%'") == 3


@pytest.mark.parametrize("where", ["", " ", "colour = 'red'", "status ="])
async def test_a_redelivery_that_says_not_what_is_refused(gateway: Gateway, where: str) -> None:
    error = await call(gateway, "PUT", DELIVERIES, 400, params={"where": where})
    assert error["message"].startswith("where: ")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("status='delivered' and createdDate<'nonsense'", "where: createdDate: 'nonsense' is no time"),
        ("createdDate>'01/12/2026'", "where: createdDate: '01/12/2026' is no time"),
        ("status='Delivered'", "where: status: 'Delivered' is not known; known are created, "),
        ("status in ('queued', 'bogus')", "where: status: 'bogus' is not known; known are created, "),
        ("channel='email'", "where: channel: 'email' is not known; known are webhook"),
        ("eventType='GONE'", "where: eventType: 'GONE' is not known; known are CREATED, "),
        ("instanceId='x'", "where: instanceId: 'x' is no number"),
        ("notificationId>'nan'", "where: notificationId: 'nan' is no number"),
    ],
)
async def test_a_value_that_a_field_cannot_have_is_named(gateway: Gateway, where: str, message: str) -> None:
    for method in ("GET", "PUT"):
        error = await call(gateway, method, DELIVERIES, 400, params={"where": where})
        assert error["message"].startswith(message)


async def test_a_delivery_is_found_by_the_date_that_is_shown(gateway: Gateway) -> None:
    await report(gateway, await gateway.connect(**EVENTS), ["a"])
    for shown in await call(gateway, "GET", DELIVERIES):
        where = {"where": f"createdDate = '{shown['createdDate']}'"}
        assert shown in await call(gateway, "GET", DELIVERIES, params=where)


async def test_deliveries_are_walked_page_by_page_across_subscriptions(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "BATCH", 2)
    monkeypatch.setattr(notifications, "LOOKED_AT", 4)
    monkeypatch.setattr(notifications, "_AT_ONCE", 1)
    for keys in (["a", "b", "c"], ["d", "e", "f", "g"]):
        await report(gateway, await gateway.connect(**EVENTS), keys)
    for where in ("status='created'", "", "eventType='DELETED'"):
        found, token, pages = [], "", 0
        while pages < 20:
            query = {"where": where, "pageSize": 3, "nextPage": token}
            answer = await gateway.http.get(DELIVERIES, params=query, headers=gateway.platform)
            found += [item["id"] for item in answer.json()]
            assert len(answer.json()) <= 3
            pages += 1
            token = answer.headers.get("Elements-Next-Page-Token", "")
            if not token:
                break
        assert len(found) == len(set(found)) == (0 if "DELETED" in where else 7)
        assert 1 < pages < 20
    await give_up(gateway)
    assert await call(gateway, "PUT", DELIVERIES, params={"where": "status='queued'"}) == {"redelivered": 7}
    await call(gateway, "GET", DELIVERIES, 400, params={"nextPage": "7"})


async def test_redelivered_notifications_keep_the_order_of_their_objects(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS, **{"event.notification.ordered": True})
    await report(gateway, instance, ["a", "b"], object_id="same", object_type="file")
    await give_up(gateway)
    await call(gateway, "PUT", DELIVERIES, params={"where": "status='queued'"})
    first, second = await rows(gateway, Delivery)
    assert (first.status, second.status) == ("created", "created")
    assert first.due_at
    assert second.due_at is None


async def test_notifications_are_their_accounts_alone(gateway: Gateway) -> None:
    people = await settle(gateway)
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    (delivery,) = await rows(gateway, Delivery)
    one, sub = (
        f"/notifications/{delivery.notification_id}",
        f"/notifications/subscriptions/{delivery.subscription_id}",
    )
    body = {"topics": [topic(instance)], "config": {"url": URL}}
    for stranger in (people.other, people.stranger):
        for method, path in (
            ("GET", one), ("PUT", f"{one}/acknowledge"), ("GET", sub), ("DELETE", sub),
            ("GET", f"{one}/subscriptions/{delivery.subscription_id}/deliveries"),
        ):  # fmt: skip
            assert (await asked(gateway, stranger, method, path)).status_code == 404
        for path in (
            "/notifications/subscriptions",
            DELIVERIES,
            f"/notifications?topics[]={topic(instance)}",
        ):
            assert (await asked(gateway, stranger, "GET", path)).json() == []
        again = await asked(gateway, stranger, "PUT", f"{DELIVERIES}?where=status='created'")
        assert again.json() == {"redelivered": 0}
        refused = await asked(gateway, stranger, "POST", "/notifications/subscriptions", **body)
        assert refused.status_code == 400
    assert (await asked(gateway, people.ann, "GET", sub)).status_code == 200


async def test_a_neighbour_of_a_notification_is_not_that_notification(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, [str(number) for number in range(4)])
    chosen = (await rows(gateway, Delivery))[1].notification_id
    for value in (chosen, f"'{chosen}'", f"'+{chosen}'"):
        where = {"where": f"notificationId = {value}"}
        found = await call(gateway, "GET", DELIVERIES, params=where)
        assert [item["notificationId"] for item in found] == [str(chosen)]
    await set_deliveries(gateway, status="queued", due_at=None)
    where = {"where": f"notificationId = {chosen}"}
    assert await call(gateway, "PUT", DELIVERIES, params=where) == {"redelivered": 1}
    for text, count in (
        (f"notificationId >= {chosen}", 3),
        (f"notificationId < {chosen}", 1),
        ("notificationId > " + "9" * 30, 0),
    ):
        assert len(await call(gateway, "GET", DELIVERIES, params={"where": text})) == count


@pytest.mark.parametrize("sign", ["=", "<=", ">="])
async def test_what_is_asked_by_id_is_sought_by_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setattr(notifications, "BATCH", 1)
    monkeypatch.setattr(notifications, "LEAST", 1)
    monkeypatch.setattr(notifications, "LOOKED_AT", 1)
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b", "c"])
    place = {"=": 1, "<=": 0, ">=": 2}[sign]
    chosen = (await rows(gateway, Delivery))[place].notification_id
    where = {"where": f"notificationId {sign} {chosen}"}
    (found,) = await call(gateway, "GET", DELIVERIES, params=where)
    assert found["notificationId"] == str(chosen)


async def test_a_condition_means_the_same_of_a_subscription_as_of_a_delivery(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    (subscription,) = await rows(gateway, Subscription)
    for where in (f"instanceId = '{instance['id']}.0'", f"subscriptionId = 0{subscription.id}"):
        assert len(await call(gateway, "GET", DELIVERIES, params={"where": where})) == 1


async def test_what_is_queued_is_found_behind_subscriptions_that_have_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "LOOKED_AT", 3 * notifications.LEAST)
    for _ in range(4):
        await gateway.connect(**EVENTS)
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    await give_up(gateway)
    for where in ("status = 'queued'", ""):
        (found,) = await call(gateway, "GET", DELIVERIES, params={"where": where})
        assert found["status"] == "queued"


async def test_a_receiver_that_its_owner_has_removed_is_not_called_again(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    change = {"configuration": {"event.notification.callback.url": ""}}
    await call(gateway, "PATCH", f"/instances/{instance['id']}", json=change)
    where = {"where": "status = 'queued'"}
    assert len(await call(gateway, "GET", DELIVERIES, params=where)) == 1
    assert await call(gateway, "PUT", DELIVERIES, params=where) == {"redelivered": 0}
    (subscription,) = await rows(gateway, Subscription)
    assert not subscription.active
    assert (await rows(gateway, Delivery))[0].status == "queued"


async def test_what_is_sent_again_has_nothing_of_its_last_attempt(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a"])
    await give_up(gateway)
    await set_deliveries(gateway, attempts=9, last_status=502, last_error="HTTP 502")
    assert await call(gateway, "PUT", DELIVERIES, params={"where": QUEUED}) == {"redelivered": 1}
    (sent,) = await rows(gateway, Delivery)
    assert (sent.attempts, sent.last_status, sent.last_error) == (0, None, None)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"signatureKey": "********"}, "config.signatureKey"),
        ({"url": "http://u:********@a.example.com"}, "config.url"),
    ],
)
async def test_stars_are_no_secret(gateway: Gateway, config: dict[str, str], named: str) -> None:
    instance = await gateway.connect()
    body = {"topics": [topic(instance)], "config": {"url": URL, **config}}
    error = await call(gateway, "POST", "/notifications/subscriptions", 400, json=body)
    assert error["message"].startswith(named)
    assert await rows(gateway, Subscription) == []


async def test_a_client_that_counts_pages_is_told_so(gateway: Gateway) -> None:
    for path, query in ((DELIVERIES, {}), ("/notifications", {"topics[]": "t"})):
        error = await call(gateway, "GET", path, 400, params={"page": 2, **query})
        assert error["message"].startswith("page: ")
        assert await call(gateway, "GET", path, params={"page": 1, **query}) == []


async def test_a_page_ends_where_its_bodies_are_large(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b", "c"])
    largest = max(len(row.body) for row in await rows(gateway, Notification))
    for budget, pages in ((1, [1, 1, 1]), (2 * largest, [2, 1]), (10 * largest, [3])):
        monkeypatch.setattr(notifications, "PAGE_BYTES", budget)
        query, seen = {"topics[]": topic(instance)}, []
        while query.get("nextPage") != "":
            answer = await gateway.http.get("/notifications", params=query, headers=gateway.platform)
            seen.append(len(answer.json()))
            query["nextPage"] = answer.headers.get("Elements-Next-Page-Token", "")
        assert seen == pages


async def test_the_answers_of_requests_have_a_topic_of_their_own(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    await report(gateway, instance, ["a", "b"])
    last = (await rows(gateway, Notification))[-1].id
    name = topic(instance).replace("-events", "-async")
    async with gateway.runtime.database.write() as connection:
        which = table(Notification).c.id == last
        await connection.execute(
            update(table(Notification)).where(which).values(topic=name, resource="async")
        )
    (found,) = await call(gateway, "GET", "/notifications", params={"topics[]": name})
    assert found["id"] == str(last)
    both = {"topics[]": [name, topic(instance)]}
    assert len(await call(gateway, "GET", "/notifications", params=both)) == 2
    await call(gateway, "DELETE", f"/instances/{instance['id']}")
    assert len(await call(gateway, "GET", "/notifications", params=both)) == 2


async def test_an_added_subscription_keeps_the_order_that_its_instance_asks_for(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS, **{"event.notification.ordered": True})
    assert (await subscribe(gateway, instance))["ordered"]
    await report(gateway, instance, ["a", "b"], object_id="same", object_type="file")
    assert [bool(row.due_at) for row in await rows(gateway, Delivery)] == [True, True, False, False]
    change = {"configuration": {"event.notification.ordered": False}}
    await call(gateway, "PATCH", f"/instances/{instance['id']}", json=change)
    assert [row.ordered for row in await rows(gateway, Subscription)] == [False, False]
    assert all(row.due_at for row in await rows(gateway, Delivery))
    change = {"configuration": {"event.notification.ordered": True}}
    await call(gateway, "PATCH", f"/instances/{instance['id']}", json=change)
    assert [row.ordered for row in await rows(gateway, Subscription)] == [True, True]


@pytest.mark.parametrize("status", ["delivered", "notified"])
async def test_what_had_arrived_keeps_its_order_when_it_is_sent_again(gateway: Gateway, status: str) -> None:
    instance = await gateway.connect(**EVENTS, **{"event.notification.ordered": True})
    await report(gateway, instance, ["a", "b"], object_id="same", object_type="file")
    await report(gateway, instance, ["c"], object_id="other", object_type="file")
    await set_deliveries(gateway, status=status, due_at=None)
    async with gateway.runtime.database.write() as connection:
        await connection.execute(table(DeliveryObject).delete())
    where = {"where": f"status='{status}'"}
    assert await call(gateway, "PUT", DELIVERIES, params=where) == {"redelivered": 3}
    assert [bool(row.due_at) for row in await rows(gateway, Delivery)] == [True, False, True]


async def test_what_has_nothing_queued_is_activated_too(gateway: Gateway) -> None:
    await gateway.connect(**EVENTS)
    other = f"channel='webhook' and config.url='{URL}/other'"
    await give_up(gateway)
    for where, active in ((other, False), ("status='delivered'", False), (QUEUED, True)):
        assert await call(gateway, "PUT", DELIVERIES, params={"where": where}) == {"redelivered": 0}
        (subscription,) = await rows(gateway, Subscription)
        assert subscription.active == active, where


async def test_what_has_no_callback_is_not_activated(gateway: Gateway) -> None:
    await gateway.connect(**EVENTS)
    await give_up(gateway, NO_CALLBACK)
    await call(gateway, "PUT", DELIVERIES, params={"where": "status='queued'"})
    assert [row.active for row in await rows(gateway, Subscription)] == [False]


async def test_who_subscribes_twice_is_told_once(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS, **{"event.notification.signature.key": "configured"})
    first = await subscribe(gateway, instance, signatureKey="one")
    await give_up(gateway)
    again = await subscribe(gateway, instance, signatureKey="two")
    assert again == first
    row = (await rows(gateway, Subscription))[1]
    plain = gateway.runtime.sealer.open(row.sealed, outbox.row_name(row.id))
    assert carried.unpack(plain).keys == ("two",)
    own = await subscribe(gateway, instance, url=URL)
    assert (own["configured"], own["active"]) == (True, True)
    body = {"topics": [topic(instance)], "config": {"url": URL, "signatureKey": "other"}}
    await call(gateway, "POST", "/notifications/subscriptions", 409, json=body)
    await report(gateway, instance, ["a"])
    assert len(await rows(gateway, Delivery)) == 2
