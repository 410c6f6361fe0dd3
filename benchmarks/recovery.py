"""From kill -9 of a worker to the first delivery of what it held, while another worker stands by: a callback
whose receiver hangs, and an account whose page the vendor is slow to give.

The target is less than the lease and one second more, for a lease of 2 s and for the default ones.
"""

from __future__ import annotations

import base64
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx
import postgresql
import processes
from processes import House, Process, eventually, house

from app.settings import Settings

RUNS = 3  # with short leases; a default one takes minutes

SHORT = {
    "GATEWAY_VENDOR_TIMEOUT": "1.4",
    "GATEWAY_POLL_TIMEOUT": "1.5",
    "GATEWAY_POLL_LEASE": "2",
    "GATEWAY_CALLBACK_TIMEOUT": "1",
    "GATEWAY_CALLBACK_LEASE": "2",
}
_NAMES = (
    "vendor_timeout",
    "vendor_budget",
    "poll_timeout",
    "poll_lease",
    "callback_timeout",
    "callback_turn",
    "callback_lease",
    "drain_timeout",
    "worker_idle",
)
DEFAULT = {
    f"GATEWAY_{name.upper()}": f"{Settings.model_fields[name].default.total_seconds():g}" for name in _NAMES
}

Hold = Callable[[House, float], int]


def hold_callback(home: House, _: float) -> int:
    """Returns while a worker waits for a receiver that does not answer."""
    home.receiver_behaves(hang=True)
    home.change()
    eventually(home.deliveries, "a POST that hangs")
    home.receiver_behaves()
    return 1


def hold_account(home: House, lease: float) -> int:
    """Returns while a worker waits for the page that tells of a change."""
    seconds = lease / 2
    fault = {"kind": "slow", "seconds": seconds, "path": "/pubapi/v2/events"}
    httpx.post(f"{home.sandbox_url}/control/egnyte/acme/faults", json=fault).raise_for_status()
    home.change()
    time.sleep(min(seconds / 2, 1))  # by now it has asked; the fault is used up, so nobody waits again
    return 0


def measure(database_url: str, settings: dict[str, str], hold: Hold, lease: float) -> float:
    """Seconds from the kill to the first arrival after it."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    folder = tempfile.TemporaryDirectory(prefix="recovery-")
    with folder as path, house(Path(path), database_url, key, **settings) as home:
        home.serve("--no-workers")
        holder, other = home.work(), home.work()
        pause(other)
        home.connect()
        before = hold(home, lease)
        holder.kill()
        killed = time.time()
        other.process.send_signal(signal.SIGCONT)
        while len(arrived := home.deliveries()) <= before:
            time.sleep(0.05)
        return datetime.fromisoformat(arrived[before]["received_at"]).timestamp() - killed


def recovery(server: postgresql.Server, settings: dict[str, str], hold: Hold, lease: float) -> float:
    """Seconds, of the first run in which the worker was killed before its change had arrived."""
    while (took := measure(server.new_database(), settings, hold, lease)) < 0:
        pass
    return took


def pause(worker: Process) -> None:
    """So that only the other one can take what is due."""
    worker.process.send_signal(signal.SIGSTOP)


def main() -> None:
    processes.PATIENCE = 120.0  # the default leases take that long
    with postgresql.running() as server:
        for title, settings, runs in (("short", SHORT, RUNS), ("default", DEFAULT, 1)):
            for what, hold in (("callback", hold_callback), ("poll", hold_account)):
                lease = float(settings[f"GATEWAY_{what.upper()}_LEASE"])
                found = [recovery(server, settings, hold, lease) for _ in range(runs)]
                took = ", ".join(f"{seconds:.2f}" for seconds in found)
                print(f"{title:8} {what:9} lease {lease:3g} s: {took} s (target {lease + 1:g} s)", flush=True)


if __name__ == "__main__":
    main()
