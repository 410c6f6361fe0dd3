"""`GET /hubs/documents/files/{id}/metadata` at 32 connections, against two forwarders of the same call.

The first is a bare FastAPI route over the same kind of client (the target is 0.6 of its rate or more), the
second a plain FastAPI + httpx forwarder, as one would write it first (the target is 3 times its rate or
more). Each runs in a process of its own in front of the same sandbox; the load comes from here.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import processes
from twins import twin_of

from app.vault import sealing

CONNECTIONS = 32
SECONDS = 5.0
ROUNDS = 3

FORWARDER = """
import os
from datetime import timedelta

import httpx
import uvicorn
from fastapi import FastAPI, Response

from app.http_client import pooled_client

if os.environ["CLIENT"] == "pooled":
    client = pooled_client(timeout=timedelta(seconds=20), agent="bare", limit=200)
else:
    client = httpx.AsyncClient(timeout=20)
url, token = os.environ["VENDOR"], os.environ["TOKEN"]
app = FastAPI()


@app.get("/files/{id}/metadata")
async def metadata(id: str) -> Response:
    answer = await client.get(f"{url}/{id}", headers={"Authorization": "Bearer " + token})
    return Response(answer.content, answer.status_code, media_type="application/json")


uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
"""


@contextmanager
def forwarder(client: str, vendor: str, token: str) -> Iterator[str]:
    port = processes.free_port()
    environment = {"CLIENT": client, "VENDOR": vendor, "TOKEN": token, "PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", FORWARDER], env=os.environ | environment)
    url = f"http://127.0.0.1:{port}"
    try:
        processes.eventually(lambda: httpx.get(f"{url}/docs").status_code == 200, "the forwarder")
        yield url
    finally:
        process.kill()
        process.wait()


async def rate(url: str, headers: dict[str, str]) -> float:
    """Requests per second that are answered with 200."""
    count, until = 0, time.monotonic() + SECONDS

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal count
        while time.monotonic() < until:
            async with session.get(url, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200
            count += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        began = time.monotonic()
        await asyncio.gather(*(ask(session) for _ in range(CONNECTIONS)))
        return count / (time.monotonic() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with processes.house(folder, f"sqlite:///{folder}/gateway.db", sealing.new_key()) as home:
            home.serve("--no-workers", GATEWAY_LOG_LEVEL="warning")
            headers = {
                "Authorization": f"User {home.secrets['User']}, Element {home.connect('box')['token']}"
            }
            made = httpx.post(
                f"{home.gateway_url}/files",
                params={"path": "/a.txt"},
                files={"file": ("a.txt", b"x")},
                headers=headers,
            ).json()
            with httpx.Client(base_url=home.sandbox_url) as sandbox:
                token = twin_of("box").token(sandbox)
            vendor = f"{home.sandbox_url}/box/2.0/files"
            gateway = f"{home.gateway_url}/hubs/documents/files/{made['id']}/metadata"
            path = f"/files/{made['id']}/metadata"
            with forwarder("pooled", vendor, token) as bare, forwarder("plain", vendor, token) as plain:
                for _ in range(ROUNDS):
                    one = asyncio.run(rate(gateway, headers))
                    other, slow = (asyncio.run(rate(url + path, {})) for url in (bare, plain))
                    to_bare = f"bare route {other:5.0f}/s   ratio {one / other:.2f}"
                    to_plain = f"plain forwarder {slow:5.0f}/s   ratio {one / slow:.2f}"
                    print(f"metadata    gateway {one:5.0f}/s   {to_bare}   {to_plain}")


if __name__ == "__main__":
    main()
