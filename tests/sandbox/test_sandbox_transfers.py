"""Large contents on their way to and from the fake Egnyte."""

import hashlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from acme import Acme
from processes import eventually
from starlette.requests import Request

from app.sandbox.egnyte.downloads import send_content
from app.sandbox.history import User
from app.sandbox.world import File, Version

SIZE = 5_000_001
CONTENT = b"\x00" + bytes(range(250)) * 20_000
CHUNKED = "/pubapi/v1/fs-content-chunked/Shared/new/big.bin"


def pieces() -> Iterator[bytes]:
    for start in range(0, SIZE, 70_000):
        yield CONTENT[start : start + 70_000]


WAYS: dict[str, dict[str, Any]] = {
    "whole": {"content": CONTENT},
    "streamed": {"content": list(pieces())},
    "form": {"files": {"file": ("big.bin", CONTENT)}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_large_file_goes_up_and_down(acme: Acme, way: str) -> None:
    stored = acme.http.post("/pubapi/v1/fs-content/Shared/big.bin", **WAYS[way])
    checksum = hashlib.sha512(CONTENT).hexdigest()
    assert stored.json()["checksum"] == stored.headers["x-sha512-checksum"] == checksum
    answer = acme.http.get("/pubapi/v1/fs-content/Shared/big.bin")
    assert answer.headers["content-length"] == str(SIZE)
    assert "transfer-encoding" not in answer.headers
    assert answer.content == CONTENT
    part = acme.http.get("/pubapi/v1/fs-content/Shared/big.bin", headers={"Range": "bytes=1000000-3999999"})
    assert part.headers["content-range"] == f"bytes 1000000-3999999/{SIZE}"
    assert part.headers["content-length"] == "3000000"
    assert part.content == CONTENT[1_000_000:4_000_000]


async def test_a_download_leaves_in_slices_of_the_content_itself() -> None:
    now = datetime.now(UTC)
    version = Version("e", CONTENT, "0", now, now, User(1, "u", "U", "U", "u@example.com"))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope: Any = {"type": "http", "headers": [], "asgi": {"spec_version": "2.4"}}
    await send_content(File("g", "big.bin", None, [version]), version, Request(scope))(scope, receive, send)
    bodies = [message["body"] for message in sent if message.get("body")]
    assert {type(body) for body in bodies} == {memoryview}
    assert max(map(len, bodies)) == 256 * 1024
    assert all(body.obj is CONTENT for body in bodies)
    assert b"".join(bodies) == CONTENT


def test_an_empty_file_is_a_file(acme: Acme) -> None:
    assert acme.http.post("/pubapi/v1/fs-content/Shared/none.txt", content=b"").status_code == 200
    answer = acme.http.get("/pubapi/v1/fs-content/Shared/none.txt")
    assert (answer.content, answer.headers["content-length"]) == (b"", "0")


@pytest.mark.parametrize("path", ["/pubapi/v1/fs-content/Shared/new/big.bin", CHUNKED])
def test_an_upload_whose_client_leaves_never_happened(acme: Acme, path: str) -> None:
    latest = acme.steering.get("/control/requests").json()["latest"]
    url = urlsplit(acme.url)
    assert url.hostname is not None
    head = (
        f"POST {url.path}{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nX-Egnyte-Chunk-Num: 1\r\n"
        f"X-Egnyte-Last-Chunk: true\r\nAuthorization: {acme.http.headers['authorization']}\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port)) as client:
        client.sendall(head.encode() + b"x" * 500_000)
    params = {"since": latest}
    log = eventually(lambda: acme.steering.get("/control/requests", params=params).json()["requests"], "end")
    assert log[0]["status"] == 499
    assert acme.http.get("/pubapi/v1/fs/Shared").json()["total_count"] == 0
    assert acme.http.get("/pubapi/v1/events?id=0").status_code == 204


def send_chunk(
    acme: Acme, number: int, content: bytes, upload: str = "", last: bool = False
) -> httpx.Response:
    headers = {"X-Egnyte-Chunk-Num": str(number)}
    if upload:
        headers["X-Egnyte-Upload-Id"] = upload
    if last:
        headers["X-Egnyte-Last-Chunk"] = "true"
    return acme.http.post(CHUNKED, content=content, headers=headers)


def test_a_chunk_sent_again_replaces_itself(acme: Acme) -> None:
    first = send_chunk(acme, 1, b"one")
    upload = first.headers["x-egnyte-upload-id"]
    assert first.headers["x-egnyte-chunk-sha512-checksum"] == hashlib.sha512(b"one").hexdigest()
    send_chunk(acme, 2, b"bad", upload)
    send_chunk(acme, 2, b"two", upload)
    send_chunk(acme, 1, b"ONE", upload)
    assert acme.http.get("/pubapi/v1/fs/Shared/new").status_code == 404
    done = send_chunk(acme, 3, b"3", upload, last=True)
    digests = "".join(hashlib.sha512(chunk).hexdigest() for chunk in (b"ONE", b"two", b"3"))
    assert done.json()["checksum"] == f"2-3-3-{hashlib.sha512(digests.encode()).hexdigest()}"
    assert acme.http.get("/pubapi/v1/fs-content/Shared/new/big.bin").content == b"ONEtwo3"


def test_only_the_last_chunk_may_be_small(acme: Acme) -> None:
    acme.configure(smallest_chunk=4)
    small = send_chunk(acme, 1, b"123")
    assert small.status_code == 400
    assert "4 bytes" in small.json()["errorMessage"]
    upload = send_chunk(acme, 1, b"1234").headers["x-egnyte-upload-id"]
    assert send_chunk(acme, 2, b"5", upload).status_code == 400
    assert send_chunk(acme, 2, b"5", upload, last=True).status_code == 200
    assert acme.http.get("/pubapi/v1/fs-content/Shared/new/big.bin").content == b"12345"


def test_every_answer_has_an_id_of_its_own(acme: Acme) -> None:
    acme.fault("429", path="/pubapi/v1/userinfo")
    answers = [
        acme.http.get("/pubapi/v1/userinfo"),
        acme.http.get("/pubapi/v1/userinfo"),
        acme.http.get("/pubapi/v1/fs/none"),
        acme.http.get("/pubapi/v1/events?id=0"),
        acme.http.get("/pubapi/v1/userinfo", headers={"Authorization": "Bearer none"}),
        acme.http.get(acme.url.replace("/acme", "/nobody") + "/pubapi/v1/userinfo"),
    ]
    assert [answer.status_code for answer in answers] == [429, 200, 404, 204, 401, 404]
    assert len({UUID(answer.headers["x-request-id"]) for answer in answers}) == len(answers)
