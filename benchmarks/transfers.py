"""One GiB up and down: through the gateway, against the same transfer straight to the sandbox.

Runs the real processes and prints, for each provider, the throughput of both ways with their ratio (the
target is 0.5 or more), and by how much the gateway's resident memory grew at its peak (the target is less
than 40 MB).
"""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import processes
import psutil
from twins import twin_of

from app import registry, sealing

SIZE = 2**30
BLOCK = bytes(range(256)) * 4096
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
QUIET = {
    "GATEWAY_VENDOR_TIMEOUT": "60",
    "GATEWAY_VENDOR_BUDGET": "120",
    "GATEWAY_POLL_TIMEOUT": "120",
    "GATEWAY_POLL_LEASE": "180",
}


def send(url: str, headers: dict[str, str], head: bytes = b"", tail: bytes = b"") -> float:
    """Seconds that the upload of SIZE bytes takes, answer included."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    began = time.monotonic()
    connection.putrequest("POST", f"{parts.path}?{parts.query}")
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.putheader("Content-Length", str(len(head) + SIZE + len(tail)))
    connection.endheaders(head)
    for _ in range(SIZE // len(BLOCK)):
        connection.send(BLOCK)
    connection.send(tail)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status < 300, body[:500]
    return time.monotonic() - began


def fetch(url: str, headers: dict[str, str]) -> float:
    """Seconds that the download of SIZE bytes takes; one redirect is followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    began = time.monotonic()
    connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
    answer = connection.getresponse()
    if answer.status == 302:
        return time.monotonic() - began + fetch(answer.headers["Location"], {})
    assert answer.status == 200, answer.read(500)
    count, room = 0, memoryview(bytearray(2**20))
    while read := answer.readinto(room):
        count += read
    assert count == SIZE
    return time.monotonic() - began


@dataclass
class Memory:
    """The resident memory of a process while something happens, in MB (10^6 bytes)."""

    before: float = 0
    peak: float = 0


@contextmanager
def watched(process: processes.Process) -> Iterator[Memory]:
    root = psutil.Process(process.process.pid)
    memory = Memory(root.memory_info().rss / 1e6)
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            memory.peak = max(memory.peak, root.memory_info().rss / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def direct(home: processes.House, element: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """Upload and download straight at the vendor, in the one request that it has for it."""
    with httpx.Client(base_url=home.sandbox_url) as sandbox:
        headers = {"Authorization": f"Bearer {twin_of(element).token(sandbox)}"}
    if element == "egnyte":
        url = f"{home.sandbox_url}/egnyte/acme/pubapi/v1/fs-content/Shared/direct.bin"
        return lambda: send(url, headers), lambda: fetch(url, headers)
    attributes = b'{"name":"direct.bin","parent":{"id":"0"}}'
    head = b'--b\r\nContent-Disposition: form-data; name="attributes"\r\n\r\n' + attributes + b"\r\n" + HEAD
    upload = f"{home.sandbox_url}/box/api/2.0/files/content"

    def download() -> float:
        items: list[dict[str, Any]] = httpx.get(
            f"{home.sandbox_url}/box/2.0/folders/0/items", headers=headers
        ).json()["entries"]
        file_id = next(item["id"] for item in items if item["name"] == "direct.bin")
        return fetch(f"{home.sandbox_url}/box/2.0/files/{file_id}/content", headers)

    return lambda: send(upload, headers | FORM, head, TAIL), download


def measure(home: processes.House, gateway: processes.Process, element: str) -> None:
    token = home.connect(element)["token"]
    headers = {"Authorization": f"User {home.secrets['User']}, Element {token}"}
    url = f"{home.gateway_url}/files?" + urlencode({"path": f"{twin_of(element).home}/through.bin"})
    up, down = direct(home, element)
    straight = up(), down()
    with watched(gateway) as memory:
        through = send(url, headers | FORM, HEAD, TAIL), fetch(url, headers)
    for name, one, other in zip(("upload", "download"), through, straight, strict=True):
        rates = f"gateway {SIZE / one / 1e6:6.0f} MB/s   direct {SIZE / other / 1e6:6.0f} MB/s"
        print(f"{element:<8}{name:<10} {rates}   ratio {other / one:.2f}")
    growth = memory.peak - memory.before
    print(f"{element:<8}memory     before {memory.before:.0f} MB   growth {growth:.1f} MB")


def main() -> None:
    for provider in registry.discover({}).providers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with processes.house(
                folder, f"sqlite:///{folder}/gateway.db", sealing.new_key(), **QUIET
            ) as home:
                gateway = home.serve("--no-workers")
                measure(home, gateway, provider.key)


if __name__ == "__main__":
    main()
