"""The commands that run the gateway: serve, work, migrate.

The application is imported where it is served: its routes take most of the time of a start.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app import acting
from app.cli import start
from app.clock import Clock
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from app.tenancy import tenants
from app.tenancy.tenants import NewSecrets

if TYPE_CHECKING:
    from fastapi import FastAPI

commands = typer.Typer()


@commands.command()
def serve(
    workers: Annotated[bool, typer.Option(help="Poll and deliver in this process too.")] = True,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of GATEWAY_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, instead of GATEWAY_PORT.")] = None,
) -> None:
    """Serve the API, and poll and deliver beside it."""
    wanted = start.configured(host=host, port=port)
    start.run(_prepare(wanted))
    with start.loading():
        from app import server
        from app.main import build_routes, create_app

        app = create_app(wanted, with_workers=workers)
        build_routes(app)
    # After its graceful stop uvicorn raises the signal again; a stop that was asked for is no failure.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(0))
    server.run(app, wanted)


@commands.command()
def work() -> None:
    """Poll and deliver, without the API; any number of such processes share one PostgreSQL."""
    wanted = start.configured()
    start.run(_work(wanted))


@commands.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    start.run(start.migrate(start.configured()))


async def _prepare(wanted: Settings) -> None:
    """The schema, and on an empty database the first organization."""
    await start.ready_schema(wanted, seals=True)
    made = await start.persistently(wanted, partial(_create_first, wanted))
    if made:
        start.print_secrets(made, "First start: an organization, an account and a user were created.")


async def _create_first(wanted: Settings) -> NewSecrets | None:
    async with start.database(wanted) as database:
        return await tenants.create_first(database, now=Clock().now())


async def _work(wanted: Settings) -> None:
    from app.api.inside import Inside
    from app.workers import work as run_worker

    await start.ready_schema(wanted, seals=True)
    draining = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, draining.set)
    async with open_runtime(wanted) as runtime:
        inside = Inside(partial(_application, wanted, runtime))
        with acting.acting(acting.GATEWAY):
            await run_worker(replace(runtime, inside=inside), draining)


def _application(wanted: Settings, runtime: Runtime) -> FastAPI:
    """What a worker asks for lists, without a network in front of it."""
    with start.loading():
        from app.main import create_app

        app = create_app(wanted, with_workers=False)
    app.state.runtime = runtime
    return app
