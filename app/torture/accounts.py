"""The accounts of a torture: where they are at their vendors, and how each is watched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

CLIENT_SECRET = "torture-client"  # noqa: S105 - of an app at the sandbox
SIGNATURE_KEY = "torture-signature-key"
REDIRECT_URI = "http://127.0.0.1/oauth/callback"

CROWD = "/crowd"
"""The path that the second subscriptions of all accounts share."""

_OF_A_DOMAIN = 2  # Egnyte accounts that are in the same domain

_ORDERED = {"event.notification.ordered": True}
_CALLED = {"event.vendor.type": "webhook"}
_KEYS = {"box.webhook.primary.key": "sandbox-primary-key"}

_EGNYTE: Sequence[Mapping[str, Any]] = (_ORDERED, {}, _CALLED, _CALLED | _ORDERED)
_BOX: Sequence[Mapping[str, Any]] = (
    _ORDERED,
    {"event.poller.long.poll": "false"},
    _CALLED | _KEYS,
    {},
)


@dataclass(frozen=True)
class Place:
    """A domain of Egnyte's, or the one enterprise of the fake Box."""

    element: str
    name: str

    @property
    def path(self) -> str:
        """Where it is below the sandbox."""
        return f"/egnyte/{self.name}" if self.element == "egnyte" else "/box"

    @property
    def control(self) -> str:
        return f"/control{self.path}"

    @property
    def home(self) -> str:
        """The folder in which everything happens."""
        return "/Shared/Torture" if self.element == "egnyte" else "/Torture"

    @property
    def consent_path(self) -> str:
        return f"{self.path}/{'puboauth' if self.element == 'egnyte' else 'api/oauth2'}/consent"


@dataclass(frozen=True)
class Account:
    """One account: its app at the vendor is its own, so that its refreshes can be told from others'."""

    name: str
    place: Place
    extra: Mapping[str, Any] = field(hash=False)

    @property
    def client_id(self) -> str:
        return f"torture-{self.name}"

    @property
    def called(self) -> bool:
        """Whether its vendor calls as well as being polled."""
        return "event.vendor.type" in self.extra

    @property
    def ordered(self) -> bool:
        return "event.notification.ordered" in self.extra

    @property
    def callback(self) -> str:
        """The path at the receiver that its configuration names."""
        return f"/{self.name}"

    def configuration(self, receiver_url: str) -> dict[str, Any]:
        """What `POST /instances` gets; polled so often that every second holds some polls."""
        where = {"subdomain": self.place.name} if self.place.element == "egnyte" else {}
        return {
            "oauth.callback.url": REDIRECT_URI,
            "oauth.api.key": self.client_id,
            "oauth.api.secret": CLIENT_SECRET,
            **where,
            "event.notification.enabled": True,
            "event.notification.callback.url": receiver_url + self.callback,
            "event.notification.signature.key": SIGNATURE_KEY,
            "event.poller.refresh_interval": "0.01",
            **self.extra,
        }


def make(count: int) -> list[Account]:
    """So many accounts, Egnyte and Box in turn, each kind watched in all its ways in turn."""
    ways = {"egnyte": cycle(_EGNYTE), "box": cycle(_BOX)}
    made: list[Account] = []
    for number in range(count):
        element, nth = ("egnyte", "box")[number % 2], number // 2
        name = f"firm-{nth // _OF_A_DOMAIN + 1}" if element == "egnyte" else ""
        made.append(Account(f"{element}-{nth + 1}", Place(element, name), next(ways[element])))
    return made


def places(accounts: Sequence[Account]) -> list[Place]:
    """Where accounts are, each place once."""
    return list(dict.fromkeys(account.place for account in accounts))


def base_urls(sandbox_url: str) -> str:
    """The setting that sends the gateway to the sandbox."""
    return json.dumps({"egnyte": sandbox_url + "/egnyte/{subdomain}", "box": sandbox_url + "/box"})
