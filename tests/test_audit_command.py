"""`gateway audit`: what the operator reads, and what his own commands leave."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from conftest import ENCRYPTION_KEY
from typer.testing import CliRunner

from app import logs
from app.cli import cli
from app.errors import BadRequest, SettingsError


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


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "0001-01-01T00:00:00+14:00"),
        ("--since", "9999-12-31T23:59:59-14:00"),
        ("--account", "99999999999999999999"),
        ("--organization", "-1"),
        ("--limit", "99999999999999999999"),
        ("--after", "1"),
    ],
)
def test_what_cannot_be_asked_for_is_named(words: tuple[str, str]) -> None:
    answer = CliRunner().invoke(cli, ["audit", *words])
    assert answer.exit_code
    said = answer.exception.message if isinstance(answer.exception, BadRequest) else answer.stderr
    assert words[0] in said


def test_a_command_that_only_reads_makes_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # it would go on with the runner's closed stream
    path = tmp_path / "data/gateway.db"
    for words in (["audit"], ["keys", "list"]):
        with pytest.raises(SettingsError, match=r"there is no database data/gateway\.db"):
            CliRunner().invoke(cli, words, catch_exceptions=False)
    assert not any(tmp_path.iterdir())
    path.parent.mkdir()
    path.touch()
    for words in (["audit"], ["keys", "list"]):
        with pytest.raises(SettingsError, match="run `gateway migrate`"):
            CliRunner().invoke(cli, words, catch_exceptions=False)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
