"""Who calls the gateway's API during a torture: the owner of the accounts, and a program that writes files.
Both try again, at whichever API process answers."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from app.errors import GatewayError
from app.torture.accounts import CROWD, SIGNATURE_KEY, Account
from app.torture.fleet import Fleet
from app.torture.vendors import NoConsent, Vendors

_TRIES = 60
_CONNECTING = 90.0  # seconds for one try: nothing is broken yet, and a second account would be one too many
_REST = 0.5  # seconds between two tries
_LOOK = 2.0  # seconds between two looks of the owner at his accounts
_INTERVALS = ("0.012", "0.011", "0.01")  # minutes between two polls
_WRITING = 1.0  # seconds between two files, on average


@dataclass
class Owner:
    """Connects accounts, and does what he would do by hand: connects one again whose grant has ended, and
    asks for what is queued. `grants_ended` are the apps whose grants did, and when that was noticed."""

    http: httpx.AsyncClient
    fleet: Fleet
    vendors: Vendors
    instances: dict[Account, dict[str, Any]] = field(default_factory=dict)
    grants_ended: list[tuple[str, datetime]] = field(default_factory=list)
    redelivered: int = 0
    _renewing: set[Account] = field(default_factory=set)

    async def connect(self, account: Account) -> None:
        """The account with its two subscriptions: its own path, and the one that all share."""
        order = {
            "element": {"key": account.place.element},
            "name": account.name,
            "configuration": account.configuration(self.fleet.receiver.url),
        }
        instance = await self._with_code(account, "POST", "/instances", order, timeout=_CONNECTING)
        self.instances[account] = instance
        topic = f"instance-{instance['id']}-{account.place.element}-events"
        config = {"url": self.fleet.receiver.url + CROWD, "signatureKey": SIGNATURE_KEY}
        body = {"channel": "webhook", "topics": [topic], "config": config}
        await self._ask("POST", "/notifications/subscriptions", json=body, timeout=_CONNECTING)

    async def look_after(self) -> None:
        """Until it is cancelled: accounts whose grant has ended are connected again, and one after the other
        gets another interval."""
        for interval, account in zip(itertools.cycle(_INTERVALS), itertools.cycle([*self.instances])):
            await asyncio.sleep(_LOOK)
            with suppress(_NotAnswered):
                await self.renew()
                body = {"configuration": {"event.poller.refresh_interval": interval}}
                await self._ask("PATCH", f"/instances/{self.instances[account]['id']}", json=body, tries=4)

    async def renew(self) -> None:
        """Connects again what has to be."""
        for account, instance in self.instances.items():
            path = f"/instances/{instance['id']}"
            if (await self._ask("GET", path))["valid"]:
                continue
            if account not in self._renewing:  # else it was interrupted, and goes on
                self._renewing.add(account)
                self.grants_ended.append((account.client_id, datetime.now(UTC)))
            await self._with_code(account, "PUT", path, {})
            self._renewing.discard(account)

    async def _with_code(
        self, account: Account, method: str, path: str, order: dict[str, Any], **call: Any
    ) -> Any:
        """A code works once, so each try takes a new one."""
        for _ in range(_TRIES):
            with suppress(_NotAnswered, NoConsent):
                body = order | {"providerData": {"code": await self.vendors.code(account)}}
                return await self._ask(method, path, json=body, tries=1, **call)
            await asyncio.sleep(_REST)
        raise GatewayError(f"{account.name} cannot be connected")

    async def redeliver(self, ended: Iterable[tuple[int, str]]) -> None:
        """Asks for what is queued for these instances and paths, whose subscriptions were ended with 410. No
        other may have been given up: the ladder of retries is longer than a run, so what is queued for them
        is left to be missed."""
        for instance_id, path in sorted(ended):
            url = self.fleet.receiver.url + path
            where = f"status='queued' and instanceId={instance_id} and config.url='{url}'"
            answer = await self._ask(
                "PUT", "/notifications/subscriptions/deliveries", params={"where": where}
            )
            self.redelivered += answer["redelivered"]

    async def write(self, seed: int, accounts: Sequence[Account]) -> None:
        """Until it is cancelled: a program makes files and versions through the gateway. One that gives up
        has changed something or nothing; the vendor knows."""
        chance = random.Random(f"writing {seed}")
        for number in itertools.count():
            await asyncio.sleep(chance.expovariate(1 / _WRITING))
            account = chance.choice(accounts)
            path = f"{account.place.home}/written-{chance.randrange(10)}.txt"
            with suppress(_NotAnswered):
                await self._upload(account, path, number)

    async def _upload(self, account: Account, path: str, number: int) -> None:
        secret, token = self.fleet.secrets["User"], self.instances[account]["token"]
        await self._ask(
            "POST",
            "/hubs/documents/files",
            params={"path": path, "overwrite": "true"},
            files={"file": ("written.txt", f"content {number}".encode())},
            headers={"Authorization": f"User {secret}, Element {token}"},
            tries=4,
        )

    async def _ask(self, method: str, path: str, *, tries: int = _TRIES, **call: Any) -> Any:
        """The answer of whichever API is there. Raises _NotAnswered after the last try."""
        call = {"headers": self.fleet.platform} | call
        last = ""
        for turn in range(tries):
            url = self.fleet.api_urls[turn % len(self.fleet.api_urls)]
            try:
                answer = await self.http.request(method, url + path, **call)
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if answer.is_success:
                    return answer.json()
                last = f"{answer.status_code} {answer.text[:300]}"
            await asyncio.sleep(_REST if turn + 1 < tries else 0)
        raise _NotAnswered(f"{method} {path}: {last}")


class _NotAnswered(GatewayError):
    """No API process has done what was asked."""
