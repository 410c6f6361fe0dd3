"""The application: routes at `/elements/api-v2` and at `/`, errors in one form, workers beside it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.api import (
    accounts,
    audit,
    authentication,
    docs,
    documents,
    elements,
    event_log,
    hubs,
    instance_docs,
    instances,
    links,
    native,
    notifications,
    oauth,
    ops,
    organizations,
    problems,
    reference_page,
    trace,
    users,
    vendor_events,
)
from app.api.compression import Compression
from app.api.contract import DescribedApi
from app.api.deps import any_hub
from app.api.inside import Inside
from app.api.requests import EmptyIsAbsent, RequestLog
from app.api.slow_bodies import SlowBodies
from app.openapi import swagger
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from app.workers import working

BASE_PATH = swagger.BASE_PATH

_EXPOSED = (  # word for word what Cloud Elements sent
    "Elements-Returned-Count",
    "Elements-Total-Count",
    "Elements-Request-Id",
    "Elements-Next-Page-Token",
    "Elements-Trace-Id",
    "Elements-Error",
    "Content-Disposition",
)

log = logging.getLogger(__name__)


def create_app(settings: Settings, *, with_workers: bool) -> FastAPI:
    """The ASGI application; its lifespan opens the runtime and, if asked, polls and delivers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.runtime = await stack.enter_async_context(open_runtime(settings))
            if with_workers:
                await stack.enter_async_context(working(with_inside(app.state.runtime, app)))
            yield

    app = DescribedApi(
        title="Elements Gateway",
        version=__version__,
        description="The Cloud Elements `instances` and `hubs/documents` API, self-hosted.",
        lifespan=lifespan,
        strict_content_type=False,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(SlowBodies, timeout=settings.client_timeout.total_seconds())
    app.add_middleware(EmptyIsAbsent)
    app.add_middleware(Compression)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )
    app.add_middleware(RequestLog)
    problems.install(app)
    reference_page.install(app)
    app.include_router(ops.router)
    for base in (BASE_PATH, ""):
        shown = base == BASE_PATH  # everything is documented once
        hub = [Depends(any_hub)]
        app.include_router(_HUB, prefix=f"{base}/hubs/{{hub}}", dependencies=hub, include_in_schema=shown)
        app.include_router(_PLATFORM, prefix=base, include_in_schema=shown)
        app.include_router(_HUB, prefix=base, include_in_schema=False)
    return app


def build_routes(app: FastAPI) -> None:
    """FastAPI builds the routes of a router when the first request gets there, which takes a second in which
    this process does nothing else; a path that nobody has gets everywhere."""
    nowhere = {"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(nowhere)


def with_inside(runtime: Runtime, app: FastAPI) -> Runtime:
    """The runtime of workers that ask for lists of this application, too."""
    return replace(runtime, inside=Inside(lambda: app))


def _flat(*routers: APIRouter) -> APIRouter:
    """One router with the routes of all: each level of inclusion would be matched anew for every request."""
    together = APIRouter()
    for router in routers:
        together.routes.extend(router.routes)
    return together


_PLATFORM = _flat(
    instances.together,  # with /accounts/instances, which is no account's id
    event_log.router,  # with /instances/events, which is no instance's id
    trace.router,
    *instance_docs.described.routers,
    *instances.one.routers,
    elements.router,
    oauth.router,
    oauth.proxy,
    hubs.router,
    links.router,
    notifications.router,
    native.router,
    authentication.router,
    organizations.router,
    accounts.router,
    users.router,
    docs.router,
    vendor_events.router,
    audit.router,
)
_HUB = _flat(*documents.routers, docs.hub_objects)
