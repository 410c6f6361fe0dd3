"""Box's quirks, over real HTTP against its sandbox; what every provider must do is in conformance."""

from __future__ import annotations

import httpx
from box_account import opened
from twins import Twin


def _token(sandbox: httpx.Client) -> str:
    return str(sandbox.post("/control/box/tokens", json={}).json()["access_token"])


def _code(sandbox_url: str) -> str:
    with httpx.Client(base_url=sandbox_url) as sandbox, opened(sandbox, sandbox_url) as account:
        return account.code()


def _change_files(sandbox: httpx.Client, count: int) -> None:
    order = {"action": "upload", "path": "/changes-{n}.txt", "content": "x", "count": count}
    sandbox.post("/control/box/changes", json=order).raise_for_status()


TWIN = Twin(
    place="",
    control="/control/box",
    home="",
    token=_token,
    code=_code,
    change_files=_change_files,
)
