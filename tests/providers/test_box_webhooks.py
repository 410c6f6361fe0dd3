"""Box's webhooks, over real HTTP against its sandbox: asked for, renewed, ended, verified and read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import orjson
import pytest
from box_account import Box as BoxAccount
from hypothesis import given
from hypothesis import strategies as st
from processes import PATIENCE, eventually
from sqlmodel import select

from app import configuration
from app.errors import BadRequest, Conflict, VendorNotFound, VendorUnauthorized
from app.hubs.documents import Call
from app.ingest.vendor_webhooks import WebhookWorker
from app.providers.box import Box, webhooks
from app.store.tables import Event
from app.upstream.client import Upstream, open_client

PRIMARY, SECONDARY = "sandbox-primary-key", "sandbox-secondary-key"
KEYS = {"box.webhook.primary.key": PRIMARY, "box.webhook.secondary.key": SECONDARY}
URL = "https://gateway.example.com/events/box?instance=31"

Json = dict[str, Any]
Provider = Callable[..., Box]


@pytest.fixture
async def provider(box: BoxAccount) -> AsyncIterator[Provider]:
    """Makes the provider of Ann's account with a configuration."""
    access_token = box.token()["access_token"]

    async def token(rejected: str | None = None) -> str:
        if rejected:
            raise VendorUnauthorized
        return str(access_token)

    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as client:
        upstream = Upstream(client, base_url=box.url, token=token, interpret=Box.refusal)

        def made(values: Mapping[str, str | None] | None = None) -> Box:
            return Box(upstream, values or {})

        yield made


def hooks(box: BoxAccount) -> list[Json]:
    found: list[Json] = box.steering.get("/control/box/webhooks").json()
    return found


def sent(box: BoxAccount, method: str) -> int:
    """The requests about webhooks of this method."""
    seen = box.steering.get("/control/requests", params={"limit": 5000}).json()["requests"]
    return sum(row["method"] == method and "/2.0/webhooks" in row["path"] for row in seen)


def wish(box: BoxAccount, folder: Json, address: str, *triggers: str) -> Json:
    target = {"id": folder["id"], "type": "folder"}
    body = {"target": target, "address": address, "triggers": list(triggers or ["FILE.UPLOADED"])}
    return box.post("/webhooks", body)


# Asked for


async def test_every_top_level_folder_is_called_for(box: BoxAccount, provider: Provider) -> None:
    folders = [box.folder(name)["id"] for name in ("a", "b")]
    box.upload("a.txt")
    box.folder("below", folders[0])
    promised = await provider().subscribe(URL, "s", [])
    made = hooks(box)
    assert {hook["target"]["id"] for hook in made} == set(folders)
    assert {hook["id"] for hook in made} == set(promised.ids)
    assert {hook["address"] for hook in made} == {URL}
    triggers = set(made[0]["triggers"])
    assert {
        "FILE.UPLOADED",
        "FOLDER.TRASHED",
        "COLLABORATION.CREATED",
        "METADATA_INSTANCE.UPDATED",
    } <= triggers
    assert not [name for name in triggers if name.startswith(("TASK", "SIGN")) or name.endswith("LOADED.")]
    assert not triggers & {"FILE.DOWNLOADED", "FILE.PREVIEWED", "FOLDER.DOWNLOADED"}


async def test_only_the_targets_that_are_named_are_called_for(box: BoxAccount, provider: Provider) -> None:
    folder, file = box.folder("a"), box.upload("a.txt")
    box.folder("b")
    named = f"folder:{folder['id']}, file:{file['id']},folder:{folder['id']}"
    await provider({"box.webhook.targets": named}).subscribe(URL, "s", [])
    made = {hook["target"]["type"]: hook for hook in hooks(box)}
    assert {kind: hook["target"]["id"] for kind, hook in made.items()} == {
        "folder": folder["id"],
        "file": file["id"],
    }
    of_file = made["file"]["triggers"]
    assert "FILE.RENAMED" in of_file
    assert not [name for name in of_file if name.startswith(("FOLDER.", "COLLABORATION."))]


async def test_a_target_that_is_not_there_is_said(provider: Provider) -> None:
    with pytest.raises(VendorNotFound):
        await provider({"box.webhook.targets": "folder:77"}).subscribe(URL, "s", [])


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (
            {"file": {"eventTypes": ["created"]}, "folder": {"eventTypes": ["deleted"]}},
            {"FILE.UPLOADED", "FILE.COPIED", "FILE.RESTORED", "FOLDER.TRASHED", "FOLDER.DELETED"},
        ),
        ({"folder": {"eventTypes": ["CREATED"]}}, {"FOLDER.CREATED", "FOLDER.COPIED", "FOLDER.RESTORED"}),
        ({"file": {"eventTypes": ["FILE.LOCKED"]}}, {"FILE.LOCKED"}),
    ],
)
async def test_the_metadata_of_the_configuration_chooses_triggers(
    box: BoxAccount, provider: Provider, types: Json, expected: set[str]
) -> None:
    box.folder("a")
    metadata = orjson.dumps({"polling": {}, "webhook": types}).decode()
    await provider({"event.metadata": metadata}).subscribe(URL, "s", [])
    assert set(hooks(box)[0]["triggers"]) == expected


async def test_an_update_may_be_a_new_version_or_concern_both(box: BoxAccount, provider: Provider) -> None:
    box.folder("a")
    metadata = '{"webhook":{"file":{"eventTypes":["updated"]}}}'
    await provider({"event.metadata": metadata}).subscribe(URL, "s", [])
    triggers = set(hooks(box)[0]["triggers"])
    assert {"FILE.UPLOADED", "FILE.MOVED", "SHARED_LINK.CREATED", "COMMENT.CREATED"} <= triggers
    assert not triggers & {"FOLDER.MOVED", "FILE.COPIED"}


async def test_tasks_are_asked_for_only_where_they_are_wanted(box: BoxAccount, provider: Provider) -> None:
    box.folder("a")
    await provider({"box.events.tasks": "true"}).subscribe(URL, "s", [])
    assert "TASK_ASSIGNMENT.CREATED" in hooks(box)[0]["triggers"]


async def test_metadata_that_is_no_json_is_refused(provider: Provider) -> None:
    with pytest.raises(BadRequest, match=r"configuration\.event\.metadata"):
        await provider({"event.metadata": "{"}).subscribe(URL, "s", [])


# Renewed


async def test_asking_again_changes_nothing(box: BoxAccount, provider: Provider) -> None:
    box.folder("a")
    first = await provider().subscribe(URL, "s", [])
    again = await provider().subscribe(URL, "s", first.ids)
    assert again.ids == first.ids
    assert (sent(box, "POST"), sent(box, "PUT"), sent(box, "DELETE")) == (1, 0, 0)


async def test_a_new_address_and_new_triggers_are_told(box: BoxAccount, provider: Provider) -> None:
    box.folder("a")
    first = await provider().subscribe(URL, "s", [])
    metadata = '{"webhook":{"file":{"eventTypes":["deleted"]}}}'
    moved = "https://other.example.com/events/box?instance=31"
    again = await provider({"event.metadata": metadata}).subscribe(moved, "s", first.ids)
    assert again.ids == first.ids
    (hook,) = hooks(box)
    assert (hook["address"], set(hook["triggers"])) == (moved, {"FILE.TRASHED", "FILE.DELETED"})


async def test_what_is_missing_is_made_and_what_is_not_wanted_ended(
    box: BoxAccount, provider: Provider
) -> None:
    one, two, three = (box.folder(name)["id"] for name in "abc")
    first = await provider({"box.webhook.targets": f"folder:{one},folder:{two}"}).subscribe(URL, "s", [])
    box.http.delete(f"/2.0/webhooks/{first.ids[1]}")
    wanted = f"folder:{two},folder:{three}"
    again = await provider({"box.webhook.targets": wanted}).subscribe(URL, "s", first.ids)
    assert {hook["target"]["id"]: hook["id"] for hook in hooks(box)} == dict(
        zip((two, three), again.ids, strict=True)
    )


async def test_an_own_webhook_that_was_forgotten_is_adopted(box: BoxAccount, provider: Provider) -> None:
    made = wish(box, box.folder("a"), URL, "FILE.UPLOADED")
    promised = await provider().subscribe(URL, "s", [])
    assert promised.ids == (made["id"],)
    assert "FILE.MOVED" in hooks(box)[0]["triggers"]


async def test_a_webhook_that_the_list_does_not_show_yet_is_found(
    box: BoxAccount, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = wish(box, box.folder("a"), URL)
    listed, shown = webhooks._listed, iter([False, True])

    async def late(upstream: Upstream) -> Any:
        return await listed(upstream) if next(shown) else {}

    monkeypatch.setattr(webhooks, "_listed", late)
    assert (await provider().subscribe(URL, "s", [])).ids == (made["id"],)


@pytest.mark.parametrize(
    "address", ["https://elsewhere.example.com/hook", URL.replace("instance=31", "instance=32")]
)
async def test_a_webhook_of_somebody_else_is_left_alone(
    box: BoxAccount, provider: Provider, address: str
) -> None:
    made = wish(box, box.folder("a"), address)
    with pytest.raises(Conflict, match="another address"):
        await provider().subscribe(URL, "s", [])
    assert hooks(box) == [made]


async def test_many_webhooks_are_listed_in_pages_and_made_in_batches(
    box: BoxAccount, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_PAGE", 2)
    monkeypatch.setattr(webhooks, "_AT_ONCE", 2)
    for name in "abcde":
        box.folder(name)
    first = await provider().subscribe(URL, "s", [])
    assert (await provider().subscribe(URL, "s", first.ids)).ids == first.ids
    assert len(first.ids) == len(hooks(box)) == 5
    assert sent(box, "POST") == 5


# Ended


async def test_ending_twice_is_no_error(box: BoxAccount, provider: Provider) -> None:
    box.folder("a")
    promised = await provider().subscribe(URL, "s", [])
    for _ in range(2):
        await provider().unsubscribe([*promised.ids, "77"])
        assert hooks(box) == []


# Verified


async def received(
    box: BoxAccount, provider: Provider, receiver: httpx.Client, url: str, *, fault: str | None = None
) -> Call:
    """The call for an upload, as it came."""
    box.folder("Docs")
    await provider().subscribe(url, "s", [])
    if fault:
        box.control("webhooks/faults", kind=fault)
    box.change("upload", "/Docs/ü.txt", content="x")
    return arrived(receiver)


def arrived(receiver: httpx.Client) -> Call:
    found = eventually(lambda: receiver.get("/deliveries").json(), "a call")
    return Call("POST", found[0]["headers"], {}, found[0]["body"].encode(), datetime.now(UTC))


async def test_what_box_sends_is_genuine(
    box: BoxAccount, provider: Provider, receiver: httpx.Client, receiver_url: str
) -> None:
    call = await received(box, provider, receiver, receiver_url)
    assert Box.is_genuine(call, None, KEYS)
    (change,) = Box.announced(call).changes
    assert (change.event_type, change.change, change.path) == ("CREATED", "upload", "/Docs/ü.txt")
    assert change.event_id == f"webhook:{orjson.loads(call.body)['id']}"
    assert change.sequence == 0
    assert change.version_id
    assert Box.announced(call).hook == hooks(box)[0]["id"]


@pytest.mark.parametrize("fault", ["tamper", "stale"])
async def test_what_somebody_has_changed_or_kept_is_not_genuine(
    box: BoxAccount, provider: Provider, receiver: httpx.Client, receiver_url: str, fault: str
) -> None:
    call = await received(box, provider, receiver, receiver_url, fault=fault)
    assert not Box.is_genuine(call, None, KEYS)


async def test_a_repeated_call_is_the_same_event(
    box: BoxAccount, provider: Provider, receiver: httpx.Client, receiver_url: str
) -> None:
    box.configure(webhook_retry_seconds=0.01)
    receiver.post("/control", json={"status": 500, "times": 1})
    box.folder("Docs")
    await provider().subscribe(receiver_url, "s", [])
    box.change("upload", "/Docs/a.txt")
    eventually(lambda: len(receiver.get("/deliveries").json()) >= 2, "both calls")
    found: list[Json] = receiver.get("/deliveries").json()
    calls = [Call("POST", row["headers"], {}, row["body"].encode(), datetime.now(UTC)) for row in found]
    assert len({call.headers["box-delivery-id"] for call in calls}) == 2
    assert len({Box.announced(call).changes[0].event_id for call in calls}) == 1


def signed(
    body: bytes = b"{}",
    *,
    primary: str = PRIMARY,
    secondary: str = SECONDARY,
    age: timedelta = timedelta(),
    headers: Mapping[str, str | None] | None = None,
) -> Call:
    now = datetime(2026, 1, 5, 10, tzinfo=UTC)
    at = (now - age).isoformat()
    usual: dict[str, str | None] = {
        "box-delivery-timestamp": at,
        "box-signature-version": "1",
        "box-signature-algorithm": "HmacSHA256",
        "box-signature-primary": signature(primary, body + at.encode()),
        "box-signature-secondary": signature(secondary, body + at.encode()),
    }
    sent = {key: value for key, value in {**usual, **(headers or {})}.items() if value is not None}
    return Call("POST", sent, {}, body, now)


def signature(key: str, signed_bytes: bytes) -> str:
    return base64.b64encode(hmac.digest(key.encode(), signed_bytes, hashlib.sha256)).decode()


@pytest.mark.parametrize(
    ("keys", "genuine"),
    [
        (KEYS, True),
        ({"box.webhook.primary.key": PRIMARY}, True),
        ({"box.webhook.secondary.key": SECONDARY}, True),
        ({"box.webhook.primary.key": "old", "box.webhook.secondary.key": SECONDARY}, True),
        ({"box.webhook.primary.key": SECONDARY, "box.webhook.secondary.key": PRIMARY}, False),
        ({"box.webhook.primary.key": "", "box.webhook.secondary.key": None}, False),
        ({}, False),
    ],
)
def test_one_of_the_two_keys_is_enough(keys: dict[str, str | None], *, genuine: bool) -> None:
    assert Box.is_genuine(signed(), None, keys) is genuine


@pytest.mark.parametrize(
    ("age", "genuine"),
    [
        (timedelta(minutes=10), True),
        (timedelta(minutes=10, seconds=1), False),
        (timedelta(seconds=-60), True),
        (timedelta(seconds=-61), False),
    ],
)
def test_a_call_is_genuine_only_now(age: timedelta, *, genuine: bool) -> None:
    assert Box.is_genuine(signed(age=age), None, KEYS) is genuine


@pytest.mark.parametrize(
    "headers",
    [
        {"box-delivery-timestamp": None},
        {"box-delivery-timestamp": "yesterday"},
        {"box-delivery-timestamp": "2026-01-05T10:00:00"},
        {"box-signature-version": "2"},
        {"box-signature-algorithm": "HmacSHA1"},
        {"box-signature-primary": None, "box-signature-secondary": None},
        {"box-signature-primary": "ü", "box-signature-secondary": ""},
    ],
)
def test_a_call_without_its_headers_is_not_genuine(headers: dict[str, str | None]) -> None:
    assert not Box.is_genuine(signed(headers=headers), None, KEYS)


def test_an_empty_key_signs_nothing() -> None:
    call = signed(primary="", secondary="")
    assert not Box.is_genuine(call, None, {"box.webhook.primary.key": "", "box.webhook.secondary.key": ""})


def test_both_keys_are_secrets() -> None:
    assert all(configuration.is_secret(key) for key in KEYS)


# Read


@pytest.mark.parametrize(
    ("trigger", "note"),
    [
        ("WEBHOOK.DELETED", "Box has deleted a webhook (auto_cleanup)"),
        ("NO_ACTIVE_SESSION", "the token that a webhook was made with has ended"),
    ],
)
async def test_an_end_is_no_event(
    box: BoxAccount, provider: Provider, receiver: httpx.Client, receiver_url: str, trigger: str, note: str
) -> None:
    box.folder("a")
    (hook,) = (await provider().subscribe(receiver_url, "s", [])).ids
    box.control(f"webhooks/{hook}/end", trigger=trigger)
    call = arrived(receiver)
    assert Box.is_genuine(call, None, KEYS)
    said = Box.announced(call)
    assert (said.changes, said.ended, said.note, said.hook) == ([], True, note, hook)


async def test_the_first_version_has_an_owner_and_no_proof(
    box: BoxAccount, receiver: httpx.Client, receiver_url: str
) -> None:
    box.upload("a.txt")
    box.control("webhooks/v1", address=receiver_url, path="/a.txt")
    call = arrived(receiver)
    assert Box.owner_of(call) == ("oauth.user.id", "11446498")
    assert not Box.is_genuine(call, None, KEYS)
    said = Box.announced(call)
    assert (said.changes, said.ended, said.raw["event"]) == ([], False, "uploaded")


def plain(body: bytes, content_type: str = "application/x-www-form-urlencoded; charset=utf-8") -> Call:
    return Call("POST", {"content-type": content_type}, {}, body, datetime.now(UTC))


@pytest.mark.parametrize(
    ("call", "owner"),
    [
        (plain(b"userId=12&event=uploaded"), "12"),
        (plain(b"userId=%5B%2212%22%2C%2213%22%5D"), "12"),
        (plain(b"userId=[]"), None),
        (plain(b"event=uploaded"), None),
        (plain(b"userId=12", "application/json"), None),
        (plain(b"&".join([b"userId=12"] * 200)), None),
        (plain(b"\xff\x00"), None),
    ],
)
def test_an_owner_is_a_number_in_a_form(call: Call, owner: str | None) -> None:
    assert Box.owner_of(call) == (("oauth.user.id", owner) if owner else None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"trigger":""}', b"\xff"])
def test_a_body_that_makes_no_sense_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        Box.announced(plain(body, "application/json"))


TEXT = st.text(st.characters(codec="utf-8"))
ODD = (
    st.none()
    | st.integers()
    | TEXT
    | st.lists(st.integers())
    | st.dictionaries(
        st.sampled_from(["id", "type", "item", "path_collection", "etag", "reason"]), st.none() | TEXT
    )
)


@given(
    st.fixed_dictionaries(
        {"trigger": st.sampled_from(["FILE.UPLOADED", "COMMENT.CREATED", "WEBHOOK.DELETED", "X"])},
        optional=dict.fromkeys(("id", "source", "created_by", "created_at", "additional_info"), ODD),
    )
)
def test_no_call_is_too_strange(body: Json) -> None:
    said = Box.announced(plain(json.dumps(body, ensure_ascii=False).encode(), ""))
    assert all(change.event_id.startswith("webhook:") and change.object_id for change in said.changes)


def test_what_no_database_can_store_is_left_out() -> None:
    body = b'{"trigger":"FILE.RENAMED","id":"1","source":{"type":"file","id":"9","name":"a\\u0000b"}}'
    (change,) = Box.announced(plain(body, "application/json")).changes
    assert change.name == "a\ufffdb"


def test_half_of_a_pair_of_surrogates_is_left_out() -> None:
    body = rb'{"trigger":"FILE.RENAMED","id":"1","source":{"type":"file","id":"9","name":"a\ud83d"}}'
    (change,) = Box.announced(plain(body, "application/json")).changes
    assert change.name == "a\ufffd"


def test_a_body_that_is_too_deep_to_be_stored_is_refused() -> None:
    body = b'{"trigger":"FILE.RENAMED","source":' + b"[" * 300 + b"]" * 300 + b"}"
    with pytest.raises(BadRequest):
        Box.announced(plain(body, "application/json"))


# The whole way


async def test_a_webhook_needs_a_key_that_proves_its_calls(sandbox_url: str, tmp_path: Path) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url="https://gateway.example.com")
    events = {"event.notification.enabled": "true", "event.vendor.type": "webhook"}
    async with gateways.running(settings, sandbox_url) as gateway:
        order = await gateway.order("box", **events)
        answer = await gateway.http.post("/instances", json=order, headers=gateway.platform)
        assert answer.status_code == 400
        assert "configuration.box.webhook.primary.key" in answer.json()["message"]
        await gateway.connect("box", **events, **{"box.webhook.secondary.key": SECONDARY})
        await gateway.connect("box", **events | {"event.notification.enabled": "false"})


async def test_a_signed_call_becomes_an_event_and_an_unsigned_one_a_poll(
    box: BoxAccount,
    receiver: httpx.Client,
    receiver_url: str,
    sandbox_url: str,
    tmp_path: Path,
) -> None:
    """The receiver stands where the gateway would be reached; what it gets is handed on."""
    box.folder("Docs")
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url=receiver_url)
    async with gateways.running(settings, sandbox_url) as gateway:
        events = {"event.notification.enabled": "true", "event.vendor.type": "webhook", **KEYS}
        instance = await gateway.connect("box", **events)
        worker = WebhookWorker(gateway.runtime)
        for row in await worker.claim(10):
            await worker.run(row)
        (hook,) = hooks(box)
        assert hook["address"].endswith(f"/events/box?instance={instance['id']}")
        box.change("upload", "/Docs/a.txt", content="x")
        call = arrived(receiver)
        path = f"/events/box?instance={instance['id']}"
        answer = await gateway.http.post(path, content=call.body, headers=dict(call.headers))
        assert answer.status_code == 200, answer.text
        again = await gateway.http.post(path, content=call.body + b" ", headers=dict(call.headers))
        assert again.status_code == 401
        receiver.delete("/deliveries").raise_for_status()
        box.control("webhooks/v1", address=receiver_url, path="/Docs/a.txt")
        plainly = arrived(receiver)
        hint = await gateway.http.post("/events/box", content=plainly.body, headers=dict(plainly.headers))
        assert hint.status_code == 200, hint.text
        async with gateway.runtime.database.read() as connection:
            found = (await connection.execute(select(Event.key, Event.event_type, Event.change))).all()
        assert [tuple(row) for row in found] == [
            (f"webhook:{orjson.loads(call.body)['id']}", "CREATED", "upload")
        ]
