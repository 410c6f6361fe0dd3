"""Taking over the instances of another service of this API, from what its `GET /instances` answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from app import configuration, event_settings
from app.configuration import REFRESH_TOKEN
from app.delivery import callbacks
from app.errors import BadRequest, GatewayError, NotFound
from app.event_settings import EventSettings
from app.polling import resources
from app.provisioning import instances
from app.provisioning.instances import Kept, Order
from app.registry import Provider
from app.runtime import Runtime
from app.store import instances as rows
from app.store import users
from app.store.tables import Instance, Role
from app.store.tenants import Caller
from app.tenancy.tenants import digest
from app.upstream import oauth
from app.vault.credentials import app_of
from app.wire import storable
from app.wire.instances import ExportedInstance

_POLLERS = "event.poller.configuration"
_LEGACY_POLLERS = "event.poller.urls"
_OPTIONAL: Mapping[tuple[str, ...], str] = {
    (_POLLERS, _LEGACY_POLLERS): "the account's events are polled instead",
    ("event.notification.callback.headers",): "its callback is called without these headers",
    (
        "event.notification.basic.username",
        "event.notification.basic.password",
    ): "its callback is called without Basic auth",
}
"""What an instance can do without where its values are of a form that is not known here; and what is done
then."""

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of one instance of the export."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass
class Line:
    """What the operator is told of one instance. `consent_url` is where its owner has to authenticate it
    again; `needs_consent` without it says that the app at the vendor is not known."""

    name: str
    outcome: Outcome
    instance_id: int | None = None
    needs_consent: bool = False
    consent_url: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Draft:
    """An instance as it will be written."""

    order: Order
    wanted: EventSettings
    kept: Kept
    notes: Sequence[str]


def read(text: bytes) -> list[Any]:
    """The instances in an export: one of them, or a list. Raises BadRequest for anything else."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the export is not valid JSON: {error}") from None
    if not isinstance(found, list | dict):
        raise BadRequest("the export is neither an instance nor a list of instances")
    return found if isinstance(found, list) else [found]


async def take_over(runtime: Runtime, caller: Caller, export: Sequence[Any]) -> list[Line]:
    """Creates what is not there yet, each instance in a transaction of its own, with its id and token where
    they are free, and its tokens at the vendor where the export has them. What is there stays as it is, so
    that nothing happens the second time."""
    return [await _take_over(runtime, caller, item, number) for number, item in enumerate(export, start=1)]


async def _take_over(runtime: Runtime, caller: Caller, item: Any, number: int) -> Line:
    label = f"number {number}"
    try:
        storable.check(item)
        body = ExportedInstance.model_validate(item)
        label = body.label
        return await _create(runtime, caller, body)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except GatewayError as error:
        reason = error.message
    return Line(label, Outcome.FAILED, notes=[reason])


async def _create(runtime: Runtime, caller: Caller, body: ExportedInstance) -> Line:
    provider = runtime.registry.find(body.element.key_or_id or str(body.elementId or ""))
    draft = _draft(runtime, provider, body)
    async with runtime.database.write() as connection:
        known = await _known(connection, caller, provider, body)
        if known is None:
            instance, notes = await _store(connection, runtime, caller, draft)
    if known is not None:
        line = Line(body.label, Outcome.UNCHANGED, known.id)
    else:
        runtime.wakeups.pollers.set()
        log.info("instance imported", extra={"instance": instance.id, "element": provider.key})
        notes += await _of_callback(runtime, draft.wanted)
        line = Line(body.label, Outcome.CREATED, instance.id, notes=[*draft.notes, *notes])
    return await _with_consent(runtime, caller, line)


async def _known(
    connection: AsyncConnection, caller: Caller, provider: Provider, body: ExportedInstance
) -> Instance | None:
    """The instance that this export has become before: the one with its token, or where none was exported,
    with its id and age. Raises BadRequest for what could not be known again the next time, for a token that
    is another account's, and for what was deleted here."""
    if body.token is None:
        return await _known_by_id(connection, caller, provider, body)
    owner = await rows.account_of_token(connection, digest(body.token))
    if owner is None:
        return None
    found = await rows.by_token_hash(connection, digest(body.token))
    if found is None:
        raise BadRequest("was taken over before and has been deleted here since")
    if owner != caller.account_id:
        raise BadRequest("its token belongs to an instance of another account")
    return found


async def _known_by_id(
    connection: AsyncConnection, caller: Caller, provider: Provider, body: ExportedInstance
) -> Instance | None:
    if body.id is None or body.createdDate is None:
        raise BadRequest("has no token, and without an id and a date it could not be known again")
    if not await rows.is_taken(connection, body.id):
        return None
    found = await rows.by_id(connection, body.id, caller.account_id)
    if found is None or (found.element_key, found.created_at) != (provider.key, body.createdDate):
        raise BadRequest("has no token, and its id was given to another instance here, or it was deleted")
    return found


async def _store(
    connection: AsyncConnection, runtime: Runtime, caller: Caller, draft: _Draft
) -> tuple[Instance, list[str]]:
    kept, notes = draft.kept, []
    if kept.id is not None and await rows.is_taken(connection, kept.id):
        notes.append(f"its id {kept.id} is another instance's here; it has a new one")
        kept = replace(kept, id=None)
    if kept.token is None:
        notes.append("the export has no token of it; it has a new one, which GET /instances shows")
    instance = await instances.store(
        connection,
        runtime,
        caller,
        draft.order,
        draft.wanted,
        {},
        cursor=None,
        now=runtime.clock.now(),
        kept=kept,
    )
    return instance, notes


async def _of_callback(runtime: Runtime, wanted: EventSettings) -> list[str]:
    """What the operator should know of a callback that cannot be called here as it is."""
    try:
        await callbacks.check(runtime, wanted.callback_url)
    except BadRequest as error:
        return [f"{error.message}; until then its notifications are queued"]
    return []


def _draft(runtime: Runtime, provider: Provider, body: ExportedInstance) -> _Draft:
    values = {
        key: value
        for key, value in configuration.as_texts(body.configuration).items()
        if not (value == configuration.MASK and configuration.is_secret(key))
    }
    values, notes = _with_events(runtime, values)
    values, more = _with_vendor_type(runtime, provider, values)
    notes += more
    instances.check_configuration(runtime, provider, values, tolerated=_required(provider))
    order = Order(
        provider=provider,
        provider_data={},
        configuration=values,
        tags=body.tags,
        name=body.name,
        external=body.externalAuthentication,
    )
    kept = Kept(
        id=body.id,
        token=body.token,
        created_at=body.createdDate or runtime.clock.now(),
        valid=body.valid and configuration.has_grant(values),
        disabled=body.disabled,
    )
    return _Draft(order, event_settings.read(values, runtime.settings), kept, notes)


def _required(provider: Provider) -> set[str]:
    return {item.key for item in configuration.fields(provider) if item.required}


def _with_events(
    runtime: Runtime, values: Mapping[str, str | None]
) -> tuple[dict[str, str | None], list[str]]:
    """The configuration with `event.` keys that this gateway can use. What it cannot use, and an instance can
    do without, is kept beside it."""
    found, notes = dict(values), []
    legacy = found.get(_LEGACY_POLLERS)
    if legacy and not found.get(_POLLERS):
        found[_POLLERS] = orjson.dumps(resources.legacy(legacy)).decode()
    while True:
        try:
            event_settings.read(found, runtime.settings)
        except BadRequest as error:
            keys = _refused(found, error)
            if not keys:
                raise
            found = {f"imported.{key}" if key in keys else key: value for key, value in found.items()}
            notes.append(f"{error.message}; {_OPTIONAL[keys]}")
        else:
            return found, notes


def _refused(values: Mapping[str, str | None], error: BadRequest) -> tuple[str, ...]:
    """The keys that an error is about, together with those that mean nothing without them; none where the
    instance cannot do without."""
    for keys in _OPTIONAL:
        named = any(error.message.startswith(f"configuration.{key}") for key in keys)
        if named and any(key in values for key in keys):
            return keys
    return ()


def _with_vendor_type(
    runtime: Runtime, provider: Provider, values: Mapping[str, str | None]
) -> tuple[dict[str, str | None], list[str]]:
    """The configuration with a way to be told of changes that works here: polling always does."""
    found, key = dict(values), event_settings.VENDOR_TYPE
    try:
        event_settings.check_vendor_type(provider, found, runtime.settings)
    except BadRequest as error:
        found[f"imported.{key}"] = found.pop(key)
        return found, [f"{error.message}; the account is polled instead"]
    return found, []


async def _with_consent(runtime: Runtime, caller: Caller, line: Line) -> Line:
    """Says where the owner of an account that has no usable grant gives his consent again. The `state` is the
    id of the instance, for the PATCH that brings its code."""
    found = await instances.get(runtime, caller.account_id, line.instance_id or 0)
    values = found.instance.configuration | dict(found.secrets.values)
    default = runtime.settings.oauth_apps.get(found.provider.key)
    app = app_of(values, default)
    can_refresh = bool(values.get(REFRESH_TOKEN) and app.client_id and app.client_secret)
    if found.instance.valid and (can_refresh or not values.get(configuration.REFRESH_INTERVAL)):
        return line
    line.needs_consent = True
    if not app.client_id or not app.redirect_uri:
        return line
    spec = found.provider.oauth
    line.consent_url = oauth.authorization_url(
        spec,
        runtime.registry.base_url(found.provider, values, spec.authorize_host),
        client_id=app.client_id,
        redirect_uri=app.redirect_uri,
        state=str(found.instance.id),
        scope=values.get("oauth.scope") or None,
    )
    return line


def as_text(lines: Sequence[Line]) -> str:
    """What the operator reads: a line per instance, and below it what he should know or do."""
    shown = [part for line in lines for part in _described(line)]
    counts = ", ".join(f"{sum(line.outcome is kind for line in lines)} {kind}" for kind in Outcome)
    waiting = sum(line.needs_consent for line in lines)
    return "\n".join([*shown, f"{counts}; {waiting} to be authenticated again", ""])


def _described(line: Line) -> Iterator[str]:
    place = f" as {line.instance_id}" if line.instance_id is not None else ""
    yield f"{line.outcome}: {line.name}{place}"
    yield from (f"    {note}" for note in line.notes)
    if line.consent_url:
        yield f"    its owner authenticates it again at {line.consent_url}"
    elif line.needs_consent:
        yield (
            "    its owner has to authenticate it again; neither its configuration nor GATEWAY_OAUTH_APPS "
            "names the app at the vendor"
        )


async def owner_of(runtime: Runtime, account_id: int | None) -> Caller:
    """Who the instances will belong to: the first user of the account. Raises BadRequest when no account
    is named and there are several, and NotFound for one that does not exist."""
    async with runtime.database.read() as connection:
        found = await users.first_of_accounts(connection, account_id, limit=20)
    if not found:
        raise NotFound(f"No account {account_id or ''} with a user found")
    if len(found) > 1:
        ids = ", ".join(str(user.account_id) for user in found)
        raise BadRequest(f"there are several accounts ({ids}); name one of them")
    user = found[0]
    return Caller(
        user_id=user.id,
        account_id=user.account_id,
        organization_id=user.organization_id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        role=Role(user.role),
    )
