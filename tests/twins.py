"""What the conformance suite must know of a provider's sandbox twin. Each `tests/providers/test_<key>.py`
says it in a constant TWIN, so that a new provider takes part without any other file being edited."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Twin:
    """How an account is prepared at one vendor's sandbox, through its control routes.

    `place` is the path of an account below `/{key}/`; `token` gives an access token for it;
    `change_files` makes that many files there, one change each.
    """

    place: str
    token: Callable[[httpx.Client], str]
    change_files: Callable[[httpx.Client, int], None]


def twin_of(key: str) -> Twin:
    """Reads TWIN from the provider's own test file."""
    path = Path(__file__).parent / "providers" / f"test_{key}.py"
    spec = importlib.util.spec_from_file_location(f"twin_of_{key}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    twin: Twin = module.TWIN
    return twin
