"""Clients that are slow on purpose, and proxies, against a real process: raw bytes on real sockets."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from processes import PATIENCE, House, Process, eventually, house

MEGABYTE = 10**6


@dataclass
class Gateways:
    """Two on one database: one that waits longer for clients than any test, and one that hardly waits. The
    latter may hang up before a slow machine says a word: who wants to hear something dials again."""

    home: House
    patient: Process
    patient_url: str
    hasty: Process
    hasty_url: str


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    folder = tmp_path_factory.mktemp("slow")
    common = {
        "GATEWAY_KEEP_ALIVE": "60",
        "GATEWAY_TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "GATEWAY_FAILED_AUTHENTICATIONS": "2",
    }
    with house(folder, f"sqlite:///{folder}/gateway.db", ENCRYPTION_KEY, **common) as home:
        hasty = home.serve("--no-workers", GATEWAY_CLIENT_TIMEOUT="0.5")
        hasty_url = home.gateway_url
        patient = home.serve("--no-workers", GATEWAY_CLIENT_TIMEOUT="600", GATEWAY_CLIENT_CONNECTIONS="40")
        yield Gateways(home, patient, home.gateway_url, hasty, hasty_url)


@pytest.fixture(scope="module")
def account(gateways: Gateways) -> dict[str, Any]:
    return gateways.home.connect()


@contextmanager
def dialled(url: str, *, buffer: int | None = None) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.socket() as raw:
        if buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(PATIENCE)
        raw.connect((parts.hostname, parts.port))
        yield raw


def heard(raw: socket.socket) -> bytes:
    """Everything until the server ends the connection; fails if it does not in time."""
    pieces = b""
    while True:
        try:
            piece = raw.recv(65536)
        except ConnectionResetError:
            return pieces
        if not piece:
            return pieces
        pieces += piece


def answer_of(url: str, said: bytes) -> bytes:
    """What is heard of a gateway that hangs up in the end, maybe before it was told anything."""

    def heard_once() -> bytes:
        with dialled(url) as raw, suppress(ConnectionError):
            raw.sendall(said)
            return heard(raw)
        return b""

    return eventually(heard_once, "an answer")


def refusal(answer: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer in the form of errors."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)
    assert re.fullmatch("[0-9a-f]{24}", error["requestId"])
    assert b"application/json" in head
    assert b"server:" not in head.lower()
    return int(head.split()[1]), error


def test_headers_that_do_not_come_are_not_waited_for(gateways: Gateways) -> None:
    said = b"GET /health HTTP/1.1\r\nHost: gateway\r\nX-Slow: "
    status, error = refusal(answer_of(gateways.hasty_url, said))
    assert (status, "headers" in error["message"]) == (408, True)


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "an empty line"])
def test_who_says_nothing_is_left_without_a_word(gateways: Gateways, said: bytes) -> None:
    with dialled(gateways.hasty_url) as raw:
        with suppress(ConnectionError):
            raw.sendall(said)
        assert heard(raw) == b""


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(gateways: Gateways) -> None:
    whole = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
    answer = answer_of(gateways.hasty_url, whole + b"GET /health HTTP/1.1\r\nX-Slow")
    first, _, second = answer.partition(b"}")
    assert first.startswith(b"HTTP/1.1 200")
    assert refusal(second)[0] == 408


@pytest.mark.parametrize(
    ("head", "silence"),
    [
        (b"X-Long: " + b"x" * 10**6, True),  # what it does not read any more may cost us its answer
        (b"".join(b"X-%d: y\r\n" % number for number in range(101)) + b"\r\n", False),
    ],
    ids=["long", "many"],
)
def test_headers_without_end_are_refused(gateways: Gateways, head: bytes, silence: bool) -> None:
    with dialled(gateways.patient_url) as raw:
        with suppress(ConnectionResetError, BrokenPipeError):
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: gateway\r\n" + head)
        answer = heard(raw)
    assert (silence and not answer) or refusal(answer)[0] == 431
    root = gateways.patient_url.removesuffix("/elements/api-v2")
    assert httpx.get(f"{root}/health", timeout=PATIENCE).is_success
    assert "Traceback" not in gateways.patient.said()


def test_what_is_not_http_is_refused_in_the_form_of_errors(gateways: Gateways) -> None:
    with dialled(gateways.patient_url) as raw:
        raw.sendall(b"EHLO gateway\r\n\r\n")
        assert refusal(heard(raw))[0] == 400


def test_what_follows_a_body_is_no_header(gateways: Gateways) -> None:
    with dialled(gateways.patient_url) as raw:
        raw.sendall(
            b"POST /elements/api-v2/authentication HTTP/1.1\r\nHost: gateway\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"2\r\n{}\r\n0\r\nContent-Type: text/xml\r\n\r\n"
        )
        assert refusal(heard(raw))[0] == 400


@pytest.mark.parametrize(
    "path", ["/instances", "/files?path=/Shared/slow.bin", "/native/pubapi/v1/fs-content/Shared/slow.bin"]
)
@pytest.mark.parametrize("length", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_coming_is_not_waited_for(
    gateways: Gateways, account: dict[str, Any], path: str, length: str
) -> None:
    token = account["token"]
    kind = "multipart/form-data; boundary=b" if path.startswith("/files") else "application/json"
    lines = [f"Authorization: {gateways.home.platform['Authorization']}, Element {token}"]
    lines += ["Host: gateway", f"Content-Type: {kind}", length, "", ""]
    begun = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 1000
    piece = begun if length.startswith("Content") else b"%x\r\n%s\r\n" % (len(begun), begun)
    said = "\r\n".join([f"POST /elements/api-v2{path} HTTP/1.1", *lines]).encode() + piece
    status, error = refusal(answer_of(gateways.hasty_url, said))
    assert (status, "body" in error["message"]) == (408, True)


def upload(home: House, account: dict[str, Any], megabytes: int) -> dict[str, str]:
    """On a busy machine the vendor may be too slow."""
    headers = {"Authorization": f"User {home.secrets['User']}, Element {account['token']}"}
    file = {"file": ("large.bin", bytes(megabytes * MEGABYTE))}
    url = f"{home.gateway_url}/files?path=/Shared/large.bin&overwrite=true"
    eventually(lambda: httpx.post(url, files=file, headers=headers, timeout=PATIENCE).is_success, "upload")
    return headers


def test_a_download_that_nobody_takes_is_given_up(gateways: Gateways, account: dict[str, Any]) -> None:
    """It does not fit into any buffer: what has been sent of it is not all."""
    headers = upload(gateways.home, account, 30)
    path = "/elements/api-v2/files?path=/Shared/large.bin"
    lines = [f"GET {path} HTTP/1.1", "Host: gateway", f"Authorization: {headers['Authorization']}", "", ""]
    dials: list[socket.socket] = []
    with ExitStack() as stack:

        def begun() -> bytes:
            dials.append(stack.enter_context(dialled(gateways.hasty_url, buffer=4096)))
            with suppress(ConnectionError):
                dials[-1].sendall("\r\n".join(lines).encode())
                return dials[-1].recv(12)
            return b""

        assert eventually(begun, "the beginning of an answer") == b"HTTP/1.1 200"
        ended = "method=GET path=/elements/api-v2/files "
        eventually(lambda: ended in gateways.hasty.said(), "the end of an answer")
        assert len(heard(dials[-1])) < 30 * MEGABYTE


def test_one_connection_too_many_is_told_to_come_back(gateways: Gateways) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            raw = stack.enter_context(dialled(gateways.patient_url))
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        raw = stack.enter_context(dialled(gateways.patient_url))
        raw.sendall(b"GET /instances HTTP/1.1\r\nHost: gateway\r\n\r\n")
        answer = heard(raw)
        raw = stack.enter_context(dialled(gateways.patient_url))
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200")
    assert refusal(answer)[0] == 503
    assert b"retry-after: 1" in answer.lower()


def test_a_trusted_proxy_says_who_calls_and_how(gateways: Gateways) -> None:
    """It is believed in its own entry, the last one, and in no other."""
    root = gateways.patient_url.removesuffix("/elements/api-v2")
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    answer = httpx.get(f"{root}/docs/all_platform", headers=told, timeout=PATIENCE)
    assert answer.json()["schemes"] == ["https"]
    assert "client=198.51.100.7 " in gateways.patient.said()
    assert "203.0.113.9" not in gateways.patient.said()
    wrong = {"Authorization": "User wrong, Organization wrong"}
    found = [httpx.get(f"{root}/users/me", headers=wrong | told).status_code for _ in range(3)]
    assert found == [401, 401, 429]
    other = wrong | {"X-Forwarded-For": "198.51.100.8"}
    assert httpx.get(f"{root}/users/me", headers=other).status_code == 401


def test_without_trust_a_proxys_words_are_nothing(gateways: Gateways) -> None:
    home = gateways.home
    trusting = home.gateway_url
    try:
        process = home.serve("--no-workers", GATEWAY_TRUSTED_PROXIES="[]")
        root = home.gateway_url.removesuffix("/elements/api-v2")
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        assert httpx.get(f"{root}/docs/all_platform", headers=told, timeout=PATIENCE).json()["schemes"] == [
            "http"
        ]
        assert "client=127.0.0.1 " in process.said()
    finally:
        home.gateway_url = trusting
