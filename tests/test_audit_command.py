"""`gateway audit`: what the operator reads, and what his own commands leave."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import orjson
from conftest import ENCRYPTION_KEY


def gateway(folder: Path, *words: str, status: int = 0) -> str:
    environment = os.environ | {"GATEWAY_ENCRYPTION_KEYS": ENCRYPTION_KEY, "LOGNAME": "somebody-else"}
    command = [sys.executable, "-m", "app", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout or done.stderr


def test_the_operator_reads_what_he_has_done_himself(tmp_path: Path) -> None:
    gateway(tmp_path, "organization", "create", "Acme", "--email", "ann@example.com")
    operator = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    *_, newest = map(orjson.loads, gateway(tmp_path, "audit", "--json").splitlines())
    assert (newest["actor"], newest["action"]) == (operator, "organization.created")
    (line,) = gateway(tmp_path, "audit", "--action", "organization.", "--since", "2026-01-01").splitlines()
    assert line.startswith(newest["createdDate"])
    assert line[25:] == (
        f"organization.created organization 1 by {operator} "
        '{"name":"Acme","emailAddress":"ann@example.com"}'
    )
    assert gateway(tmp_path, "audit", "--account", "2") == ""
    assert "--since: " in gateway(tmp_path, "audit", "--since", "yesterday", status=2)
