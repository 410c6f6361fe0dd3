"""The command `gateway`: one level of verbs, each a few lines around something that tests call too.

The application is imported where it is served: its routes take most of the time of a start.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import uvicorn
import uvloop
from sqlalchemy.exc import DBAPIError

from app import __version__, logs, registry, sealing, settings, tenants, users
from app.clock import Clock
from app.errors import GatewayError, SettingsError
from app.runtime import Runtime, open_database, open_runtime, open_sealer
from app.settings import Settings
from app.store import migrations
from app.store.engine import Database
from app.tenants import NewSecrets

cli = typer.Typer(
    name="gateway",
    help="Elements Gateway: the Cloud Elements instances and hubs/documents API, self-hosted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
organization = typer.Typer(help="Organizations: the customers of this gateway.", no_args_is_help=True)
cli.add_typer(organization, name="organization")
user = typer.Typer(help="Users: who may call.", no_args_is_help=True)
cli.add_typer(user, name="user")

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.importer import Line

T = TypeVar("T")
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def main() -> None:
    """Runs the command; a mistake in the settings or in what was asked for is one sentence on standard error,
    not a traceback."""
    try:
        cli()
    except GatewayError as error:
        print(f"gateway: {error.message}", file=sys.stderr)
        sys.exit(2)


@cli.command()
def serve(
    workers: Annotated[bool, typer.Option(help="Poll and deliver in this process too.")] = True,
) -> None:
    """Serve the API, and poll and deliver beside it."""
    from app.main import create_app

    wanted = _configured()
    _run(_prepare(wanted))
    # After its graceful stop uvicorn raises the signal again; a stop that was asked for is no failure.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(wanted, with_workers=workers),
        host=wanted.host,
        port=wanted.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(wanted.drain_timeout.total_seconds()),
    )


@cli.command()
def work() -> None:
    """Poll and deliver, without the API; any number of such processes share one PostgreSQL."""
    wanted = _configured()
    _run(_work(wanted))


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    _run(_migrate(_configured()))


@organization.command("create")
def create_organization(
    name: str, email: Annotated[str, typer.Option(help="Address of its first user.")] = "owner@localhost"
) -> None:
    """Create an organization with an account and a user, and print their secrets once."""
    wanted = _configured()
    _print_secrets(_run(_create_organization(wanted, name, email)), f"Organization '{name}' was created.")


@user.command("password")
def set_password(
    email: str,
    organization_id: Annotated[
        int | None, typer.Option("--organization", help="Id of his organization, where several have him.")
    ] = None,
) -> None:
    """Set a user's password, for `POST /authentication`: asked for, or read from standard input."""
    wanted = _configured()
    _run(_set_password(wanted, email, _password(), organization_id))
    print(f"The password of '{email}' was set; his logins have ended.")


@cli.command("import")
def import_instances(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="What GET /instances answered; - for a pipe.")],
    account_id: Annotated[
        int | None, typer.Option("--account", help="Id of the account, where there are several.")
    ] = None,
) -> None:
    """Take over the instances of another service of this API. Run twice, it changes nothing."""
    from app import importer

    wanted = _configured()
    lines = _run(_import(wanted, file.read(), account_id))
    print(importer.as_text(lines), end="")
    if any(line.outcome is importer.Outcome.FAILED for line in lines):
        sys.exit(1)


@cli.command()
def key() -> None:
    """Print a fresh key for GATEWAY_ENCRYPTION_KEYS."""
    print(sealing.new_key())


@cli.command("settings")
def show_settings() -> None:
    """Print docs/settings.md."""
    print(settings.as_markdown(), end="")


@cli.command("providers")
def show_providers() -> None:
    """Print docs/providers.md."""
    print(registry.as_markdown(registry.discover({})), end="")


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of this gateway."""
    print(openapi_text(), end="")


@cli.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@cli.command()
def sandbox(host: Host = "127.0.0.1", port: Annotated[int, typer.Option(help="TCP port.")] = 9100) -> None:
    """Run the vendors' sandbox: Egnyte and Box on this machine."""
    from app.sandbox.server import create_sandbox

    uvicorn.run(create_sandbox(), host=host, port=port, log_level="warning")


@cli.command()
def receiver(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.")] = 9200,
    signature_key: Annotated[str | None, typer.Option(help="Key to verify signatures with.")] = None,
) -> None:
    """Run a callback receiver that prints what it gets."""
    from app.sandbox.receiver import create_receiver

    uvicorn.run(create_receiver(signature_key), host=host, port=port, log_level="warning")


@cli.command()
def demo(
    stay: Annotated[bool, typer.Option(help="Stay up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Connect a sandbox account, change a file, and see the signed webhook arrive."""
    from app.demo import run

    sys.exit(run(stay=stay))


def openapi_text() -> str:
    """What `openapi/gateway.json` holds."""
    from app.main import create_app

    document = create_app(Settings(_env_file=None), with_workers=False).openapi()
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _configured() -> Settings:
    wanted = settings.load()
    open_sealer(wanted)  # a missing or malformed key is said at start, not at the first account
    logs.configure(wanted.log_level, wanted.log_format)
    _allow_many_connections()
    return wanted


def _allow_many_connections() -> None:
    """Every POST in flight is an open file; the usual soft limit of 1,024 of them is below the settings."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(step: Coroutine[Any, Any, T]) -> T:
    try:
        return uvloop.run(step)
    except (OSError, DBAPIError) as error:
        reason = getattr(error, "orig", None) or error
        raise SettingsError(f"the database of GATEWAY_DATABASE_URL cannot be used: {reason}") from error


@asynccontextmanager
async def _database(wanted: Settings) -> AsyncIterator[Database]:
    database = open_database(wanted)
    try:
        yield database
    finally:
        await database.close()


async def _prepare(wanted: Settings) -> None:
    """The schema, and on an empty database the first organization."""
    await _ready_schema(wanted)
    async with _database(wanted) as database:
        made = await tenants.create_first(database, now=Clock().now())
    if made:
        _print_secrets(made, "First start: an organization, an account and a user were created.")


async def _migrate(wanted: Settings) -> None:
    async with _database(wanted) as database:
        await migrations.upgrade(database)


async def _ready_schema(wanted: Settings) -> None:
    """Migrates, or where that is not wanted, refuses to start on another schema. Raises SettingsError."""
    if wanted.migrate_on_start:
        await _migrate(wanted)
        return
    async with _database(wanted) as database:
        if not await migrations.is_current(database):
            raise SettingsError(
                "the database has another schema than this version needs; run `gateway migrate`, "
                "or set GATEWAY_MIGRATE_ON_START"
            )


async def _create_organization(wanted: Settings, name: str, email: str) -> NewSecrets:
    await _ready_schema(wanted)
    async with _database(wanted) as database:
        return await tenants.create_organization(database, name, email=email, now=Clock().now())


async def _set_password(wanted: Settings, email: str, password: str, organization_id: int | None) -> None:
    await _ready_schema(wanted)
    async with _database(wanted) as database:
        await users.set_password(
            database, email, password, organization_id=organization_id, now=Clock().now()
        )


async def _import(wanted: Settings, text: bytes, account_id: int | None) -> list[Line]:
    from app import importer

    export = importer.read(text)
    await _ready_schema(wanted)
    async with open_runtime(wanted) as runtime:
        caller = await importer.owner_of(runtime, account_id)
        return await importer.take_over(runtime, caller, export)


def _password() -> str:
    """From whoever sits there, twice and unseen; or from the pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


async def _work(wanted: Settings) -> None:
    from app.api.inside import Inside
    from app.workers import work as run_worker

    await _ready_schema(wanted)
    draining = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, draining.set)
    async with open_runtime(wanted) as runtime:
        inside = Inside(partial(_application, wanted, runtime))
        await run_worker(replace(runtime, inside=inside), draining)


def _application(wanted: Settings, runtime: Runtime) -> FastAPI:
    """What a worker asks for lists, without a network in front of it."""
    from app.main import create_app

    app = create_app(wanted, with_workers=False)
    app.state.runtime = runtime
    return app


def _print_secrets(made: NewSecrets, what: str) -> None:
    print(f"{what} The secrets are shown only this once:")
    print(f"  Organization {made.organization}")
    print(f"  User {made.user}", flush=True)
