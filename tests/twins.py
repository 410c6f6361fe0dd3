"""What the conformance suite must know of a provider's sandbox twin. Each `tests/providers/test_<key>.py`
says it in a constant TWIN, so that a new provider takes part without any other file being edited."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Twin:
    """How an account is prepared at one vendor's sandbox.

    `place` is the path of an account below `/{key}/`, `control` that of its control routes, `home` the
    folder in which it may make files (empty for the root). `token` gives an access token for it, `code`
    the code that its owner brings back from the consent page (it gets the sandbox's URL), and
    `change_files` makes that many files there, one change each. `configuration` is what `POST /instances`
    needs beside the app.
    """

    place: str
    control: str
    home: str
    token: Callable[[httpx.Client], str]
    code: Callable[[str], str]
    change_files: Callable[[httpx.Client, int], None]
    configuration: Mapping[str, str] = field(default_factory=dict)

    def steer(self, sandbox: httpx.Client, path: str, **order: Any) -> Any:
        """Calls one of the control routes."""
        answer = sandbox.post(f"{self.control}/{path}", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()


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
