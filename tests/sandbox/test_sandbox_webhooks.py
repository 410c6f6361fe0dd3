"""The webhooks of the fake Egnyte, over real HTTP: what they promise, what they say, how they fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from acme import Acme
from processes import eventually

HOOKS = "/pubapi/v1/webhooks"


def waited(find: Callable[[], list[Any]], count: int = 1) -> list[Any]:
    """What `find` finds, once it is `count` or more."""
    return eventually(lambda: found if len(found := find()) >= count else [], f"{count} of them")


def calls(receiver: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = receiver.get("/deliveries").json()
    return found


def told(receiver: httpx.Client) -> list[dict[str, Any]]:
    return [event for call in calls(receiver) for event in call["json"]]


def made(acme: Acme, url: str, **wish: Any) -> dict[str, Any]:
    answer = acme.http.post(HOOKS, json={"url": f"{url}/egnyte", **wish})
    assert answer.status_code == 201, answer.text
    hook: dict[str, Any] = answer.json()
    return hook


@pytest.fixture
def inbox(acme: Acme, receiver: httpx.Client, receiver_url: str) -> httpx.Client:
    """A receiver that a webhook for everything calls, with a secret in a header of its own."""
    made(acme, receiver_url, authHeader="X-Secret", authHeaderValue="s3cret")
    return receiver


def test_a_webhook_says_how_long_it_lasts(acme: Acme, receiver_url: str) -> None:
    began, month = int(time.time()), 30 * 86400
    hook = made(acme, receiver_url)
    assert hook["status"] == "enabled"
    assert began + month <= hook["expires"] <= time.time() + month


def test_a_call_is_an_array_of_events_with_the_header(acme: Acme, inbox: httpx.Client) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    call = waited(lambda: calls(inbox))[0]
    assert call["headers"]["x-secret"] == "s3cret"
    event = call["json"][0]
    assert (event["domain"], event["eventType"]) == ("acme", "fs:add_file")
    assert event["user"]["username"] == "adoe"
    assert event["data"]["targetPath"] == "/Shared/a.txt"
    assert event["data"]["isFolder"] is False


def test_a_header_without_a_value_is_the_authorization(
    acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    made(acme, receiver_url, authHeader="s3cret")
    acme.change("upload", "/Shared/a.txt", content="x")
    assert waited(lambda: calls(receiver))[0]["headers"]["authorization"] == "s3cret"


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([("folder", "/Shared/f", {})], "fs:add_folder"),
        (
            [("folder", "/Shared/f", {}), ("move", "/Shared/f", {"destination": "/Shared/g"})],
            "fs:move_folder",
        ),
        ([("rename", "/Shared/o", {"destination": "/Shared/p"})], "fs:move_file"),
        ([("copy", "/Shared/o", {"destination": "/Shared/p"})], "fs:copy_file"),
        ([("upload", "/Shared/o", {"content": "two"})], "fs:add_file"),
        ([("delete", "/Shared/o", {})], "fs:delete_file"),
        ([("delete", "/Shared/o", {}), ("restore", "/Shared/o", {})], "fs:restore_from_trash"),
        ([("note", "/Shared/o", {"content": "hm"})], "comment:set_comment"),
        ([("folder", "/Shared/f", {}), ("permission", "/Shared/f", {})], "permission:permission_change"),
    ],
)
def test_every_change_of_the_history_has_a_type(
    acme: Acme, receiver: httpx.Client, receiver_url: str, orders: list[Any], expected: str
) -> None:
    acme.change("upload", "/Shared/o", content="one")
    made(acme, receiver_url)
    for action, path, order in orders:
        acme.change(action, path, **order)
    events = waited(lambda: told(receiver), len(orders))
    assert events[-1]["eventType"] == expected


def test_what_the_event_stream_does_not_tell_is_told(acme: Acme, inbox: httpx.Client) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    path = "/pubapi/v1/fs/Shared/a.txt"
    acme.http.post(path, json={"action": "lock", "lock_token": "t"}).raise_for_status()
    acme.http.post(path, json={"action": "unlock", "lock_token": "t"}).raise_for_status()
    wish = {"path": "/Shared/a.txt", "type": "file", "accessibility": "anyone"}
    link = acme.http.post("/pubapi/v1/links", json=wish).json()["links"][0]["id"]
    acme.http.delete(f"/pubapi/v1/links/{link}").raise_for_status()
    file_id = acme.http.get(path).json()["group_id"]
    namespace = {"name": "n", "scope": "public", "keys": {"k": {"type": "string"}}}
    acme.http.post("/pubapi/v1/properties/namespace", json=namespace).raise_for_status()
    for value in ("v", None):
        acme.http.put(f"/pubapi/v1/fs/ids/file/{file_id}/properties/n", json={"k": value}).raise_for_status()
    acme.http.delete(path).raise_for_status()
    acme.http.post("/pubapi/v1/fs/trash", json={"action": "PURGE", "ids": [file_id]}).raise_for_status()
    assert [event["eventType"] for event in waited(lambda: told(inbox), 9)] == [
        "fs:add_file",
        "fs:lock_file",
        "fs:unlock_file",
        "link:create_download_link",
        "link:delete_download_link",
        "meta:add_metadata_key",
        "meta:delete_metadata_key",
        "fs:delete_file",
        "fs:delete_from_trash",
    ]
    assert {event["data"]["targetGroupId"] for event in told(inbox)} == {file_id}


def test_types_and_paths_narrow_what_is_told(acme: Acme, receiver: httpx.Client, receiver_url: str) -> None:
    made(acme, receiver_url, eventType=["fs:add_file", "comment:*"], path="/Shared/A,/Shared/B")
    acme.change("upload", "/Shared/A/1", content="x")
    acme.change("upload", "/Shared/C/2", content="x")
    acme.change("note", "/Shared/A/1", content="hm")
    acme.change("delete", "/Shared/A/1")
    acme.change("upload", "/Shared/B/3", content="x")
    events = waited(lambda: told(receiver), 3)
    assert [event["data"]["targetPath"] for event in events] == ["/Shared/A/1", "/Shared/A/1", "/Shared/B/3"]


def test_many_events_come_in_few_calls(acme: Acme, inbox: httpx.Client) -> None:
    acme.configure(webhook_batch=8)
    acme.change("upload", "/Shared/{n}.txt", content="x", count=20)
    events = waited(lambda: told(inbox), 20)
    assert [event["data"]["targetPath"] for event in events] == [f"/Shared/{n}.txt" for n in range(20)]
    assert [len(call["json"]) for call in calls(inbox)] == [8, 8, 4]


def test_only_200_counts_and_the_same_event_comes_again(acme: Acme, inbox: httpx.Client) -> None:
    inbox.post("/control", json={"status": 202, "times": 1}).raise_for_status()
    acme.change("upload", "/Shared/a.txt", content="x")
    first, second = waited(lambda: told(inbox), 2)
    assert first["eventId"] == second["eventId"]
    seen = waited(lambda: acme.steering.get("/control/egnyte/acme/webhooks/calls").json(), 2)
    assert [call["status"] for call in seen] == [202, 200]


def test_a_webhook_that_keeps_failing_is_disabled_until_it_is_enabled(
    acme: Acme, receiver: httpx.Client, receiver_url: str
) -> None:
    acme.configure(webhook_retries=1, webhook_retry_seconds=0, webhook_failures=1)
    hook = f"{HOOKS}/{made(acme, receiver_url)['webhookId']}"
    receiver.post("/control", json={"status": 500}).raise_for_status()
    acme.change("upload", "/Shared/a.txt", content="x")
    waited(lambda: calls(receiver), 2)
    waited(lambda: [1] if acme.http.get(f"{hook}/status").json() == {"status": "disabled"} else [])
    acme.change("upload", "/Shared/lost.txt", content="x")
    receiver.delete("/deliveries").raise_for_status()
    acme.http.post(f"{hook}/status", json={"status": "enabled"}).raise_for_status()
    acme.change("upload", "/Shared/b.txt", content="x")
    assert [event["data"]["targetPath"] for event in waited(lambda: told(receiver))] == ["/Shared/b.txt"]


def test_calls_can_be_lost_and_come_twice_on_request(acme: Acme, inbox: httpx.Client) -> None:
    acme.fault("drop_webhook")
    acme.fault("duplicate_webhook")
    acme.change("upload", "/Shared/lost.txt", content="x")
    acme.change("upload", "/Shared/twice.txt", content="x")
    acme.change("upload", "/Shared/once.txt", content="x")
    events = waited(lambda: told(inbox), 3)
    assert [event["data"]["targetPath"] for event in events] == [
        "/Shared/twice.txt",
        "/Shared/twice.txt",
        "/Shared/once.txt",
    ]
    assert len({event["eventId"] for event in events}) == 2


def test_a_change_renews_and_a_deletion_ends(acme: Acme, receiver_url: str) -> None:
    hook = made(acme, receiver_url)
    path = f"{HOOKS}/{hook['webhookId']}"
    acme.configure(webhook_seconds=86400 * 60)
    wish = {
        "url": f"{receiver_url}/other",
        "eventType": ["fs:*"],
        "authHeader": "X",
        "authHeaderValue": "s3cret",
    }
    assert acme.http.put(path, json=wish).json()["expires"] > hook["expires"]
    shown = acme.http.get(HOOKS)
    assert [row["url"] for row in shown.json()] == [f"{receiver_url}/other"]
    assert "s3cret" not in shown.text + acme.http.get(f"{path}/details").text
    assert acme.http.delete(path).status_code == 200
    assert acme.http.get(path).status_code == 404


def test_a_webhook_ends_by_itself(acme: Acme, receiver_url: str) -> None:
    made(acme, receiver_url)
    acme.configure(webhook_seconds=-1)
    made(acme, receiver_url)
    assert len(acme.http.get(HOOKS).json()) == 1
    assert acme.control("webhooks/expire") == {"expired": 1}
    assert acme.http.get(HOOKS).json() == []


def test_there_is_a_quota(acme: Acme, receiver_url: str) -> None:
    acme.configure(webhook_quota=1)
    made(acme, receiver_url)
    answer = acme.http.post(HOOKS, json={"url": receiver_url})
    assert (answer.status_code, answer.json()["code"]) == (409, "QUOTA_EXCEEDED")


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"url": "ftp://x"},
        {"url": "http://x", "eventType": ["fs:fly"]},
        {"url": "http://x", "path": "/a," * 100},
        {"url": "http://x", "colour": "red"},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(acme: Acme, wish: dict[str, Any]) -> None:
    answer = acme.http.post(HOOKS, json=wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID")


def test_only_an_administrator_with_the_scope_manages_webhooks(acme: Acme) -> None:
    for order in ({"username": "adoe"}, {"scope": "Egnyte.filesystem Egnyte.link"}):
        token = acme.control("tokens", **order)["access_token"]
        answer = httpx.get(f"{acme.url}{HOOKS}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403
    token = acme.control("tokens", scope="Egnyte.filesystem Egnyte.webhooks")["access_token"]
    answer = httpx.get(f"{acme.url}{HOOKS}", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == []
