"""The secrets of an instance: sealed at rest, opened for one call, refreshed before they expire."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from weakref import WeakValueDictionary

import httpx
import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app import acting, audit
from app.audit import Action
from app.clock import Clock
from app.configuration import REFRESH_INTERVAL, REFRESH_TIME, REFRESH_TOKEN, TOKEN
from app.errors import (
    DatabaseUnavailable,
    GrantRefused,
    GrantRevoked,
    LostRace,
    NotFound,
    VendorError,
    VendorRefused,
    VendorUnauthorized,
)
from app.ids import new_id
from app.ingest import intake
from app.ingest.events import Origin, grant_revoked
from app.registry import Provider, Registry
from app.settings.types import OAuthApp
from app.store import instances, pollers
from app.store.encryption_keys import CREDENTIALS
from app.store.engine import Database
from app.store.tables import Credential, Instance, Via
from app.tasks import to_its_end
from app.upstream import oauth
from app.upstream.oauth import App, Tokens
from app.vault.sealing import Sealer
from app.vault.unsaved import Unsaved

_EARLY = timedelta(minutes=5)
"""A token is refreshed this long before its end, or when a tenth of its life is left if that is less."""

_STORING = timedelta(seconds=30)
"""What a refresh may take beyond the longest answer of the vendor, before another process may try."""

_NEVER = datetime.max.replace(tzinfo=UTC)
_LIVE_LIMIT = 10_000  # access tokens that are kept at hand

_LOOK_AGAIN = 0.1  # seconds, while another process refreshes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Secrets:
    """What is sealed for one instance: its Element token and its secret configuration values."""

    token: str = field(repr=False)
    values: Mapping[str, str] = field(repr=False)
    version: int = 1

    def with_tokens(self, tokens: Tokens) -> Secrets:
        # A fresh token that does not expire has no interval; the one of its predecessor must not stay.
        kept = {key: value for key, value in self.values.items() if key != REFRESH_INTERVAL}
        return replace(self, values=kept | token_values(tokens))


def packed(secrets: Secrets) -> bytes:
    """What is sealed of the secrets of an instance."""
    return orjson.dumps({"token": secrets.token, "values": dict(secrets.values)})


def token_values(tokens: Tokens) -> dict[str, str]:
    """Tokens under the configuration keys that Cloud Elements kept them in."""
    found = {
        TOKEN: tokens.access_token,
        REFRESH_TOKEN: tokens.refresh_token,
        REFRESH_INTERVAL: str(int(tokens.expires_in.total_seconds())) if tokens.expires_in else None,
        REFRESH_TIME: str(int(tokens.received_at.timestamp() * 1000)),
    }
    return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class _Live:
    """An access token that can be used until then without a look into the database, as long as the instance
    is as it was: whoever authenticates it again changes it."""

    token: str = field(repr=False)
    until: datetime
    changed_at: datetime


class Credentials:
    """Opens, seals and refreshes. One refresh per instance runs at a time: in this process by a lock, among
    all processes by a lease of the row, and the stored refresh token tells who was first after all."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        client: httpx.AsyncClient,
        registry: Registry,
        clock: Clock,
        apps: Mapping[str, OAuthApp],
    ) -> None:
        self._apps = apps
        self._database = database
        self._sealer = sealer
        self._client = client
        self._registry = registry
        self._clock = clock
        patience = client.timeout.read or 0
        self.lease = timedelta(seconds=patience + oauth.grace(patience)) + _STORING
        self._live: OrderedDict[int, _Live] = OrderedDict()
        self._ended: dict[int, int] = {}
        self._unsaved = Unsaved()
        self._refreshing: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def seal(self, instance_id: int, secrets: Secrets) -> bytes:
        """The form in which an instance's secrets are stored."""
        return self._sealer.seal(packed(secrets), CREDENTIALS.row_name(instance_id))

    async def open(self, instance_id: int) -> Secrets:
        """Raises NotFound when the instance was deleted meanwhile."""
        async with self._database.read() as connection:
            return await self._stored(connection, instance_id)

    async def _stored(self, connection: AsyncConnection, instance_id: int) -> Secrets:
        found = await instances.credentials(connection, [instance_id])
        if instance_id not in found:
            raise NotFound(f"No instance with the id {instance_id} found")
        return self.unseal(found[instance_id])

    def unseal(self, row: Credential) -> Secrets:
        """The secrets in a stored row."""
        plain = orjson.loads(self._sealer.open(row.sealed, CREDENTIALS.row_name(row.instance_id)))
        return Secrets(plain["token"], plain["values"], row.version)

    def token_source(self, instance: Instance, provider: Provider) -> AccessToken:
        """The account's access token, for an `Upstream`."""
        return AccessToken(self, instance, provider)

    async def fresh(self, instance: Instance, provider: Provider, rejected: str | None) -> str:
        """A token that is neither about to end nor the rejected one.

        Raises GrantRevoked when the vendor takes the refresh token no longer, VendorUnauthorized when
        there is none, and what the refresh itself raises.
        """
        live = self._live.get(instance.id)
        known = live is not None and live.token != rejected and live.changed_at == instance.updated_at
        if live is not None and known and self._clock.now() < live.until:
            return live.token
        lock = self._refreshing.setdefault(instance.id, asyncio.Lock())
        with self._unsaved.expected():
            return await to_its_end(self._fresh(lock, instance, provider, rejected))

    async def _fresh(
        self, lock: asyncio.Lock, instance: Instance, provider: Provider, rejected: str | None
    ) -> str:
        """Never cut in two: between the vendor's answer and its storing, new tokens exist nowhere else."""
        async with lock:
            if (left := self._unsaved.find(instance.id)) is not None:
                await self._keep(instance, provider, *left)
            while True:
                token = await self._found(instance, provider, rejected)
                if token is not None:
                    return token
                await asyncio.sleep(_LOOK_AGAIN)

    async def _found(self, instance: Instance, provider: Provider, rejected: str | None) -> str | None:
        """The stored token, or the one of a refresh. None where others have been faster, or are at it."""
        secrets = await self.open(instance.id)
        token = secrets.values.get(TOKEN, "")
        if token and token != rejected and not self._is_ending(secrets, _EARLY):
            self._remember(instance, secrets.values)
            return token
        if not secrets.values.get(REFRESH_TOKEN):
            if token and rejected is None:
                return token
            raise VendorUnauthorized
        if not instance.valid or self._ended.get(instance.id) == secrets.version:
            raise GrantRevoked
        fence = await self._claim(instance.id, secrets.version)
        if fence is not None:
            return await self._refresh(instance, provider, secrets, fence)
        if token and token != rejected and not self._is_ending(secrets, timedelta(0)):
            return token  # another process sees to the next one
        return None

    def _is_ending(self, secrets: Secrets, early: timedelta) -> bool:
        return self._clock.now() >= _end_of_use(secrets.values, early)

    def _remember(self, instance: Instance, values: Mapping[str, str]) -> None:
        """The token as it is used until it is about to end; a rejected one is looked up again."""
        until = _end_of_use(values, _EARLY)
        self._live[instance.id] = _Live(values[TOKEN], until, instance.updated_at)
        self._live.move_to_end(instance.id)
        if len(self._live) > _LIVE_LIMIT:
            self._live.popitem(last=False)

    async def _claim(self, instance_id: int, version: int) -> int | None:
        """The fence of the right to refresh; None while another process has it."""
        fence, now = new_id(), self._clock.now()
        async with self._database.write() as connection:
            mine = await instances.claim_refresh(
                connection, instance_id, version=version, fence=fence, now=now, until=now + self.lease
            )
        return fence if mine else None

    async def _refresh(
        self, instance: Instance, provider: Provider, secrets: Secrets, fence: int
    ) -> str | None:
        """The new tokens are stored before the first of them is used: the old ones may be dead already. None
        where the grant is another one by then."""
        configuration, used = instance.configuration, secrets.values
        try:
            tokens = await oauth.refresh(
                self._client,
                provider.oauth,
                self._registry.base_url(provider, configuration),
                app_of(configuration | dict(used), self._apps.get(provider.key)),
                used[REFRESH_TOKEN],
                self._clock.now(),
            )
        except GrantRefused as refusal:
            await self._refused(instance.id, secrets.version, fence, refusal)
            return None
        except BaseException:
            with suppress(DatabaseUnavailable):  # the lease ends by itself
                await self._release(instance.id, fence)
            raise
        return await self._keep(instance, provider, used, tokens)

    async def _keep(
        self, instance: Instance, provider: Provider, used: Mapping[str, str], tokens: Tokens
    ) -> str | None:
        """Stores new tokens, unless the grant is another one by now. What cannot be stored now is tried
        again, whoever asks for it or not. Raises NotFound where the instance was deleted; the vendor is told
        then that nobody uses these tokens."""
        self._unsaved.keep(instance.id, used, tokens)
        try:
            fresh = await self._save(instance.id, used[REFRESH_TOKEN], tokens)
        except NotFound:
            self._unsaved.forget(instance.id)
            with suppress(VendorError):
                await self.revoke(instance, provider, Secrets("", used).with_tokens(tokens))
            raise
        except BaseException:
            self._unsaved.try_again(instance.id, partial(self._keep_unsaved, instance, provider))
            raise
        self._unsaved.forget(instance.id)
        log.info("token refreshed", extra={"instance": instance.id, "saved": fresh is not None})
        if fresh is None:
            return None
        self._remember(instance, fresh.values)
        return tokens.access_token

    async def _keep_unsaved(self, instance: Instance, provider: Provider) -> None:
        """Stores what is left of a refresh."""
        async with self._refreshing.setdefault(instance.id, asyncio.Lock()):
            if (left := self._unsaved.find(instance.id)) is not None:
                with suppress(NotFound):
                    await self._keep(instance, provider, *left)

    async def _save(self, instance_id: int, used: str, tokens: Tokens) -> Secrets | None:
        """Puts tokens in the place of the refresh token that has brought them, and leaves what others have
        changed beside it meanwhile. None where another refresh token is stored by now. Where others have
        taken the grant for dead, because the vendor refused them the used one, it lives again."""
        now = self._clock.now()
        async with self._database.write() as connection:
            await instances.hold(connection, instance_id)  # as everybody does who changes its secrets
            stored = await self._stored(connection, instance_id)
            if stored.values.get(REFRESH_TOKEN) != used:
                return None
            fresh = stored.with_tokens(tokens)
            sealed = self.seal(instance_id, fresh)
            if not await instances.save_credential(
                connection, instance_id, version=fresh.version, sealed=sealed
            ):
                raise LostRace(RuntimeError("the secrets were changed by somebody who did not hold them"))
            revived = await instances.revive(connection, instance_id, now=now)
            if revived and not revived.disabled:
                await pollers.resume(connection, instance_id, now=now)
        if revived:
            log.warning("grant lives after all", extra={"instance": instance_id})
        return fresh

    async def close(self, *, patience: timedelta) -> None:
        """Lets refreshes in flight end, and stores what could not be stored yet if that works in time."""
        await self._unsaved.close(patience=patience)

    async def revoke(self, instance: Instance, provider: Provider, secrets: Secrets) -> None:
        """Tells the vendor that the tokens of an instance are no longer used: by the access token, and if
        that has ended, by the refresh token. Raises a VendorError."""
        tokens = [secrets.values[key] for key in (TOKEN, REFRESH_TOKEN) if secrets.values.get(key)]
        if not tokens or provider.oauth.revoke_path is None:
            return
        revoke = partial(
            oauth.revoke,
            self._client,
            provider.oauth,
            self._registry.base_url(provider, instance.configuration),
            app_of(instance.configuration | dict(secrets.values), self._apps.get(provider.key)),
        )
        try:
            await revoke(tokens[0])
        except VendorRefused:
            await revoke(tokens[-1])

    async def _release(self, instance_id: int, fence: int) -> None:
        async with self._database.write() as connection:
            await instances.release_refresh(connection, instance_id, fence=fence)

    async def _refused(self, instance_id: int, version: int, fence: int, refusal: GrantRefused) -> None:
        """Another process may have used the refresh token first; only if not, the grant is dead."""
        revoked = GrantRevoked(provider_message=refusal.provider_message, vendor_status=refusal.vendor_status)
        if not await self._end(instance_id, version, fence, revoked):
            return
        self._ended[instance_id] = version
        log.warning("grant refused by the vendor", extra={"instance": instance_id})
        raise revoked from None

    async def _end(self, instance_id: int, version: int, fence: int, revoked: GrantRevoked) -> bool:
        """Marks the instance, stops its polling, and says so where its owner looks: as an event of his.
        False, and nothing of it, where somebody else has had the right to refresh meanwhile."""
        now = self._clock.now()
        async with self._database.write() as connection:
            await instances.hold(connection, instance_id)
            if not await instances.release_refresh(connection, instance_id, fence=fence):
                return False
            await instances.update_instance(connection, instance_id, valid=False, updated_at=now)
            watched = await pollers.stop(connection, instance_id, error=str(revoked), now=now)
            found = await instances.for_worker(connection, instance_id)
            if found:
                await _record_refusal(connection, found[0], revoked, now)
            change = grant_revoked(instance_id, version, revoked.provider_message, now)
            if found and watched:
                origin = Origin(Via.GATEWAY, watched[0], page_size=1)
                await intake.take_in(connection, *found, [change], origin, now=now)
        return True


class AccessToken:
    """One account's token, opened at most once per call of the gateway."""

    def __init__(self, credentials: Credentials, instance: Instance, provider: Provider) -> None:
        self._credentials = credentials
        self._instance = instance
        self._provider = provider
        self._current: str | None = None

    async def __call__(self, rejected: str | None = None) -> str:
        if self._current is None or rejected is not None:
            self._current = await self._credentials.fresh(self._instance, self._provider, rejected)
        return self._current


async def _record_refusal(
    connection: AsyncConnection, instance: Instance, revoked: GrantRevoked, now: datetime
) -> None:
    await audit.record(
        connection,
        Action.INSTANCE_REFUSED,
        f"instance {instance.id}",
        at=now,
        account_id=instance.account_id,
        by=acting.GATEWAY,
        vendorStatus=revoked.vendor_status,
    )


def app_of(configuration: Mapping[str, str | None], default: OAuthApp | None) -> App:
    """The customer's app at the vendor, or where his configuration names none, the operator's."""
    key, secret = configuration.get("oauth.api.key"), configuration.get("oauth.api.secret")
    redirect_uri = configuration.get("oauth.callback.url")
    if not key and default is not None:
        key, secret = default.key.get_secret_value(), default.secret.get_secret_value()
        redirect_uri = redirect_uri or default.callback_url
    return App(client_id=key or "", client_secret=secret or "", redirect_uri=redirect_uri or "")


def _end_of_use(values: Mapping[str, str], early: timedelta) -> datetime:
    """When the access token is to be refreshed: `early` before it ends, or when a tenth of its life is left
    if that is less. One without a lifetime does not end."""
    life = float(values.get(REFRESH_INTERVAL) or 0)
    if not life:
        return _NEVER
    given = datetime.fromtimestamp(float(values.get(REFRESH_TIME) or 0) / 1000, UTC)
    return given + timedelta(seconds=life - min(early.total_seconds(), life / 10))
