"""Memory of the gateway after 10,000 events have passed through it: vendor, store, signature, callback.

Runs the real processes (one `serve` on SQLite, sandbox, receiver) and prints the resident memory of the
gateway before and after, and their ratio (the target is under 150 MB after).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import processes
import psutil

from app.vault import sealing

EVENTS = 10_000
PATIENCE = 300


def resident(process: processes.Process) -> float:
    """Megabytes (10^6 bytes) of the process and its children."""
    root = psutil.Process(process.process.pid)
    return float(sum(item.memory_info().rss for item in [root, *root.children(recursive=True)])) / 1e6


def received(home: processes.House) -> int:
    return sum(len(delivery["json"]["message"]["events"]) for delivery in home.deliveries())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with processes.house(folder, f"sqlite:///{folder}/gateway.db", sealing.new_key()) as home:
            gateway = home.serve()
            home.connect()
            time.sleep(1)
            before = resident(gateway)
            started, peak = time.monotonic(), before
            home.change(EVENTS, name="memory")
            while received(home) < EVENTS:
                assert time.monotonic() - started < PATIENCE, "the events did not arrive"
                peak = max(peak, resident(gateway))
                time.sleep(0.2)
            took = time.monotonic() - started
            after = resident(gateway)
            peak = max(peak, after)
    print(
        f"memory      before {before:.0f} MB   after {EVENTS:,} events {after:.0f} MB   peak {peak:.0f} MB"
        f"   ratio {after / before:.2f}   ({EVENTS / took:,.0f} events/s)"
    )


if __name__ == "__main__":
    main()
