"""The event stream of the fake Egnyte."""

from itertools import pairwise
from typing import Any

import httpx
import pytest
from acme import Acme

FILE = "/Shared/Docs/a.txt"


def cursor(acme: Acme) -> dict[str, Any]:
    found: dict[str, Any] = acme.http.get("/pubapi/v1/events/cursor").json()
    return found


def poll(acme: Acme, after: int, version: str = "v2", **params: Any) -> httpx.Response:
    return acme.http.get(f"/pubapi/{version}/events", params={"id": after, **params})


def events(acme: Acme, after: int, version: str = "v2", **params: Any) -> list[dict[str, Any]]:
    answer = poll(acme, after, version, **params)
    return [] if answer.status_code == 204 else answer.json()["events"]


def one(acme: Acme, action: str, path: str = "", **order: Any) -> dict[str, Any]:
    """The event of one change."""
    change = acme.change(action, path, **order)
    found = events(acme, change["after_id"], count=100)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def docs(acme: Acme) -> Acme:
    acme.change("folder", "/Shared/Docs")
    acme.change("upload", FILE, content="one")
    return acme


def test_an_idle_stream_answers_204_and_no_body(acme: Acme) -> None:
    answer = poll(acme, cursor(acme)["latest_event_id"])
    assert answer.status_code == 204
    assert answer.content == b""


def test_the_cursor_spans_what_is_kept(docs: Acme) -> None:
    found = cursor(docs)
    assert found["oldest_event_id"] == 4687
    assert found["latest_event_id"] == 4688
    assert found["timestamp"].endswith("Z")


def test_ids_grow_with_gaps(acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", count=30)
    ids = [event["id"] for event in events(acme, 0, count=100)]
    steps = {after - before for before, after in pairwise(ids)}
    assert steps == {1, 3}


def test_pages_join_without_loss_or_repetition(acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", count=120)
    at, seen = 0, list[int]()
    while (answer := poll(acme, at)).status_code == 200:
        page = answer.json()
        assert page["count"] == len(page["events"]) <= 50
        assert page["latest_id"] == page["events"][-1]["id"]
        seen += [event["id"] for event in page["events"]]
        at = page["latest_id"]
    assert len(seen) == len(set(seen)) == 120
    assert seen == sorted(seen)


@pytest.mark.parametrize("params", [{"count": 0}, {"count": 101}, {"id": "x"}, {"suppress": "all"}])
def test_a_parameter_out_of_range_is_refused(acme: Acme, params: dict[str, Any]) -> None:
    refused = acme.http.get("/pubapi/v1/events", params={"id": 1, **params})
    assert refused.status_code == 400
    assert next(iter(params)) in refused.json()["message"]


def test_a_new_file_carries_both_its_ids(docs: Acme) -> None:
    event = one(docs, "upload", "/Shared/Docs/b.txt", source="SyncEngine", user="jsmith")
    seen = docs.http.get("/pubapi/v1/fs/Shared/Docs/b.txt").json()
    assert event["type"] == "file_system"
    assert event["action"] == "create"
    assert event["actor"] == 121
    assert event["action_source"] == "SyncEngine"
    assert event["data"] == {
        "target_path": "/Shared/Docs/b.txt",
        "target_id": seen["entry_id"],
        "target_group_id": seen["group_id"],
        "is_folder": False,
    }


def test_a_new_version_is_a_create_with_the_known_group_id(docs: Acme) -> None:
    before = docs.http.get(f"/pubapi/v1/fs{FILE}").json()
    event = one(docs, "upload", FILE, content="two")
    assert event["action"] == "create"
    assert event["data"]["target_group_id"] == before["group_id"]
    assert event["data"]["target_id"] != before["entry_id"]


def test_a_folder_event_names_the_folder_id_twice(docs: Acme) -> None:
    data = one(docs, "folder", "/Shared/Docs/New")["data"]
    assert data["is_folder"] is True
    assert data["folder_id"] == data["target_id"]
    assert "target_group_id" not in data


@pytest.mark.parametrize(
    ("action", "destination", "named"),
    [("move", "/Shared/b.txt", "move"), ("rename", "/Shared/Docs/b.txt", "rename")],
)
def test_a_move_keeps_the_ids_on_both_sides(docs: Acme, action: str, destination: str, named: str) -> None:
    event = one(docs, action, FILE, destination=destination)
    data = event["data"]
    assert event["action"] == named
    assert (data["source_path"], data["target_path"]) == (FILE, destination)
    assert data["source_id"] == data["target_id"]
    assert data["source_group_id"] == data["target_group_id"]


def test_a_copy_has_new_ids(docs: Acme) -> None:
    data = one(docs, "copy", FILE, destination="/Shared/Docs/b.txt")["data"]
    assert data["source_id"] != data["target_id"]
    assert data["source_group_id"] != data["target_group_id"]


def test_one_event_covers_a_folder_that_moves(docs: Acme) -> None:
    data = one(docs, "move", "/Shared/Docs", destination="/Private/Docs")["data"]
    assert data["is_folder"] is True
    assert data["source_id"] == data["target_id"]
    assert docs.http.get("/pubapi/v1/fs/Private/Docs/a.txt").status_code == 200


def test_a_deleted_file_comes_back_with_its_group_id(docs: Acme) -> None:
    gone = one(docs, "delete", FILE)
    assert gone["action"] == "delete"
    back = one(docs, "restore", FILE)
    assert back["action"] == "restore"
    assert back["data"] == gone["data"]


def test_a_note_makes_an_event(docs: Acme) -> None:
    event = one(docs, "note", FILE, content="nice")
    assert (event["type"], event["action"]) == ("note", "create")
    gone = one(docs, "note_delete", note_id=event["data"]["note_id"])
    assert (gone["type"], gone["action"]) == ("note", "delete")


def test_a_permission_change_tells_what_came_and_what_went(docs: Acme) -> None:
    docs.change("permission", "/Shared/Docs", level="READ")
    event = one(docs, "permission", "/Shared/Docs", level="READWRITE")
    folder = docs.http.get("/pubapi/v1/fs/Shared/Docs").json()
    assert event["data"] == {"target_path": "/Shared/Docs", "is_folder": False}
    attributes = event["eventTypeSpecificAttributes"]
    assert attributes["targetFolderId"] == folder["folder_id"]
    assert attributes["changePermissionEvent"]["changedPermissions"] == [
        {"action": "ADD", "entry": {"subject": "/user/122", "priv": "READWRITE"}},
        {"action": "DELETE", "entry": {"subject": "/user/122", "priv": "READ"}},
    ]


def test_the_first_version_leaves_permission_changes_out_unless_asked(docs: Acme) -> None:
    after = docs.change("permission", "/Shared/Docs")["after_id"]
    assert events(docs, after, "v1") == []
    assert len(events(docs, after, "v1", type="file_system|permission_change")) == 1
    assert len(events(docs, after, "v2")) == 1


def test_a_folder_filter_holds_its_subtree_and_what_left_it(docs: Acme) -> None:
    docs.change("upload", "/Shared/Docs2/x.txt")
    after = docs.change("move", FILE, destination="/Shared/Docs2/a.txt")["after_id"]
    assert len(events(docs, after, folder="/Shared/Docs")) == 1
    assert [event["data"]["target_path"] for event in events(docs, 0, folder="/Shared/Docs/")] == [
        "/Shared/Docs",
        FILE,
        "/Shared/Docs2/a.txt",
    ]


def test_suppress_hides_what_the_caller_did_itself(docs: Acme) -> None:
    after = cursor(docs)["latest_event_id"]
    docs.http.post("/pubapi/v1/fs-content/Shared/Docs/own.txt", content=b"x")
    docs.change("upload", "/Shared/Docs/web.txt", user="jsmith")
    docs.change("upload", "/Shared/Docs/other.txt", user="adoe")
    assert len(events(docs, after, suppress="none")) == 3
    assert len(events(docs, after, suppress="app")) == 2
    assert len(events(docs, after, suppress="user")) == 1


def test_reverse_walks_backwards(acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", count=20)
    everything = [event["id"] for event in events(acme, 0, count=100)]
    assert [event["id"] for event in events(acme, everything[9], count=3, reverse=1)] == everything[7:10]


def test_a_stale_cursor_gets_the_oldest_that_is_left(acme: Acme) -> None:
    first = acme.change("upload", "/Shared/{n}.txt", count=20)["after_id"]
    acme.control("events/drop", before_id=4700)
    page = poll(acme, first).json()
    assert page["oldest_id"] == page["events"][0]["id"] == cursor(acme)["oldest_event_id"] >= 4700


def test_a_stale_cursor_may_also_be_refused(acme: Acme) -> None:
    first = acme.change("upload", "/Shared/{n}.txt", count=20)["after_id"]
    acme.configure(stale_cursor="404")
    assert poll(acme, first).status_code == 200
    acme.control("events/drop", before_id=4700)
    refused = poll(acme, first)
    assert refused.status_code == 404
    assert refused.json() == {"message": "Invalid cursor"}
    assert poll(acme, cursor(acme)["oldest_event_id"] - 1).status_code == 200


def test_an_emptied_stream_goes_on_where_it_was(acme: Acme) -> None:
    latest = acme.change("upload", "/Shared/a.txt", count=5)["latest_id"]
    acme.control("events/drop", before_id="all")
    assert cursor(acme)["latest_event_id"] == cursor(acme)["oldest_event_id"] == latest
    assert poll(acme, 0).status_code == 204
    acme.change("upload", "/Shared/a.txt")
    assert len(events(acme, latest)) == 1


def test_only_the_newest_events_are_kept(acme: Acme) -> None:
    acme.configure(event_retention=10)
    latest = acme.change("upload", "/Shared/{n}.txt", count=500)["latest_id"]
    kept = events(acme, 0, count=100)
    assert len(kept) == 10
    assert kept[-1]["id"] == latest


def test_ten_thousand_changes_are_there_at_once(acme: Acme) -> None:
    change = acme.change("upload", "/Shared/Bulk/{n}.txt", content="text {n}", count=10_000)
    assert change["changes"] == 10_000
    assert acme.http.get("/pubapi/v1/fs-content/Shared/Bulk/9999.txt").text == "text 9999"
    assert len(events(acme, 0, count=100)) == 100


def test_a_change_that_cannot_be_made_is_refused(acme: Acme) -> None:
    refused = acme.steering.post(
        "/control/egnyte/acme/changes", json={"action": "delete", "path": "/Shared/none"}
    )
    assert refused.status_code == 409


def test_domains_do_not_share_their_streams(acme: Acme) -> None:
    acme.steering.put("/control/egnyte/initech", json={"first_event_id": 100}).raise_for_status()
    acme.change("upload", "/Shared/a.txt")
    other = acme.steering.get("/control/egnyte/initech").json()
    assert other["latest_event_id"] == 100
    assert other["events"] == 0
