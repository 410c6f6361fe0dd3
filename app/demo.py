"""The main job, shown: real processes on loopback, each step as the request that the reader can send."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import httpx

FILE = "/Shared/Documents/hello.txt"
SIGNATURE_KEY = "demo-signature-key"
PATIENCE = 120  # seconds for any one step


class DemoFailed(Exception):
    """The reason, in one sentence."""


@dataclass(frozen=True)
class Step:
    """One request, written with $NAMES. It is sent with their values and shown as a curl line in which
    the shell fills them in. `captures` is a name and the sed expression that finds it in the answer."""

    title: str
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    form: dict[str, str] | None = None
    captures: tuple[str, str] | None = None

    def curl(self) -> str:
        parts = ["curl -s"]
        if self.form is not None:
            parts.append("-o /dev/null -w '%{redirect_url}'")
            parts += [f"-d {_quoted(f'{key}={value}')}" for key, value in self.form.items()]
        elif self.method != "GET":
            parts.append(f"-X {self.method}")
        parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in self.headers.items()]
        if self.body is not None:
            parts.append(f"-H 'Content-Type: application/json' -d {_quoted(json.dumps(self.body))}")
        line = " \\\n    ".join([*parts, _quoted(self.url)])
        if self.captures is None:
            return line
        name, expression = self.captures
        extract = shlex.quote("s/" + expression + r"/\1/p")
        return f'{name}=$({line} |\n    sed -n {extract}); echo "${name}"'

    def send(self, client: httpx.Client, values: dict[str, str]) -> str:
        """The text that curl would print; what is captured goes into `values`."""

        def filled(text: str) -> str:
            return Template(text).substitute(values)

        response = client.request(
            self.method,
            filled(self.url),
            headers={name: filled(value) for name, value in self.headers.items()},
            data={key: filled(value) for key, value in self.form.items()} if self.form else None,
            json=json.loads(filled(json.dumps(self.body))) if self.body is not None else None,
        )
        text = response.headers.get("location", "") if self.form is not None else response.text
        if response.status_code >= 400:
            raise DemoFailed(f"{self.title}: HTTP {response.status_code}: {text[:500]}")
        if self.captures is not None:
            name, expression = self.captures
            found = re.fullmatch(expression.replace(r"\(", "(").replace(r"\)", ")"), text, re.DOTALL)
            if found is None:
                raise DemoFailed(f"{self.title}: no {name} in the answer: {text[:500]}")
            values[name] = found.group(1)
        return text


PLATFORM = {"Authorization": "User $USER_SECRET, Organization $ORGANIZATION"}
HUB = {"Authorization": "User $USER_SECRET, Element $TOKEN"}

STEPS = (
    Step(
        "Ask the gateway where the account's owner gives his consent",
        "GET",
        "$GATEWAY/elements/egnyte/oauth/url?apiKey=sandbox-client&apiSecret=sandbox-secret"
        "&callbackUrl=$RECEIVER/oauth/callback&subdomain=acme",
    ),
    Step(
        "Consent at Egnyte as its user; the redirect carries a code",
        "POST",
        "$SANDBOX/egnyte/acme/puboauth/consent",
        form={
            "client_id": "sandbox-client",
            "redirect_uri": "$RECEIVER/oauth/callback",
            "response_type": "code",
            "scope": "Egnyte.filesystem",
            "state": "egnyte",
            "username": "jsmith",
            "decision": "allow",
        },
        captures=("CODE", r".*code=\([^&]*\).*"),
    ),
    Step(
        "Connect the account: the gateway trades the code for tokens and polls from now on",
        "POST",
        "$GATEWAY/instances",
        headers=PLATFORM,
        body={
            "element": {"key": "egnyte"},
            "providerData": {"code": "$CODE"},
            "configuration": {
                "oauth.callback.url": "$RECEIVER/oauth/callback",
                "oauth.api.key": "sandbox-client",
                "oauth.api.secret": "sandbox-secret",
                "subdomain": "acme",
                "event.notification.enabled": True,
                "event.notification.callback.url": "$RECEIVER/changes",
                "event.notification.signature.key": SIGNATURE_KEY,
                "event.poller.refresh_interval": "0.03",
            },
            "tags": ["demo"],
            "name": "Acme files",
        },
        captures=("TOKEN", r'.*"token":"\([^"]*\)".*'),
    ),
    Step("Ping Egnyte through the gateway", "GET", "$GATEWAY/hubs/documents/ping", headers=HUB),
    Step(
        "Change a file at Egnyte, as another user would",
        "POST",
        "$SANDBOX/control/egnyte/acme/changes",
        body={"action": "upload", "path": FILE, "content": "Hello!"},
    ),
    Step(
        "Read the account's stream of changes on demand",
        "GET",
        "$GATEWAY/hubs/documents/events?pageSize=5",
        headers=HUB,
    ),
)


def run(*, stay: bool) -> int:
    """Runs the demonstration and answers an exit code; with `stay` it waits for Ctrl-C afterwards."""
    # Also where a shell started it in the background, with Ctrl-C ignored: the processes must not outlive it.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-")))
        try:
            values = stack.enter_context(_processes(folder))
            print("Paste these first, and every line below works in your shell:\n")
            print("\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items()))
            with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
                for number, step in enumerate(STEPS, start=1):
                    _show(number, step, client, values)
                _await_webhook(client, values)
        except DemoFailed as failure:
            print(f"\nThe demonstration failed: {failure}", file=sys.stderr)
            _print_log_tails(folder)
            return 1
        if stay:
            print("\nEverything stays up. Change more files, or connect more accounts; Ctrl-C ends it.")
            _follow_receiver(folder)
    return 0


def _show(number: int, step: Step, client: httpx.Client, values: dict[str, str]) -> None:
    print(f"\n# {number}. {step.title}\n{step.curl()}")
    print(_indented(step.send(client, values)), flush=True)


def _await_webhook(client: httpx.Client, values: dict[str, str]) -> None:
    """Raises DemoFailed when the webhook does not arrive, or not with the right signature."""
    step = Step("See the webhook that the receiver got", "GET", "$RECEIVER/deliveries")
    print(f"\n# {len(STEPS) + 1}. {step.title}\n{step.curl()}", flush=True)
    deadline = time.monotonic() + PATIENCE
    while not (arrived := json.loads(step.send(client, values))):
        if time.monotonic() > deadline:
            raise DemoFailed(f"no webhook arrived within {PATIENCE} s")
        time.sleep(0.1)
    delivery = arrived[0]
    print(_indented(json.dumps(delivery)))
    if delivery["signature"] != "ok":
        raise DemoFailed(f"the signature of the webhook is {delivery['signature']}")
    events = [f"{event['eventType']} {event['newPath']}" for event in delivery["json"]["message"]["events"]]
    if f"CREATED {FILE}" not in events:
        raise DemoFailed(f"the webhook tells of other changes: {', '.join(events)}")
    print(f"\nThe webhook arrived and its signature is right: {', '.join(events)}")


@contextmanager
def _processes(folder: Path) -> Iterator[dict[str, str]]:
    """Gateway, sandbox and receiver; answers the names that the steps use."""
    gateway, sandbox, receiver = (_port(preferred) for preferred in (8080, 9100, 9200))
    urls = {
        "GATEWAY": f"http://127.0.0.1:{gateway}/elements/api-v2",
        "SANDBOX": f"http://127.0.0.1:{sandbox}",
        "RECEIVER": f"http://127.0.0.1:{receiver}",
    }
    environment = os.environ | {
        "GATEWAY_PORT": str(gateway),
        "GATEWAY_DATABASE_URL": f"sqlite:///{folder}/gateway.db",
        "GATEWAY_PROVIDER_BASE_URLS": json.dumps({"egnyte": urls["SANDBOX"] + "/egnyte/{subdomain}"}),
        "GATEWAY_CALLBACK_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "GATEWAY_POLL_INTERVAL_FLOOR": "1",
    }
    with ExitStack() as stack:
        start: Callable[..., Path] = lambda name, *words: stack.enter_context(  # noqa: E731
            _process(folder, environment, name, *words)
        )
        start("sandbox", "sandbox", "--port", str(sandbox))
        start("receiver", "receiver", "--port", str(receiver), "--signature-key", SIGNATURE_KEY)
        log = start("gateway", "serve")
        _await_answer(urls["SANDBOX"] + "/")
        _await_answer(urls["RECEIVER"] + "/deliveries")
        _await_answer(f"http://127.0.0.1:{gateway}/ready")
        secrets = dict(re.findall(r"^  (Organization|User) (\S+)$", log.read_text(), re.MULTILINE))
        yield urls | {"ORGANIZATION": secrets["Organization"], "USER_SECRET": secrets["User"]}


@contextmanager
def _process(folder: Path, environment: dict[str, str], name: str, *words: str) -> Iterator[Path]:
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "app", *words]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)  # noqa: S603
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise DemoFailed(f"{url} does not answer")
        time.sleep(0.1)


def _port(preferred: int) -> int:
    """The preferred port, or a free one when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _quoted(text: str) -> str:
    """In double quotes, in which the shell fills $NAMES in and nothing else."""
    return '"' + re.sub(r'([\\"`])', r"\\\1", text) + '"'


def _indented(text: str) -> str:
    shown = text if len(text) <= 2400 else text[:2400] + " ..."
    return "\n".join(f"    {line}" for line in shown.splitlines())


def _print_log_tails(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-15:]
        print("\n".join([f"--- {log.name}", *tail]), file=sys.stderr)


def _follow_receiver(folder: Path) -> None:
    """Prints what the receiver prints, until Ctrl-C."""
    with (folder / "receiver.log").open() as file:
        try:
            while True:
                print(file.read(), end="", flush=True)
                time.sleep(0.2)
        except KeyboardInterrupt:
            print()
