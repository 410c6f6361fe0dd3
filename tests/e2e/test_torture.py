"""The fault harness in its short form: a gateway under fire loses nothing, on both databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST = 900  # seconds, on a machine that has its suite beside it
ENDING = 60  # seconds
DONE = ("kills", "stops", "clock_steps_forwards", "clock_steps_backwards")
"""What these seeds hold however slow the machine is."""


@pytest.mark.parametrize(("database", "seed"), [("postgresql", 33), ("sqlite", 21)])
def test_a_gateway_under_fire_loses_nothing(tmp_path: Path, database: str, seed: int) -> None:
    words = ["torture", "--database", database, "--seed", str(seed), "--seconds", "22", "--json"]
    code, out, err = _run(words, tmp_path)
    assert code in {0, 1}, err
    report = json.loads(out)
    assert report["defects"] == []
    assert code == 0
    assert report["changes_to_deliver"] == report["received"] > 0
    assert min(report[name] for name in DONE) > 0


def _run(words: list[str], folder: Path) -> tuple[int, str, str]:
    """A harness that takes too long is asked to end, so that it ends what it has started."""
    with subprocess.Popen(
        [sys.executable, "-m", "app", *words],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=ENDING)
        finally:
            process.kill()
    return process.returncode, out, err
