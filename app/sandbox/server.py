"""The sandbox: every fake vendor on one port, and the routes that steer them.

A vendor is a module of this package that offers `create_fake()`; its name is the place it is mounted at.
"""

import importlib
import pkgutil
from html import escape
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse

from app.sandbox.connection import ConnectedApp
from app.sandbox.fake import Fake
from app.sandbox.request_log import LogRequests, RequestLog


def discover() -> dict[str, Fake]:
    """A fresh fake for every vendor in this package, by the name of its module."""
    fakes = {}
    for found in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"{__package__}.{found.name}")
        if hasattr(module, "create_fake"):
            fakes[found.name] = module.create_fake()
    return fakes


def create_sandbox() -> FastAPI:
    """The whole sandbox as one app; two of them share nothing."""
    fakes = discover()
    log = RequestLog()
    app = ConnectedApp(
        title="Sandbox", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.add_middleware(LogRequests, log=log, prefixes=tuple(f"/{name}/" for name in fakes))
    app.mount("/control", _control(fakes, log))
    for name, fake in fakes.items():
        app.mount(f"/{name}", fake.app)

    @app.get("/", response_class=HTMLResponse)
    async def index() -> str:
        """What is here."""
        return _index_page(fakes)

    return app


def _control(fakes: dict[str, Fake], log: RequestLog) -> FastAPI:
    control = FastAPI(title="Sandbox control", description="Breaks and changes the fake vendors.")
    for name, fake in fakes.items():
        control.include_router(fake.control, prefix=f"/{name}", tags=[name])

    @control.post("/reset")
    async def reset() -> dict[str, bool]:
        """Puts every fake back to how it began and forgets the requests."""
        for fake in fakes.values():
            fake.reset()
        log.clear()
        return {"reset": True}

    @control.get("/requests")
    async def requests(
        since: int = 0, limit: Annotated[int, Query(ge=1, le=20_000)] = 1000
    ) -> dict[str, Any]:
        """Requests that the fakes have answered after number `since`, and those that they hold, oldest
        first."""
        return {"latest": log.count, "requests": log.since(since, limit), "open": log.open()}

    return control


def _index_page(fakes: dict[str, Fake]) -> str:
    rows = [
        f"<li>{escape(fake.title)}: <code>/{'/'.join(filter(None, (name, escape(place))))}/</code></li>"
        for name, fake in fakes.items()
        for place in fake.places()
    ]
    return (
        "<!doctype html><meta charset=utf-8><title>Sandbox</title><h1>Sandbox</h1>"
        f"<ul>{''.join(rows)}</ul><p><a href='/control/docs'>Control routes</a>"
    )
