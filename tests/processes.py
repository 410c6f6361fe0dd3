"""The product as real processes on the loopback: started, killed, drained, and asked."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from acme import REDIRECT_URI, consent
from twins import twin_of

from app.torture.processes import free_port as free_port

T = TypeVar("T")

PATIENCE = 180.0  # seconds for anything that must happen, on a machine that is busy with other things


def eventually(ask: Callable[[], T], what: str) -> T:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError):
            if answer := ask():
                return answer
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(0.02)


async def until(ask: Callable[[], Any], what: str) -> Any:
    """As `eventually`, beside other tasks: what is asked may have to be awaited."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        await asyncio.sleep(0.01)


@dataclass
class Process:
    """One `python -m app ...`."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM, and the exit code that followed."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def has_begun(self) -> bool:
        """Whether it listens to HTTP, or cannot and has ended: what a port answers may be another's word."""
        if self.process.poll() is not None:
            return True
        with suppress(psutil.NoSuchProcess):
            sockets = psutil.Process(self.process.pid).net_connections("tcp")
            return psutil.CONN_LISTEN in {item.status for item in sockets}
        return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class House:
    """A sandbox, a receiver, and any number of gateways and workers on one database."""

    folder: Path
    database_url: str
    sandbox_url: str
    receiver_url: str
    settings: dict[str, str]
    stack: ExitStack
    receiver: Process | None = None
    gateway_url: str = ""
    secrets: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **environment: str) -> Process:
        """Starts a command of the gateway; it is killed at the end of the test if it still runs."""
        log = self.folder / f"{words[0]}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", *words],
                env=os.environ | self.settings | environment,
                cwd=self.folder,
                stdout=file,
                stderr=file,
            )
        started = Process(process, log)
        self.stack.callback(_end, started)
        return started

    def serve(self, *words: str, public: bool = False, **environment: str) -> Process:
        """Starts an API process, waits until it is ready, and talks to it from now on. With `public` it is
        told its URL. A port that somebody else has got meanwhile is exchanged for another one."""
        taken = "address already in use"
        while True:
            port = str(free_port())
            url = f"http://127.0.0.1:{port}"
            more = {"GATEWAY_PUBLIC_URL": url} if public else {}
            process = self.start("serve", "--port", port, *words, **environment, **more)
            eventually(process.has_begun, "an API process that listens, or that has ended")
            if taken not in process.said():
                break
        assert process.process.poll() is None, process.said()
        ready = f"{url}/ready"
        eventually(lambda: httpx.get(ready).status_code == 200, "ready")
        self.gateway_url = f"{url}/elements/api-v2"
        self.secrets |= dict(re.findall(r"^  (Organization|User) (\S+)$", process.said(), re.MULTILINE))
        return process

    def open_receiver(self) -> None:
        """Starts the callback receiver, anew if it was killed."""
        port = self.receiver_url.rpartition(":")[2]
        self.receiver = self.start("receiver", "--port", port, "--signature-key", "top-secret")
        eventually(lambda: httpx.get(self.receiver_url + "/deliveries").status_code == 200, "receiver")

    def work(self, **environment: str) -> Process:
        """Starts a worker process."""
        process = self.start("work", **environment)
        eventually(lambda: "worker started" in process.said(), "worker started")
        return process

    def connect(
        self,
        element: str = "egnyte",
        /,
        *,
        callback: str = "/changes",
        domain: str = "acme",
        **configuration: Any,
    ) -> dict[str, Any]:
        """Connects an account by a real code exchange; its changes go to the receiver."""
        twin = twin_of(element)
        place = {"subdomain": domain} if element == "egnyte" else twin.configuration
        code = consent(f"{self.sandbox_url}/egnyte/{domain}") if place else twin.code(self.sandbox_url)
        values = {
            "oauth.callback.url": REDIRECT_URI,
            "oauth.api.key": "sandbox-client",
            "oauth.api.secret": "sandbox-secret",
            **place,
            "event.notification.enabled": True,
            "event.notification.callback.url": self.receiver_url + callback,
            "event.notification.signature.key": "top-secret",
            "event.poller.refresh_interval": "0.001",
        }
        answer = httpx.post(
            f"{self.gateway_url}/instances",
            timeout=PATIENCE,
            headers=self.platform,
            json={
                "element": {"key": element},
                "providerData": {"code": code},
                "configuration": values | configuration,
                "name": "Acme files",
            },
        )
        assert answer.status_code == 200, answer.text
        instance: dict[str, Any] = answer.json()
        return instance

    @property
    def platform(self) -> dict[str, str]:
        return {"Authorization": f"User {self.secrets['User']}, Organization {self.secrets['Organization']}"}

    def change(self, count: int = 1, *, name: str = "a", domain: str = "acme") -> list[str]:
        """Changes files at the vendor, and answers the vendor's ids of these changes."""
        before = self._latest(domain)
        order = {"action": "upload", "path": f"/Shared/{name}" + "-{n}.txt", "content": "x", "count": count}
        if count == 1:
            order |= {"path": f"/Shared/{name}.txt"}
            order.pop("count")
        httpx.post(f"{self.sandbox_url}/control/egnyte/{domain}/changes", json=order).raise_for_status()
        token = httpx.post(f"{self.sandbox_url}/control/egnyte/{domain}/tokens", json={}).json()
        found: list[str] = []
        cursor = before
        while True:
            answer = httpx.get(
                f"{self.sandbox_url}/egnyte/{domain}/pubapi/v2/events",
                params={"id": cursor, "count": 100},
                headers={"Authorization": f"Bearer {token['access_token']}"},
            )
            if answer.status_code == 204:
                return found
            found += [str(event["id"]) for event in answer.json()["events"]]
            cursor = answer.json()["latest_id"]

    def _latest(self, domain: str) -> int:
        state = httpx.get(f"{self.sandbox_url}/control/egnyte/{domain}").json()
        latest: int = state["latest_event_id"]
        return latest

    def deliveries(self) -> list[dict[str, Any]]:
        """What reached the receiver."""
        rows: list[dict[str, Any]] = httpx.get(
            f"{self.receiver_url}/deliveries", params={"limit": 20000}, timeout=PATIENCE
        ).json()
        return rows

    def received(self) -> dict[str, set[str]]:
        """The changes that reached the receiver, each with the ids of the notifications that told of it."""
        found: dict[str, set[str]] = {}
        for delivery in self.deliveries():
            message = delivery["json"]["message"]
            ids = {row["event_object_id"]: row["event_id"] for row in message["raw"]["events"]}
            for event in message["events"]:
                found.setdefault(ids[event["objectId"]], set()).add(delivery["json"]["id"])
        return found

    def await_changes(self, wanted: list[str]) -> None:
        """Waits until each of these changes has arrived, and checks what must hold for all that did."""
        eventually(lambda: self.received().keys() >= set(wanted), f"{len(wanted)} changes at the receiver")
        for change, notifications in self.received().items():
            assert len(notifications) == 1, f"change {change} came under several ids: {notifications}"
        assert {delivery["signature"] for delivery in self.deliveries()} == {"ok"}

    def await_changes_of_each_account(self, wanted: list[str], *, accounts: int) -> None:
        """Waits until every account's callback has had each of these changes; nothing comes twice."""

        def complete() -> bool:
            found: dict[int, set[str]] = {}
            for delivery in self.deliveries():
                message = delivery["json"]["message"]
                rows = found.setdefault(message["instanceId"], set())
                rows |= {row["event_id"] for row in message["raw"]["events"]}
            return len(found) == accounts and all(rows >= set(wanted) for rows in found.values())

        eventually(complete, "every change at every account")
        ids = [delivery["json"]["id"] for delivery in self.deliveries()]
        assert len(ids) == len(set(ids))

    def receiver_behaves(self, **behaviour: Any) -> None:
        httpx.post(f"{self.receiver_url}/control", json=behaviour).raise_for_status()


@contextmanager
def house(folder: Path, database_url: str, encryption_key: str, **settings: str) -> Iterator[House]:
    """Sandbox and receiver run; gateways and workers are started by the test. Leases are short, so that
    what a killed process held is taken over while `eventually` waits for it, and longer than any process
    stands still on a busy machine: an account whose vendor is given up on rests for half a minute, and what
    is sent beyond a lease is sent twice."""
    sandbox, receiver = free_port(), free_port()
    sandbox_url, receiver_url = f"http://127.0.0.1:{sandbox}", f"http://127.0.0.1:{receiver}"
    quick = {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_ENCRYPTION_KEYS": encryption_key,
        "GATEWAY_PROVIDER_BASE_URLS": json.dumps(
            {"egnyte": sandbox_url + "/egnyte/{subdomain}", "box": sandbox_url + "/box"}
        ),
        "GATEWAY_CALLBACK_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "GATEWAY_POLL_INTERVAL_FLOOR": "0.1",
        "GATEWAY_WORKER_IDLE": "0.05",
        "GATEWAY_VENDOR_TIMEOUT": "10",
        "GATEWAY_VENDOR_BUDGET": "11",
        "GATEWAY_POLL_TIMEOUT": "11",
        "GATEWAY_POLL_LEASE": "12",
        "GATEWAY_CALLBACK_TIMEOUT": "10",
        "GATEWAY_CALLBACK_TURN": "0.5",
        "GATEWAY_CALLBACK_LEASE": "12",
        "GATEWAY_CALLER_RATE": "1000000",  # counted, and never too many
    }
    with ExitStack() as stack:
        made = House(folder, database_url, sandbox_url, receiver_url, quick | settings, stack)
        made.start("sandbox", "--port", str(sandbox))
        made.open_receiver()
        eventually(lambda: httpx.get(sandbox_url).status_code == 200, "sandbox")
        yield made


def _end(process: Process) -> None:
    if process.process.poll() is None:
        process.kill()
