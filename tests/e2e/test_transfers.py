"""Uploads and downloads through a real gateway: large ones arrive whole, and a client that leaves in the
middle leaves nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import ENCRYPTION_KEY
from processes import PATIENCE, House, eventually, house
from twins import twin_of

from app import registry

ELEMENTS = [provider.key for provider in registry.discover({}).providers]
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("transfers")
    with house(folder, f"sqlite:///{folder}/gateway.db", ENCRYPTION_KEY) as made:
        made.serve("--no-workers", GATEWAY_VENDOR_TIMEOUT="60", GATEWAY_VENDOR_BUDGET="70",
                   GATEWAY_POLL_TIMEOUT="70", GATEWAY_POLL_LEASE="80")  # fmt: skip
        yield made


class Account:
    """A connected account, called over the network."""

    def __init__(self, home: House, element: str) -> None:
        token = home.connect(element)["token"]
        headers = {"Authorization": f"User {home.secrets['User']}, Element {token}"}
        self.http = httpx.Client(base_url=home.gateway_url, headers=headers, timeout=2 * PATIENCE)
        self.path = f"{twin_of(element).home}/big.bin"

    def exists(self) -> bool:
        return self.http.get("/files/metadata", params={"path": self.path}).status_code == 200


@pytest.fixture(params=ELEMENTS)
def account(request: pytest.FixtureRequest, home: House) -> Iterator[Account]:
    httpx.post(f"{home.sandbox_url}/control/reset").raise_for_status()
    made = Account(home, request.param)
    yield made
    made.http.close()


def block(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * (MEGABYTE // 32)


def form(megabytes: int, *, leave_after: int | None = None) -> Iterator[bytes]:
    """A multipart body as it is sent, piece by piece; the client may leave in the middle of it."""
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
    for number in range(megabytes):
        if number == leave_after:
            raise ConnectionResetError
        yield block(number)
    yield b"\r\n--b--\r\n"


def upload(account: Account, megabytes: int, **more: Any) -> httpx.Response:
    length = sum(len(piece) for piece in form(0)) + megabytes * MEGABYTE
    return account.http.post(
        "/files",
        params={"path": account.path},
        content=form(megabytes, **more),
        headers={"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)},
    )


@pytest.mark.parametrize("megabytes", [1, 20, 60, 130])  # held, streamed, Box's parts, Egnyte's chunks
def test_a_file_of_any_size_makes_the_round_trip(account: Account, megabytes: int) -> None:
    made = upload(account, megabytes)
    assert made.status_code == 200, made.text
    assert made.json()["size"] == megabytes * MEGABYTE
    wanted, found = hashlib.sha256(), hashlib.sha256()
    for number in range(megabytes):
        wanted.update(block(number))
    with account.http.stream("GET", "/files", params={"path": account.path}) as answer:
        assert answer.headers["content-length"] == str(megabytes * MEGABYTE)
        for piece in answer.iter_bytes():
            found.update(piece)
    assert found.digest() == wanted.digest()


@pytest.mark.parametrize("megabytes", [1, 20, 60, 130])
def test_a_client_that_leaves_leaves_nothing_behind(account: Account, home: House, megabytes: int) -> None:
    with contextlib.suppress(ConnectionResetError, httpx.HTTPError):
        upload(account, megabytes, leave_after=megabytes // 2)
    assert not account.exists()
    state = httpx.get(f"{home.sandbox_url}/control/box/state").json
    eventually(lambda: state()["upload_sessions"] == 0, "the session is given up")
    assert upload(account, 1).status_code == 200
    assert account.exists()
