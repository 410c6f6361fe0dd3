"""The gateway in the test process, and what tests say to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from acme import REDIRECT_URI, consent

from app import tenants
from app.main import BASE_PATH, create_app
from app.runtime import Runtime
from app.settings import Settings, load
from app.store import migrations
from app.tenants import NewSecrets


def settings_for(folder: Path, sandbox_url: str, **overrides: Any) -> Settings:
    """Settings of a gateway that is quick to try and to give up."""
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/gateway.db",
        "provider_base_urls": {"egnyte": sandbox_url + "/egnyte/{subdomain}"},
        "callback_allowed_networks": ["127.0.0.0/8"],
        "poll_interval_floor": timedelta(milliseconds=50),
        "worker_idle": timedelta(milliseconds=50),
        "vendor_timeout": timedelta(seconds=2),
        "vendor_budget": timedelta(seconds=3),
    }
    return load(_env_file=None, **(values | overrides))


@dataclass
class Gateway:
    """The surface, called without a network between, as one user of one organization."""

    runtime: Runtime
    http: httpx.AsyncClient
    secrets: NewSecrets
    sandbox_url: str

    @property
    def platform(self) -> dict[str, str]:
        return {"Authorization": f"User {self.secrets.user}, Organization {self.secrets.organization}"}

    def hub(self, token: str) -> dict[str, str]:
        return {"Authorization": f"User {self.secrets.user}, Element {token}"}

    async def order(self, **configuration: Any) -> dict[str, Any]:
        """A body for `POST /instances` with a fresh code; `configuration` is added to it."""
        return {
            "element": {"key": "egnyte"},
            "providerData": {"code": consent(f"{self.sandbox_url}/egnyte/acme")},
            "configuration": {
                "oauth.callback.url": REDIRECT_URI,
                "oauth.api.key": "sandbox-client",
                "oauth.api.secret": "sandbox-secret",
                "subdomain": "acme",
                **configuration,
            },
            "tags": ["Docs"],
            "name": "Acme files",
        }

    async def connect(self, **configuration: Any) -> dict[str, Any]:
        """An instance, connected by a real code exchange."""
        answer = await self.http.post(
            "/instances", json=await self.order(**configuration), headers=self.platform
        )
        assert answer.status_code == 200, answer.text
        instance: dict[str, Any] = answer.json()
        return instance


@asynccontextmanager
async def running(
    settings: Settings, sandbox_url: str, *, with_workers: bool = False
) -> AsyncIterator[Gateway]:
    """A gateway with a migrated database, one organization, and no network in front of it."""
    app = create_app(settings, with_workers=with_workers)
    async with app.router.lifespan_context(app):
        runtime: Runtime = app.state.runtime
        if not with_workers:
            await migrations.upgrade(runtime.database)
        secrets = await tenants.create_organization(
            runtime.database, "Test", email="test@example.com", now=runtime.clock.now()
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://gateway{BASE_PATH}") as http:
            yield Gateway(runtime, http, secrets, sandbox_url)
