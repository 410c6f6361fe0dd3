"""Webhooks at the vendors: made for the instances that ask for them, renewed, and ended with them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from app import configuration, documents, event_settings
from app.backoff import after_failed_poll
from app.errors import (
    DatabaseUnavailable,
    GatewayError,
    GrantRevoked,
    NotFound,
    VendorError,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.documents import DocumentsProvider, Hooks, Power
from app.runtime import Runtime
from app.store import outages, vendor_webhooks
from app.store.leases import lease_of
from app.store.tables import Instance, VendorWebhook
from app.vault.credentials import Secrets

CHECK = timedelta(days=1)
"""How often a webhook is looked after that does not end before."""

FAREWELL = timedelta(days=7)
"""How long the tokens of a deleted instance are kept for a vendor that cannot be told of its end."""

_RETRY = timedelta(minutes=1)  # after the first failure
_SOONEST = timedelta(minutes=1)  # that a webhook is renewed, however little time its vendor gives it
_STORING = timedelta(seconds=30)  # what a step may take beyond its vendor's time

T = TypeVar("T")

log = logging.getLogger(__name__)


def is_wanted(instance: Instance) -> bool:
    """Whether the vendor is to call for this instance now."""
    in_use = instance.deleted_at is None and not instance.disabled
    return in_use and event_settings.wants_webhooks(instance.configuration)


def url(base: str, instance: Instance) -> str:
    """Where the vendor calls; `base` is where it reaches this gateway."""
    path = f"/elements/api-v2/events/{instance.element_key}"
    return f"{base.rstrip('/')}{path}?instance={instance.id}"


def secret(runtime: Runtime, row: VendorWebhook) -> str | None:
    """What the vendor's calls carry where it does not sign them itself."""
    name = vendor_webhooks.row_name(row.id)
    return runtime.sealer.open(row.sealed, name).decode() if row.sealed else None


class WebhookWorker:
    """One step brings the webhook of one instance to what the instance is now. The vendor is asked outside of
    any transaction; a crash repeats the step."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings

    async def claim(self, places: int, instance_id: int | None = None) -> list[VendorWebhook]:
        lease = self._settings.vendor_webhook_timeout + _STORING
        async with self._runtime.database.write() as connection:
            return await vendor_webhooks.claim_due(
                connection,
                limit=places,
                now=self._runtime.clock.now(),
                lease=lease,
                instance_id=instance_id,
            )

    async def end(self, instance_id: int) -> None:
        """Ends the webhook of a deleted instance now, unless somebody is at it; later on, if it fails."""
        for row in await self.claim(1, instance_id):
            await self.run(row)

    async def run(self, row: VendorWebhook) -> bool:
        """Looks after one webhook. False: nothing of it is due again at once."""
        try:
            await self._attempt(row)
        except asyncio.CancelledError:
            await self._release(row)
            raise
        return False

    async def _attempt(self, row: VendorWebhook) -> None:
        try:
            await self._look_after(row)
        except DatabaseUnavailable:
            await outages.repeat(partial(self._release, row), patience=_STORING)
        except GatewayError as error:
            await self._rest(row, error)
        except Exception as error:
            log.exception("vendor webhook failed unexpectedly", extra={"instance": row.instance_id})
            await self._rest(row, VendorError(f"internal error: {type(error).__name__}"))

    async def _release(self, row: VendorWebhook) -> None:
        async with self._runtime.database.write() as connection:
            await vendor_webhooks.release(connection, lease_of(row))

    async def _look_after(self, row: VendorWebhook) -> None:
        async with self._runtime.database.read() as connection:
            instance = await vendor_webhooks.subject(connection, row.instance_id)
        provider = documents.bind(self._runtime, instance, budget=self._settings.vendor_budget)
        if instance.deleted_at is not None:
            await self._part(row, instance, provider, instance.deleted_at)
        elif is_wanted(instance):
            await self._make(row, instance, provider)
        else:
            await self._end(row, instance, provider)

    async def _make(self, row: VendorWebhook, instance: Instance, provider: DocumentsProvider) -> None:
        base, key = self._settings.public_url, secret(self._runtime, row)
        if base is None or key is None:
            raise GatewayError("GATEWAY_PUBLIC_URL is not set; the vendor cannot reach this gateway")
        hooks = await self._asked(provider.subscribe(url(base, instance), key, row.hooks))
        owner = await self._owner(provider) or row.owner
        now = self._runtime.clock.now()
        due_at = now + _until_renewal(hooks, now, chance=random.random())
        await outages.repeat(partial(self._keep, row, hooks, owner, due_at), patience=_STORING)
        if tuple(row.hooks) != hooks.ids:
            log.info("vendor webhook made", extra={"instance": instance.id, "hooks": len(hooks.ids)})

    async def _keep(self, row: VendorWebhook, hooks: Hooks, owner: str | None, due_at: datetime) -> None:
        async with self._runtime.database.write() as connection:
            await vendor_webhooks.keep(
                connection, row, hooks=hooks.ids, expires_at=hooks.expires_at, owner=owner, due_at=due_at
            )

    async def _owner(self, provider: DocumentsProvider) -> str | None:
        """Who the account's user is, for a vendor that has calls which say no more. The vendor's word counts
        before a configuration that may name anybody. Not worth a failure."""
        keys = {field.key for field in provider.fields}
        if Power.ME not in provider.powers or configuration.OWNER not in keys:
            return None
        try:
            return (await self._asked(provider.me())).id
        except GatewayError as error:
            log.warning("user of a vendor's calls unknown", extra={"error": error.message})
            return None

    async def _end(self, row: VendorWebhook, instance: Instance, provider: DocumentsProvider) -> None:
        """What an instance no longer asks for is gone; while it is only disabled, its counts stay."""
        if row.hooks:
            await self._asked(provider.unsubscribe(row.hooks))
        async with self._runtime.database.write() as connection:
            if event_settings.wants_webhooks(instance.configuration):
                await vendor_webhooks.keep(
                    connection, row, hooks=[], expires_at=None, owner=row.owner, due_at=None
                )
            else:
                await vendor_webhooks.end(connection, row)
        log.info("vendor webhook ended", extra={"instance": instance.id})

    async def _part(
        self, row: VendorWebhook, instance: Instance, provider: DocumentsProvider, deleted_at: datetime
    ) -> None:
        """Of a deleted instance the vendor forgets the webhook first, because that takes its tokens, and the
        tokens then. One that cannot be told in time, or does not take the tokens, is let be."""
        secrets: Secrets | None = None
        try:
            secrets = await self._runtime.credentials.open(instance.id)
            if row.hooks:
                await self._asked(provider.unsubscribe(row.hooks))
        except NotFound:
            pass  # its secrets are gone, and with them every way to the vendor
        except GatewayError as error:
            lost = isinstance(error, VendorUnauthorized) or self._runtime.clock.now() > deleted_at + FAREWELL
            if not lost:
                raise
            log.warning("vendor webhook left behind", extra={"instance": instance.id, "error": error.message})
        async with self._runtime.database.write() as connection:
            mine = await vendor_webhooks.forget(connection, lease_of(row), instance.id)
        if mine and secrets is not None:
            await self._revoke(instance, secrets)

    async def _revoke(self, instance: Instance, secrets: Secrets) -> None:
        """Where the vendor does not hear, the tokens end by themselves."""
        try:
            provider = self._runtime.registry.find(instance.element_key)
            await self._asked(self._runtime.credentials.revoke(instance, provider, secrets))
        except GatewayError as error:
            log.warning("tokens not revoked", extra={"instance": instance.id, "error": error.message})

    async def _asked(self, asking: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._settings.vendor_webhook_timeout.total_seconds()):
                return await asking
        except TimeoutError:
            raise VendorUnavailable("the vendor took longer than GATEWAY_VENDOR_WEBHOOK_TIMEOUT") from None

    async def _rest(self, row: VendorWebhook, error: GatewayError) -> None:
        """Notes a failure and tries again later and later; without a grant, when there is one again."""
        now, failures = self._runtime.clock.now(), row.failures + 1
        rest = after_failed_poll(
            failures,
            _RETRY,
            longest=self._settings.poll_backoff_longest,
            chance=random.random(),
            retry_after=error.retry_after if isinstance(error, VendorError) else None,
        )
        async with self._runtime.database.write() as connection:
            await vendor_webhooks.fail(
                connection,
                row,
                failures=failures,
                error=error.in_full,
                now=now,
                due_at=None if isinstance(error, GrantRevoked) else now + rest,
            )
        log.warning(
            "vendor webhook failed",
            extra={"instance": row.instance_id, "failures": failures, "error": error.message},
        )


def _until_renewal(hooks: Hooks, now: datetime, *, chance: float) -> timedelta:
    """Half of the time that the vendor gives, at most a day; up to a tenth less, so that accounts that were
    connected together are not renewed together."""
    half = (hooks.expires_at - now) / 2 if hooks.expires_at else CHECK
    return max(min(half, CHECK), _SOONEST) * (1 - 0.1 * chance)
