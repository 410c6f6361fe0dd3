"""What happens to deleted files and folders of the fake Egnyte."""

from typing import Any

import httpx
import pytest
from acme import Acme

TRASH = "/pubapi/v1/fs/trash"


@pytest.fixture
def deleted(acme: Acme) -> Acme:
    acme.change("upload", "/Shared/A/a.txt", content="one")
    acme.change("upload", "/Shared/B/b.txt", content="two")
    acme.http.delete("/pubapi/v1/fs/Shared/A/a.txt").raise_for_status()
    acme.change("delete", "/Shared/B", user="adoe")
    return acme


def items(acme: Acme, **params: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = acme.http.get(TRASH, params=params).json()["items"]
    return found


def order(acme: Acme, action: str, *ids: str) -> httpx.Response:
    return acme.http.post(TRASH, json={"action": action, "ids": ids})


def test_the_trash_lists_the_newest_first(deleted: Acme) -> None:
    folder, file = items(deleted)
    assert isinstance(file.pop("deletion_date"), int)
    assert isinstance(file.pop("entry_id"), str)
    assert file == {
        "id": file["group_id"],
        "group_id": file["id"],
        "name": "a.txt",
        "path": "/Shared/A/a.txt",
        "is_folder": False,
        "size": 3,
        "deleted_by": "jsmith",
    }
    assert (folder["path"], folder["is_folder"], folder["deleted_by"]) == ("/Shared/B", True, "adoe")
    assert folder["folder_id"] == folder["id"]
    page = deleted.http.get(TRASH, params={"offset": 1, "count": 1}).json()
    assert (page["offset"], page["count"], page["total_count"]) == (1, 1, 2)
    assert page["items"][0]["id"] == file["id"]
    assert deleted.http.get(TRASH, params={"count": 0}).status_code == 400


def test_what_is_restored_is_back_under_its_id(deleted: Acme) -> None:
    folder, file = items(deleted)
    back = order(deleted, "RESTORE", file["id"], folder["id"]).json()
    assert back == {
        "action": "RESTORE",
        "items": [
            {"id": file["id"], "path": "/Shared/A/a.txt"},
            {"id": folder["id"], "path": "/Shared/B"},
        ],
    }
    assert items(deleted) == []
    assert deleted.http.get("/pubapi/v1/fs-content/Shared/B/b.txt").content == b"two"
    assert deleted.http.get(f"/pubapi/v1/fs/ids/file/{file['id']}").status_code == 200
    latest = deleted.http.get("/pubapi/v1/events/cursor").json()["latest_event_id"]
    event = deleted.http.get(f"/pubapi/v2/events?id={latest - 1}").json()["events"][0]
    assert (event["action"], event["data"]["folder_id"]) == ("restore", folder["id"])


def test_a_parent_that_is_gone_comes_back_too(deleted: Acme) -> None:
    deleted.change("delete", "/Shared/A")
    file = next(item for item in items(deleted) if not item["is_folder"])
    assert order(deleted, "RESTORE", file["id"]).status_code == 200
    assert deleted.http.get("/pubapi/v1/fs-content/Shared/A/a.txt").content == b"one"


def test_nothing_is_restored_over_something_else(deleted: Acme) -> None:
    deleted.change("upload", "/Shared/A/a.txt", content="new")
    assert order(deleted, "RESTORE", items(deleted)[1]["id"]).status_code == 409
    assert len(items(deleted)) == 2


def test_what_is_purged_never_comes_back(deleted: Acme) -> None:
    folder, file = items(deleted)
    assert order(deleted, "PURGE", file["id"]).json()["items"] == [
        {"id": file["id"], "path": "/Shared/A/a.txt"}
    ]
    assert [item["id"] for item in items(deleted)] == [folder["id"]]
    assert order(deleted, "RESTORE", file["id"]).status_code == 404


def test_an_unknown_id_spoils_the_whole_order(deleted: Acme) -> None:
    folder, _ = items(deleted)
    assert order(deleted, "PURGE", folder["id"], "none").status_code == 404
    assert order(deleted, "BURN", folder["id"]).status_code == 400
    assert order(deleted, "PURGE").status_code == 400
    assert len(items(deleted)) == 2


def test_a_restore_by_path_empties_the_trash_as_well(deleted: Acme) -> None:
    deleted.change("restore", "/Shared/B")
    assert [item["name"] for item in items(deleted)] == ["a.txt"]
    deleted.change("delete", "/Shared/B")
    assert len(items(deleted)) == 2
