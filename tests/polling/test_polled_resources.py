"""Resources of an account, polled through the surface and delivered."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from acme import Acme
from gateway import Gateway
from processes import until
from sqlalchemy import select, update

from app.api.inside import Inside
from app.polling import reading
from app.polling.poller import PollWorker
from app.store.tables import Event, Instance, Poller, table

CONTENTS = {
    "url": "/hubs/documents/folders/contents?path=/Shared",
    "idField": "id",
    "createdCheckTolerance": 0,
    "datesConfiguration": {
        "updatedDateField": "modifiedDate",
        "updatedDateFormat": "yyyy-MM-dd'T'HH:mm:ssX",
        "createdDateField": "createdDate",
        "createdDateFormat": "yyyy-MM-dd'T'HH:mm:ssX",
    },
}


def watched(callback: str = "http://callback.example.com", **polled: Any) -> dict[str, Any]:
    return {
        "event.notification.enabled": "true",
        "event.notification.callback.url": callback,
        "event.poller.configuration": polled,
    }


async def pollers(gateway: Gateway) -> dict[str, Any]:
    async with gateway.runtime.database.read() as connection:
        return {row.resource: row for row in await connection.execute(select(table(Poller)))}


async def events(gateway: Gateway) -> list[Any]:
    async with gateway.runtime.database.read() as connection:
        return list(await connection.execute(select(table(Event)).order_by(table(Event).c.sequence)))


async def look_back(gateway: Gateway, ago: timedelta = timedelta(hours=1)) -> None:
    """Makes all pollers due, as if the last poll had been some time ago."""
    past = gateway.runtime.clock.now() - ago
    async with gateway.runtime.database.write() as connection:
        await connection.execute(update(table(Poller)).values(due_at=past, cursor=reading.position(past)))


async def poll(gateway: Gateway) -> None:
    worker = PollWorker(gateway.runtime, asyncio.Event())
    for poller in await worker.claim(10):
        await worker.run(poller)


async def test_the_contents_of_a_folder_are_polled(gateway: Gateway, acme: Acme) -> None:
    await gateway.connect(**watched(contents=CONTENTS))
    before = (await pollers(gateway))["contents"]
    assert before.cursor.endswith("Z")
    acme.change("upload", "/Shared/new.txt", content="x")
    await asyncio.sleep(1.1)  # what changes in the very second of a poll is the next one's
    await look_back(gateway)
    await poll(gateway)
    (event,) = [row for row in await events(gateway) if row.row["name"] == "new.txt"]
    assert (event.event_type, event.object_type) == ("CREATED", "contents")
    assert event.row["path"] == "/Shared/new.txt"
    await look_back(gateway)
    await poll(gateway)
    assert len({row.key for row in await events(gateway)}) == len(await events(gateway))
    assert (await pollers(gateway))["contents"].failures == 0


async def test_creation_and_change_of_a_file_reach_the_callback(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, receiver: httpx.Client
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, poll_interval_floor=timedelta(milliseconds=300))
    async with gateways.running(settings, sandbox_url, with_workers=True) as gateway:
        configuration = watched(f"{receiver.base_url}/", found={**CONTENTS, "url": "/search?text=watched"})
        made = await gateway.connect("box", **configuration, **{"event.poller.refresh_interval": "0.005"})
        hub = gateway.hub(made["token"])
        await upload(gateway, hub, "one")
        assert await received(receiver, 1) == ["CREATED"]
        await asyncio.sleep(1.1)
        await upload(gateway, hub, "two")
        assert await received(receiver, 2) == ["CREATED", "UPDATED"]
        (first, _) = messages(receiver)
        assert first["raw"]["objectType"] == "found"
        assert [row["name"] for row in first["raw"]["found"]] == ["watched.txt"]
        assert first["events"][0]["objectType"] == "found"


async def upload(gateway: Gateway, hub: dict[str, str], content: str, *, path: str = "/watched.txt") -> None:
    query = {"path": path, "overwrite": "true"}
    answer = await gateway.http.post(
        "/files", params=query, files={"file": ("watched.txt", content)}, headers=hub
    )
    assert answer.status_code == 200, answer.text


def messages(receiver: httpx.Client) -> list[dict[str, Any]]:
    return [json.loads(item["body"])["message"] for item in receiver.get("/deliveries").json()]


async def received(receiver: httpx.Client, count: int) -> list[str]:
    """The types of what has arrived, when there are so many of them."""

    def come() -> list[str]:
        found = [event["eventType"] for item in messages(receiver) for event in item["events"]]
        return found if len(found) >= count else []

    types: list[str] = await until(come, f"{count} events")
    return types


async def test_a_folder_that_is_gone_shows_and_is_looked_for_again(gateway: Gateway) -> None:
    gone = {**CONTENTS, "url": "/folders/contents?path=/Shared/gone"}
    await gateway.connect(**watched(contents=gone))
    await poll(gateway)
    poller = (await pollers(gateway))["contents"]
    assert poller.failures == 1
    assert "polled resource" in poller.error
    assert poller.due_at is not None


async def test_each_resource_has_its_own_place_which_a_changed_reading_keeps(gateway: Gateway) -> None:
    stream = {"url": "/events"}
    made = await gateway.connect(**watched(events=stream, contents=CONTENTS))
    before = await pollers(gateway)
    assert before["events"].reading is None
    assert before["contents"].reading == CONTENTS
    changed = watched(events=CONTENTS, contents={**CONTENTS, "pageSize": 50}, more=CONTENTS)
    body = {"configuration": changed}
    answer = await gateway.http.patch(f"/instances/{made['id']}", json=body, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    after = await pollers(gateway)
    assert after["contents"].cursor == before["contents"].cursor
    assert after["contents"].page_size == 50
    assert after["events"].cursor != before["events"].cursor  # a stream's place means nothing to a list
    assert after["more"].cursor == after["events"].cursor


@pytest.mark.parametrize(
    "url", ["/instances", "http://evil.example.com/search", "/hubs/crm/search", "/native/x"]
)
async def test_a_url_outside_of_the_hub_is_refused_when_it_is_saved(gateway: Gateway, url: str) -> None:
    order = await gateway.order("egnyte", **watched(contents={**CONTENTS, "url": url}))
    answer = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("configuration.event.poller.configuration.contents.url:")
    assert await pollers(gateway) == {}


async def test_the_older_form_is_polled_as_it_is(gateway: Gateway) -> None:
    configuration = watched() | {"event.poller.configuration": None}
    configuration["event.poller.urls"] = "documents\nfound|/search?text=a||modifiedDate"
    await gateway.connect(**configuration)
    found = await pollers(gateway)
    assert found.keys() == {"documents", "found"}
    assert found["documents"].reading is None
    assert found["found"].reading["url"] == "/search?text=a"


@pytest.fixture
async def instance(gateway: Gateway) -> Instance:
    made = await gateway.connect()
    async with gateway.runtime.database.read() as connection:
        row = (await connection.execute(select(table(Instance)))).mappings().one()
    assert row["id"] == made["id"]
    return Instance(**row)


async def test_the_surface_answers_from_within_without_a_token(gateway: Gateway, instance: Instance) -> None:
    assert gateway.runtime.inside is not None
    answer = await gateway.runtime.inside.call(instance, "GET", "/folders/contents?path=/&pageSize=1")
    assert answer.status == 200
    assert [row["directory"] for row in answer.json()] == [True]
    assert answer.error is None


async def test_an_error_from_within_is_the_one_that_was_raised(gateway: Gateway, instance: Instance) -> None:
    assert gateway.runtime.inside is not None
    answer = await gateway.runtime.inside.call(instance, "GET", "/folders/contents?path=/Shared/no")
    assert (answer.status, answer.refusal()) == (404, answer.error)
    answer = await gateway.runtime.inside.call(instance, "GET", "/folders/contents?path=/&pageSize=x")
    assert (answer.status, answer.refusal().status) == (400, 400)


async def test_a_disabled_instance_is_closed_from_within_too(gateway: Gateway, instance: Instance) -> None:
    assert gateway.runtime.inside is not None
    instance.disabled = True
    assert (await gateway.runtime.inside.call(instance, "GET", "/search")).status == 403


async def test_nobody_outside_can_say_that_he_is_inside(gateway: Gateway) -> None:
    made = await gateway.connect()
    query = {"inside": str(made["id"]), "path": "/"}
    for headers in ({"inside": str(made["id"])}, {"state": f"inside={made['id']}"}):
        answer = await gateway.http.get("/folders/contents", params=query, headers=headers)
        assert answer.status_code == 401


async def test_an_answer_that_is_too_large_is_not_kept(instance: Instance) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(40):
            await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})

    with pytest.raises(Exception, match="larger than"):
        await Inside(lambda: endless).call(instance, "GET", "/search")


async def test_the_example_of_the_documents_tells_a_version_from_a_new_file(gateway: Gateway) -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    example = json.loads(page.split("```json")[1].split("```")[0])
    example["contracts"]["createdCheckTolerance"] = 0  # a test does not wait for as long
    made = await gateway.connect("box", **watched(**example))
    hub = gateway.hub(made["token"])
    await gateway.http.post("/folders", json={"path": "/Contracts"}, headers=hub)
    for number in (1, 2):
        await upload(gateway, hub, f"version {number}", path="/Contracts/watched.txt")
        await asyncio.sleep(1.1)
        await look_back(gateway)
        await poll(gateway)
    assert [row.event_type for row in await events(gateway)] == ["CREATED", "UPDATED"]
