"""An account of Egnyte's for the tests of its provider: at the sandbox, or at an answer that is made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from acme import Acme
from unread import unread

from app.errors import VendorUnauthorized
from app.providers.egnyte import Egnyte
from app.upstream.client import Upstream


def connect(
    acme: Acme,
    client: httpx.AsyncClient,
    configuration: dict[str, str | None] | None = None,
    *,
    budget: timedelta | None = None,
    scope: str = "",
) -> Egnyte:
    access_token = acme.control("tokens", scope=scope)["access_token"]

    async def token(rejected: str | None = None) -> str:
        if rejected:
            raise VendorUnauthorized
        return str(access_token)

    upstream = Upstream(client, base_url=acme.url, token=token, interpret=Egnyte.refusal, budget=budget)
    return Egnyte(upstream, configuration or {})


def played(
    answer: Callable[[httpx.Request], httpx.Response], configuration: dict[str, str | None] | None = None
) -> Egnyte:
    """An account whose vendor is a function."""

    async def token(rejected: str | None = None) -> str:
        return "token"

    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: unread(answer(request))))
    upstream = Upstream(client, base_url="http://vendor", token=token, interpret=Egnyte.refusal)
    return Egnyte(upstream, configuration or {})


def answering(cursor: Any, page: Any) -> Egnyte:
    """An Egnyte that says just this, whatever it is asked."""
    return played(
        lambda request: httpx.Response(200, json=cursor if request.url.path.endswith("/cursor") else page)
    )
