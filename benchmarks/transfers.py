"""One GiB up and down: through the gateway, against the same transfer straight to the sandbox.

Runs the real processes and prints, for each provider, the throughput of both ways with their ratio (the
target is 0.5 or more), and by how much the gateway's resident memory grew at its peak (the target is less
than 40 MB).

Straight to the sandbox means as the vendor asks for it: a file of this size goes up in chunks or parts,
each with its checksum, one after the other. Both ways are asked by the same client, httpx, as a program
would do it.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import processes
import psutil
from twins import twin_of

from app import registry
from app.vault import sealing

SIZE = 2**30
BLOCK = bytes(range(256)) * 4096
BLOCKS = SIZE // len(BLOCK)
CHUNK = 100  # blocks in a chunk of Egnyte
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
QUIET = {
    "GATEWAY_VENDOR_TIMEOUT": "60",
    "GATEWAY_VENDOR_BUDGET": "120",
    "GATEWAY_POLL_TIMEOUT": "120",
    "GATEWAY_POLL_LEASE": "180",
}


def took(step: Callable[[], Any]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


def download(client: httpx.Client, url: str, **parameters: str) -> None:
    with client.stream("GET", url, params=parameters, follow_redirects=True) as answer:
        assert answer.status_code == 200
        assert sum(len(piece) for piece in answer.iter_raw()) == SIZE


def done(answer: httpx.Response) -> httpx.Response:
    assert answer.status_code < 300, answer.text[:500]
    return answer


class Gateway:
    """The transfer through the gateway."""

    def __init__(self, home: processes.House, element: str) -> None:
        token = home.connect(element)["token"]
        headers = {"Authorization": f"User {home.secrets['User']}, Element {token}"}
        self.http = httpx.Client(base_url=home.gateway_url, headers=headers, timeout=300)
        self.path = f"{twin_of(element).home}/through.bin"

    def upload(self) -> None:
        def form() -> Iterator[bytes]:
            yield HEAD
            for _ in range(BLOCKS):
                yield BLOCK
            yield TAIL

        headers = {
            "Content-Type": "multipart/form-data; boundary=b",
            "Content-Length": str(len(HEAD) + SIZE + len(TAIL)),
        }
        done(self.http.post("/files", params={"path": self.path}, content=form(), headers=headers))

    def download(self) -> None:
        download(self.http, "/files", path=self.path)


class Egnyte:
    """The transfer straight to Egnyte."""

    def __init__(self, home: processes.House) -> None:
        with httpx.Client(base_url=home.sandbox_url) as sandbox:
            headers = {"Authorization": f"Bearer {twin_of('egnyte').token(sandbox)}"}
        url = f"{home.sandbox_url}/egnyte/acme/pubapi/v1"
        self.http = httpx.Client(base_url=url, headers=headers, timeout=300)

    def upload(self) -> None:
        headers: dict[str, str] = {}
        for number, start in enumerate(range(0, BLOCKS, CHUNK), start=1):
            blocks = min(CHUNK, BLOCKS - start)
            digest = hashlib.sha512()
            for _ in range(blocks):
                digest.update(BLOCK)
            headers |= {"X-Egnyte-Chunk-Num": str(number), "Content-Length": str(blocks * len(BLOCK))}
            if start + blocks == BLOCKS:
                headers["X-Egnyte-Last-Chunk"] = "true"
            url = "/fs-content-chunked/Shared/direct.bin"
            answer = done(self.http.post(url, content=(BLOCK for _ in range(blocks)), headers=headers))
            assert answer.headers["x-egnyte-chunk-sha512-checksum"] == digest.hexdigest()
            headers["X-Egnyte-Upload-Id"] = answer.headers["x-egnyte-upload-id"]

    def download(self) -> None:
        download(self.http, "/fs-content/Shared/direct.bin")


class Box:
    """The transfer straight to Box."""

    def __init__(self, home: processes.House) -> None:
        with httpx.Client(base_url=home.sandbox_url) as sandbox:
            headers = {"Authorization": f"Bearer {twin_of('box').token(sandbox)}"}
        self.http = httpx.Client(base_url=f"{home.sandbox_url}/box", headers=headers, timeout=300)
        self.file_id = ""

    def upload(self) -> None:
        order = {"folder_id": "0", "file_size": SIZE, "file_name": "direct.bin"}
        session = done(self.http.post("/api/2.0/files/upload_sessions", json=order)).json()
        urls, size = session["session_endpoints"], session["part_size"]
        whole, parts = hashlib.sha1(usedforsecurity=False), []
        for offset in range(0, SIZE, size):
            part = BLOCK * (min(size, SIZE - offset) // len(BLOCK))
            whole.update(part)
            headers = {
                "Digest": self.digest(hashlib.sha1(part, usedforsecurity=False).digest()),
                "Content-Range": f"bytes {offset}-{offset + len(part) - 1}/{SIZE}",
            }
            answer = done(self.http.put(urls["upload_part"], content=part, headers=headers))
            parts.append(answer.json()["part"])
        headers = {"Digest": self.digest(whole.digest())}
        answer = done(self.http.post(urls["commit"], json={"parts": parts}, headers=headers))
        self.file_id = answer.json()["entries"][0]["id"]

    def download(self) -> None:
        download(self.http, f"/2.0/files/{self.file_id}/content")

    @staticmethod
    def digest(value: bytes) -> str:
        return f"sha={base64.b64encode(value).decode()}"


DIRECT: dict[str, Callable[[processes.House], Egnyte | Box]] = {"egnyte": Egnyte, "box": Box}


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
        while not over.wait(0.05):
            memory.peak = max(memory.peak, root.memory_info().rss / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def measure(home: processes.House, process: processes.Process, element: str) -> None:
    gateway, direct = Gateway(home, element), DIRECT[element](home)
    straight = took(direct.upload), took(direct.download)
    with watched(process) as memory:
        through = took(gateway.upload), took(gateway.download)
    for name, one, other in zip(("upload", "download"), through, straight, strict=True):
        rates = f"gateway {SIZE / one / 1e6:6.0f} MB/s   direct {SIZE / other / 1e6:6.0f} MB/s"
        print(f"{element:<8}{name:<10} {rates}   ratio {other / one:.2f}")
    growth = memory.peak - memory.before
    print(f"{element:<8}memory     before {memory.before:.0f} MB   growth {growth:.1f} MB")


def main() -> None:
    for provider in registry.discover({}).providers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            url = f"sqlite:///{folder}/gateway.db"
            with processes.house(folder, url, sealing.new_key(), **QUIET) as home:
                measure(home, home.serve("--no-workers"), provider.key)


if __name__ == "__main__":
    main()
