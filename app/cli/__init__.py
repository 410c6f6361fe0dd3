"""The command `gateway`: each verb a few lines around something that tests call too."""

from __future__ import annotations

import os
import sys

import typer

from app.cli import audit, documents, keys, serving, tenants, trying
from app.errors import GatewayError

cli = typer.Typer(
    name="gateway",
    help="Elements Gateway: the Cloud Elements instances and hubs/documents API, self-hosted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (serving, tenants, keys, audit, documents, trying):
    cli.add_typer(part.commands)


def main() -> None:
    """Runs the command; a mistake in the settings or in what was asked for is one sentence on standard error,
    not a traceback. Only the owner may read the files that it makes."""
    os.umask(0o077)
    try:
        cli()
    except GatewayError as error:
        print(f"gateway: {error.message}", file=sys.stderr)
        sys.exit(2)
