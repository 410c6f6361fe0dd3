"""The page of threats: each defence is shown by a test that exists, and what the page leads to is there."""

from __future__ import annotations

import re
from pathlib import Path

from app.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "SECURITY.md", ROOT / "docs/security.md")
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_every_test_that_a_page_names_is_there() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = [found for page in PAGES for found in NAMED.findall(page.read_text())]
    assert len(named) > 50
    missing = [name for name in named if not re.search(rf"def {name[1]}\(", files.get(name[0], ""))]
    assert missing == []


def test_every_threat_has_a_defence_a_test_and_a_rest() -> None:
    rows = [line for line in PAGES[1].read_text().splitlines() if "::" in line]
    assert all(line.count(" | ") == 3 for line in rows)
    assert all(cell.strip(" |") for line in rows for cell in line.split(" | "))


def test_what_a_page_leads_to_is_there() -> None:
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        assert targets
        assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_setting_that_a_page_names_is_one() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        assert set(re.findall(rf"{PREFIX}[A-Z_]+", page.read_text())) <= known
