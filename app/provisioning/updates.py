"""Changing a live instance: its name and tags, its configuration, its grant, and whether it is in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, configuration, documents, event_settings
from app.audit import Action
from app.configuration import MANAGED
from app.delivery import callbacks, url_logins
from app.errors import BadRequest, Conflict, DatabaseUnavailable, LostRace, NotFound, VendorError
from app.event_settings import EventSettings
from app.provisioning import instances, watching
from app.provisioning.instances import Connected
from app.runtime import Runtime
from app.store import instances as rows
from app.store import pollers, vendor_webhooks, wakeups
from app.store.tables import ExternalAuthentication, Instance, VendorWebhook
from app.upstream.oauth import Tokens
from app.vault.credentials import Secrets

_LOOK_AGAIN = 0.1  # seconds, while somebody else changes the same instance or refreshes its tokens
_SHOWN_AS = {"name": "name", "tags": "tags", "external_authentication": "externalAuthentication"}
_PATIENCE = 10  # seconds beyond the lease of a refresh

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Update:
    """What a PUT or PATCH asks for. None, and a configuration key that is not named, stay as they are."""

    name: str | None = None
    tags: Sequence[str] | None = None
    configuration: Mapping[str, str | None] | None = field(default=None, repr=False)
    provider_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    element: str | None = None
    external: ExternalAuthentication | None = None

    @property
    def has_code(self) -> bool:
        return bool(self.provider_data.get("code"))


class _Overtaken(Exception):
    """Somebody else was faster; everything is looked at again."""


@dataclass(frozen=True)
class _Plan:
    """What an update makes of an instance as it was found. What is wanted of its events is None where older
    versions have stored what nobody can read: it then goes on as it did, or ends."""

    values: Mapping[str, str | None] = field(repr=False)
    wanted: EventSettings | None
    wanted_before: EventSettings | None
    names_notifications: bool
    new_grant: bool
    moved: bool
    other_stream: bool

    @property
    def other_login(self) -> bool:
        """Whether the URL of the callback has another user or password: that is another receiver."""
        if self.wanted is None or self.wanted_before is None:
            return False
        before, after = self.wanted_before.receiver, self.wanted.receiver
        return before is not None and after is not None and before.login != after.login

    def needs_cursor(self, found: Connected) -> bool:
        """Whether the vendor's stream is to be read, and nobody stands in it yet."""
        if self.wanted is None or not self.wanted.enabled:
            return False
        if all(resource.reading is not None for resource in self.wanted.resources.values()):
            return False
        stands = any(poller.reading is None for poller in found.pollers)
        return self.moved or self.other_stream or not stands


async def update(runtime: Runtime, account_id: int, instance_id: int, wish: Update) -> Connected:
    """Changes an instance; its id and its token stay. A new code authenticates it again. What concerns its
    events counts from the next poll on, which is due at once.

    Raises what `instances.provision` and `instances.get` raise, and Conflict where others keep changing it;
    nothing has changed then.
    """
    async with AsyncExitStack() as trading:
        await _update(runtime, account_id, instance_id, wish, trading)
    runtime.sessions.clear()
    runtime.wakeups.pollers.set()
    log.info("instance changed", extra={"instance": instance_id})
    return await instances.get(runtime, account_id, instance_id)


async def _update(
    runtime: Runtime, account_id: int, instance_id: int, wish: Update, trading: AsyncExitStack
) -> None:
    """The vendor is asked outside of the transaction and at most once: a code works only once. What it has
    brought is kept for a repetition where `trading` ends with an error."""
    tokens: Tokens | None = None
    cursor: str | None = None
    checked: str | None = None
    for _ in range(int((runtime.credentials.lease.total_seconds() + _PATIENCE) / _LOOK_AGAIN)):
        try:
            found = await instances.get(runtime, account_id, instance_id)
            plan = _plan(runtime, found, wish)
            if (url := _new_callback_url(found, plan)) != checked:
                await callbacks.check(runtime, url)
                checked = url
            if tokens is None and wish.has_code:
                tokens = await trading.enter_async_context(_traded(runtime, found, plan, wish))
            if cursor is None and plan.needs_cursor(found):
                cursor = await _end_of_stream(runtime, found, plan, tokens)
            return await _write(runtime, found, wish, plan, tokens, cursor)
        except _Overtaken:
            await asyncio.sleep(_LOOK_AGAIN)
        except DatabaseUnavailable as error:
            if tokens is None and not isinstance(error, LostRace):
                raise
            await asyncio.sleep(_LOOK_AGAIN)  # a code is used up then, and what it brought is not given up
    raise Conflict("The instance is being changed by others all the time; try again")


def _traded(
    runtime: Runtime, found: Connected, plan: _Plan, wish: Update
) -> AbstractAsyncContextManager[Tokens]:
    same = instances.code_key(
        runtime, found.instance.account_id, found.provider, plan.values, wish.provider_data["code"]
    )
    trade = partial(instances.exchange, runtime, found.provider, plan.values, wish.provider_data)
    return runtime.codes.traded(same, trade)


async def enable(runtime: Runtime, account_id: int, instance_id: int, *, enabled: bool) -> None:
    """Takes an instance out of use or back into it; one that is so already stays as it is. Its polling rests
    meanwhile and goes on where it stood, so that nothing is lost. Raises NotFound as `instances.get` does."""
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        await rows.hold(connection, instance_id)
        instance = await rows.by_id(connection, instance_id, account_id)
        if instance is None:
            raise NotFound(f"No instance with the id {instance_id} found")
        if instance.disabled is not enabled:
            return
        await rows.update_instance(connection, instance_id, disabled=not enabled, updated_at=now)
        if enabled and instance.valid:
            await pollers.resume(connection, instance_id, now=now)
        else:
            await pollers.suspend(connection, instance_id)
        if await vendor_webhooks.make_due(connection, instance_id, now=now):
            await wakeups.notify(connection, VendorWebhook)
        action = Action.INSTANCE_ENABLED if enabled else Action.INSTANCE_DISABLED
        await _record(connection, action, instance, now)
    runtime.sessions.clear()
    runtime.wakeups.pollers.set()
    runtime.wakeups.vendor_webhooks.set()
    log.info("instance enabled" if enabled else "instance disabled", extra={"instance": instance_id})


def _plan(runtime: Runtime, found: Connected, wish: Update) -> _Plan:
    """Raises BadRequest for whatever cannot be."""
    _check_element(runtime, found, wish.element)
    before = found.instance.configuration | dict(found.secrets.values)
    given = instances.without_covered_app(runtime, found.provider, wish.configuration or {})
    new = configuration.changed(before, given)
    if wish.has_code:
        new = _without_tokens(new)
    new_grant = wish.has_code or configuration.has_grant(new)
    values = {**(_without_tokens(before) if new_grant else before), **new}  # of an old grant nothing stays
    tolerated = () if new_grant else _unset(found, before)
    instances.check_configuration(runtime, found.provider, values, tolerated=tolerated, events=False)
    moved = _is_elsewhere(runtime, found, before, values)
    if moved and not new_grant:
        raise BadRequest("configuration: the account is at another place then; send a providerData.code too")
    return _Plan(
        values=values,
        wanted=_wanted(runtime, found, values, strict=moved or _concerns_events(found, new)),
        wanted_before=_wanted(runtime, found, before, strict=False),
        names_notifications=any(key.startswith("event.notification.") for key in given),
        new_grant=new_grant,
        moved=moved,
        other_stream=found.provider.stream(before) != found.provider.stream(values),
    )


def _new_callback_url(found: Connected, plan: _Plan) -> str | None:
    """None for one that is stored already: a change of something else does not fail by it."""
    before = found.instance.configuration | dict(found.secrets.values)
    key = event_settings.CALLBACK_URL
    if plan.wanted is None or plan.values.get(key) == before.get(key):
        return None
    return plan.wanted.callback_url


def _wanted(
    runtime: Runtime, found: Connected, values: Mapping[str, str | None], *, strict: bool
) -> EventSettings | None:
    """What is wanted of an instance's events. Raises BadRequest for what cannot be, if that is `strict`."""
    try:
        event_settings.check_vendor_type(found.provider, values, runtime.settings)
        return event_settings.read(values, runtime.settings)
    except BadRequest:
        if strict:
            raise
        return None


def _concerns_events(found: Connected, new: Mapping[str, str | None]) -> bool:
    """Whether new values say more of events than that there are to be none."""
    own = {item.key for item in found.provider.fields}
    harmless = set() if event_settings.enabled(new) else {event_settings.ENABLED}
    return any(key in own or key.startswith("event.") for key in new.keys() - harmless)


def _without_tokens(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in values.items() if key not in MANAGED}


def _unset(found: Connected, values: Mapping[str, str | None]) -> set[str]:
    """What an instance that was taken over never had, and need not have before it is authenticated again."""
    return {item.key for item in configuration.fields(found.provider) if not values.get(item.key)}


def _is_elsewhere(
    runtime: Runtime,
    found: Connected,
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
) -> bool:
    """Whether the account is at another place of the vendor, where old cursors mean nothing."""
    return any(before.get(key) != after.get(key) for key in runtime.registry.place(found.provider))


def _check_element(runtime: Runtime, found: Connected, name: str | None) -> None:
    """An instance stays what it is: there are no clones of elements here that it could move to."""
    if name is not None and runtime.registry.find(name) is not found.provider:
        raise BadRequest(f"element: the instance is one of '{found.provider.key}' and stays one")


async def _end_of_stream(
    runtime: Runtime, found: Connected, plan: _Plan, tokens: Tokens | None
) -> str | None:
    """Where new pollers begin: now. None for an account whose new grant is not in use yet, or that the
    vendor does not let in: its first poll finds out. So it does where new tokens are in hand and the vendor
    fails, because their code is used up."""
    if tokens is not None:
        try:
            return await instances.end_of_stream(runtime, found.provider, plan.values, tokens)
        except VendorError as error:
            log.warning("first position unknown", extra={"instance": found.instance.id, "error": str(error)})
            return None
    if plan.new_grant or not found.instance.valid or not configuration.has_grant(found.secrets.values):
        return None
    way = documents.way(runtime, found.instance, found.provider, budget=runtime.settings.vendor_budget)
    return await watching.end_of_stream(found.provider(way, dict(plan.values)))


async def _write(
    runtime: Runtime,
    found: Connected,
    wish: Update,
    plan: _Plan,
    tokens: Tokens | None,
    cursor: str | None,
) -> None:
    """Writes everything in one transaction. Raises _Overtaken when the instance or its secrets have changed
    since they were read, or are just being refreshed."""
    now = runtime.clock.now()
    plain, secret = instances.split(plan.values)
    secrets = replace(found.secrets, values=secret)
    secrets = secrets.with_tokens(tokens) if tokens else secrets
    changed = _changed(wish, plain, plan, now)
    async with runtime.database.write() as connection:
        seen = found.instance.updated_at
        if not await rows.change_instance(connection, found.instance.id, seen=seen, **changed):
            raise _Overtaken
        if secrets != found.secrets:
            await _save(connection, runtime, found.instance.id, secrets, now)
        await _watch(connection, runtime, found, changed, plan, cursor, now)
        await url_logins.take_out(connection, runtime, found.instance.id)
        action = Action.INSTANCE_AUTHENTICATED if plan.new_grant else Action.INSTANCE_CHANGED
        await _record(connection, action, found.instance, now, changed=_names(found, changed, plan))


async def _watch(
    connection: AsyncConnection,
    runtime: Runtime,
    found: Connected,
    changed: dict[str, Any],
    plan: _Plan,
    cursor: str | None,
    now: datetime,
) -> None:
    instance = Instance(**(found.instance.model_dump() | changed))
    if plan.wanted is None:
        enabled = event_settings.enabled(plan.values)
        if plan.new_grant or not enabled:
            await watching.watch_as_before(connection, instance, enabled=enabled, now=now)
        return
    own = (item.key for item in found.provider.fields)  # which stream is read may be among them
    before, after = found.instance.configuration, instance.configuration
    changed_stream = any(before.get(key) != after.get(key) for key in own)
    asked = plan.names_notifications or plan.wanted != plan.wanted_before
    if plan.new_grant or changed_stream or asked:
        await watching.watch(
            connection,
            runtime,
            instance,
            plan.wanted,
            cursor=cursor,
            now=now,
            moved=plan.moved,
            other_stream=plan.other_stream,
            other_login=plan.other_login,
        )


async def _save(
    connection: AsyncConnection, runtime: Runtime, instance_id: int, secrets: Secrets, now: datetime
) -> None:
    sealed = runtime.credentials.seal(instance_id, secrets)
    if not await rows.save_credential(
        connection, instance_id, version=secrets.version, sealed=sealed, free_at=now
    ):
        raise _Overtaken


async def _record(
    connection: AsyncConnection, action: Action, instance: Instance, now: datetime, **details: Any
) -> None:
    subject = f"instance {instance.id}"
    await audit.record(connection, action, subject, at=now, account_id=instance.account_id, **details)


def _names(found: Connected, changed: Mapping[str, Any], plan: _Plan) -> list[str]:
    """What an update changes, without a value; the tokens that come with a new grant are not named."""
    before, after = found.instance.configuration | dict(found.secrets.values), plan.values
    keys = {key for key in before.keys() | after.keys() - MANAGED if before.get(key) != after.get(key)}
    named = {key: shown for key, shown in _SHOWN_AS.items() if key in changed}
    own = [shown for key, shown in named.items() if getattr(found.instance, key) != changed[key]]
    return [*own, *sorted(f"configuration.{key}" for key in keys - MANAGED)]


def _changed(wish: Update, plain: Mapping[str, str | None], plan: _Plan, now: datetime) -> dict[str, Any]:
    wanted: dict[str, Any] = {"name": wish.name, "tags": wish.tags, "external_authentication": wish.external}
    values = {key: value for key, value in wanted.items() if value is not None}
    if plan.new_grant:
        values |= {"valid": True}
    return {**values, "configuration": dict(plain), "updated_at": now}
