"""/events/{id}/trace: one event, from the vendor's page to every attempt."""

from __future__ import annotations

from typing import Any

from gateway import Gateway
from people import asked, settle
from sqlalchemy import insert, select

from app.hubs.documents import Change
from app.ids import new_id
from app.ingest import intake
from app.ingest.events import Origin
from app.store import instances
from app.store.tables import Attempt, Delivery, Event, Notification, Via, table

EVENTS = {
    "event.notification.enabled": True,
    "event.notification.callback.url": "http://user:hidden@callback.example.com",
}


async def report(gateway: Gateway, instance: dict[str, Any], via: Via = Via.POLLING) -> list[str]:
    """Two changes that come in together; answers the ids of their events."""
    now = gateway.runtime.clock.now()
    changes = [
        Change(
            event_id=key, event_type="CREATED", object_type="file", object_id=key, date=now, change="create",
            raw={"vendor": key},
        )
        for key in ("a", "b")
    ]  # fmt: skip
    origin = Origin(via, "events", 20, cursor="41", next_cursor="42", raw={"whole": "body"})
    async with gateway.runtime.database.write() as connection:
        found = await instances.for_worker(connection, instance["id"])
        assert found
        await intake.take_in(connection, found[0], found[1], changes, origin, now=now)
        return [str(event_id) for event_id in await connection.scalars(select(table(Event).c.id))]


async def attempt(gateway: Gateway, number: int, status: int | None, error: str | None, answer: str) -> None:
    """What the dispatcher writes of one POST."""
    async with gateway.runtime.database.write() as connection:
        delivery_id = await connection.scalar(select(table(Delivery).c.id))
        values = {
            "id": new_id(),
            "account_id": 1,
            "delivery_id": delivery_id,
            "number": number,
            "took_ms": 12,
        }
        now = gateway.runtime.clock.now()
        await connection.execute(
            insert(table(Attempt)).values(**values, started_at=now, status=status, error=error, answer=answer)
        )


async def traced(gateway: Gateway, path: str) -> dict[str, Any]:
    answer = await gateway.http.get(path, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    assert "hidden" not in answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_event_is_followed_from_the_page_to_every_attempt(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    first, second = await report(gateway, instance)
    await attempt(gateway, 1, None, "timed out", "")
    await attempt(gateway, 2, 502, "HTTP 502", "Bad gateway")
    found = await traced(gateway, f"/events/{second}/trace")
    assert (
        found["page"] | {"via": "polling", "resource": "events", "cursor": "41", "nextCursor": "42"}
        == (found["page"])
    )
    assert found["event"]["row"]["raw"] == {"vendor": "b"}
    assert (found["event"]["sequence"], found["event"]["status"]) == (2, "DISPATCHED")
    assert found["notification"]["events"] == [first, second]
    assert found["notification"]["topic"] == f"instance-{instance['id']}-egnyte-events"
    (delivery,) = found["deliveries"]
    assert delivery["subscription"]["url"] == "http://user:********@callback.example.com"
    assert [item["number"] for item in delivery["attempts"]] == [1, 2]
    assert [item.get("status") for item in delivery["attempts"]] == [None, 502]
    assert delivery["attempts"][0]["error"] == "timed out"
    assert delivery["attempts"][1]["answer"] == "Bad gateway"
    assert delivery["attempts"][1]["tookMs"] == 12
    assert await traced(gateway, f"/instances/{instance['id']}/events/{second}/trace") == found


async def test_a_trace_knows_what_the_vendor_called_with(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    (first, _) = await report(gateway, instance, Via.WEBHOOK)
    assert (await traced(gateway, f"/events/{first}/trace"))["page"]["via"] == "webhook"


async def test_a_trace_goes_as_far_as_anything_is_left(gateway: Gateway) -> None:
    instance = await gateway.connect(**EVENTS)
    (first, _) = await report(gateway, instance)
    (subscription,) = (
        await gateway.http.get("/notifications/subscriptions", headers=gateway.platform)
    ).json()
    path = f"/notifications/subscriptions/{subscription['id']}"
    await gateway.http.delete(path, headers=gateway.platform)
    assert (await traced(gateway, f"/events/{first}/trace"))["deliveries"] == []
    async with gateway.runtime.database.write() as connection:
        await connection.execute(table(Notification).delete())
    found = await traced(gateway, f"/events/{first}/trace")
    assert found.keys() == {"event", "deliveries"}


async def test_a_trace_is_its_accounts_alone(gateway: Gateway) -> None:
    people = await settle(gateway)
    instance, other = await gateway.connect(**EVENTS), await gateway.connect()
    (first, _) = await report(gateway, instance)
    paths = [f"/events/{first}/trace", f"/instances/{instance['id']}/events/{first}/trace"]
    for path in paths:
        assert (await asked(gateway, people.ann, "GET", path)).status_code == 200
        for stranger in (people.other, people.stranger):
            assert (await asked(gateway, stranger, "GET", path)).status_code == 404
    for token, status in ((instance["token"], 200), (other["token"], 404)):
        assert (await gateway.http.get(paths[0], headers=gateway.hub(token))).status_code == status
    answer = await gateway.http.get(
        f"/instances/{other['id']}/events/{first}/trace", headers=gateway.platform
    )
    assert answer.status_code == 404
    assert (await gateway.http.get("/events/1/trace", headers=gateway.platform)).status_code == 404
