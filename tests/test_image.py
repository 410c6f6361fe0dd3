"""The image and the compose file: what they are made of, how little they may do, and where secrets stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from processes import PATIENCE
from pydantic import SecretStr
from serving import served
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.settings import PREFIX, Settings
from app.upstream import oauth

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
LINES = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
COPIED = [tuple(line.split()[1:]) for line in LINES if line.startswith("COPY ") and "--from" not in line]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNDERSTOOD = {
    *("build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck"),
    *("image", "networks", "pids_limit", "ports", "read_only", "restart", "secrets", "security_opt"),
    *("stop_grace_period", "tmpfs", "volumes"),
}


def test_a_linter_of_dockerfiles_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_copies_only_files_that_exist_and_are_not_ignored() -> None:
    copied = {source for source, _ in COPIED}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_everything_that_the_image_installs_is_a_wheel_with_a_hash_of_the_lock() -> None:
    installs = [line for line in LINES if re.search(r"\b(pip\S*|apt-get|curl|wget)\b.*\binstall\b", line)]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary", ":all:", "requirements.lock"} <= set(installs[0].split())


def test_the_image_can_be_built_on_a_base_that_is_named_by_its_digest() -> None:
    assert {line.split()[1] for line in LINES if line.startswith("FROM ")} == {"${PYTHON}"}


def test_the_image_runs_as_a_user_without_rights_and_without_a_package_installer() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)", last, re.MULTILINE) == ["10001:10001"]
    assert re.search(r"pip uninstall .*\bpip\b", last)


def test_the_image_sets_nothing_that_would_hide_a_secret_file() -> None:
    """The environment comes before the files."""
    secrets = {f"{PREFIX}{name.upper()}" for name in secret_settings()}
    assert not secrets & set(re.findall(r"\w+(?==)", DOCKERFILE))


def test_what_is_copied_into_the_image_starts_there(tmp_path: Path) -> None:
    for source, target in COPIED:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / target.lstrip("/"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "gateway"), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "app", "migrate"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    with closing(sqlite3.connect(tmp_path / "data/gateway.db")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


@pytest.mark.parametrize(("path", "code"), [("/health", 0), ("/other", 1)], ids=["healthy", "not healthy"])
def test_the_image_asks_for_its_health_at_the_port_that_is_set(path: str, code: int) -> None:
    (words,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*)", DOCKERFILE, re.MULTILINE)
    ask, patient = json.loads(words)[1:], f"timeout={PATIENCE}"
    assert ask[1].count("timeout=2") == 1
    app = Starlette(routes=[Route(path, lambda _: PlainTextResponse("ok"))])
    with served(app) as url:
        environment = os.environ | {"GATEWAY_PORT": url.rpartition(":")[2], "no_proxy": "*"}
        command = [sys.executable, ask[0], ask[1].replace("timeout=2", patient)]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    assert (b"404" in done.stderr) is bool(code)


def test_every_process_of_the_compose_file_is_a_command_of_the_gateway() -> None:
    commands = {name: item["command"] for name, item in SERVICES.items() if "command" in item}
    assert commands == {"api": ["serve", "--no-workers"], "worker": ["work"]}
    assert (SERVICES["api"]["deploy"]["replicas"], SERVICES["worker"]["deploy"]["replicas"]) == (2, 3)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_may_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= UNDERSTOOD, "a key that Compose does not know protects nothing"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert "cap_add" not in service or name == "postgres"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_only_the_gateway_reaches_the_database() -> None:
    assert SERVICES["postgres"]["networks"] == ["store"]
    assert COMPOSE["networks"]["store"] == {"internal": True}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_stop_has_all_the_time_that_it_may_need(name: str) -> None:
    """For what is in flight, then for tokens that a vendor has been asked for, then for storing them."""
    settings = Settings(_env_file=None)
    drain, vendor = (time.total_seconds() for time in (settings.drain_timeout, settings.vendor_timeout))
    assert SERVICES[name]["stop_grace_period"].endswith("s")
    given = float(SERVICES[name]["stop_grace_period"][:-1])
    assert given > drain + vendor + oauth.grace(vendor) + drain


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_secret_stands_in_the_environment_of_a_container(name: str) -> None:
    service = SERVICES[name]
    assert "$" not in "".join(service["environment"].values())
    names = [item if isinstance(item, str) else item["source"] for item in service["secrets"]]
    assert all(COMPOSE["secrets"][item]["file"].startswith("secrets/") for item in names)
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_secret_files_of_the_gateway_are_called_as_its_settings() -> None:
    targets = {item["target"].removeprefix(PREFIX).lower() for item in SERVICES["api"]["secrets"]}
    assert targets == secret_settings()
    assert SERVICES["api"]["secrets"] == SERVICES["worker"]["secrets"]


def secret_settings() -> set[str]:
    """The settings that are never shown."""
    fields = Settings.model_fields.items()
    return {name for name, field in fields if SecretStr in {field.annotation, *get_args(field.annotation)}}
