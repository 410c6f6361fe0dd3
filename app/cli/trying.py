"""The commands for trying the gateway out: the sandbox, a receiver, the demonstration, the torture."""

from __future__ import annotations

import secrets
import sys
from enum import StrEnum
from typing import Annotated

import typer
import uvicorn

commands = typer.Typer()
Host = Annotated[str, typer.Option(help="Address to listen on.")]


@commands.command()
def sandbox(host: Host = "127.0.0.1", port: Annotated[int, typer.Option(help="TCP port.")] = 9100) -> None:
    """Run the vendors' sandbox: Egnyte and Box on this machine."""
    from app.sandbox.server import create_sandbox

    uvicorn.run(create_sandbox(), host=host, port=port, log_level="warning")


@commands.command()
def receiver(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.")] = 9200,
    signature_key: Annotated[str | None, typer.Option(help="Key to verify signatures with.")] = None,
) -> None:
    """Run a callback receiver that prints what it gets."""
    from app.sandbox.receiver import create_receiver

    uvicorn.run(create_receiver(signature_key), host=host, port=port, log_level="warning")


@commands.command()
def demo(
    stay: Annotated[bool, typer.Option(help="Stay up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Connect a sandbox account, change a file, and see the signed webhook arrive."""
    from app.demo import run

    sys.exit(run(stay=stay))


class Database(StrEnum):
    """What a torture runs on."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


@commands.command()
def torture(
    database: Annotated[Database, typer.Option(help="Many processes on PostgreSQL, or one on SQLite.")] = (
        Database.POSTGRESQL
    ),
    seconds: Annotated[float, typer.Option(min=5, help="Time in which faults happen.")] = 180,
    seed: Annotated[int | None, typer.Option(help="Repeats the faults and changes of a run.")] = None,
    accounts: Annotated[int, typer.Option(min=1, help="Accounts, Egnyte and Box in turn.")] = 8,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder with the logs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one line of JSON.")] = False,
    schedule: Annotated[bool, typer.Option("--schedule", help="Print what would go wrong, and end.")] = False,
) -> None:
    """Kill, stop and starve a gateway of its own, and count what was lost: nothing, or the exit code is 1."""
    from app.torture.run import Order, run

    seed = secrets.randbelow(2**31) if seed is None else seed
    order = Order(database.value, seconds, seed, accounts, keep)
    if schedule:
        print("\n".join(map(str, order.schedule())))
        return
    report = run(order)
    print(report.as_json() if as_json else report.as_text(), end="")
    sys.exit(0 if report.passed else 1)
