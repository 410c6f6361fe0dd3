"""Every command of the README is run, and the snippet in it does what it says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ENCRYPTION_KEY
from processes import PATIENCE, House, eventually, house

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if re.search(r"\b(gateway|make) ", line)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, f"sqlite:///{tmp_path}/gateway.db", ENCRYPTION_KEY) as made:
        yield made


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make")])
def test_a_make_target_of_the_readme_exists(line: str) -> None:
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_command_of_the_readme_is_run_here() -> None:
    assert all(line.startswith(("make ", "gateway ", "echo ")) for line in COMMANDS)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("gateway")])
def test_a_gateway_command_of_the_readme_runs(home: House, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "import":
        prepare(home)
    if words[:2] == ["keys", "rotate"] or words[0] == "audit":
        home.serve()
    assert (Path(sys.executable).parent / "gateway").is_file(), "the console script is not installed"
    if words[0] == "serve":
        assert home.serve(*words[1:]).stop() == 0
        return
    process = home.start(*words)
    if words[0] == "work":
        eventually(lambda: "worker started" in process.said(), "worker started")
        assert process.stop() == 0
    assert process.process.wait(PATIENCE) == 0, process.said()


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("echo")])
def test_a_pipe_of_the_readme_runs(home: House, line: str) -> None:
    prepare(home)
    scripts = Path(sys.executable).parent
    environment = os.environ | home.settings | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    command = ["bash", "-o", "pipefail", "-c", line]
    subprocess.run(command, cwd=home.folder, env=environment, check=True, timeout=2 * PATIENCE)


def prepare(home: House) -> None:
    """An organization, and what another service answered."""
    assert home.start("organization", "create", "Test").process.wait(PATIENCE) == 0
    export = [{"id": 427236, "name": "Acme files", "element": {"key": "egnyte"}, "token": "t"}]
    (home.folder / "instances.json").write_text(json.dumps(export))


def test_the_snippet_tells_a_genuine_notification_from_a_forged_one() -> None:
    (snippet,) = [text for text in SNIPPETS if "is_genuine" in text]
    names: dict[str, object] = {}
    exec(snippet, names)  # noqa: S102
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    body, key = b'{"id":"1"}', "top-secret"
    signature = "sha256=" + base64.b64encode(hmac.digest(key.encode(), body, hashlib.sha256)).decode()
    assert is_genuine(body, signature, key)
    assert not is_genuine(body + b" ", signature, key)
