"""The commands for trying the gateway out: the vendors' sandbox, a receiver, the demonstration."""

from __future__ import annotations

import sys
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
