"""Connecting accounts: from an authorization code to a stored, polled instance, and its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app import configuration, documents
from app.configuration import EventSettings
from app.credentials import Secrets, app_of, token_values
from app.errors import NotFound
from app.hubs.documents import NEWEST
from app.registry import Provider
from app.runtime import Runtime
from app.store import instances, outbox, pollers, wakeups
from app.store.tables import Instance, Poller
from app.store.tenants import Caller
from app.tenants import digest, new_token
from app.upstream import oauth
from app.wire import notifications

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What `POST /instances` asks for; configuration values are text already."""

    provider: Provider
    provider_data: Mapping[str, Any]
    configuration: Mapping[str, str | None]
    tags: Sequence[str]
    name: str


@dataclass(frozen=True)
class Connected:
    """An instance with what an answer shows beside it."""

    instance: Instance
    secrets: Secrets
    provider: Provider
    pollers: Sequence[Poller]


async def provision(runtime: Runtime, caller: Caller, order: Order) -> Connected:
    """Connects an account: checks the order, trades the code, finds the end of the event stream, and only
    then writes everything in one transaction.

    Raises BadRequest (what is missing or malformed), VendorRefused (with the vendor's words),
    VendorThrottled or VendorUnavailable; nothing is left behind then.
    """
    configuration.check(order.provider, order.configuration, order.provider_data)
    wanted = configuration.event_settings(order.configuration, runtime.settings)
    now = runtime.clock.now()
    tokens = await oauth.exchange_code(
        runtime.vendors,
        order.provider.oauth,
        runtime.registry.base_url(order.provider, order.configuration),
        app_of(order.configuration),
        str(order.provider_data["code"]),
        now,
    )
    cursor = await _end_of_stream(runtime, order, tokens.access_token) if wanted.enabled else None
    plain, secret = _split(order.configuration)
    secrets = Secrets(token=new_token(), values=secret | token_values(tokens))
    async with runtime.database.write() as connection:
        instance = await _store(connection, runtime, caller, order, plain, secrets, now)
        if cursor is not None:
            await _watch(connection, runtime, instance, wanted, cursor, now)
    runtime.wakeups.pollers.set()
    log.info("instance created", extra={"instance": instance.id, "element": order.provider.key})
    return await get(runtime, caller, instance.id)


async def get(runtime: Runtime, caller: Caller, instance_id: int) -> Connected:
    """Raises NotFound for an instance that does not exist, was deleted, or is another account's."""
    async with runtime.database.read() as connection:
        found = await instances.by_id(connection, instance_id, caller.account_id)
    connected = await _connected(runtime, [found] if found else [])
    if not connected:
        raise NotFound(f"No instance with the id {instance_id} found")
    return connected[0]


async def page(runtime: Runtime, caller: Caller, *, after_id: int, limit: int) -> list[Connected]:
    """At most `limit` instances of the caller's account behind `after_id`, by id."""
    async with runtime.database.read() as connection:
        found = await instances.of_account(connection, caller.account_id, after_id=after_id, limit=limit)
    return await _connected(runtime, found)


async def delete(runtime: Runtime, caller: Caller, instance_id: int) -> None:
    """Ends an instance; what it has reported is still delivered. Raises NotFound as `get` does."""
    async with runtime.database.write() as connection:
        if await instances.by_id(connection, instance_id, caller.account_id) is None:
            raise NotFound(f"No instance with the id {instance_id} found")
        await instances.remove(connection, instance_id, now=runtime.clock.now())
    runtime.sessions.clear()
    log.info("instance deleted", extra={"instance": instance_id})


async def _end_of_stream(runtime: Runtime, order: Order, access_token: str) -> str:
    """The cursor to start from: an account reports what changes from its connection on."""

    async def token(rejected: str | None = None) -> str:
        return access_token

    configuration = dict(order.configuration)
    way = documents.upstream(
        runtime, order.provider, configuration, token, budget=runtime.settings.vendor_budget
    )
    provider = order.provider(way, configuration)
    return (await provider.changes(NEWEST, provider.page_limit)).cursor


async def _store(
    connection: AsyncConnection,
    runtime: Runtime,
    caller: Caller,
    order: Order,
    plain: dict[str, str | None],
    secrets: Secrets,
    now: datetime,
) -> Instance:
    values: dict[str, Any] = {
        "account_id": caller.account_id,
        "user_id": caller.user_id,
        "element_key": order.provider.key,
        "name": order.name or order.provider.name,
        "tags": list(order.tags),
        "configuration": plain,
        "external_authentication": "none",
        "token_hash": digest(secrets.token),
        "valid": True,
        "disabled": False,
        "created_at": now,
        "updated_at": now,
    }
    instance_id = await instances.insert_instance(connection, **values)
    await instances.insert_credential(
        connection,
        instance_id=instance_id,
        account_id=caller.account_id,
        sealed=runtime.credentials.seal(instance_id, secrets),
    )
    return Instance(id=instance_id, **values)


async def _watch(
    connection: AsyncConnection,
    runtime: Runtime,
    instance: Instance,
    wanted: EventSettings,
    cursor: str,
    now: datetime,
) -> None:
    """Subscribes the callback, if there is one, and makes the instance's resources due."""
    if wanted.callback_url:
        callback_id = await outbox.callback_id(
            connection, account_id=instance.account_id, url=wanted.callback_url
        )
        subscription_id = await outbox.subscribe(
            connection,
            account_id=instance.account_id,
            instance_id=instance.id,
            callback_id=callback_id,
            topic=notifications.topic(instance),
            created_at=now,
        )
        if wanted.signature_key:
            sealed = runtime.sealer.seal(wanted.signature_key.encode(), outbox.row_name(subscription_id))
            await outbox.seal_subscription(connection, subscription_id, sealed)
    for resource, page_size in wanted.resources.items():
        await pollers.create(
            connection,
            account_id=instance.account_id,
            instance_id=instance.id,
            resource=resource,
            page_size=page_size,
            interval_seconds=wanted.interval.total_seconds(),
            cursor=cursor,
            due_at=now,
        )
    await wakeups.notify(connection, Poller)


async def _connected(runtime: Runtime, found: Sequence[Instance]) -> list[Connected]:
    ids = [instance.id for instance in found]
    async with runtime.database.read() as connection:
        watched = await pollers.of_instances(connection, ids)
        sealed = await instances.credentials(connection, ids)
    return [
        Connected(
            instance=instance,
            secrets=runtime.credentials.unseal(sealed[instance.id]),
            provider=runtime.registry.find(instance.element_key),
            pollers=watched.get(instance.id, []),
        )
        for instance in found
        if instance.id in sealed
    ]


def _split(values: Mapping[str, str | None]) -> tuple[dict[str, str | None], dict[str, str]]:
    """What is kept as it is, and what is sealed."""
    plain = {key: value for key, value in values.items() if not (value and configuration.is_secret(key))}
    return plain, {key: value for key, value in values.items() if value and configuration.is_secret(key)}
