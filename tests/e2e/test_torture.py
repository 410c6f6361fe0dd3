"""The fault harness in its short form: a gateway under fire loses nothing, on both databases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST = 420  # seconds, on a machine that has its suite beside it


@pytest.mark.parametrize(("database", "seed"), [("postgresql", 20), ("sqlite", 21)])
def test_a_gateway_under_fire_loses_nothing(tmp_path: Path, database: str, seed: int) -> None:
    words = ["torture", "--database", database, "--seed", str(seed), "--seconds", "22", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert done.returncode in {0, 1}, done.stderr
    report = json.loads(done.stdout)
    assert report["defects"] == []
    assert done.returncode == 0
    assert report["changes_to_deliver"] == report["received"] > 0
    assert min(report[name] for name in ("kills", "stops", "clock_steps", "refreshes", "refused")) > 0
