"""Links to files that work for whoever has them: through the gateway, beside the vendor's own."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, documents
from app.audit import Action
from app.errors import BadRequest, NotFound, VendorForbidden
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Download, Entry, Kind, Link, Target
from app.ids import new_id
from app.runtime import Runtime
from app.store import instances, links
from app.store.encryption_keys import LINKS
from app.store.tables import FileLink, Instance
from app.tenancy.tenants import digest
from app.upstream.reading import date

PATH = "/links"

_NO_LINK = Link(None, None, None, {})


@dataclass(frozen=True)
class Shared:
    """The links to a file."""

    token: str = field(repr=False)
    expires_at: datetime
    vendor: Link


def expiry(text: str, now: datetime) -> datetime | None:
    """What a request says of the end of its link. Raises BadRequest for what is no time to come."""
    if not text.strip():
        return None
    found = date(text.strip())
    if found is None or found <= now:
        raise BadRequest("Invalid link expiration date.")
    return found


def url(base: str, token: str) -> str:
    """The whole address of a link; `base` is where clients reach this gateway."""
    return f"{base.rstrip('/')}/elements/api-v2{PATH}/{token}"


async def share(
    runtime: Runtime, instance: Instance, hub: DocumentsProvider, file: Target, expires_at: datetime | None
) -> Shared:
    """The gateway's link and the vendor's; asked again, the same ones, unless their end is to be another."""
    entry = await hub.entry(file)
    vendor = await _vendor_link(hub, entry, expires_at)
    now = runtime.clock.now()
    async with runtime.database.read() as connection:
        known = await links.of_file(connection, instance.id, entry.id, now=now)
    if known is None or expires_at not in (None, known.expires_at):
        made = _new(runtime, instance, entry, expires_at or now + runtime.settings.link_lifetime, now)
        async with runtime.database.write() as connection:
            if known is not None:
                await links.remove(connection, instance.id, entry.id)
            known = await links.keep(connection, made, now=now)  # somebody else may have made one meanwhile
            if known.id == made.id:
                await _record(connection, Action.LINK_CREATED, instance, entry, now)
    token = runtime.sealer.open(known.sealed, LINKS.row_name(known.id)).decode()
    return Shared(token, known.expires_at, vendor)


async def revoke(runtime: Runtime, instance: Instance, hub: DocumentsProvider, file: Target) -> None:
    """Ends the gateway's link and the vendor's."""
    entry = await hub.entry(file)
    async with runtime.database.write() as connection:
        if await links.remove(connection, instance.id, entry.id):
            await _record(connection, Action.LINK_DELETED, instance, entry, runtime.clock.now())
    if Power.LINKS in hub.powers:
        await hub.unlink(entry)


async def follow(runtime: Runtime, token: str, byte_range: str | None) -> Download:
    """Opens the file behind a link. Raises NotFound for a link that is unknown, has ended or was revoked,
    or whose instance is gone."""
    async with runtime.database.read() as connection:
        link = await links.by_token_hash(connection, digest(token), now=runtime.clock.now())
        instance = await instances.by_id(connection, link.instance_id, link.account_id) if link else None
    if link is None or instance is None or instance.disabled:
        raise NotFound("No link found")
    hub = documents.able(runtime, instance, Power.DOWNLOAD)
    return await hub.download(Target(Kind.FILE, id=link.object_id), byte_range=byte_range)


async def _vendor_link(hub: DocumentsProvider, entry: Entry, expires_at: datetime | None) -> Link:
    """The vendor's link; none where the vendor's administrator does not allow them."""
    if Power.LINKS in hub.powers:
        with suppress(VendorForbidden):
            return await hub.link(entry, expires_at)
    return _NO_LINK


def _new(runtime: Runtime, instance: Instance, entry: Entry, expires_at: datetime, now: datetime) -> FileLink:
    token, link_id = secrets.token_urlsafe(32), new_id()
    return FileLink(
        id=link_id,
        account_id=instance.account_id,
        instance_id=instance.id,
        object_id=entry.id,
        token_hash=digest(token),
        sealed=runtime.sealer.seal(token.encode(), LINKS.row_name(link_id)),
        expires_at=expires_at.astimezone(UTC),
        created_at=now,
    )


async def _record(
    connection: AsyncConnection, action: Action, instance: Instance, entry: Entry, now: datetime
) -> None:
    await audit.record(
        connection,
        action,
        f"instance {instance.id}",
        at=now,
        account_id=instance.account_id,
        object=entry.id,
    )
