"""The command that shows the audit."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Annotated

import orjson
import typer

from app import audit
from app.cli import start
from app.clock import in_calendars
from app.errors import BadRequest
from app.ids import LARGEST_ID
from app.settings import Settings
from app.store.audit import Wanted
from app.store.tables import AuditEntry
from app.wire import audit as wire

commands = typer.Typer()


@commands.command("audit")
def show_audit(
    account: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, metavar="ID", help="Id of an account.")
    ] = None,
    organization: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, metavar="ID", help="Id of an organization.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="A date or a time; UTC if it names no zone.")] = None,
    action: Annotated[
        str | None, typer.Option(help="instance.deleted, or the beginning of several: instance.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=LARGEST_ID, help="The newest entries; those that follow are more.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Each entry as GET /audit answers it.")] = False,
    follow: Annotated[bool, typer.Option(help="Go on with what is done from now on, until Ctrl-C.")] = False,
    after: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LARGEST_ID,
            metavar="ID",
            help="With --follow: go on behind this entry; those of the 12 hours before it come again.",
        ),
    ] = None,
) -> None:
    """Show who did what to what, when and from where, the newest last."""
    wanted = Wanted(
        organization_id=organization,
        account_id=account,
        actions=audit.actions(action) if action else None,
        since=_moment(since) if since else None,
    )
    if after is not None and not follow:
        raise BadRequest("--after: is known with --follow only")
    settings = start.configured_for_existing()
    with suppress(KeyboardInterrupt):
        start.run(_show(settings, wanted, limit, after, as_json=as_json, follow=follow))


async def _show(
    settings: Settings, wanted: Wanted, limit: int, after: int | None, *, as_json: bool, follow: bool
) -> None:
    async with start.database(settings) as database:
        await start.persistently(settings, partial(start.require_schema, database))
        if follow:
            async for entry in audit.follow(database, wanted, limit=limit, after=after):
                print(as_line(entry, as_json=as_json), flush=True)
            return
        for entry in await audit.newest(database, wanted, limit=limit):
            print(as_line(entry, as_json=as_json))


def as_line(entry: AuditEntry, *, as_json: bool) -> str:
    """One entry for the operator, or for a program of his."""
    body = wire.entry(entry)
    if as_json:
        return orjson.dumps(body.model_dump(exclude_none=True)).decode()
    details = orjson.dumps(body.details).decode() if body.details else ""
    parts = (body.createdDate, body.action, body.subject, "by", body.actor, body.address or "", details)
    return " ".join(part for part in parts if part)


def _moment(text: str) -> datetime:
    """Raises BadRequest."""
    try:
        return in_calendars(datetime.fromisoformat(text))
    except ValueError:
        raise BadRequest(f"--since: {text[:40]!r} is no date or time, as 2026-11-01 is") from None
