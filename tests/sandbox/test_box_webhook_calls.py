"""The webhooks of the fake Box: what may be asked for, when it calls, and that Box's own SDK believes it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from box_account import ROOT, Box, Json, refused
from box_sdk_gen import BaseUrls, BoxClient, BoxDeveloperTokenAuth
from box_sdk_gen.managers.webhooks import (
    CreateWebhookTarget,
    CreateWebhookTargetTypeField,
    CreateWebhookTriggers,
    UpdateWebhookByIdTriggers,
    WebhooksManager,
)
from processes import eventually

from app.sandbox.box import webhook_calls
from app.sandbox.box import webhooks as module

PRIMARY, SECONDARY = "sandbox-primary-key", "sandbox-secondary-key"


class Listener:
    """A webhook on a folder, and what has come for it."""

    def __init__(self, box: Box, receiver: httpx.Client, url: str) -> None:
        self.box = box
        self.receiver = receiver
        self.url = url
        self.folder = box.folder("Docs")

    def on(self, *triggers: str, target: Json | None = None) -> Json:
        item = target or self.folder
        body = {"target": {"id": item["id"], "type": item["type"]}, "address": f"{self.url}/hook"}
        return self.box.post("/webhooks", body | {"triggers": list(triggers)})

    def calls(self, count: int = 1) -> list[Any]:
        """The calls, as soon as there are so many; then none more may be on its way."""
        found = eventually(lambda: self._arrived(count), f"{count} calls")
        assert len(found) == count, found
        return found

    def _arrived(self, count: int) -> list[Any]:
        found = list(self.receiver.get("/deliveries").json())
        return found if len(found) >= count else []

    def triggers(self, count: int = 1) -> list[str]:
        return sorted(call["json"]["trigger"] for call in self.calls(count))

    def fault(self, kind: str, times: int | None = 1) -> None:
        self.box.control("webhooks/faults", kind=kind, times=times)


@pytest.fixture
def listener(box: Box, receiver: httpx.Client, receiver_url: str) -> Listener:
    box.configure(webhook_retry_seconds=0.05)
    return Listener(box, receiver, receiver_url)


def is_valid(call: Any, primary: str | None = PRIMARY, secondary: str | None = SECONDARY) -> bool:
    check = WebhooksManager.validate_message
    body, headers = call["body"], call["headers"]
    return bool(check(body, headers, primary or "another key", secondary_key=secondary))


def attempts(box: Box) -> list[int | None]:
    """How each call was answered, as far as the fake Box knows it."""
    return [attempt["status"] for attempt in box.steering.get("/control/box/webhooks/calls").json()["calls"]]


def settled() -> None:
    """Nothing more is on its way, on a machine that is quick: on another one it may go unseen."""
    time.sleep(0.3)


# What may be asked for


def test_the_sdk_makes_looks_at_changes_and_ends_a_webhook(box: Box) -> None:
    auth = BoxDeveloperTokenAuth(token=box.token()["access_token"])
    client = BoxClient(auth=auth).with_custom_base_urls(BaseUrls(base_url=box.url))
    folder = box.folder("Docs")
    target = CreateWebhookTarget(id=folder["id"], type=CreateWebhookTargetTypeField.FOLDER)
    trigger = CreateWebhookTriggers.FILE_UPLOADED
    made = client.webhooks.create_webhook(target, "https://example.com/hook", [trigger])
    assert made.id
    found = client.webhooks.get_webhook_by_id(made.id)
    assert (found.address, found.created_at) == ("https://example.com/hook", made.created_at)
    assert [str(item) for item in found.triggers or []] == [str(item) for item in made.triggers or []]
    listed = client.webhooks.get_webhooks().entries
    assert [(entry.id, entry.target and entry.target.id) for entry in listed or []] == [
        (made.id, folder["id"])
    ]
    renamed = UpdateWebhookByIdTriggers.FILE_RENAMED
    changed = client.webhooks.update_webhook_by_id(made.id, triggers=[renamed])
    assert box.get(f"/webhooks/{changed.id}")["triggers"] == ["FILE.RENAMED"]
    client.webhooks.delete_webhook_by_id(made.id)
    assert client.webhooks.get_webhooks().entries == []


def test_an_item_has_one_webhook_for_each_app_and_user(box: Box, listener: Listener) -> None:
    made = listener.on("FILE.UPLOADED")
    body = {key: made[key] for key in ("target", "address", "triggers")}
    refused(box.http.post("/2.0/webhooks", json=body), 409, "conflict")
    other = box.http.post("/2.0/webhooks", json=body, headers=box.as_user("bob"))
    assert other.status_code == 201
    path = f"/2.0/webhooks/{made['id']}"
    refused(box.http.get(path, headers=box.as_user("bob")), 404, "not_found")
    assert [entry["id"] for entry in box.get("/webhooks")["entries"]] == [made["id"]]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"target": {"id": ROOT, "type": "folder"}}, 400),
        ({"target": {"id": "77", "type": "folder"}}, 404),
        ({"target": {"id": "77", "type": "web_link"}}, 400),
        ({"triggers": ["FILE.SOLD"]}, 400),
        ({"triggers": []}, 400),
        ({"address": "example.com"}, 400),
    ],
)
def test_a_wrong_wish_is_refused(box: Box, change: Json, status: int) -> None:
    target = {"id": box.folder("Docs")["id"], "type": "folder"}
    body: Json = {"target": target, "address": "https://example.com/", "triggers": ["FILE.UPLOADED"]}
    assert box.http.post("/2.0/webhooks", json=body | change).status_code == status
    assert box.get("/webhooks")["entries"] == []


def test_there_is_a_limit_and_a_list_in_pages(
    box: Box, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    ids = [listener.on("FILE.UPLOADED", target=box.folder(name))["id"] for name in "ab"]
    folder = box.folder("c")
    body = {"target": {"id": folder["id"], "type": "folder"}, "address": "http://x/", "triggers": ["x"]}
    assert box.http.post("/2.0/webhooks", json=body | {"triggers": ["FILE.MOVED"]}).status_code == 400
    first = box.get("/webhooks", limit=1)
    second = box.get("/webhooks", limit=1, marker=first["next_marker"])
    assert [page["entries"][0]["id"] for page in (first, second)] == ids
    assert second["next_marker"] is None


# When it calls


def test_what_happens_anywhere_below_the_folder_is_called_for(box: Box, listener: Listener) -> None:
    webhook = listener.on("FILE.UPLOADED")
    box.change("upload", "/Other/a.txt", content="x")
    box.change("upload", "/Docs/deep/down/a.txt", content="hello")
    (call,) = listener.calls()
    body = call["json"]
    assert (body["type"], body["trigger"]) == ("webhook_event", "FILE.UPLOADED")
    assert body["webhook"] == {"id": webhook["id"], "type": "webhook"}
    assert body["created_by"]["login"] == "bob@example.com"
    assert (body["source"]["name"], body["source"]["size"]) == ("a.txt", 5)
    assert [above["name"] for above in body["source"]["path_collection"]["entries"]] == [
        "All Files",
        "Docs",
        "deep",
        "down",
    ]


def test_every_change_has_its_trigger(box: Box, listener: Listener) -> None:
    listener.on(*sorted(webhook_calls.TRIGGERS))
    box.change("folder", "/Docs/f")
    box.change("upload", "/Docs/a.txt", content="x")
    box.change("rename", "/Docs/a.txt", destination="b.txt")
    box.change("move", "/Docs/b.txt", destination="/Docs/f/b.txt")
    box.change("copy", "/Docs/f", destination="/Docs/g")
    for action in ("lock", "unlock", "share", "unshare", "download", "collaborate"):
        box.change(action, "/Docs/f/b.txt")
    box.change("comment", "/Docs/f/b.txt", content="look")
    for action in ("delete", "restore", "delete", "purge"):
        box.change(action, "/Docs/f/b.txt")
    for action in ("delete", "restore", "delete", "purge"):
        box.change(action, "/Docs/f")
    assert listener.triggers(21) == sorted([
        "FOLDER.CREATED", "FILE.UPLOADED", "FILE.RENAMED", "FILE.MOVED", "FILE.UPLOADED", "FOLDER.COPIED",
        "FILE.LOCKED", "FILE.UNLOCKED", "SHARED_LINK.CREATED", "SHARED_LINK.DELETED", "FILE.DOWNLOADED",
        "COLLABORATION.CREATED", "COMMENT.CREATED", "FILE.TRASHED", "FILE.RESTORED", "FILE.TRASHED",
        "FILE.DELETED", "FOLDER.TRASHED", "FOLDER.RESTORED", "FOLDER.TRASHED", "FOLDER.DELETED",
    ])  # fmt: skip


def test_metadata_and_words_of_comments_are_called_for(box: Box, listener: Listener) -> None:
    listener.on("METADATA_INSTANCE.CREATED", "COMMENT.UPDATED")
    file = box.upload("a.txt", parent=listener.folder["id"])
    box.post(f"/files/{file['id']}/metadata/global/properties", {"colour": "red"})
    note = box.post("/comments", {"item": {"type": "file", "id": file["id"]}, "message": "m"})
    box.put(f"/comments/{note['id']}", {"message": "n"})
    assert listener.triggers(2) == ["COMMENT.UPDATED", "METADATA_INSTANCE.CREATED"]


def test_a_webhook_on_a_file_is_about_that_file(box: Box, listener: Listener) -> None:
    one, other = (box.upload(name, parent=listener.folder["id"]) for name in ("one.txt", "other.txt"))
    listener.on("FILE.RENAMED", target=one)
    for file in (other, one):
        box.put(f"/files/{file['id']}", {"name": f"new {file['name']}"})
    assert listener.calls()[0]["json"]["source"]["id"] == one["id"]


def test_an_ended_webhook_calls_no_more(box: Box, listener: Listener) -> None:
    webhook = listener.on("FILE.UPLOADED")
    box.change("upload", "/Docs/a.txt")
    listener.calls()
    assert box.http.delete(f"/2.0/webhooks/{webhook['id']}").status_code == 204
    box.change("upload", "/Docs/b.txt")
    settled()
    listener.calls()


# What a call looks like


def test_the_sdk_believes_either_signature(box: Box, listener: Listener) -> None:
    listener.on("FILE.UPLOADED")
    box.change("upload", "/Docs/ü.txt", content="x")
    (call,) = listener.calls()
    headers = call["headers"]
    assert headers["user-agent"] == "Box-WH-Client/0.1"
    assert (headers["box-signature-version"], headers["box-signature-algorithm"]) == ("1", "HmacSHA256")
    assert is_valid(call)
    assert is_valid(call, secondary="another key")
    assert is_valid(call, primary=None)
    assert not is_valid(call, primary=None, secondary="another key")
    assert not is_valid({**call, "body": call["body"] + " "})


def test_keys_can_be_replaced(box: Box, listener: Listener) -> None:
    answer = box.steering.put("/control/box/webhooks/keys", json={"primary": "new", "secondary": None})
    assert answer.json() == {"primary": "new", "secondary": None}
    listener.on("FILE.UPLOADED")
    box.change("upload", "/Docs/a.txt")
    (call,) = listener.calls()
    assert "box-signature-secondary" not in call["headers"]
    assert is_valid(call, primary="new")
    assert not is_valid(call)


def test_a_failed_call_is_made_again_under_another_delivery_id(
    box: Box, listener: Listener, receiver: httpx.Client
) -> None:
    receiver.post("/control", json={"status": 500, "times": 2})
    listener.on("FILE.UPLOADED")
    box.change("upload", "/Docs/a.txt")
    calls = listener.calls(3)
    assert len({call["json"]["id"] for call in calls}) == 1
    assert len({call["headers"]["box-delivery-id"] for call in calls}) == 3
    eventually(lambda: len(attempts(box)) >= 3, "the answer of the last call")
    settled()
    assert attempts(box) == [500, 500, 200]


def test_nobody_at_the_address_is_a_call_without_status(box: Box, listener: Listener) -> None:
    listener.url = "http://127.0.0.1:9"
    listener.on("FILE.UPLOADED")
    box.configure(webhook_retries=0)
    box.change("upload", "/Docs/a.txt")
    assert eventually(lambda: attempts(box), "a call") == [None]


def test_calls_can_go_wrong(box: Box, listener: Listener) -> None:
    listener.on("FILE.UPLOADED")
    for kind in ("drop", "duplicate", "tamper", "stale"):
        listener.fault(kind)
    for name in ("dropped", "doubled", "tampered", "late", "well"):
        box.change("upload", f"/Docs/{name}")
    found: dict[str, list[Any]] = {}
    for call in listener.calls(5):
        found.setdefault(call["json"]["source"]["name"], []).append(call)
    assert {name: [is_valid(call) for call in calls] for name, calls in found.items()} == {
        "doubled": [True, True],
        "tampered": [False],
        "late": [False],
        "well": [True],
    }
    first, again = found["doubled"]
    assert first["json"]["id"] == again["json"]["id"]


def test_faults_of_calls_can_be_taken_back(box: Box, listener: Listener) -> None:
    listener.on("FILE.UPLOADED")
    listener.fault("drop", None)
    box.steering.delete("/control/box/webhooks/faults").raise_for_status()
    box.change("upload", "/Docs/a.txt")
    assert is_valid(*listener.calls())


@pytest.mark.parametrize(
    ("trigger", "more"),
    [("WEBHOOK.DELETED", {"reason": "auto_cleanup"}), ("NO_ACTIVE_SESSION", [])],
)
def test_a_webhook_says_when_it_ends(box: Box, listener: Listener, trigger: str, more: Any) -> None:
    webhook = listener.on("FILE.UPLOADED")
    box.control(f"webhooks/{webhook['id']}/end", trigger=trigger)
    (call,) = listener.calls()
    assert (call["json"]["trigger"], call["json"]["additional_info"]) == (trigger, more)
    assert is_valid(call)
    assert box.get("/webhooks")["entries"] == []
    assert box.steering.get("/control/box/webhooks").json() == []


def test_the_first_version_is_an_unsigned_form(box: Box, listener: Listener) -> None:
    file = box.upload("a.txt", parent=listener.folder["id"])
    box.control("webhooks/v1", address=f"{listener.url}/v1", path="/Docs/a.txt")
    (call,) = listener.calls()
    assert call["headers"]["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(call["body"], keep_blank_values=True)
    assert form == {
        "userId": ['["11446498"]'],
        "event": ["uploaded"],
        "itemId": [file["id"]],
        "itemType": ["file"],
        "newItemId": [""],
    }
    assert not [name for name in call["headers"] if name.startswith("box-signature")]
