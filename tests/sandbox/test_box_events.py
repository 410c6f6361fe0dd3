"""The event streams of the fake Box, its long polls, and what can be done to them on purpose."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from box_account import ROOT, Box, Json, done, refused
from processes import PATIENCE, eventually

BEYOND_FLOATS = 2**53


def test_positions_are_texts_that_no_float_holds(box: Box) -> None:
    start = box.get("/events", stream_position="now")
    assert start["entries"] == []
    assert start["chunk_size"] == 0
    assert int(start["next_stream_position"]) > BEYOND_FLOATS
    box.configure(stream_position="integer")
    assert box.get("/events", stream_position="now")["next_stream_position"] == int(
        start["next_stream_position"]
    )


@pytest.mark.parametrize("position", ["0", "null", ""])
def test_the_oldest_events_have_many_names(box: Box, position: str) -> None:
    box.change("upload", "/a.txt")
    assert box.happened(position) == ["ITEM_UPLOAD"]
    assert len(done(box.http.get("/2.0/events"))["entries"]) == 1


def test_a_reader_walks_to_the_end_and_stays_there(box: Box) -> None:
    box.change("upload", "/{n}.txt", count=25)
    box.configure(short_pages=4)
    position, seen = "0", []
    while True:
        page = box.get("/events", stream_position=position, limit=10)
        seen += page["entries"]
        assert page["chunk_size"] == len(page["entries"]) <= 4
        if page["next_stream_position"] == position:
            break
        position = page["next_stream_position"]
    assert [event["source"]["name"] for event in seen] == [f"{n}.txt" for n in range(25)]
    assert len({event["event_id"] for event in seen}) == 25
    assert box.state()["latest_position"] == position


def test_events_that_a_stream_does_not_show_are_passed_over(box: Box) -> None:
    box.change("upload", "/a.txt")
    before = box.now()
    box.change("comment", "/a.txt", content="x")
    page = box.get("/events", stream_position=before, stream_type="changes")
    assert (page["entries"], page["next_stream_position"]) == ([], box.now())


def test_an_event_shows_the_item_as_it_was(box: Box) -> None:
    box.change("upload", "/Docs/a.txt", content="hello")
    box.change("rename", "/Docs/a.txt", destination="b.txt")
    _, uploaded, renamed = box.events()
    assert uploaded["type"] == "event"
    assert uploaded["created_by"]["login"] == "bob@example.com"
    assert uploaded["created_at"].endswith("-08:00")
    source = uploaded["source"]
    assert (source["type"], source["name"], source["sequence_id"], source["size"]) == (
        "file",
        "a.txt",
        "0",
        5,
    )
    assert [above["name"] for above in source["path_collection"]["entries"]] == ["All Files", "Docs"]
    assert (renamed["source"]["name"], renamed["source"]["sequence_id"]) == ("b.txt", "1")
    assert renamed["source"]["id"] == source["id"]


def api_upload(box: Box) -> None:
    box.upload("new.txt")


def api_move(box: Box) -> None:
    target = box.folder("Target")
    file = box.upload("new.txt")
    box.put(f"/files/{file['id']}", {"name": "renamed.txt", "parent": {"id": target["id"]}})


def api_version(box: Box) -> None:
    file = box.upload("new.txt")
    box.add_version(file["id"], b"two")
    old = box.get(f"/files/{file['id']}/versions")["entries"][0]["id"]
    box.post(f"/files/{file['id']}/versions/current", {"id": old, "type": "file_version"})


def api_trash(box: Box) -> None:
    file = box.upload("new.txt")
    box.http.delete(f"/2.0/files/{file['id']}")
    box.post(f"/files/{file['id']}", {})


def api_share(box: Box) -> None:
    url = f"/files/{box.upload('new.txt')['id']}"
    for link in ({"access": "open"}, {"access": "company"}, None, None):
        box.put(url, {"shared_link": link})


def api_lock(box: Box) -> None:
    url = f"/files/{box.upload('new.txt')['id']}"
    for change in ({"lock": {"access": "lock"}}, {"lock": None}, {"tags": ["x"]}, {"description": "y"}):
        box.put(url, change)


def api_comment(box: Box) -> None:
    file = box.upload("new.txt")
    note = box.post("/comments", {"item": {"type": "file", "id": file["id"]}, "message": "m"})
    box.http.delete(f"/2.0/comments/{note['id']}")
    box.read(file["id"])


def api_collaboration(box: Box) -> None:
    wish: Json = {"item": {"type": "folder", "id": box.folder("Docs")["id"]}, "role": "viewer"}
    wish["accessible_by"] = {"type": "user", "login": "bob@example.com"}
    made = box.post("/collaborations", wish)
    box.put(f"/collaborations/{made['id']}", {"role": "editor"})
    box.http.delete(f"/2.0/collaborations/{made['id']}")


def api_copy(box: Box) -> None:
    docs = box.folder("Docs")
    box.upload("a.txt", b"x", docs["id"])
    box.post(f"/folders/{docs['id']}/copy", {"parent": {"id": ROOT}, "name": "Twin"})


@pytest.mark.parametrize(
    ("act", "types"),
    [
        (api_upload, ["ITEM_UPLOAD"]),
        (api_move, ["ITEM_CREATE", "ITEM_UPLOAD", "ITEM_MOVE", "ITEM_RENAME"]),
        (api_version, ["ITEM_UPLOAD", "ITEM_UPLOAD", "ITEM_MAKE_CURRENT_VERSION"]),
        (api_trash, ["ITEM_UPLOAD", "ITEM_TRASH", "ITEM_UNDELETE_VIA_TRASH"]),
        (api_share, ["ITEM_UPLOAD", "ITEM_SHARED_CREATE", "ITEM_SHARED", "ITEM_SHARED_UNSHARE"]),
        (api_lock, ["ITEM_UPLOAD", "LOCK_CREATE", "LOCK_DESTROY", "TAG_ITEM_CREATE"]),
        (api_comment, ["ITEM_UPLOAD", "COMMENT_CREATE", "COMMENT_DELETE", "ITEM_DOWNLOAD"]),
        (
            api_collaboration,
            ["ITEM_CREATE", "COLLAB_ADD_COLLABORATOR", "COLLAB_ROLE_CHANGE", "COLLAB_REMOVE_COLLABORATOR"],
        ),
        (api_copy, ["ITEM_CREATE", "ITEM_UPLOAD", "ITEM_COPY"]),
    ],
)
def test_what_the_api_changes_is_in_the_stream(
    box: Box, act: Callable[[Box], None], types: list[str]
) -> None:
    act(box)
    assert box.happened() == types


def test_the_control_routes_can_do_what_people_do(box: Box) -> None:
    box.change("upload", "/Docs/a.txt", content="x")
    box.change("upload", "/Docs/a.txt", content="y")
    box.change("promote", "/Docs/a.txt")
    box.change("move", "/Docs/a.txt", destination="/Other/b.txt")
    box.change("copy", "/Other/b.txt", destination="/Other/c.txt")
    for action in ("lock", "unlock", "share", "unshare", "download"):
        box.change(action, "/Other/b.txt")
    box.change("tag", "/Other/b.txt", content="red")
    box.change("describe", "/Other/b.txt", content="words")
    box.change("collaborate", "/Other", login="guest@example.org")
    box.change("web_link", "/link", content="https://example.com")
    box.change("folder", "/Empty")
    box.change("comment", "/Other/b.txt", content="x")
    note = box.events(box.now()) or box.get(f"/files/{find(box, 'Other', 'b.txt')}/comments")["entries"]
    box.change("comment_delete", comment_id=note[0]["id"])
    box.change("delete", "/Other/b.txt")
    box.change("restore", "/Other/b.txt")
    box.change("delete", "/Other/b.txt")
    box.change("purge", "/Other/b.txt")
    assert box.happened() == [
        "ITEM_CREATE", "ITEM_UPLOAD", "ITEM_UPLOAD", "ITEM_MAKE_CURRENT_VERSION", "ITEM_CREATE", "ITEM_MOVE",
        "ITEM_RENAME", "ITEM_COPY", "LOCK_CREATE", "LOCK_DESTROY", "ITEM_SHARED_CREATE",
        "ITEM_SHARED_UNSHARE", "ITEM_DOWNLOAD", "TAG_ITEM_CREATE", "COLLAB_INVITE_COLLABORATOR",
        "ITEM_CREATE", "ITEM_CREATE", "COMMENT_CREATE", "COMMENT_DELETE", "ITEM_TRASH",
        "ITEM_UNDELETE_VIA_TRASH", "ITEM_TRASH",
    ]  # fmt: skip


def find(box: Box, *names: str) -> str:
    found = ROOT
    for name in names:
        entries = box.get(f"/folders/{found}/items")["entries"]
        found = next(entry["id"] for entry in entries if entry["name"] == name)
    return found


def test_an_order_that_cannot_be_carried_out_is_refused(box: Box) -> None:
    missing = {"action": "delete", "path": "/none"}
    assert box.steering.post("/control/box/changes", json=missing).status_code == 409
    nobody = {"action": "folder", "path": "/x", "user": "nobody"}
    assert box.steering.post("/control/box/changes", json=nobody).status_code == 422


def test_administrators_see_items_in_their_own_form(box: Box) -> None:
    box.change("upload", "/Docs/a.txt", content="hello")
    box.change("comment", "/Docs/a.txt", content="x")
    box.change("describe", "/Docs/a.txt", content="words")
    created, uploaded, commented, described = box.events(stream_type="admin_logs")
    assert created["source"]["item_type"] == "folder"
    assert uploaded["source"]["item_name"] == commented["source"]["item_name"] == "a.txt"
    assert uploaded["source"]["parent"]["name"] == "Docs"
    assert uploaded["additional_details"]["size"] == 5
    assert described["event_type"] == "ITEM_MODIFY"
    assert uploaded["event_id"] == box.events(stream_type="admin_logs_streaming")[1]["event_id"]
    bob = {"stream_type": "admin_logs"}
    answer = box.http.get("/2.0/events", params=bob, headers=box.as_user("bob"))
    refused(answer, 403, "access_denied_insufficient_permissions")


def test_administrators_filter_by_type_and_time(box: Box) -> None:
    box.change("upload", "/a.txt")
    box.change("delete", "/a.txt")
    only = {"stream_type": "admin_logs", "event_type": "DELETE,MOVE"}
    assert box.happened(**only) == ["DELETE"]
    later = {"created_after": "2999-01-01T00:00:00Z"}
    assert box.happened(stream_type="admin_logs", **later) == []
    assert box.happened(stream_type="admin_logs", created_before="2999-01-01T00:00:00Z") == [
        "UPLOAD",
        "DELETE",
    ]
    assert len(box.happened(stream_type="admin_logs_streaming", **later)) == 2
    assert box.happened(event_type="DELETE") == ["ITEM_UPLOAD", "ITEM_TRASH"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "501"}, "invalid_limit"),
        ({"stream_position": "yesterday"}, "bad_request"),
        ({"stream_type": "none"}, "bad_request"),
    ],
)
def test_a_question_that_is_not_understood_is_refused(box: Box, params: dict[str, str], code: str) -> None:
    refused(box.http.get("/2.0/events", params=params), 400, code)


def test_a_position_can_be_too_old(box: Box) -> None:
    first = box.change("upload", "/{n}.txt", count=5)["after_position"]
    second = box.events()[0]
    dropped = box.control("events/drop", before="all")
    assert dropped["dropped"] == 5
    box.change("upload", "/new.txt")
    assert box.happened(first) == ["ITEM_UPLOAD"]
    assert second["event_id"] not in {event["event_id"] for event in box.events(first)}
    box.configure(stale_position="400")
    refused(box.http.get("/2.0/events", params={"stream_position": first}), 400, "bad_request")
    box.configure(event_retention=0)
    assert box.events() == []


def test_events_come_twice_and_out_of_order_on_demand(box: Box) -> None:
    box.change("upload", "/{n}.txt", count=3)
    for kind, names in (("duplicate_events", "001122"), ("reorder_events", "210"), (None, "012")):
        if kind is not None:
            box.fault(kind)
        assert "".join(event["source"]["name"][0] for event in box.events()) == names


def realtime(box: Box, **params: str) -> str:
    entry = done(box.http.options("/2.0/events", params=params))["entries"][0]
    assert (entry["type"], entry["ttl"], entry["max_retries"]) == ("realtime_server", "10", "10")
    assert entry["retry_timeout"] == 610
    assert entry["url"].startswith(f"{box.url}/subscribe?channel=")
    return str(entry["url"])


def poll(url: str, position: str) -> Any:
    # Whoever has the address may wait: it carries a secret itself.
    return done(httpx.get(f"{url}&stream_position={position}"))["message"]


def test_a_long_poll_answers_at_once_when_there_is_something(box: Box) -> None:
    position = box.now()
    box.change("upload", "/a.txt")
    assert poll(realtime(box), position) == "new_change"


def test_a_long_poll_is_woken_by_a_change(box: Box) -> None:
    box.configure(long_poll_seconds=900)
    url, position = realtime(box), box.now()
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(poll, url, position)
        eventually(lambda: box.held("/subscribe"), "the long poll")
        time.sleep(0.1)
        assert not heard.done()
        box.change("folder", "/Docs")
        assert heard.result(PATIENCE) == "new_change"


@pytest.mark.parametrize("end", ["reconnect", "max_retries"])
def test_a_long_poll_ends(box: Box, end: str) -> None:
    box.configure(long_poll_seconds=0.05, long_poll_end=end)
    assert poll(realtime(box), box.now()) == end


def test_a_long_poll_waits_for_its_own_stream(box: Box) -> None:
    box.change("upload", "/a.txt")
    box.configure(long_poll_seconds=0.05)
    position = box.now()
    box.change("comment", "/a.txt", content="x")
    assert poll(realtime(box, stream_type="changes"), position) == "reconnect"
    assert poll(realtime(box, stream_type="all"), position) == "new_change"


def test_somebody_who_stops_waiting_does_no_harm(box: Box) -> None:
    box.configure(long_poll_seconds=900)
    url = urlsplit(realtime(box))
    question = f"GET {url.path}?{url.query}&stream_position={box.now()} HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection((str(url.hostname), url.port or 80)) as wire:
        wire.sendall(question.encode())
        eventually(lambda: box.held("/subscribe"), "the long poll")
    eventually(lambda: not box.held("/subscribe"), "the end of the long poll")
    box.change("folder", "/Docs")
    assert box.happened() == ["ITEM_CREATE"]


@pytest.mark.parametrize(
    ("kind", "status"), [("429", 429), ("500", 500), ("503", 503), ("401", 401), ("404", 404), ("409", 409)]
)
def test_an_answer_can_be_refused(box: Box, kind: str, status: int) -> None:
    box.fault(kind, retry_after=2, path="/2.0/users")
    assert box.http.get("/2.0/folders/0").status_code == 200
    answer = box.http.get("/2.0/users/me")
    assert answer.status_code == status
    if status == 401:
        assert answer.content == b""
    else:
        assert answer.json()["status"] == status
        assert answer.headers["retry-after"] == "2"
    assert box.http.get("/2.0/users/me").status_code == 200


def test_an_answer_can_be_broken(box: Box) -> None:
    box.fault("html")
    assert box.http.get("/2.0/users/me").headers["content-type"].startswith("text/html")
    box.fault("bad_json")
    with pytest.raises(ValueError, match="Expecting"):
        box.http.get("/2.0/users/me").json()
    for kind in ("cut", "cut_midway"):
        box.fault(kind)
        with pytest.raises(httpx.RemoteProtocolError):
            box.http.get("/2.0/users/me")
    box.fault("slow", seconds=0.1)
    began = time.monotonic()
    assert box.http.get("/2.0/users/me").status_code == 200
    assert time.monotonic() - began >= 0.1
    box.fault("expire_tokens")
    assert box.http.get("/2.0/users/me").status_code == 401


def test_a_refresh_can_be_refused(box: Box) -> None:
    box.fault("invalid_grant", path="/oauth2/token")
    answer = box.http.post("/oauth2/token", data={"grant_type": "refresh_token"})
    assert answer.json() == {"error": "invalid_grant", "error_description": "Refresh token has expired"}


def test_a_fault_has_to_be_known_and_can_be_taken_back(box: Box) -> None:
    assert box.steering.post("/control/box/faults", json={"kind": "flood"}).status_code == 422
    box.fault("500", times=None)
    kinds = box.steering.get("/control/box/faults").json()["kinds"]
    assert {"429", "slow", "cut_midway", "duplicate_events"} <= set(kinds)
    box.steering.delete("/control/box/faults").raise_for_status()
    assert box.http.get("/2.0/users/me").status_code == 200


def test_a_user_can_only_call_so_often(box: Box) -> None:
    box.configure(rate_limit=2, rate_window_seconds=3600)
    statuses = [box.http.get("/2.0/users/me").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    limited = box.http.get("/2.0/users/me")
    refused(limited, 429, "rate_limit_exceeded")
    assert box.http.get("/2.0/users/me", headers=box.as_user("bob")).status_code == 200
    assert 3600 - PATIENCE < float(limited.headers["retry-after"]) <= 3600
    box.configure(rate_window_seconds=0.01)
    time.sleep(0.02)
    assert box.http.get("/2.0/users/me").status_code == 200


def test_settings_are_checked(box: Box) -> None:
    for wrong in ({"long_poll_seconds": 0}, {"unknown": 1}, {"stream_position": "float"}):
        assert box.steering.patch("/control/box/settings", json=wrong).status_code == 422


def test_everything_can_be_put_back(box: Box) -> None:
    box.change("upload", "/a.txt")
    box.configure(rate_limit=1)
    box.steering.post("/control/reset").raise_for_status()
    assert box.state()["events"] == 0
    assert box.http.get("/2.0/users/me").status_code == 401
    fresh = box.http.get("/2.0/folders/0/items", headers=box.as_user("ann"))
    assert fresh.json()["total_count"] == 0
