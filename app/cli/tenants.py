"""The commands for organizations, users, and what they bring along."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app import tenants, users
from app.cli import start
from app.clock import Clock
from app.runtime import open_runtime
from app.settings import Settings
from app.tenants import NewSecrets

if TYPE_CHECKING:
    from app.importer import Line

commands = typer.Typer()
organization = typer.Typer(help="Organizations: the customers of this gateway.", no_args_is_help=True)
commands.add_typer(organization, name="organization")
user = typer.Typer(help="Users: who may call.", no_args_is_help=True)
commands.add_typer(user, name="user")


@organization.command("create")
def create_organization(
    name: str, email: Annotated[str, typer.Option(help="Address of its first user.")] = "owner@localhost"
) -> None:
    """Create an organization with an account and a user, and print their secrets once."""
    wanted = start.configured()
    start.print_secrets(
        start.run(_create_organization(wanted, name, email)), f"Organization '{name}' was created."
    )


@user.command("password")
def set_password(
    email: str,
    organization_id: Annotated[
        int | None, typer.Option("--organization", help="Id of his organization, where several have him.")
    ] = None,
) -> None:
    """Set a user's password, for `POST /authentication`: asked for, or read from standard input."""
    wanted = start.configured()
    start.run(_set_password(wanted, email, _password(), organization_id))
    print(f"The password of '{email}' was set; his logins have ended.")


@commands.command("import")
def import_instances(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="What GET /instances answered; - for a pipe.")],
    account_id: Annotated[
        int | None, typer.Option("--account", help="Id of the account, where there are several.")
    ] = None,
) -> None:
    """Take over the instances of another service of this API. Run twice, it changes nothing."""
    from app import importer

    wanted = start.configured()
    lines = start.run(_import(wanted, file.read(), account_id))
    print(importer.as_text(lines), end="")
    if any(line.outcome is importer.Outcome.FAILED for line in lines):
        sys.exit(1)


async def _create_organization(wanted: Settings, name: str, email: str) -> NewSecrets:
    await start.ready_schema(wanted)
    async with start.database(wanted) as database:
        return await tenants.create_organization(database, name, email=email, now=Clock().now())


async def _set_password(wanted: Settings, email: str, password: str, organization_id: int | None) -> None:
    await start.ready_schema(wanted)
    async with start.database(wanted) as database:
        await users.set_password(
            database, email, password, organization_id=organization_id, now=Clock().now()
        )


async def _import(wanted: Settings, text: bytes, account_id: int | None) -> list[Line]:
    from app import importer

    export = importer.read(text)
    await start.ready_schema(wanted)
    async with open_runtime(wanted) as runtime:
        caller = await importer.owner_of(runtime, account_id)
        return await importer.take_over(runtime, caller, export)


def _password() -> str:
    """From whoever sits there, twice and unseen; or from the pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
