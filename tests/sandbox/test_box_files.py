"""Files and folders of the fake Box, where the SDK does not reach."""

from typing import Any

import httpx
import pytest
from box_account import ROOT, Box, Json, refused
from processes import eventually

ODD = "Ä ü&%41+#?=;,'\"🎉👨‍👩‍👧 100%.txt"


def names(page: Json) -> list[str]:
    return [entry["name"] for entry in page["entries"]]


def test_the_root_has_the_id_0_and_no_etag(box: Box) -> None:
    root = box.get("/folders/0")
    assert (root["id"], root["name"], root["etag"], root["parent"]) == (ROOT, "All Files", None, None)
    assert root["path_collection"] == {"total_count": 0, "entries": []}
    refused(box.http.delete("/2.0/folders/0"), 403, "access_denied_insufficient_permissions")
    refused(box.http.put("/2.0/folders/0", json={"name": "x"}), 403, "access_denied_insufficient_permissions")
    copied = box.http.post("/2.0/folders/0/copy", json={"parent": {"id": ROOT}, "name": "x"})
    refused(copied, 403, "access_denied_insufficient_permissions")


def test_a_file_has_what_box_says_by_default(box: Box) -> None:
    docs = box.folder("Docs")
    file = box.upload("a.txt", b"hello", docs["id"], content_modified_at="2026-01-05T10:00:00Z")
    found = box.get(f"/files/{file['id']}")
    assert found == file
    assert (found["size"], found["etag"], found["sequence_id"]) == (5, "0", "0")
    assert found["content_modified_at"] == "2026-01-05T02:00:00-08:00"
    assert found["created_at"].endswith("-08:00")
    assert [above["name"] for above in found["path_collection"]["entries"]] == ["All Files", "Docs"]
    assert found["owned_by"]["login"] == "ann@example.com"
    assert found["file_version"]["sha1"] == found["sha1"]
    assert {"tags", "lock", "permissions"}.isdisjoint(found)


def test_fields_choose_what_is_answered(box: Box) -> None:
    file = box.upload("a.txt")
    found = box.get(f"/files/{file['id']}", fields="name,extension,comment_count,nonsense")
    assert found == {
        "type": "file", "id": file["id"], "etag": "0", "name": "a.txt", "extension": "txt", "comment_count": 0
    }  # fmt: skip
    box.post(f"/files/{file['id']}/metadata/global/properties", {"a": "b"})
    with_metadata = box.get(f"/files/{file['id']}", fields="metadata.global.properties")
    assert with_metadata["metadata"]["global"]["properties"]["a"] == "b"


def test_odd_names_survive(box: Box) -> None:
    docs = box.folder(ODD)
    file = box.upload(ODD, b"odd", docs["id"])
    assert file["name"] == ODD
    assert box.read(file["id"]) == b"odd"
    assert names(box.get(f"/folders/{docs['id']}/items")) == [ODD]
    assert box.put(f"/files/{file['id']}", {"name": f"{ODD} 2"})["name"] == f"{ODD} 2"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", " a", "a ", "a\nb"])
def test_some_names_are_refused(box: Box, name: str) -> None:
    made = box.http.post("/2.0/folders", json={"name": name, "parent": {"id": ROOT}})
    refused(made, 400, "item_name_invalid")
    refused(box.send(name), 400, "item_name_invalid")


def test_a_name_has_255_letters_at_most(box: Box) -> None:
    assert box.folder("x" * 255)["name"] == "x" * 255
    refused(box.send("x" * 256), 400, "item_name_too_long")


def test_names_are_taken_whatever_their_case(box: Box) -> None:
    file, docs = box.upload("a.txt"), box.folder("Docs")
    taken = refused(box.send("A.TXT"), 409, "item_name_in_use")
    assert taken["context_info"]["conflicts"]["id"] == file["id"]
    assert taken["context_info"]["conflicts"]["type"] == "file"
    again = box.http.post("/2.0/folders", json={"name": "docs", "parent": {"id": ROOT}})
    conflicts = refused(again, 409, "item_name_in_use")["context_info"]["conflicts"]
    assert [(conflict["type"], conflict["id"]) for conflict in conflicts] == [("folder", docs["id"])]
    assert box.put(f"/files/{file['id']}", {"name": "A.txt"})["name"] == "A.txt"


def test_a_listing_has_folders_first_in_the_order_that_is_wanted(box: Box) -> None:
    for name, content in (("b.txt", b"1"), ("A.txt", b"333"), ("c.txt", b"22")):
        box.upload(name, content)
    box.folder("z")
    box.post("/web_links", {"url": "https://example.com/x", "parent": {"id": ROOT}, "name": "a link"})
    assert names(box.get("/folders/0/items")) == ["z", "A.txt", "b.txt", "c.txt", "a link"]
    page = box.get("/folders/0/items", sort="size", direction="DESC", limit=2, offset=1)
    assert names(page) == ["A.txt", "c.txt"]
    assert (page["total_count"], page["limit"], page["offset"]) == (5, 2, 1)
    assert page["order"][1] == {"by": "size", "direction": "DESC"}
    assert set(page["entries"][0]) == {"type", "id", "sequence_id", "etag", "name", "sha1", "file_version"}
    assert names(box.get("/folders/0/items", sort="id"))[1:3] == ["b.txt", "A.txt"]
    assert names(box.get("/folders/0")["item_collection"])[0] == "z"


def test_a_marker_survives_changes_between_two_pages(box: Box) -> None:
    files = [box.upload(f"{n}.txt") for n in range(5)]
    first = box.get("/folders/0/items", usemarker="True", limit=2)
    assert "total_count" not in first
    box.http.delete(f"/2.0/files/{files[1]['id']}")
    second = box.get("/folders/0/items", usemarker=True, limit=2, marker=first["next_marker"])
    assert names(first) + names(second) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    last = box.get("/folders/0/items", usemarker=True, limit=2, marker=second["next_marker"])
    assert (names(last), last["next_marker"]) == (["4.txt"], None)
    wrong = box.http.get("/2.0/folders/0/items", params={"usemarker": True, "marker": "?"})
    refused(wrong, 400, "bad_request")


@pytest.mark.parametrize(("name", "value"), [("limit", "1001"), ("limit", "x"), ("offset", "-1")])
def test_a_page_has_its_bounds(box: Box, name: str, value: str) -> None:
    refused(box.http.get("/2.0/folders/0/items", params={name: value}), 400, f"invalid_{name}")


def test_etags_rise_and_are_compared(box: Box) -> None:
    url = f"/2.0/files/{box.upload('a.txt')['id']}"
    assert box.http.get(url, headers={"If-None-Match": "0"}).status_code == 304
    assert box.http.put(url, json={"name": "b.txt"}, headers={"If-Match": '"0"'}).json()["etag"] == "1"
    assert box.http.get(url, headers={"If-None-Match": "0"}).json()["sequence_id"] == "1"
    late = {"If-Match": "0"}
    refused(box.http.put(url, json={"name": "c.txt"}, headers=late), 412, "precondition_failed")
    refused(box.http.delete(url, headers=late), 412, "precondition_failed")
    assert box.http.put(url, json={"name": "b.txt"}).json()["etag"] == "1"


def test_a_folder_never_goes_into_itself(box: Box) -> None:
    outer = box.folder("A")
    inner = box.folder("B", outer["id"])
    for target in (outer, inner):
        moved = box.http.put(f"/2.0/folders/{outer['id']}", json={"parent": {"id": target["id"]}})
        refused(moved, 400, "cyclical_folder_structure")


def test_a_folder_is_copied_with_all_that_is_in_it(box: Box) -> None:
    outer = box.folder("A")
    inner = box.folder("B", outer["id"])
    deep = box.upload("a.txt", b"deep", inner["id"])
    box.post("/comments", {"item": {"type": "file", "id": deep["id"]}, "message": "stays"})
    twin = box.post(f"/folders/{outer['id']}/copy", {"parent": {"id": ROOT}, "name": "C"})
    assert twin["size"] == 4
    twin_inner = twin["item_collection"]["entries"][0]["id"]
    found = box.get(f"/folders/{twin_inner}/items", fields="comment_count")["entries"][0]
    assert found["id"] != deep["id"]
    assert found["comment_count"] == 0
    assert box.read(found["id"]) == b"deep"


def test_an_old_version_can_be_copied(box: Box) -> None:
    file = box.upload("a.txt", b"one")
    box.add_version(file["id"], b"two")
    old = box.get(f"/files/{file['id']}/versions")["entries"][0]["id"]
    wish = {"parent": {"id": ROOT}, "name": "b.txt", "version": old}
    assert box.read(box.post(f"/files/{file['id']}/copy", wish)["id"]) == b"one"


def test_an_id_that_is_no_number_is_not_allowed(box: Box) -> None:
    refused(box.http.get("/2.0/files/abc"), 405, "method_not_allowed")
    missing = refused(box.http.get("/2.0/files/123"), 404, "not_found")
    assert missing["context_info"]["errors"][0]["name"] == "item"
    refused(box.http.get(f"/2.0/files/{box.folder('x')['id']}"), 404, "not_found")


def test_what_is_in_a_trashed_folder_is_trashed_too(box: Box) -> None:
    docs = box.folder("Docs")
    file = box.upload("a.txt", b"x", docs["id"])
    refused(box.http.delete(f"/2.0/folders/{docs['id']}"), 400, "folder_not_empty")
    assert box.http.delete(f"/2.0/folders/{docs['id']}?recursive=True").status_code == 204
    refused(box.http.get(f"/2.0/files/{file['id']}"), 404, "trashed")
    refused(box.http.get(f"/2.0/folders/{docs['id']}"), 404, "trashed")
    assert names(box.get("/folders/trash/items")) == ["Docs"]
    refused(box.http.get(f"/2.0/files/{file['id']}/trash"), 404, "not_trashed")
    box.post(f"/folders/{docs['id']}", {})
    assert box.get(f"/files/{file['id']}")["item_status"] == "active"


def test_a_restored_file_needs_a_free_name_and_a_folder(box: Box) -> None:
    docs = box.folder("Docs")
    file = box.upload("a.txt", b"x", docs["id"])
    url = f"/2.0/files/{file['id']}"
    refused(box.http.post(url, json={}), 404, "not_trashed")
    box.http.delete(url)
    box.upload("a.txt", b"y", docs["id"])
    refused(box.http.post(url, json={}), 409, "item_name_in_use")
    box.http.delete(f"/2.0/folders/{docs['id']}?recursive=true")
    refused(box.http.post(url, json={}), 403, "access_denied_insufficient_permissions")
    back = box.http.post(url, json={"parent": {"id": ROOT}})
    assert (back.status_code, back.json()["parent"]["id"]) == (201, ROOT)


def test_the_quota_counts_versions_and_the_trash_but_not_what_is_purged(box: Box) -> None:
    def used() -> Any:
        return box.get("/users/me")["space_used"]

    file = box.upload("a.txt", b"12345")
    box.add_version(file["id"], b"123")
    box.post(f"/files/{file['id']}/copy", {"parent": {"id": ROOT}, "name": "b.txt"})
    assert used() == 11
    box.http.delete(f"/2.0/files/{file['id']}")
    assert used() == 11
    box.http.delete(f"/2.0/files/{file['id']}/trash")
    assert used() == 3
    box.configure(space_amount=4)
    refused(box.send("c.txt", b"12"), 403, "storage_limit_exceeded")
    refused(box.add_version(box.upload("d.txt", b"1")["id"], b"2"), 403, "storage_limit_exceeded")
    box.configure(space_amount=100, max_upload_size=1)
    refused(box.send("c.txt", b"12"), 413, "file_size_limit_exceeded")


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
def test_a_range_is_cut_out(box: Box, asked: str, status: int, content: bytes) -> None:
    url = f"/2.0/files/{box.upload('a.txt', b'0123456789')['id']}/content"
    answer = box.http.get(url, headers={"Range": asked}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range", "bytes /10").endswith("/10")


def test_a_download_is_an_address_that_needs_no_token_and_ends(box: Box) -> None:
    file = box.upload("Ü 1.txt", b"open")
    answer = box.http.get(f"/2.0/files/{file['id']}/content")
    assert answer.status_code == 302
    address = answer.headers["location"]
    assert address.startswith(f"{box.url}/dl/")
    content = httpx.get(address)
    assert content.content == b"open"
    assert content.headers["content-disposition"].endswith("filename*=UTF-8''%C3%9C%201.txt")
    box.configure(download_url_seconds=0.01)
    ended = box.http.get(f"/2.0/files/{file['id']}/content").headers["location"]
    httpx.get(f"{box.url}/dl/none")
    eventually(lambda: httpx.get(ended).status_code == 404, "the end of the address")


def test_a_lock_binds_everybody_else(box: Box) -> None:
    docs = box.folder("Docs")
    file = box.upload("a.txt", b"x", docs["id"])
    url, bob = f"/2.0/files/{file['id']}", box.as_user("bob")
    locked = box.put(f"/files/{file['id']}", {"lock": {"access": "lock"}}, fields="lock")["lock"]
    assert locked["created_by"]["login"] == "ann@example.com"
    code = "access_denied_item_locked"
    refused(box.http.put(url, json={"name": "b"}, headers=bob), 403, code)
    refused(box.http.delete(url, headers=bob), 403, code)
    refused(box.http.put(url, json={"lock": None}, headers=bob), 403, code)
    refused(box.http.delete(f"/2.0/folders/{docs['id']}?recursive=true", headers=bob), 403, code)
    box.http.headers.update(bob)
    refused(box.add_version(file["id"], b"y"), 403, code)
    box.http.headers.update(box.as_user("ann"))
    assert box.put(f"/files/{file['id']}", {"name": "b", "lock": None}, fields="lock")["lock"] is None
    assert box.http.delete(url, headers=bob).status_code == 204


def test_a_folder_lock_keeps_a_folder_where_it_is(box: Box) -> None:
    docs = box.folder("Docs")
    operations = {"move": True, "delete": False}
    lock = box.post("/folder_locks", {"folder": {"id": docs["id"]}, "locked_operations": operations})
    listed = box.get("/folder_locks", folder_id=docs["id"])["entries"]
    assert [found["id"] for found in listed] == [lock["id"]]
    renamed = box.http.put(f"/2.0/folders/{docs['id']}", json={"name": "x"})
    refused(renamed, 403, "access_denied_insufficient_permissions")
    assert box.http.delete(f"/2.0/folder_locks/{lock['id']}").status_code == 204
    assert box.put(f"/folders/{docs['id']}", {"name": "x"})["name"] == "x"


def test_open_links_are_for_everybody(box: Box) -> None:
    file = box.upload("a.txt", b"open")
    url = f"/files/{file['id']}"
    link = box.put(url, {"shared_link": {}}, fields="shared_link")["shared_link"]
    assert (link["access"], link["is_password_enabled"]) == ("open", False)
    assert httpx.get(link["download_url"]).content == b"open"
    assert httpx.get(link["url"]).status_code == 200
    box.put(url, {"shared_link": {"access": "company"}})
    refused(httpx.get(link["download_url"]), 403, "access_denied_insufficient_permissions")
    with_password = {"shared_link": {"access": "company", "password": "x"}}
    refused(box.http.put(f"/2.0{url}", json=with_password), 400, "bad_request")
    box.put(url, {"shared_link": {"access": "open", "unshared_at": "2020-01-01T00:00:00Z"}})
    refused(httpx.get(link["download_url"]), 404, "not_found")


def test_a_link_for_collaborators_is_for_them(box: Box) -> None:
    docs = box.folder("Docs")
    link = box.put(f"/folders/{docs['id']}", {"shared_link": {"access": "collaborators"}})["shared_link"]
    assert link["download_url"] is None
    bob = box.as_user("bob") | {"BoxApi": f"shared_link={link['url']}"}
    refused(box.http.get("/2.0/shared_items", headers=bob), 404, "not_found")
    wish = {"item": {"type": "folder", "id": docs["id"]}, "accessible_by": {"type": "user", "id": "11446499"}}
    box.post("/collaborations", wish | {"role": "viewer"})
    assert box.http.get("/2.0/shared_items", headers=bob).json()["id"] == docs["id"]
    again = box.http.post("/2.0/collaborations", json=wish | {"role": "viewer"})
    refused(again, 400, "user_already_collaborator")


def test_an_invitation_waits(box: Box) -> None:
    docs = box.folder("Docs")
    guest = {"type": "user", "login": "guest@example.org"}
    wish = {"item": {"type": "folder", "id": docs["id"]}, "accessible_by": guest, "role": "viewer"}
    made = box.post("/collaborations", wish)
    assert (made["status"], made["invite_email"]) == ("pending", "guest@example.org")
    assert box.get("/collaborations", status="pending")["total_count"] == 1
    assert box.put(f"/collaborations/{made['id']}", {"role": "editor"})["role"] == "editor"


def test_web_links_are_items(box: Box) -> None:
    wish = {"url": "https://example.com/x", "parent": {"id": ROOT}, "name": "a link"}
    made = box.post("/web_links", wish)
    assert (made["type"], made["url"]) == ("web_link", "https://example.com/x")
    assert box.put(f"/web_links/{made['id']}", {"url": "https://example.com/y"})["url"].endswith("y")
    assert box.http.delete(f"/2.0/web_links/{made['id']}").status_code == 204
    refused(box.http.get(f"/2.0/web_links/{made['id']}"), 404, "trashed")
    assert box.post(f"/web_links/{made['id']}", {})["name"] == "a link"
    refused(box.http.post("/2.0/web_links", json=wish | {"url": "nowhere"}), 400, "bad_request")


def test_people_are_known_to_an_administrator(box: Box) -> None:
    me = box.get("/users/me", fields="enterprise,role")
    assert (me["role"], me["enterprise"]["type"]) == ("admin", "enterprise")
    assert [user["login"] for user in box.get("/users", filter_term="BOB")["entries"]] == ["bob@example.com"]
    assert box.get("/users/11446499")["name"] == "Bob Ray"
    bob = box.as_user("bob")
    refused(box.http.get("/2.0/users", headers=bob), 403, "access_denied_insufficient_permissions")
    new = box.control("users", username="carl")
    assert box.get(f"/users/{new['id']}")["login"] == "carl@example.com"


def test_an_administrator_can_act_as_somebody_else(box: Box) -> None:
    as_bob = {"As-User": "11446499"}
    assert box.http.get("/2.0/users/me", headers=as_bob).json()["login"] == "bob@example.com"
    made = box.http.post("/2.0/folders", json={"name": "B", "parent": {"id": ROOT}}, headers=as_bob).json()
    assert made["created_by"]["login"] == "bob@example.com"
    bob = box.as_user("bob") | {"As-User": "11446498"}
    refused(box.http.get("/2.0/users/me", headers=bob), 403, "access_denied_insufficient_permissions")


def test_every_refusal_has_the_same_form(box: Box) -> None:
    refused(box.http.get("/2.0/nowhere"), 404, "not_found")
    refused(box.http.delete("/2.0/users/me"), 405, "method_not_allowed")
    plain = {"Content-Type": "text/plain"}
    refused(box.http.post("/2.0/folders", content=b"{}", headers=plain), 415, "unsupported_media_type")
    missing = refused(box.http.post("/2.0/folders", json={"name": "x"}), 400, "bad_request")
    assert missing["context_info"]["errors"][0]["reason"] == "missing_parameter"
    refused(box.http.post("/2.0/folders", content=b"{"), 400, "bad_request")


def test_what_hangs_on_a_file_is_in_the_trash_with_it(box: Box) -> None:
    file = box.upload("a.txt")
    note = box.post("/comments", {"item": {"type": "file", "id": file["id"]}, "message": "m"})
    bob = box.as_user("bob")
    changed = box.http.put(f"/2.0/comments/{note['id']}", json={"message": "x"}, headers=bob)
    refused(changed, 403, "access_denied_insufficient_permissions")
    box.http.delete(f"/2.0/files/{file['id']}")
    refused(box.http.get(f"/2.0/comments/{note['id']}"), 404, "trashed")


def test_a_version_comes_and_goes(box: Box) -> None:
    file = box.upload("a.txt", b"one")
    box.add_version(file["id"], b"two")
    url = f"/2.0/files/{file['id']}/versions"
    old = box.http.get(url).json()["entries"][0]
    assert box.http.delete(f"{url}/{old['id']}").status_code == 204
    assert box.http.put(f"{url}/{old['id']}", json={"trashed_at": None}).json()["trashed_at"] is None
    current = box.get(f"/files/{file['id']}")["file_version"]["id"]
    refused(box.http.delete(f"{url}/{current}"), 403, "access_denied_insufficient_permissions")
    refused(box.http.post(f"{url}/current", json={"id": "1", "type": "file_version"}), 404, "not_found")
