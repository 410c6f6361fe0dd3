"""`make demo`, `make run`, and the lines that they print."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PATIENCE, eventually

LONGEST = 5 * PATIENCE  # for many steps
COMMAND = [sys.executable, "-m", "app", "demo"]


def test_the_demonstration_ends_well(tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The webhook arrived and its signature is right" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed lines are for curl, which is not here")
def test_the_printed_lines_work_when_pasted(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with log.open("wb") as file:
        demo = subprocess.Popen([*COMMAND, "--stay"], cwd=tmp_path, stdout=file, stderr=file)
    try:
        eventually(lambda: _stays_up(demo, log), "a demonstration that stays up")
        script = "set -eu\n" + _shell_lines(log.read_text())
        assert script.count("curl -s") == 7
        pasted = subprocess.run(
            ["bash"], check=False, input=script, capture_output=True, text=True, timeout=LONGEST
        )
        assert pasted.returncode == 0, pasted.stderr
        assert '"endpoint":"egnyte"' in pasted.stdout
        assert '"event_type":"' in pasted.stdout
        assert '"signature":"ok"' in pasted.stdout
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE) == 0


def _stays_up(demo: subprocess.Popen[bytes], log: Path) -> bool:
    said = log.read_text()
    assert demo.poll() is None, said
    return "Everything stays up" in said


def _shell_lines(said: str) -> str:
    """What a reader would paste: the assignments and the commands, without the indented answers."""
    lines = said.splitlines()
    pasted: list[str] = []
    for number, line in enumerate(lines):
        continues = number > 0 and bool(pasted) and pasted[-1].endswith(("\\", "|")) and bool(line)
        if continues or re.match(r"[A-Z_]+=|curl -s", line):
            pasted.append(line)
    return "\n".join(pasted) + "\n"
