"""The commands for the keys that seal secrets at rest."""

from __future__ import annotations

import typer

from app import sealing

commands = typer.Typer()


@commands.command()
def key() -> None:
    """Print a fresh key for GATEWAY_ENCRYPTION_KEYS."""
    print(sealing.new_key())
