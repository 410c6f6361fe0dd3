"""Uploads of the fake Box, in one request and in parts."""

import base64
import hashlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from box_account import ROOT, Box, Json, done, form, refused
from processes import eventually

CONTENT = b"0123456789"


@pytest.fixture
def session(box: Box) -> Json:
    """A session for ten bytes in parts of four."""
    box.configure(upload_part_size=4, upload_session_minimum=1)
    return begin(box)


def begin(box: Box, name: str = "big.bin", size: int = len(CONTENT)) -> Json:
    wish = {"folder_id": ROOT, "file_size": size, "file_name": name}
    return done(box.http.post("/upload/2.0/files/upload_sessions", json=wish))


def digest(content: bytes) -> dict[str, str]:
    return {
        "Digest": f"sha={base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()}"
    }


def put(box: Box, session: Json, first: int, content: bytes, **headers: str) -> httpx.Response:
    span = {"Content-Range": f"bytes {first}-{first + len(content) - 1}/{len(CONTENT)}"}
    url = session["session_endpoints"]["upload_part"]
    return box.http.put(url, content=content, headers={**digest(content), **span, **headers})


def send_all(box: Box, session: Json) -> list[Json]:
    return [done(put(box, session, first, CONTENT[first : first + 4]))["part"] for first in (8, 0, 4)]


def commit(box: Box, session: Json, parts: list[Json], **headers: str) -> httpx.Response:
    ordered = sorted(parts, key=lambda part: int(part["offset"]))
    url = session["session_endpoints"]["commit"]
    return box.http.post(url, json={"parts": ordered}, headers={**digest(CONTENT), **headers})


@pytest.mark.parametrize("host", ["/upload", "/api"])
def test_both_upload_hosts_take_files(box: Box, host: str) -> None:
    attributes = {"name": "a.txt", "parent": {"id": ROOT}, "content_created_at": "2026-01-05T02:00:00-08:00"}
    answer = box.http.post(f"{host}/2.0/files/content", files=form(attributes, CONTENT))
    assert answer.status_code == 201
    body = answer.json()
    assert (body["total_count"], body["entries"][0]["content_created_at"]) == (1, "2026-01-05T02:00:00-08:00")
    assert body["entries"][0]["sha1"] == hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
    assert box.read(body["entries"][0]["id"]) == CONTENT


def test_a_content_that_looks_like_a_form_stays_as_it_is(box: Box) -> None:
    odd = b"\r\n--\r\n--boundary--\r\n" * 10_000 + bytes(range(256))
    assert box.read(box.upload("odd.bin", odd)["id"]) == odd
    assert box.read(box.upload("empty", b"")["id"]) == b""


def test_the_attributes_come_first(box: Box) -> None:
    files = list(reversed(form({"name": "a.txt", "parent": {"id": ROOT}}, CONTENT).items()))
    answer = box.http.post("/upload/2.0/files/content", files=files)
    refused(answer, 400, "metadata_after_file_contents")


def test_a_form_that_is_not_one_is_refused(box: Box) -> None:
    url, attributes = "/upload/2.0/files/content", {"name": "a.txt", "parent": {"id": ROOT}}
    refused(box.http.post(url, json=attributes), 415, "unsupported_media_type")
    without_file = {"attributes": (None, json.dumps(attributes))}
    missing = refused(box.http.post(url, files=without_file), 400, "bad_request")
    assert missing["context_info"]["errors"][0]["name"] == "file"
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(box.http.post(url, content=b"nothing", headers=broken), 400, "bad_request")
    refused(box.http.post(url, files=form({"name": "a.txt"}, CONTENT)), 400, "bad_request")
    refused(box.http.post(url, files=form({"name": "a" * 100_000}, CONTENT)), 400, "bad_request")
    refused(box.send("a.txt", parent="123"), 404, "not_found")


def test_a_digest_that_does_not_fit_leaves_nothing(box: Box) -> None:
    files = form({"name": "a.txt", "parent": {"id": ROOT}}, CONTENT)
    sha1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
    for value, status in (("0" * 40, 400), (sha1.upper(), 201)):
        answer = box.http.post("/upload/2.0/files/content", files=files, headers={"Content-MD5": value})
        assert answer.status_code == status
        if status == 400:
            refused(answer, 400, "bad_digest")
            assert box.get("/folders/0/items")["total_count"] == 0


def test_a_version_is_compared_with_the_one_that_is_there(box: Box) -> None:
    file = box.upload("a.txt", b"one")
    url, files = f"/upload/2.0/files/{file['id']}/content", form({"name": "b.txt"}, b"two")
    late = box.http.post(url, files=files, headers={"If-Match": "3"})
    refused(late, 412, "precondition_failed")
    changed = box.http.post(url, files=files, headers={"If-Match": "0"}).json()["entries"][0]
    assert (changed["id"], changed["name"], changed["etag"]) == (file["id"], "b.txt", "1")
    box.upload("c.txt")
    refused(box.add_version(file["id"], b"three", name="C.txt"), 409, "item_name_in_use")
    assert box.read(file["id"]) == b"two"


def test_a_preflight_says_what_an_upload_would(box: Box) -> None:
    def check(path: str, **wish: Any) -> httpx.Response:
        return box.http.request("OPTIONS", f"/2.0/files/{path}", json=wish)

    parent = {"id": ROOT}
    url = check("content", name="a.txt", size=5, parent=parent).json()["upload_url"]
    files = form({"name": "a.txt", "parent": parent}, CONTENT)
    file = box.http.post(url, files=files).json()["entries"][0]
    refused(check("content", name="a.txt", parent=parent), 409, "item_name_in_use")
    refused(check("content", name="a/b", parent=parent), 400, "item_name_invalid")
    refused(check("content", name="b.txt", parent={"id": "9"}), 404, "not_found")
    refused(box.http.options("/2.0/files/content"), 400, "bad_request")
    version = check(f"{file['id']}/content", size=5).json()["upload_url"]
    assert box.http.post(version, files=form({}, b"two")).json()["entries"][0]["etag"] == "1"
    box.configure(space_amount=20)
    refused(check(f"{file['id']}/content", size=15), 403, "storage_limit_exceeded")


def test_a_client_that_leaves_leaves_nothing(box: Box) -> None:
    address = urlsplit(box.url)
    body = b'--x\r\nContent-Disposition: form-data; name="attributes"\r\n\r\n{"name":"a","parent":{"id":"0"}}'
    body += b'\r\n--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n' + CONTENT
    head = f"POST /box/upload/2.0/files/content HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += f"Authorization: {box.http.headers['Authorization']}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection((str(address.hostname), address.port or 80)) as wire:
        wire.sendall(head.encode() + body)
        eventually(lambda: box.held("/upload"), "the upload")
    eventually(lambda: not box.held("/upload"), "the end of the upload")
    assert box.get("/folders/0/items")["total_count"] == 0
    assert box.upload("a")["name"] == "a"


def test_parts_may_come_in_any_order(box: Box, session: Json) -> None:
    assert (session["part_size"], session["total_parts"], session["num_parts_processed"]) == (4, 3, 0)
    assert all(url.startswith(box.url) for url in session["session_endpoints"].values())
    parts = send_all(box, session)
    again = done(put(box, session, 0, b"0123"))["part"]
    assert again == parts[1]
    listed = done(box.http.get(session["session_endpoints"]["list_parts"], params={"limit": 2}))
    assert [part["offset"] for part in listed["entries"]] == [0, 4]
    assert listed["total_count"] == 3
    assert done(box.http.get(session["session_endpoints"]["status"]))["num_parts_processed"] == 3
    answer = commit(box, session, parts)
    assert answer.status_code == 201
    assert box.read(answer.json()["entries"][0]["id"]) == CONTENT
    refused(box.http.get(session["session_endpoints"]["status"]), 404, "not_found")


def test_a_part_has_to_fit(box: Box, session: Json) -> None:
    done(put(box, session, 0, b"0123"))
    refused(put(box, session, 0, b"xxxx"), 409, "range_overlaps_existing_part")
    refused(put(box, session, 4, b"4567", **digest(b"other")), 412, "precondition_failed")
    outside = "requested_range_not_satisfiable"
    refused(put(box, session, 2, b"2345"), 416, outside)
    refused(put(box, session, 4, b"456"), 416, outside)
    refused(put(box, session, 4, b"4567", **{"Content-Range": "bytes 4-7/11"}), 416, outside)
    refused(put(box, session, 8, b"8", **{"Content-Range": "bytes 8-9/10"}), 416, outside)
    refused(put(box, session, 4, b"4567", **{"Content-Range": "all"}), 400, "bad_request")
    refused(put(box, session, 4, b"4567", Digest="md5=x"), 400, "bad_request")


def test_a_commit_names_all_parts_and_the_right_digest(box: Box, session: Json) -> None:
    first = done(put(box, session, 0, b"0123"))["part"]
    refused(commit(box, session, [first]), 409, "parts_mismatch")
    parts = send_all(box, session)
    refused(commit(box, session, parts[:2]), 400, "bad_request")
    refused(commit(box, session, parts, **digest(b"other")), 412, "precondition_failed")
    box.upload("big.bin")
    refused(commit(box, session, parts), 409, "item_name_in_use")
    assert box.http.delete("/2.0/files/" + box.get("/folders/0/items")["entries"][0]["id"]).is_success
    assert commit(box, session, parts).status_code == 201


def test_a_commit_may_take_a_while(box: Box, session: Json) -> None:
    box.configure(first_commit_waits=True, commit_retry_after=3)
    parts = send_all(box, session)
    waiting = commit(box, session, parts)
    assert (waiting.status_code, waiting.headers["retry-after"], waiting.content) == (202, "3", b"")
    assert commit(box, session, parts).status_code == 201


def test_only_one_of_two_commits_makes_a_version(box: Box, session: Json) -> None:
    file = box.upload("a.txt", b"one")
    url = f"/upload/2.0/files/{file['id']}/upload_sessions"
    versions = done(box.http.post(url, json={"file_size": len(CONTENT)}))
    parts = send_all(box, versions)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: commit(box, versions, parts), range(2)))
    assert min(answer.status_code for answer in answers) == 201
    assert box.get(f"/files/{file['id']}/versions")["total_count"] == 1
    assert box.read(file["id"]) == CONTENT


def test_a_version_comes_in_parts_too(box: Box, session: Json) -> None:
    file = box.upload("a.txt", b"one")
    url = f"/upload/2.0/files/{file['id']}/upload_sessions"
    versions = done(box.http.post(url, json={"file_size": len(CONTENT), "file_name": "b.txt"}))
    parts = send_all(box, versions)
    refused(commit(box, versions, parts, **{"If-Match": "7"}), 412, "precondition_failed")
    changed = commit(box, versions, parts, **{"If-Match": "0"}).json()["entries"][0]
    assert (changed["id"], changed["name"], changed["size"]) == (file["id"], "b.txt", 10)


def test_a_session_can_be_given_up_and_ends(box: Box, session: Json) -> None:
    done(put(box, session, 0, b"0123"))
    endpoints = session["session_endpoints"]
    wish = {"parts": [{"offset": 0, "size": 4, "sha512": "00"}]}
    assert done(box.http.post(endpoints["plan"], json=wish)) == {
        "upload_session_id": session["id"], "hits": [], "misses": wish["parts"]
    }  # fmt: skip
    assert box.http.post(endpoints["log_event"]).status_code == 204
    assert box.http.delete(endpoints["abort"]).status_code == 204
    refused(put(box, session, 4, b"4567"), 404, "not_found")
    box.configure(upload_session_seconds=0.01)
    short = begin(box)
    time.sleep(0.02)
    refused(put(box, short, 0, b"0123"), 404, "not_found")
    assert box.state()["upload_sessions"] == 0


def test_a_session_is_for_files_that_are_large_and_new(box: Box, session: Json) -> None:
    def ask(**changes: Any) -> httpx.Response:
        wish = {"folder_id": ROOT, "file_size": 10, "file_name": "x.bin", **changes}
        return box.http.post("/upload/2.0/files/upload_sessions", json=wish)

    box.configure(upload_session_minimum=20_000_000)
    refused(ask(), 400, "file_size_too_small")
    box.upload("x.bin")
    refused(ask(file_size=20_000_000), 409, "item_name_in_use")
    refused(ask(file_size=20_000_000, file_name="a/b"), 400, "item_name_invalid")
    refused(ask(file_size=20_000_000, folder_id="9"), 404, "not_found")
    box.configure(space_amount=1000)
    refused(ask(file_size=20_000_000, file_name="y.bin"), 403, "storage_limit_exceeded")


def test_a_large_file_is_taken_and_sent_in_pieces(box: Box) -> None:
    large = bytes(range(256)) * 4096 * 8
    file = box.upload("large.bin", large)
    assert file["size"] == len(large)
    url = f"/2.0/files/{file['id']}/content"
    part = box.http.get(url, headers={"Range": "bytes=1000000-5000000"}, follow_redirects=True)
    assert part.content == large[1_000_000:5_000_001]
    assert box.read(file["id"]) == large
