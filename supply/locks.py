"""What the lock files name: releases, and the hashes of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"


@dataclass(frozen=True)
class Release:
    """One release that is installed, with the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def releases(lock: Path) -> list[Release]:
    """The releases of a lock, in its order."""
    rows = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n +--hash=sha256:\w+)*)", lock.read_text(), re.MULTILINE)
    return [Release(name, version, tuple(re.findall(r"sha256:(\w+)", rest))) for name, version, rest in rows]
