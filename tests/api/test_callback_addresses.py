"""Where callbacks may live, as the surface says it: before anything is stored, with the name of the field."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from gateway import Gateway

from app.provisioning import importer
from app.provisioning.importer import Outcome
from app.store.tables import Subscription, table

KEY = "event.notification.callback.url"
INSIDE = "http://user:hush@10.1.2.3/x"


def assert_refused(answer: httpx.Response, name: str) -> None:
    assert answer.status_code == 400, answer.text
    message = answer.json()["message"]
    assert message.startswith(f"{name}: its address is not public (private)")
    assert "GATEWAY_CALLBACK_ALLOWED_NETWORKS" in message
    assert "hush" not in message


async def stored(gateway: Gateway) -> int:
    async with gateway.runtime.database.read() as connection:
        return len((await connection.execute(table(Subscription).select())).all())


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_new_instance_names_no_address_inside_and_its_code_stays_good(
    gateway: Gateway, enabled: bool
) -> None:
    order = await gateway.order(**{"event.notification.enabled": enabled, KEY: INSIDE})
    refused = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert_refused(refused, f"configuration.{KEY}")
    assert (await gateway.http.get("/instances", headers=gateway.platform)).json() == []
    order["configuration"][KEY] = "http://127.0.0.1:2/x"
    made = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert made.status_code == 200, made.text


async def test_a_grant_from_elsewhere_names_none_either(gateway: Gateway) -> None:
    order = await gateway.order(**{KEY: INSIDE, "oauth.user.refresh_token": "r"})
    order |= {"externalAuthentication": "initial"}
    refused = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert_refused(refused, f"configuration.{KEY}")
    assert (await gateway.http.get("/instances", headers=gateway.platform)).json() == []


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_names_none_either(gateway: Gateway, method: str) -> None:
    made = await gateway.connect(**{"event.notification.enabled": True, KEY: "http://127.0.0.1:2/x"})
    change = {"name": "new", "configuration": {KEY: INSIDE}}
    path = f"/instances/{made['id']}"
    answer = await gateway.http.request(method, path, json=change, headers=gateway.platform)
    assert_refused(answer, f"configuration.{KEY}")
    item = await gateway.http.patch(
        f"{path}/configuration/{KEY}", json={"propertyValue": INSIDE}, headers=gateway.platform
    )
    assert_refused(item, f"configuration.{KEY}")
    found = (await gateway.http.get(path, headers=gateway.platform)).json()
    assert (found["name"], found["configuration"][KEY]) == ("Acme files", "http://127.0.0.1:2/x")


async def test_an_added_subscription_names_none_either(gateway: Gateway) -> None:
    made = await gateway.connect()
    body = {
        "channel": "webhook",
        "topics": [f"instance-{made['id']}-egnyte-events"],
        "config": {"url": INSIDE},
    }
    answer = await gateway.http.post("/notifications/subscriptions", json=body, headers=gateway.platform)
    assert_refused(answer, "config.url")
    assert await stored(gateway) == 0


async def test_an_async_request_names_none_either(gateway: Gateway) -> None:
    made = await gateway.connect()
    later = {"Elements-Async-Request": "True", "Elements-Async-Callback-Url": INSIDE}
    headers = gateway.hub(made["token"]) | later
    answer = await gateway.http.delete("/folders", params={"path": "/Shared/x"}, headers=headers)
    assert_refused(answer, "Elements-Async-Callback-Url")
    assert await stored(gateway) == 0


async def test_a_port_of_another_protocol_is_named(gateway: Gateway) -> None:
    order = await gateway.order(**{KEY: "http://127.0.0.1:25/"})
    answer = await gateway.http.post("/instances", json=order, headers=gateway.platform)
    assert answer.status_code == 400
    assert answer.json()["message"] == f"configuration.{KEY}: port 25 belongs to another protocol than HTTP"


async def test_what_was_taken_over_is_noted_and_can_be_changed_in_everything_else(gateway: Gateway) -> None:
    order = await gateway.order(**{"event.notification.enabled": "true", KEY: INSIDE})
    item: dict[str, Any] = {"id": 427236, "token": "t" * 44, "valid": True, **order}
    caller = await importer.owner_of(gateway.runtime, None)
    (line,) = await importer.take_over(gateway.runtime, caller, [item])
    assert line.outcome is Outcome.CREATED
    (note,) = (note for note in line.notes if KEY in note)
    assert "(private)" in note
    assert "hush" not in note
    path = "/instances/427236"
    kept = await gateway.http.patch(path, json={"name": "new"}, headers=gateway.platform)
    assert (kept.status_code, kept.json()["name"]) == (200, "new")
    other = {"configuration": {KEY: INSIDE + "y"}}
    answer = await gateway.http.patch(path, json=other, headers=gateway.platform)
    assert_refused(answer, f"configuration.{KEY}")
