"""The file system of the fake Egnyte, where the SDK does not reach."""

import hashlib
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from acme import Acme

ODD = "Ä ü&%41+#?=;,'\"🎉 100%.txt"


def put(
    acme: Acme, path: str, content: bytes = b"content", headers: dict[str, str] | None = None
) -> httpx.Response:
    return acme.http.post(f"/pubapi/v1/fs-content{quote(path)}", content=content, headers=headers)


def look(acme: Acme, path: str, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = acme.http.get(f"/pubapi/v1/fs{quote(path)}", params=params).json()
    return found


def act(acme: Acme, path: str, **body: Any) -> httpx.Response:
    # Labelled as the SDK labels it after it has fetched a token.
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = acme.http.build_request("POST", f"/pubapi/v1/fs{quote(path)}", json=body, headers=headers)
    return acme.http.send(request)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_odd_names_survive_every_way(acme: Acme, version: str) -> None:
    path = f"/Shared/{ODD}/{ODD}"
    assert act(acme, f"/Shared/{ODD}", action="add_folder").status_code == 201
    assert put(acme, path, b"odd").status_code == 200
    assert acme.http.get(f"/pubapi/v1/fs-content{quote(path)}").content == b"odd"
    found = acme.http.get(f"/pubapi/{version}/fs{quote(path)}").json()
    assert (found["name"], found["path"]) == (ODD, path)
    assert act(acme, path, action="move", destination=f"/Shared/{ODD} 2").status_code == 200
    assert look(acme, f"/Shared/{ODD} 2")["name"] == f"{ODD} 2"


def test_an_upload_answers_checksum_and_ids(acme: Acme) -> None:
    answer = put(acme, "/Shared/a.txt", headers={"Last-Modified": "Mon, 05 Jan 2026 10:00:00 GMT"})
    body, found = answer.json(), look(acme, "/Shared/a.txt")
    assert body["checksum"] == hashlib.sha512(b"content").hexdigest()
    assert answer.headers["x-sha512-checksum"] == body["checksum"]
    assert answer.headers["etag"].strip('"') == body["entry_id"] == found["entry_id"]
    assert body["group_id"] == found["group_id"]
    assert found["last_modified"] == "Mon, 05 Jan 2026 10:00:00 GMT"


def test_an_upload_with_a_wrong_checksum_is_refused(acme: Acme) -> None:
    assert put(acme, "/Shared/a.txt", headers={"X-Sha512-Checksum": "0"}).status_code == 400
    assert acme.http.get("/pubapi/v1/fs/Shared/a.txt").status_code == 404


def test_a_form_may_carry_the_file(acme: Acme) -> None:
    answer = acme.http.post("/pubapi/v1/fs-content/Shared/a.txt", files={"file": ("x", b"formed")})
    assert answer.status_code == 200
    assert acme.http.get("/pubapi/v1/fs-content/Shared/a.txt").content == b"formed"


def test_older_versions_stay_readable(acme: Acme) -> None:
    first = put(acme, "/Shared/a.txt", b"one").json()
    second = put(acme, "/Shared/a.txt", b"two").json()
    found = look(acme, "/Shared/a.txt")
    assert first["group_id"] == second["group_id"]
    assert found["num_versions"] == 2
    assert [version["entry_id"] for version in found["versions"]] == [first["entry_id"]]
    old = acme.http.get("/pubapi/v1/fs-content/Shared/a.txt", params={"entry_id": first["entry_id"]})
    assert old.content == b"one"
    by_id = f"/pubapi/v1/fs-content/ids/file/{first['group_id']}"
    assert acme.http.get(by_id).content == b"two"


def test_one_version_can_be_deleted_but_not_the_last(acme: Acme) -> None:
    first = put(acme, "/Shared/a.txt", b"one").json()["entry_id"]
    second = put(acme, "/Shared/a.txt", b"two").json()["entry_id"]
    url = "/pubapi/v1/fs/Shared/a.txt"
    assert acme.http.delete(url, params={"entry_id": second}).status_code == 200
    assert acme.http.get("/pubapi/v1/fs-content/Shared/a.txt").content == b"one"
    assert acme.http.delete(url, params={"entry_id": first}).status_code == 403


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=1-3", 206, b"123"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=10-", 416, b""),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_a_range_is_cut_out(acme: Acme, asked: str, status: int, content: bytes) -> None:
    put(acme, "/Shared/a.txt", b"0123456789")
    answer = acme.http.get("/pubapi/v1/fs-content/Shared/a.txt", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range", "bytes /10").endswith("/10")


def test_a_folder_that_exists_is_refused_in_the_words_the_sdk_compares(acme: Acme) -> None:
    assert act(acme, "/Shared/New", action="add_folder").status_code == 201
    again = act(acme, "/Shared/New", action="add_folder")
    assert again.status_code == 403
    assert again.json() == {"errorMessage": "Folder already exists at this location"}


@pytest.mark.parametrize(
    "body", [{"action": "fly"}, {"action": "move"}, {"action": "add_folder", "folder": "x"}]
)
def test_an_action_that_is_not_understood_is_refused(acme: Acme, body: dict[str, str]) -> None:
    refused = act(acme, "/Shared", **body)
    assert refused.status_code == 400
    assert refused.json()["errorMessage"]


def test_nothing_can_be_put_beside_the_fixed_folders(acme: Acme) -> None:
    assert act(acme, "/Other", action="add_folder").status_code == 403
    assert acme.http.delete("/pubapi/v1/fs/Shared").status_code == 403
    assert [row["path"] for row in look(acme, "/")["folders"]] == ["/Private", "/Shared"]


def test_a_move_never_hits_what_is_there_nor_itself(acme: Acme) -> None:
    put(acme, "/Shared/A/a.txt")
    put(acme, "/Shared/b.txt")
    assert act(acme, "/Shared/b.txt", action="move", destination="/Shared/A/a.txt").status_code == 409
    assert act(acme, "/Shared/A", action="move", destination="/Shared/A/B/A").status_code == 403
    assert act(acme, "/Shared/none", action="copy", destination="/Shared/c").status_code == 404


def test_a_folder_is_copied_with_all_that_is_in_it(acme: Acme) -> None:
    put(acme, "/Shared/A/B/a.txt", b"deep")
    copied = act(acme, "/Shared/A", action="copy", destination="/Shared/C").json()
    assert copied["path"] == "/Shared/C"
    assert acme.http.get("/pubapi/v1/fs-content/Shared/C/B/a.txt").content == b"deep"
    ids = {look(acme, f"/Shared/{name}/B/a.txt")["group_id"] for name in "AC"}
    assert len(ids) == 2


def test_a_listing_comes_in_pages_folders_first(acme: Acme) -> None:
    for name in ("b.txt", "a.txt", "c.txt"):
        put(acme, f"/Shared/L/{name}", name.encode())
    act(acme, "/Shared/L/z", action="add_folder")
    page = look(acme, "/Shared/L", count=2, sort_direction="descending")
    assert ([row["name"] for row in page["folders"]], [row["name"] for row in page["files"]]) == (
        ["z"],
        ["c.txt"],
    )
    assert (page["count"], page["total_count"]) == (2, 4)
    rest = look(acme, "/Shared/L", count=2, offset=2, sort_by="size")
    assert [row["size"] for row in rest["files"]] == [5, 5]
    assert "files" not in look(acme, "/Shared/L", list_content="false")
    assert acme.http.get("/pubapi/v1/fs/Shared/L", params={"count": 0}).status_code == 400


def test_things_are_found_by_their_ids_wherever_they_are(acme: Acme) -> None:
    group_id = put(acme, "/Shared/A/a.txt").json()["group_id"]
    folder_id = look(acme, "/Shared/A")["folder_id"]
    act(acme, "/Shared/A", action="move", destination="/Private/B")
    assert acme.http.get(f"/pubapi/v1/fs/ids/file/{group_id}").json()["path"] == "/Private/B/a.txt"
    assert acme.http.get(f"/pubapi/v1/fs/ids/folder/{folder_id}").json()["path"] == "/Private/B"
    assert acme.http.get(f"/pubapi/v1/fs/ids/file/{folder_id}").status_code == 404
    stats = acme.http.get(f"/pubapi/v1/fs/ids/folder/{folder_id}/stats").json()
    assert (stats["filesCount"], stats["foldersCount"], stats["allFilesSize"]) == (1, 0, 7)
    moved = acme.http.post(
        f"/pubapi/v1/fs/ids/file/{group_id}", json={"action": "move", "destination": "/Shared/x"}
    )
    assert moved.json() == {"path": "/Shared/x", "group_id": group_id}
    assert acme.http.delete(f"/pubapi/v1/fs/ids/file/{group_id}").status_code == 200
    assert acme.http.get(f"/pubapi/v1/fs/ids/file/{group_id}").status_code == 404


def test_a_lock_is_held_by_its_token(acme: Acme) -> None:
    put(acme, "/Shared/a.txt")
    token = act(acme, "/Shared/a.txt", action="lock").json()["lock_token"]
    locked = look(acme, "/Shared/a.txt", include_locks=True)
    assert locked["locked"] is True
    assert locked["lock_info"]["owner_id"] == 121
    assert act(acme, "/Shared/a.txt", action="lock").status_code == 403
    assert act(acme, "/Shared/a.txt", action="unlock", lock_token=token).status_code == 200
    assert look(acme, "/Shared/a.txt")["locked"] is False


def test_chunks_have_to_arrive_in_order(acme: Acme) -> None:
    url = "/pubapi/v1/fs-content-chunked/Shared/big.bin"
    first = acme.http.post(url, content=b"one", headers={"X-Egnyte-Chunk-Num": "1"})
    upload = {"X-Egnyte-Upload-Id": first.headers["x-egnyte-upload-id"]}
    gap = acme.http.post(url, content=b"3", headers=upload | {"X-Egnyte-Chunk-Num": "3"})
    assert gap.status_code == 400
    last = {"X-Egnyte-Chunk-Num": "2", "X-Egnyte-Last-Chunk": "true"}
    done = acme.http.post(url, content=b"2", headers=upload | last)
    assert done.json()["checksum"].startswith("2-2-3-")
    assert acme.http.get("/pubapi/v1/fs-content/Shared/big.bin").content == b"one2"
    assert acme.http.post(url, content=b"2", headers=upload | last).status_code == 400
    assert acme.http.post(url, content=b"x").status_code == 400


def test_an_administrator_can_act_as_somebody_else(acme: Acme) -> None:
    for headers in ({"X-Egnyte-Act-As": "adoe"}, {"X-Egnyte-Act-As-Email": "adoe@example.com"}):
        assert acme.http.get("/pubapi/v1/userinfo", headers=headers).json()["username"] == "adoe"
    alex = {"Authorization": f"Bearer {acme.token('adoe')['access_token']}", "X-Egnyte-Act-As": "jsmith"}
    assert acme.http.get("/pubapi/v1/userinfo", headers=alex).status_code == 403


def test_links_and_search_have_a_second_version(acme: Acme) -> None:
    put(acme, "/Shared/report.txt", b"the numbers")
    made = acme.http.post("/pubapi/v1/links", json={"path": "/Shared/report.txt", "type": "file"}).json()
    listed = acme.http.get("/pubapi/v2/links").json()["links"]
    assert [link["id"] for link in listed] == [made["links"][0]["id"]]
    wrong = acme.http.post("/pubapi/v1/links", json={"path": "/Shared/report.txt", "type": "ship"})
    assert wrong.json()["Errors"][0]["code"] == "INVALID_TYPE"
    found = acme.http.post("/pubapi/v2/search", json={"query": "NUMBERS", "count": 1}).json()
    assert found["results"][0]["path"] == "/Shared/report.txt"
    assert isinstance(found["results"][0]["last_modified"], int)
    assert found["hasMore"] is False


def test_a_user_can_be_added(acme: Acme) -> None:
    added = acme.control("users", username="new")
    headers = {"Authorization": f"Bearer {acme.token('new')['access_token']}"}
    assert acme.http.get("/pubapi/v1/userinfo", headers=headers).json()["id"] == added["id"] == 123
