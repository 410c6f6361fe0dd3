"""What is generated is up to date, and what is written in the repository can be relied on."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

from app import registry
from app.cli import documents
from app.hubs.documents import DocumentsProvider, Power
from app.settings import page as settings_page

ROOT = Path(__file__).parent.parent


def test_openapi_is_what_the_code_answers() -> None:
    assert (ROOT / "openapi/gateway.json").read_text() == documents.openapi_text(), "run `make openapi`"


def test_every_setting_is_in_its_page() -> None:
    assert (ROOT / "docs/settings.md").read_text() == settings_page.as_markdown(), "run `make docs`"


def test_every_operation_of_every_provider_is_in_its_page() -> None:
    page = registry.as_markdown(registry.discover({}))
    assert (ROOT / "docs/providers.md").read_text() == page, "run `make docs`"


def test_the_guide_to_a_new_provider_names_what_there_is() -> None:
    """Each file and name in it that can be looked up is looked up."""
    guide = (ROOT / "docs/adding-a-provider.md").read_text()
    for path in re.findall(r"`((?:app|tests)/[\w/]+\.py)`", guide):
        assert (ROOT / path).is_file() or "dropbox" in path, path
    for power in re.findall(r"`Power\.(\w+)`", guide):
        assert power in Power.__members__, power
    for verb in re.findall(r"`(\w+)\(\)`", guide):
        assert hasattr(DocumentsProvider, verb), verb


def test_a_wheel_migrates_without_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-m", "app", "migrate"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    with closing(sqlite3.connect(tmp_path / "data/gateway.db")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
