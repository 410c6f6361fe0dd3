"""The commands for the keys that seal secrets at rest."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from app.cli import start
from app.clock import Clock
from app.runtime import open_sealer
from app.settings import Settings
from app.vault import key_rotation, lost_key, sealing
from app.vault.key_rotation import KeyState, Rotation

commands = typer.Typer()
keys = typer.Typer(help="Keys that seal secrets at rest.", no_args_is_help=True)
commands.add_typer(keys, name="keys")


@commands.command("key", hidden=True)
@keys.command("new")
def new_key() -> None:
    """Print a fresh key for GATEWAY_ENCRYPTION_KEYS."""
    print(sealing.new_key())


@keys.command("list")
def list_keys() -> None:
    """Show the keys that this database knows, and how many rows each has sealed; never a key itself."""
    for state in start.run(_list(start.configured_for_existing())):
        print(_described(state))


@keys.command("rotate")
def rotate_keys() -> None:
    """Seal everything with the first key of GATEWAY_ENCRYPTION_KEYS, while the gateway runs. It can be
    interrupted and run again."""
    done = start.run(_rotate(start.configured_for_existing()))
    for line in _end(done):
        print(line)
    if done.needed:
        sys.exit(1)


@keys.command("forget")
def forget_key(
    key_id: Annotated[str, typer.Argument(help="Id of the lost key, as the refused start names it.")],
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let go of everything that a lost key has sealed, so that the gateway starts without it: the owner of
    each such instance has to authenticate it again."""
    if not sure:
        typer.confirm("What this key has sealed is lost then, even if the key is found. Go on?", abort=True)
    start.run(_forget(start.configured_for_existing(), key_id))


async def _list(wanted: Settings) -> Sequence[KeyState]:
    async with start.database(wanted) as database:
        await start.require_schema(database)
        return await key_rotation.states(database, open_sealer(wanted))


async def _rotate(wanted: Settings) -> Rotation:
    async with start.database(wanted) as database:
        await start.require_schema(database)
        return await key_rotation.rotate(
            database, open_sealer(wanted), now=Clock().now(), report=lambda line: print(line, flush=True)
        )


async def _forget(wanted: Settings, key_id: str) -> None:
    async with start.database(wanted) as database:
        await start.require_schema(database)
        await lost_key.forget(database, open_sealer(wanted), key_id, now=Clock().now(), report=print)


def _described(state: KeyState) -> str:
    parts = [f"{state.id}: {state.rows} rows"]
    match state.position:
        case None:
            parts.append("not in GATEWAY_ENCRYPTION_KEYS")
        case 1:
            parts.append("seals")
        case _:
            parts.append("opens")
    if state.first_used_at:
        parts.append(f"first used {state.first_used_at:%F}")
    if state.retired_at:
        parts.append(f"retired {state.retired_at:%F}")
    return ", ".join(parts)


def _end(done: Rotation) -> Iterator[str]:
    """What the operator does next."""
    for key_id in done.removable:
        yield f"The key {key_id} is retired: nothing in the database needs it. Keep it with your backups."
    if done.removable:
        yield "Take it out of GATEWAY_ENCRYPTION_KEYS when no client uses a URL from before any more."
    for key_id, rows in done.needed.items():
        yield f"The key {key_id} is still needed by {rows} rows."
    if not done.needed:
        yield f"Everything is sealed with the key {done.newest}."
