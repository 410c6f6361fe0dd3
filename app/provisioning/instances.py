"""Connecting accounts: from an authorization code to a stored, polled instance, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import audit, configuration, documents, event_settings
from app.audit import Action
from app.configuration import REFRESH_INTERVAL, REFRESH_TIME, REFRESH_TOKEN
from app.delivery import callbacks
from app.errors import GatewayError, NotFound
from app.event_settings import EventSettings
from app.hubs.documents import NEWEST
from app.ingest.vendor_webhooks import WebhookWorker
from app.provisioning import watching
from app.registry import Provider
from app.runtime import Runtime
from app.store import accounts, instances, outages, pollers, vendor_webhooks
from app.store.instances import Wanted
from app.store.tables import ExternalAuthentication, Instance, Poller, User, VendorWebhook
from app.store.tenants import Caller
from app.tenancy.tenants import digest, new_token
from app.upstream import oauth
from app.upstream.oauth import Tokens
from app.vault import codes
from app.vault.credentials import Secrets, app_of, token_values

_REVOCATION = timedelta(seconds=5)  # for which a client waits until the vendors forget deleted tokens
_REVOCATIONS = 16  # at the same time

_STORED_WITHIN = timedelta(seconds=30)
"""How long a client waits for a database that is away, when his code has been used up already."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What `POST /instances` asks for; configuration values are text already."""

    provider: Provider
    provider_data: Mapping[str, Any] = field(repr=False)
    configuration: Mapping[str, str | None] = field(repr=False)
    tags: Sequence[str]
    name: str
    external: ExternalAuthentication = ExternalAuthentication.NONE


@dataclass(frozen=True)
class Connected:
    """An instance with what an answer shows beside it."""

    instance: Instance
    secrets: Secrets
    provider: Provider
    owner: User
    pollers: Sequence[Poller]
    webhook: VendorWebhook | None = None


@dataclass(frozen=True)
class Kept:
    """What an instance brings along from another service; without an id or a token it gets new ones."""

    id: int | None
    token: str | None = field(repr=False)
    created_at: datetime
    valid: bool
    disabled: bool


async def provision(runtime: Runtime, caller: Caller, order: Order) -> Connected:
    """Connects an account: checks the order, trades the code, finds the end of the event stream, and only
    then writes everything in one transaction.

    Raises BadRequest (what is missing or malformed), VendorRefused (with the vendor's words),
    VendorThrottled or VendorUnavailable; nothing is left behind then, and the same order works once more
    although its code is used up.
    """
    values = without_covered_app(runtime, order.provider, order.configuration)
    order = replace(order, configuration=values)
    if order.external is ExternalAuthentication.INITIAL:
        return await _adopt_grant(runtime, caller, order)
    wanted = check(runtime, order)
    await callbacks.check(runtime, wanted.callback_url)
    trade = partial(exchange, runtime, order.provider, order.configuration, order.provider_data)
    same = code_key(runtime, caller.account_id, order.provider, values, order.provider_data["code"])
    async with runtime.codes.traded(same, trade) as tokens:
        instance = await _connect(runtime, caller, order, wanted, tokens)
    return await _announced(runtime, instance)


async def _connect(
    runtime: Runtime, caller: Caller, order: Order, wanted: EventSettings, tokens: Tokens
) -> Instance:
    cursor = (
        await end_of_stream(runtime, order.provider, order.configuration, tokens) if wanted.enabled else None
    )
    now, token = runtime.clock.now(), new_token()

    async def stored() -> Instance:
        """Its code is used up: it is stored after an outage as well, and never twice."""
        async with runtime.database.write() as connection:
            before = await instances.by_token_hash(connection, digest(token))
            given = token_values(tokens)
            return before or await store(
                connection, runtime, caller, order, wanted, given, cursor=cursor, now=now, token=token
            )

    return await outages.repeat(stored, patience=_STORED_WITHIN)


def code_key(
    runtime: Runtime, account_id: int, provider: Provider, values: Mapping[str, str | None], code: object
) -> str:
    """What an order has in common with its repetition: whose it is, and what makes its code good."""
    app = ("oauth.api.key", "oauth.api.secret", "oauth.callback.url")
    good_for = [values.get(key) for key in (*app, *runtime.registry.place(provider))]
    return codes.key(account_id, provider.key, str(code), *good_for)


def without_covered_app(
    runtime: Runtime, provider: Provider, values: Mapping[str, str | None]
) -> Mapping[str, str | None]:
    """The configuration without the operator's app, where a client sends back what `oauth/url/default` has
    shown of it."""
    app = runtime.settings.oauth_apps.get(provider.key)
    if app is None or values.get("oauth.api.secret") != configuration.MASK:
        return values
    if values.get("oauth.api.key") not in {None, configuration.MASK, app.key.get_secret_value()}:
        return values
    covered = {"oauth.api.key", "oauth.api.secret", "secret"}
    return {key: value for key, value in values.items() if key not in covered}


async def _adopt_grant(runtime: Runtime, caller: Caller, order: Order) -> Connected:
    """An account that somebody else has the grant of. It is stored before the vendor is asked anything:
    its refresh token may work only once, and must not be lost with an error."""
    wanted, now = check(runtime, order), runtime.clock.now()
    await callbacks.check(runtime, wanted.callback_url)
    async with runtime.database.write() as connection:
        instance = await store(connection, runtime, caller, order, wanted, {}, cursor=None, now=now)
    if wanted.enabled:
        await _begin_now(runtime, instance)
    return await _announced(runtime, instance)


async def _begin_now(runtime: Runtime, instance: Instance) -> None:
    """Finds the end of the stream while the client waits. Where that fails, the first poll finds it."""
    try:
        provider = documents.bind(runtime, instance, budget=runtime.settings.vendor_budget)
        cursor = await watching.end_of_stream(provider)
    except GatewayError as error:
        log.warning("first position unknown", extra={"instance": instance.id, "error": error.message})
        return
    async with runtime.database.write() as connection:
        await pollers.begin(connection, instance.id, at=cursor, instead_of=NEWEST)


async def _announced(runtime: Runtime, instance: Instance) -> Connected:
    runtime.wakeups.pollers.set()
    log.info("instance created", extra={"instance": instance.id, "element": instance.element_key})
    return await get(runtime, instance.account_id, instance.id)


def check(runtime: Runtime, order: Order) -> EventSettings:
    """What the order asks for of events. Raises BadRequest naming whatever is missing or malformed in it."""
    if order.external is ExternalAuthentication.INITIAL:
        missing = [] if configuration.has_grant(order.configuration) else [REFRESH_TOKEN]
    else:
        missing = [] if order.provider_data.get("code") else ["providerData.code"]
    check_configuration(runtime, order.provider, order.configuration, missing=missing)
    return event_settings.read(order.configuration, runtime.settings)


def check_configuration(
    runtime: Runtime,
    provider: Provider,
    values: Mapping[str, str | None],
    *,
    missing: Sequence[str] = (),
    tolerated: Collection[str] = (),
    events: bool = True,
) -> None:
    """Raises BadRequest that names the missing keys at once, but for the tolerated ones, or the first value
    of a wrong form; with `events`, for a way to be told of changes that cannot work, too. What the operator's
    own app at the vendor stands in for is not missing."""
    optional, app = set(tolerated), runtime.settings.oauth_apps.get(provider.key)
    if app and not values.get("oauth.api.key"):
        optional |= {"oauth.api.key", "oauth.api.secret"}
        optional |= {"oauth.callback.url"} if app.callback_url else set()
    configuration.check(provider, values, optional=optional, missing=missing)
    if events:
        event_settings.check_vendor_type(provider, values, runtime.settings)


async def exchange(
    runtime: Runtime, provider: Provider, values: Mapping[str, str | None], provider_data: Mapping[str, Any]
) -> Tokens:
    """The tokens for the code in `provider_data`. Raises what the vendor says."""
    return await oauth.exchange_code(
        runtime.vendors,
        provider.oauth,
        runtime.registry.base_url(provider, values),
        app_of(values, runtime.settings.oauth_apps.get(provider.key)),
        str(provider_data["code"]),
        runtime.clock.now(),
    )


async def end_of_stream(
    runtime: Runtime, provider: Provider, values: Mapping[str, str | None], tokens: Tokens
) -> str:
    """Where the polling of an account begins that is not an instance with these tokens yet."""

    async def token(rejected: str | None = None) -> str:
        return tokens.access_token

    budget = runtime.settings.vendor_budget
    way = documents.upstream(runtime, provider, dict(values), token, budget=budget)
    return await watching.end_of_stream(provider(way, dict(values)))


async def get(
    runtime: Runtime, account_id: int, instance_id: int, *, element_key: str | None = None
) -> Connected:
    """Raises NotFound for an instance that does not exist, was deleted, is another account's, or is not of
    the element that it is asked for as."""
    async with runtime.database.read() as connection:
        found = await instances.by_id(connection, instance_id, account_id)
    if found is not None and element_key not in {None, found.element_key}:
        found = None
    connected = await _connected(runtime, [found] if found else [])
    if not connected:
        raise NotFound(f"No instance with the id {instance_id} found")
    return connected[0]


async def find(
    runtime: Runtime, wanted: Wanted, *, after_id: int, offset: int, limit: int
) -> list[Connected]:
    """At most `limit` of the wanted instances, by id. Raises NotFound where a search finds none: Cloud
    Elements answered so, and clients take it for an empty list."""
    async with runtime.database.read() as connection:
        found = await instances.find(connection, wanted, after_id=after_id, offset=offset, limit=limit)
    if not found and not after_id and not offset and (wanted.tags or wanted.search):
        raise NotFound("No instances found")
    return await _connected(runtime, found)


async def record_reading(runtime: Runtime, shown: Sequence[Connected]) -> None:
    """Says in the audit who is about to be shown the Element tokens of these."""
    now = runtime.clock.now()
    await audit.record_reading(runtime.database, runtime.noted, [item.instance for item in shown], at=now)


async def count(runtime: Runtime, wanted: Wanted) -> dict[str, int]:
    """How many of the wanted instances there are, by element key."""
    async with runtime.database.read() as connection:
        return await instances.count(connection, wanted)


async def delete(runtime: Runtime, account_id: int, instance_id: int) -> None:
    """Ends an instance; what it has reported is still delivered. Raises NotFound as `get` does."""
    found = await get(runtime, account_id, instance_id)
    now = runtime.clock.now()
    async with runtime.database.write() as connection:
        if await instances.remove(connection, instance_id, now=now):
            await audit.record(
                connection,
                Action.INSTANCE_DELETED,
                f"instance {instance_id}",
                at=now,
                account_id=account_id,
                name=found.instance.name,
            )
    runtime.sessions.clear()
    log.info("instance deleted", extra={"instance": instance_id})
    await revoke(runtime, [(found.instance, found.secrets)])


async def revoke(runtime: Runtime, ended: Sequence[tuple[Instance, Secrets]]) -> None:
    """Tells the vendors to forget the webhooks and the tokens of instances that have ended. Where they do not
    hear in time, the tokens end by themselves, and a worker goes on about the webhooks."""
    places = asyncio.Semaphore(_REVOCATIONS)
    async with runtime.database.read() as connection:
        called = await vendor_webhooks.of_instances(connection, [instance.id for instance, _ in ended])

    async def one(instance: Instance, secrets: Secrets) -> None:
        try:
            async with places:
                if instance.id in called:  # its tokens end after its webhook, for which they are needed
                    await WebhookWorker(runtime).end(instance.id)
                    return
                provider = runtime.registry.find(instance.element_key)
                await runtime.credentials.revoke(instance, provider, secrets)
        except GatewayError as error:
            log.warning("tokens not revoked", extra={"instance": instance.id, "error": error.message})

    try:
        async with asyncio.timeout(_REVOCATION.total_seconds()), asyncio.TaskGroup() as group:
            for item in ended:
                group.create_task(one(*item))
    except TimeoutError:
        log.warning("tokens not revoked in time", extra={"instances": len(ended)})


async def store(
    connection: AsyncConnection,
    runtime: Runtime,
    caller: Caller,
    order: Order,
    wanted: EventSettings,
    tokens: Mapping[str, str],
    *,
    cursor: str | None,
    now: datetime,
    kept: Kept | None = None,
    token: str | None = None,
) -> Instance:
    """Writes an instance, its sealed secrets, and what watches it; `token` is its Element token, if it has
    one yet. Raises NotFound for an account that was deleted meanwhile."""
    if not await accounts.hold(connection, caller.account_id):
        raise NotFound(f"No account with the id {caller.account_id} found")
    plain, secret = split(order.configuration)
    secrets = Secrets(token=(kept and kept.token) or token or new_token(), values=secret | dict(tokens))
    values: dict[str, Any] = {
        "account_id": caller.account_id,
        "user_id": caller.user_id,
        "element_key": order.provider.key,
        "name": order.name or order.provider.name,
        "tags": list(order.tags) or ([order.name] if order.name and not kept else []),
        "configuration": plain,
        "external_authentication": order.external,
        "token_hash": digest(secrets.token),
        "valid": kept.valid if kept else True,
        "disabled": kept.disabled if kept else False,
        "created_at": kept.created_at if kept else now,
        "updated_at": now,
    }
    own_id = {"id": kept.id} if kept and kept.id is not None else {}
    instance_id = await instances.insert_instance(connection, **values, **own_id)
    sealed = runtime.credentials.seal(instance_id, secrets)
    await instances.insert_credential(
        connection, instance_id=instance_id, account_id=caller.account_id, sealed=sealed
    )
    instance = Instance(id=instance_id, **values)
    await watching.watch(connection, runtime, instance, wanted, cursor=cursor, now=now)
    await audit.record(
        connection,
        Action.INSTANCE_IMPORTED if kept else Action.INSTANCE_CREATED,
        f"instance {instance_id}",
        at=now,
        account_id=caller.account_id,
        name=instance.name,
        element=instance.element_key,
    )
    return instance


def split(values: Mapping[str, str | None]) -> tuple[dict[str, str | None], dict[str, str]]:
    """What is kept as it is, and what is sealed. A URL with a password is both, kept with the password
    covered."""
    sealed_too = {REFRESH_INTERVAL, REFRESH_TIME}
    shown = {key: configuration.shown(key, value) for key, value in values.items()}
    secret = {
        key: value for key, value in values.items() if value and (shown[key] != value or key in sealed_too)
    }
    return {key: shown[key] for key in values if key not in secret or key.endswith(".url")}, secret


async def _connected(runtime: Runtime, found: Sequence[Instance]) -> list[Connected]:
    ids = [instance.id for instance in found]
    async with runtime.database.read() as connection:
        watched = await pollers.of_instances(connection, ids)
        called = await vendor_webhooks.of_instances(connection, ids)
        sealed = await instances.credentials(connection, ids)
        owners = await instances.owners(connection, [instance.user_id for instance in found])
    return [
        Connected(
            instance=instance,
            secrets=runtime.credentials.unseal(sealed[instance.id]),
            provider=runtime.registry.find(instance.element_key),
            owner=owners[instance.user_id],
            pollers=watched.get(instance.id, []),
            webhook=called.get(instance.id),
        )
        for instance in found
        if instance.id in sealed
    ]
