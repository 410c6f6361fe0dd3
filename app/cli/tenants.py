"""The commands for organizations, users, and what they bring along."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from app.cli import start
from app.clock import Clock
from app.errors import BadRequest
from app.ids import LARGEST_ID
from app.runtime import open_runtime
from app.settings import Settings
from app.settings.types import LONGEST_OVERLAP, Overlap
from app.tenancy import organizations, tenants, users
from app.tenancy.tenants import NewSecrets

if TYPE_CHECKING:
    from app.provisioning.importer import Line

commands = typer.Typer()
organization = typer.Typer(help="Organizations: the customers of this gateway.", no_args_is_help=True)
commands.add_typer(organization, name="organization")
user = typer.Typer(help="Users: who may call.", no_args_is_help=True)
commands.add_typer(user, name="user")

_WHERE_SEVERAL = typer.Option(
    "--organization",
    min=1,
    max=LARGEST_ID,
    metavar="ID",
    help="Id of his organization, where several have him.",
)
_OVERLAP = typer.Option(help="Time for which the secrets before it still work: seconds, or PT24H.")


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
    organization_id: Annotated[int | None, _WHERE_SEVERAL] = None,
) -> None:
    """Set a user's password, for `POST /authentication`: asked for, or read from standard input."""
    wanted = start.configured()
    start.run(_set_password(wanted, email, _password(), organization_id))
    print(f"The password of '{email}' was set; his logins have ended.")


@organization.command("secret")
def set_organization_secret(
    organization_id: Annotated[
        int, typer.Argument(min=1, max=LARGEST_ID, metavar="ID", help="Id of the organization.")
    ],
    overlap: Annotated[str, _OVERLAP] = "0",
) -> None:
    """Give an organization a new secret, and print it once; its other ones end."""
    wanted, time = start.configured(), _overlap(overlap)
    made = start.run(_set_organization_secret(wanted, organization_id, time))
    print(f"The new secret is shown only this once; others {_end(time)}.")
    print(f"  Organization {made}")


@user.command("secret")
def set_user_secret(
    email: str,
    organization_id: Annotated[int | None, _WHERE_SEVERAL] = None,
    overlap: Annotated[str, _OVERLAP] = "0",
) -> None:
    """Give a user a new secret, and print it once; his other ones end."""
    wanted, time = start.configured(), _overlap(overlap)
    made = start.run(_set_user_secret(wanted, email, organization_id, time))
    print(f"The new secret is shown only this once; others {_end(time)}.")
    print(f"  User {made}")


@commands.command("import")
def import_instances(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="What GET /instances answered; - for a pipe.")],
    account_id: Annotated[
        int | None,
        typer.Option(
            "--account",
            min=1,
            max=LARGEST_ID,
            metavar="ID",
            help="Id of the account, where there are several.",
        ),
    ] = None,
) -> None:
    """Take over the instances of another service of this API. Run twice, it changes nothing."""
    from app.provisioning import importer

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


async def _set_user_secret(
    wanted: Settings, email: str, organization_id: int | None, overlap: timedelta
) -> str:
    await start.ready_schema(wanted)
    async with start.database(wanted) as database:
        return await users.set_secret(
            database, email, organization_id=organization_id, overlap=overlap, now=Clock().now()
        )


async def _set_organization_secret(wanted: Settings, organization_id: int, overlap: timedelta) -> str:
    await start.ready_schema(wanted)
    async with start.database(wanted) as database:
        return await organizations.set_secret(database, organization_id, overlap=overlap, now=Clock().now())


def _overlap(text: str) -> timedelta:
    """Raises BadRequest."""
    try:
        return TypeAdapter[timedelta](Overlap).validate_python(text)
    except ValidationError:
        longest = LONGEST_OVERLAP.days
        raise BadRequest(
            f"--overlap: must be seconds or an ISO 8601 duration, {longest} days at most"
        ) from None


def _end(overlap: timedelta) -> str:
    return f"end in {overlap.total_seconds():g} s" if overlap else "have ended"


async def _import(wanted: Settings, text: bytes, account_id: int | None) -> list[Line]:
    from app.provisioning import importer

    export = importer.read(text)
    await start.ready_schema(wanted, seals=True)
    async with open_runtime(wanted) as runtime:
        caller = await importer.owner_of(runtime, account_id)
        return await importer.take_over(runtime, caller, export)


def _password() -> str:
    """From whoever sits there, twice and unseen; or from the pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
