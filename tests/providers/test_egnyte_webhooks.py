"""Egnyte's webhooks: made, renewed and ended at the sandbox, over real HTTP, whose calls are then read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import orjson
import pytest
from acme import Acme
from egnyte_account import connect, played
from hypothesis import given
from hypothesis import strategies as st
from processes import PATIENCE, eventually, until

from app.errors import BadRequest, VendorForbidden, VendorRefused
from app.hubs.documents import Call, Change, Power
from app.providers.egnyte import Egnyte, webhooks
from app.upstream.client import open_client
from app.wire import events as rows

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SECRET = "s3cret"
HOOKS = "/pubapi/v1/webhooks"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as opened:
        yield opened


@pytest.fixture
def account(acme: Acme, client: httpx.AsyncClient) -> Egnyte:
    return connect(acme, client)


def hooks_of(acme: Acme) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = acme.http.get(HOOKS).json()
    return found


def call(body: Any, **headers: str) -> Call:
    return Call("POST", headers, {}, body if isinstance(body, bytes) else orjson.dumps(body), NOW)


def arrived(receiver: httpx.Client, count: int) -> list[Call]:
    """The calls that the sandbox has made, once they hold `count` events."""

    def come() -> list[Any]:
        found: list[Any] = receiver.get("/deliveries").json()
        return found if sum(len(row["json"]) for row in found) >= count else []

    found = eventually(come, f"{count} events")
    return [Call("POST", row["headers"], {}, row["body"].encode(), NOW) for row in found]


# Made, renewed, ended


async def test_a_webhook_is_made_for_what_concerns_files_and_folders(
    acme: Acme, account: Egnyte, receiver_url: str
) -> None:
    assert Power.WEBHOOKS in Egnyte.powers
    hooks = await account.subscribe(f"{receiver_url}/events", SECRET, [])
    hook = hooks_of(acme)[0]
    assert hooks.ids == (hook["webhookId"],)
    assert hooks.expires_at == datetime.fromtimestamp(hook["expires"], UTC)
    assert hook["eventType"] == ["fs:*", "comment:*", "link:*", "meta:*", "permission:*"]
    assert (hook["url"], hook["path"]) == (f"{receiver_url}/events", "")


async def test_the_configuration_narrows_a_webhook(acme: Acme, client: httpx.AsyncClient) -> None:
    metadata = '{"webhook": {"folder": {"eventTypes": ["deleted"]}, "group": {"eventTypes": ["group:*"]}}}'
    configuration: dict[str, str | None] = {"event.metadata": metadata, "egnyte.events.folder": "/Shared/A/"}
    await connect(acme, client, configuration).subscribe("http://x/events", SECRET, [])
    assert hooks_of(acme)[0]["eventType"] == ["fs:delete_folder", "fs:delete_from_trash", "group:*"]
    assert hooks_of(acme)[0]["path"] == "/Shared/A"


async def test_a_known_webhook_is_renewed(acme: Acme, account: Egnyte) -> None:
    first = await account.subscribe("http://x/old", "old", [])
    acme.configure(webhook_seconds=86400 * 90)
    second = await account.subscribe("http://x/new", SECRET, first.ids)
    assert second.ids == first.ids
    assert first.expires_at is not None
    assert second.expires_at is not None
    assert second.expires_at > first.expires_at
    assert [hook["url"] for hook in hooks_of(acme)] == ["http://x/new"]


async def test_a_disabled_webhook_is_enabled_again(acme: Acme, account: Egnyte) -> None:
    hooks = await account.subscribe("http://x/events", SECRET, [])
    acme.http.post(f"{HOOKS}/{hooks.ids[0]}/status", json={"status": "disabled"}).raise_for_status()
    assert (await account.subscribe("http://x/events", SECRET, hooks.ids)).ids == hooks.ids
    assert hooks_of(acme)[0]["status"] == "enabled"


async def test_the_status_is_asked_for_where_a_renewal_does_not_tell_it() -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path.rpartition("/")[2]))
        return httpx.Response(200, json={} if request.method == "PUT" else {"status": "disabled"})

    hooks = await played(answer).subscribe("http://x/events", SECRET, ["h"])
    assert (hooks.ids, hooks.expires_at) == (("h",), None)
    assert asked == [("PUT", "h"), ("GET", "status"), ("POST", "status")]


async def test_two_calls_per_second_are_enough(acme: Acme, client: httpx.AsyncClient) -> None:
    account = connect(acme, client, budget=timedelta(seconds=PATIENCE))
    first = await account.subscribe("http://x/events", SECRET, [])
    acme.control("webhooks/expire")
    acme.configure(qps=2)
    second = await account.subscribe("http://x/events", SECRET, first.ids)
    acme.configure(qps=None)
    assert [hook["webhookId"] for hook in hooks_of(acme)] == list(second.ids)


async def test_a_webhook_that_is_gone_is_made_anew(acme: Acme, account: Egnyte) -> None:
    first = await account.subscribe("http://x/events", SECRET, [])
    acme.control("webhooks/expire")
    second = await account.subscribe("http://x/events", SECRET, first.ids)
    assert second.ids != first.ids
    assert [hook["webhookId"] for hook in hooks_of(acme)] == list(second.ids)


async def test_a_webhook_that_a_change_does_not_prolong_is_replaced(acme: Acme, account: Egnyte) -> None:
    first = await account.subscribe("http://x/events", SECRET, [])
    acme.configure(webhook_seconds=600)
    second = await account.subscribe("http://x/events", SECRET, first.ids)
    assert second.ids != first.ids
    assert [hook["webhookId"] for hook in hooks_of(acme)] == list(second.ids)


async def test_a_webhook_whose_making_nobody_noted_is_found_again(acme: Acme, account: Egnyte) -> None:
    unnoted = await account.subscribe("http://x/events?instance=1", SECRET, [])
    await account.subscribe("http://x/events?instance=2", SECRET, [])
    assert (await account.subscribe("http://x/events?instance=1", SECRET, [])).ids == unnoted.ids
    assert len(hooks_of(acme)) == 2


async def test_one_webhook_is_left_of_several(acme: Acme, account: Egnyte) -> None:
    for _ in range(2):
        acme.http.post(HOOKS, json={"url": "http://x/events"}).raise_for_status()
    hooks = await account.subscribe("http://x/events", SECRET, ["no-such-hook"])
    assert [hook["webhookId"] for hook in hooks_of(acme)] == list(hooks.ids)


async def test_a_webhook_is_ended_once_and_for_all(acme: Acme, account: Egnyte) -> None:
    hooks = await account.subscribe("http://x/events", SECRET, [])
    for _ in range(2):
        await account.unsubscribe([*hooks.ids, "../tokens"])
    assert hooks_of(acme) == []


async def test_a_full_domain_is_said_in_plain_words(acme: Acme, account: Egnyte) -> None:
    acme.configure(webhook_quota=0)
    with pytest.raises(VendorRefused, match="no further webhook") as caught:
        await account.subscribe("http://x/events", SECRET, [])
    assert caught.value.vendor_status == 409
    assert SECRET not in repr(caught.value)


async def test_a_grant_without_the_scope_is_forbidden(acme: Acme, client: httpx.AsyncClient) -> None:
    with pytest.raises(VendorForbidden) as caught:
        await connect(acme, client, scope="Egnyte.filesystem").subscribe("http://x/events", SECRET, [])
    assert "Egnyte.webhooks" in (caught.value.provider_message or "")


@pytest.mark.parametrize(
    ("configured", "named"),
    [
        ({"event.metadata": "{"}, "event.metadata"),
        ({"egnyte.events.folder": "/a,/b"}, "egnyte.events.folder"),
    ],
)
async def test_what_a_webhook_cannot_be_asked_for_is_named(
    acme: Acme, client: httpx.AsyncClient, configured: dict[str, str | None], named: str
) -> None:
    with pytest.raises(BadRequest, match=f"configuration.{named}"):
        await connect(acme, client, configured).subscribe("http://x/events", SECRET, [])
    assert hooks_of(acme) == []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, webhooks.DEFAULT_TYPES),
        ("", webhooks.DEFAULT_TYPES),
        ('{"polling": {}}', webhooks.DEFAULT_TYPES),
        ('{"webhook": {"file": {"eventTypes": "created"}}}', webhooks.DEFAULT_TYPES),
        (
            '{"webhook": {"file": {"eventTypes": ["created"]}}}',
            ("fs:add_file", "fs:upload_link", "fs:copy_file", "fs:restore_from_trash"),
        ),
        (
            '{"webhook": {"folder": {"eventTypes": ["Created", "deleted"]}}}',
            (
                *("fs:add_folder", "fs:copy_folder", "fs:restore_from_trash"),
                *("fs:delete_folder", "fs:delete_from_trash"),
            ),
        ),
        ('{"webhook": {"workflow": {"eventTypes": ["created"]}}}', ("workflow:created",)),
        ('{"webhook": {"x": {"eventTypes": ["workflow:*", "fs:*"]}}}', ("workflow:*", "fs:*")),
    ],
)
def test_metadata_becomes_types_of_egnyte(metadata: str | None, expected: tuple[str, ...]) -> None:
    assert webhooks.wanted_types(metadata) == expected


def test_an_update_of_a_file_may_be_an_upload() -> None:
    types = webhooks.wanted_types('{"webhook": {"file": {"eventTypes": ["updated"]}}}')
    assert {"fs:add_file", "fs:move_file", "fs:lock_file", "comment:set_comment"} <= set(types)
    assert not {"fs:delete_file", "fs:add_folder", "permission:permission_change"} & set(types)


# Whose call it is


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-elements-gateway-secret": SECRET}, True),
        ({"authorization": SECRET}, True),
        ({"authorization": "Bearer other", "x-elements-gateway-secret": SECRET}, True),
        ({"x-elements-gateway-secret": SECRET + " "}, False),
        ({"x-elements-gateway-secret": "s3cré"}, False),
        ({"x-elements-gateway-secret": ""}, False),
        ({}, False),
    ],
)
def test_a_call_shows_the_secret_in_one_of_two_headers(headers: dict[str, str], expected: bool) -> None:
    assert Egnyte.is_genuine(call([], **headers), SECRET, {}) is expected


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_no_call_is_genuine(secret: str | None) -> None:
    assert not Egnyte.is_genuine(call([], authorization=""), secret, {})


def _words(change: Change) -> tuple[Any, ...]:
    where = (change.path, change.previous_path, change.copied_from)
    return change.event_type, change.change, change.object_type, change.if_known, *where


@pytest.mark.parametrize("keys", ["camel", "snake"])
async def test_the_sandbox_is_understood(
    acme: Acme, account: Egnyte, receiver: httpx.Client, receiver_url: str, keys: str
) -> None:
    acme.configure(webhook_keys=keys)
    await account.subscribe(f"{receiver_url}/events", SECRET, [])
    acme.change("upload", "/Shared/A/a.txt", content="one")
    acme.change("move", "/Shared/A/a.txt", destination="/Shared/b.txt")
    acme.change("rename", "/Shared/A", destination="/Shared/B")
    acme.change("copy", "/Shared/b.txt", destination="/Shared/c.txt")
    acme.change("note", "/Shared/b.txt", content="hm")
    acme.change("permission", "/Shared/B")
    acme.change("delete", "/Shared/b.txt")
    acme.change("restore", "/Shared/b.txt")
    calls = arrived(receiver, 9)
    assert all(
        Egnyte.is_genuine(item, SECRET, {}) and not Egnyte.is_genuine(item, "other", {}) for item in calls
    )
    found = [change for item in calls for change in Egnyte.announced(item).changes]
    polled = (await account.changes(None, 100)).changes
    assert [_words(change) for change in found] == [_words(change) for change in polled]
    with_ids = [
        [(change.object_id, change.version_id) for change in changes if change.change != "comment"]
        for changes in (found, polled)
    ]
    assert with_ids[0] == with_ids[1]
    assert not any(change.by_path for change in found)
    assert len({change.event_id for change in [*found, *polled]}) == 18


# What it says

FILE = {"targetPath": "/Shared/b.txt", "targetGroupId": "g", "targetId": "e", "isFolder": False}
FOLDER = {"path": "/Shared/f", "folderId": "f", "isFolder": True}


def told(kind: str, data: Any, **more: Any) -> Change:
    event = {"eventId": "7", "timestamp": 1767607200000, "eventType": kind, "data": data, **more}
    announcement = Egnyte.announced(call([event]))
    assert (announcement.raw, announcement.ended) == ([event], False)
    return announcement.changes[0]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("fs:add_file", FILE, ("CREATED", "create", "file", "g")),
        ("fs:add_folder", FOLDER, ("CREATED", "create", "folder", "f")),
        ("fs:upload_link", FILE, ("CREATED", "create", "file", "g")),
        ("fs:copy_file", FILE, ("CREATED", "copy", "file", "g")),
        ("fs:copy_folder", FOLDER, ("CREATED", "copy", "folder", "f")),
        ("fs:move_file", FILE | {"sourcePath": "/Private/b.txt"}, ("UPDATED", "move", "file", "g")),
        ("fs:move_file", FILE | {"sourcePath": "/Shared/a.txt"}, ("UPDATED", "rename", "file", "g")),
        ("fs:move_folder", FOLDER | {"oldPath": "/f"}, ("UPDATED", "move", "folder", "f")),
        ("fs:delete_file", FILE, ("DELETED", "delete", "file", "g")),
        ("fs:delete_folder", FOLDER, ("DELETED", "delete", "folder", "f")),
        ("fs:delete_from_trash", FILE, ("DELETED", "purge", "file", "g")),
        ("fs:delete_from_trash", FOLDER, ("DELETED", "purge", "folder", "f")),
        ("fs:restore_from_trash", FILE, ("CREATED", "restore", "file", "g")),
        ("fs:restore_from_trash", FOLDER, ("CREATED", "restore", "folder", "f")),
        ("fs:lock_file", FILE, ("UPDATED", "lock", "file", "g")),
        ("fs:unlock_file", FILE, ("UPDATED", "unlock", "file", "g")),
        ("fs:folder_project_activity", FOLDER, ("UNKNOWN", "folder_project_activity", "folder", "f")),
        ("comment:set_comment", FILE, ("UPDATED", "comment", "file", "g")),
        ("comment:remove_comment", FILE, ("UPDATED", "uncomment", "file", "g")),
        ("link:create", FILE, ("UPDATED", "share", "file", "g")),
        ("link:create_download_link", FOLDER, ("UPDATED", "share", "folder", "f")),
        ("link:create_upload_link", FOLDER, ("UPDATED", "share", "folder", "f")),
        ("link:delete", FILE, ("UPDATED", "unshare", "file", "g")),
        ("link:delete_download_link", FILE, ("UPDATED", "unshare", "file", "g")),
        ("link:delete_upload_link", FOLDER, ("UPDATED", "unshare", "folder", "f")),
        ("meta:add_metadata_key", FILE, ("UPDATED", "metadata", "file", "g")),
        ("meta:delete_metadata_key", FOLDER, ("UPDATED", "metadata", "folder", "f")),
        ("permission:permission_change", FOLDER, ("UPDATED", "permission", "folder", "f")),
        ("workflow:created", {"workflowId": "w"}, ("CREATED", "create", "workflow", "w")),
        ("workflow:completed", {"id": 5}, ("UPDATED", "complete", "workflow", "5")),
        ("workflow:approvaltask_approved", {"workflow_id": "w"}, ("UPDATED", "approve", "workflow", "w")),
        ("workflow:approvaltask_rejected", {"workflowId": "w"}, ("UPDATED", "reject", "workflow", "w")),
        ("group:create", {"groupId": 3}, ("CREATED", "create", "group", "3")),
        ("group:delete", {"groupId": 3}, ("DELETED", "delete", "group", "3")),
        ("group:rename", {"group_id": 3}, ("UPDATED", "rename", "group", "3")),
        ("group:add_members", {"objectId": "3"}, ("UPDATED", "add_members", "group", "3")),
        ("group:remove_members", {"groupId": 3}, ("UPDATED", "remove_members", "group", "3")),
        ("group:add_owner", {"groupId": 3}, ("UPDATED", "add_owner", "group", "3")),
        ("group:remove_owner", {"groupId": 3}, ("UPDATED", "remove_owner", "group", "3")),
        ("fs:levitate", FOLDER, ("UNKNOWN", "levitate", "folder", "f")),
        ("weather", None, ("UNKNOWN", "weather", "file", "7")),
    ],
)
def test_webhooks_are_told_in_cloud_elements_words(kind: str, data: Any, expected: tuple[str, ...]) -> None:
    found = told(kind, data)
    assert (found.event_type, found.change, found.object_type, found.object_id) == expected
    assert (found.event_id, found.date, found.by_path) == ("webhook:7", NOW, False)
    assert found.raw["data"] == data


def test_every_type_has_a_row_in_the_test_above() -> None:
    rows_of_test = test_webhooks_are_told_in_cloud_elements_words.pytestmark[0].args[1]
    assert set(webhooks.MEANING) <= {row[0] for row in rows_of_test}


@pytest.mark.parametrize(
    "data",
    [
        {"path": "/Shared/a.txt"},
        {"target_path": "/Shared/a.txt"},
        {"targetPath": "/Shared/a.txt", "path": "/other"},
        {"filePath": "/Shared/a.txt", "groupId": None},
    ],
)
def test_a_path_stands_for_an_id_that_is_not_told(data: dict[str, Any]) -> None:
    found = told("fs:add_file", data)
    assert (found.object_id, found.path, found.name) == ("/Shared/a.txt", "/Shared/a.txt", "a.txt")
    assert (found.by_path, found.if_known) == (True, ("UPDATED", "version"))


def test_an_event_tells_who_and_when() -> None:
    user = {"id": 121, "displayName": "Jane Smith", "username": "jsmith"}
    found = told("fs:lock_file", FILE, user=user, timestamp=1767607200)
    assert (found.actor_id, found.actor_name, found.date) == ("121", "Jane Smith", NOW)
    assert told("fs:lock_file", FILE, timestamp="2026-01-05T11:00:00+01:00").date == NOW
    assert told("fs:lock_file", FILE, timestamp="soon").date == NOW  # when it came


def test_events_without_an_id_are_told_apart_by_their_content() -> None:
    first, second, again = (
        {"eventType": "fs:add_file", "data": {"path": path}} for path in ("/a", "/b", "/a")
    )
    found = [change.event_id for change in Egnyte.announced(call([first, second, again])).changes]
    assert found[0] == found[2] != found[1]


def test_an_id_that_no_index_holds_is_replaced_by_a_fingerprint() -> None:
    first, again, other = [{"eventId": letter * 6000} for letter in "aab"]
    found = [change.event_id for change in Egnyte.announced(call([first, again, other])).changes]
    assert found[0] == found[1] != found[2]
    assert max(map(len, found)) <= 100


@pytest.mark.parametrize("depth", [250, 300])
def test_a_body_that_is_too_deep_to_be_stored_is_refused(depth: int) -> None:
    with pytest.raises(BadRequest):
        Egnyte.announced(call(b'[{"data":' + b"[" * depth + b"]" * depth + b"}]"))


def test_half_of_a_pair_of_surrogates_is_left_out() -> None:
    (found,) = Egnyte.announced(call(rb'{"eventType":"fs:add_file","data":{"path":"/a\ud83d"}}')).changes
    assert found.path == "/a\ufffd"


def test_a_single_event_needs_no_array_and_an_empty_array_says_nothing() -> None:
    assert len(Egnyte.announced(call({"eventId": "1"})).changes) == 1
    assert Egnyte.announced(call([])).changes == []


@pytest.mark.parametrize("body", [b"", b"{", b"5", b'"text"', b"null"])
def test_a_body_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="body"):
        Egnyte.announced(call(body))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["path", "sourcePath", "isFolder", "targetId", "type"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["eventId", "domain", "timestamp", "user", "eventType", "data"]),
        VALUES | st.sampled_from(list(webhooks.MEANING)),
    )
)
def test_any_event_can_be_told(event: dict[str, Any]) -> None:
    for found in Egnyte.announced(call([event])).changes:
        assert found.event_type in {"CREATED", "UPDATED", "DELETED", "UNKNOWN"}
        assert found.object_id
        assert found.event_id.startswith("webhook:")
        assert orjson.dumps(rows.row(found, raw=True))
        assert b"\0" not in found.event_id.encode()


# The whole way


async def test_a_change_that_is_told_and_polled_arrives_once(
    tmp_path: Path, acme: Acme, sandbox_url: str, receiver: httpx.Client, receiver_url: str
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url=receiver_url)
    async with gateways.running(settings, sandbox_url, with_workers=True) as gateway:
        instance = await gateway.connect(
            **{
                "event.notification.enabled": "true",
                "event.notification.callback.url": f"{receiver_url}/callback",
                "event.vendor.type": "webhook",
                "event.poller.refresh_interval": "0.005",
            }
        )
        await until(lambda: hooks_of(acme), "a webhook")
        acme.change("upload", "/Shared/a.txt", content="one")
        acme.change("upload", "/Shared/a.txt", content="two")
        acme.change("rename", "/Shared/a.txt", destination="/Shared/b.txt")
        acme.fault("drop_webhook", path="fs:delete")
        acme.change("delete", "/Shared/b.txt")
        await until(lambda: len(of_path(receiver, "/elements/api-v2/events/egnyte")) >= 3, "3 calls")
        for row in receiver.get("/deliveries").json():
            if row["path"] == "/elements/api-v2/events/egnyte":
                answer = await gateway.http.post(
                    f"/events/egnyte?instance={instance['id']}", content=row["body"], headers=secret_in(row)
                )
                assert answer.status_code == 200, answer.text
        await until(lambda: len(notified(receiver)) >= 4 and "DELETED" in notified(receiver), "all of them")
        await asyncio.sleep(0.7)  # two more polls
    assert sorted(notified(receiver)) == ["CREATED", "DELETED", "UPDATED", "UPDATED"]


def of_path(receiver: httpx.Client, path: str) -> list[Any]:
    rows_there = [row["json"] for row in receiver.get("/deliveries").json() if row["path"] == path]
    return [
        event
        for body in rows_there
        for event in (body if isinstance(body, list) else body["message"]["events"])
    ]


def notified(receiver: httpx.Client) -> list[str]:
    return [event["eventType"] for event in of_path(receiver, "/callback")]


def secret_in(row: dict[str, Any]) -> dict[str, str]:
    name = webhooks.SECRET_HEADER.lower()
    return {name: row["headers"][name]}
