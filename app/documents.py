"""A call of the documents hub on one instance: bind the provider, see that it is able, and what takes more
than one of its verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.errors import BadRequest, Conflict, NotFound, NotSupported, VendorNotFound
from app.hubs.documents import ChangePage, DocumentsProvider, Power
from app.hubs.entries import Entry, Kind, Revision, Target, Upload
from app.hubs.paths import join, normalised, split
from app.registry import Provider
from app.runtime import Runtime
from app.store.tables import Instance
from app.upstream.client import TokenSource, Upstream
from app.upstream.content import Content

_RESOURCES = (
    ("collaborations", Power.COLLABORATIONS),
    ("comments", Power.COMMENTS),
    ("custom-fields", Power.CUSTOM_FIELDS),
    ("events", Power.CHANGES),
    ("files", Power.METADATA),
    ("folders", Power.CONTENTS),
    ("links", Power.LINKS),
    ("me", Power.ME),
    ("revisions", Power.REVISIONS),
    ("search", Power.SEARCH),
    ("storage", Power.STORAGE),
)


@dataclass(frozen=True)
class Update:
    """What a PATCH of metadata asks for; None leaves a thing as it is."""

    path: str | None = None
    name: str | None = None
    tags: Sequence[str] | None = None
    description: str | None = None


def bind(
    runtime: Runtime, instance: Instance, *, budget: timedelta | None, patience: timedelta | None = None
) -> DocumentsProvider:
    """The provider of an instance, ready to be asked. Without a budget nothing is tried twice; `patience` is
    how long one call may take, if that is not the usual time."""
    provider = runtime.registry.find(instance.element_key)
    upstream = way(runtime, instance, provider, budget=budget, patience=patience)
    return provider(upstream, instance.configuration)


def way(
    runtime: Runtime,
    instance: Instance,
    provider: Provider,
    *,
    budget: timedelta | None,
    patience: timedelta | None = None,
) -> Upstream:
    """The way to the vendor for an instance."""
    token = runtime.credentials.token_source(instance, provider)
    values = instance.configuration
    return upstream(runtime, provider, values, token, budget=budget, account=instance.id, patience=patience)


def upstream(
    runtime: Runtime,
    provider: Provider,
    configuration: dict[str, str | None],
    token: TokenSource,
    *,
    budget: timedelta | None,
    account: int | None = None,
    patience: timedelta | None = None,
) -> Upstream:
    """The way to the vendor for an account, which may not be an instance yet."""
    return Upstream(
        runtime.vendors,
        base_url=runtime.registry.base_url(provider, configuration),
        hosts=runtime.registry.hosts(provider, configuration),
        token=token,
        interpret=provider.refusal,
        budget=budget,
        hints=runtime.hints.of(account) if account is not None else None,
        transfer_timeout=runtime.settings.transfer_timeout,
        waits=runtime.waits,
        patience=patience,
        domains=provider.native.domains,
        elsewhere=runtime.elsewhere,
    )


def able(
    runtime: Runtime, instance: Instance, power: Power, *, patience: timedelta | None = None
) -> DocumentsProvider:
    """The provider of an instance, for a client that waits. Raises NotSupported where it cannot do this."""
    provider = bind(runtime, instance, budget=runtime.settings.vendor_budget, patience=patience)
    _check(provider, power)
    return provider


async def changes(runtime: Runtime, instance: Instance, *, cursor: str | None, limit: int) -> ChangePage:
    """One page of the instance's event stream, on demand; a larger `limit` is cut to the vendor's."""
    provider = able(runtime, instance, Power.CHANGES)
    return await provider.changes(cursor, min(limit, provider.page_limit))


async def upload(
    hub: DocumentsProvider, place: Upload, *, tags: Sequence[str], description: str | None
) -> Entry:
    """Uploads, and puts tags and a description on the file where they are wanted."""
    wanted = Update(tags=tags or None, description=description or None)
    _check_update(hub, wanted)
    entry = await hub.upload(place)
    return await _describe(hub, entry, wanted)


async def create_folder(
    hub: DocumentsProvider, path: str, *, tags: Sequence[str], description: str | None
) -> Entry:
    """Makes a folder with tags and a description where they are wanted."""
    wanted = Update(tags=tags or None, description=description or None)
    _check_update(hub, wanted)
    return await _describe(hub, await hub.create_folder(path), wanted)


async def update(hub: DocumentsProvider, target: Target, wanted: Update) -> Entry:
    """Moves, renames and describes. Clients send the whole body back, so what is as it was is no wish; a new
    path counts before a new name. Raises NotSupported before anything has changed."""
    entry = await hub.entry(target)
    destination = _destination(entry, wanted)
    changed = Update(
        tags=wanted.tags if wanted.tags is not None and list(wanted.tags) != list(entry.tags) else None,
        description=wanted.description if wanted.description != (entry.description or "") else None,
    )
    _check_update(hub, changed)
    if destination is not None:
        _check(hub, Power.MOVE)
    entry = await _describe(hub, entry, changed)
    return await hub.move(entry, destination) if destination is not None else entry


async def copy(hub: DocumentsProvider, source: Target, path: str, *, overwrite: bool) -> Entry:
    """Copies. With `overwrite` an existing file gets the copy as its next version, so that nothing is lost;
    folders are never overwritten. Raises Conflict."""
    entry = await hub.entry(source)
    if path == entry.path:
        raise Conflict("path: is where the original is")
    if not overwrite or entry.kind is Kind.FOLDER or not await _exists(hub, Target(Kind.FILE, path=path)):
        return await hub.copy(entry, path)
    parent, name = split(path)
    opened = await hub.download(entry.target)
    try:
        length = opened.response.headers.get("content-length")
        content = Content(opened.response.aiter_raw(), int(length) if length else entry.size)
        return await hub.upload(Upload(Target(Kind.FOLDER, path=parent), name, content, overwrite=True))
    finally:
        await opened.response.aclose()


async def delete(hub: DocumentsProvider, target: Target, *, empty_trash: bool) -> None:
    """Deletes a file or a folder with everything in it."""
    if empty_trash:
        _check(hub, Power.EMPTY_TRASH)
    await hub.delete(await hub.entry(target), empty_trash=empty_trash)


async def revision(hub: DocumentsProvider, file: Target, revision_id: str) -> Revision:
    """One version of a file. Raises NotFound."""
    for found in await hub.revisions(file):
        if found.id == revision_id:
            return found
    raise NotFound(f"No revision with the id '{revision_id[:100]}' found")


def tags(hub: DocumentsProvider, wanted: Sequence[str]) -> Sequence[str]:
    """The tags to look for. Raises NotSupported where there are none."""
    if wanted:
        _check(hub, Power.TAGS)
    return wanted


def resources(provider: Provider) -> list[str]:
    """What a client may ask of this element, by the names of the surface."""
    return sorted({name for name, power in _RESOURCES if power in provider.powers})


def _destination(entry: Entry, wanted: Update) -> str | None:
    path = normalised(wanted.path) if wanted.path is not None else entry.path
    if path != entry.path:
        return path
    name = wanted.name if wanted.name is not None else entry.name
    if name == entry.name or entry.path == "/":
        return None
    if not name.strip() or "/" in name:
        raise BadRequest("name: must be a name without '/'")
    return normalised(join(split(entry.path)[0], name), name="name")


async def _exists(hub: DocumentsProvider, target: Target) -> bool:
    try:
        await hub.entry(target)
    except VendorNotFound:
        return False
    return True


def _check_update(hub: DocumentsProvider, wanted: Update) -> None:
    if wanted.tags is not None:
        _check(hub, Power.TAGS)
    if wanted.description is not None:
        _check(hub, Power.DESCRIPTION)


def _check(hub: DocumentsProvider, power: Power) -> None:
    if power not in hub.powers:
        raise NotSupported(f"The element '{hub.key}' does not support '{power}'")


async def _describe(hub: DocumentsProvider, entry: Entry, wanted: Update) -> Entry:
    if wanted.tags is None and wanted.description is None:
        return entry
    return await hub.describe(entry, description=wanted.description, tags=wanted.tags)
