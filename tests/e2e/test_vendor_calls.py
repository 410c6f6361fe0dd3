"""A vendor that calls, from the change to the customer's callback: the gateway listens, the vendor is a
process of its own, and whatever it drops is found by polling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from processes import House, eventually, house

KEYS = {
    "box.webhook.primary.key": "sandbox-primary-key",
    "box.webhook.secondary.key": "sandbox-secondary-key",
}


class Site(ABC):
    """What is done at one vendor's sandbox."""

    key: ClassVar[str]
    configuration: ClassVar[dict[str, Any]] = {}
    control: ClassVar[str]
    folder: ClassVar[str]
    who: ClassVar[dict[str, str]] = {}

    def __init__(self, home: House) -> None:
        self.home = home

    def steer(self, path: str, /, **order: Any) -> None:
        answer = httpx.post(f"{self.home.sandbox_url}{self.control}/{path}", json=order)
        assert answer.is_success, answer.text

    def change(self, name: str) -> None:
        """Makes a file."""
        self.steer("changes", action="upload", path=f"{self.folder}/{name}", content="x", **self.who)

    @abstractmethod
    def drop(self) -> None:
        """The vendor's next calls are not made."""

    @abstractmethod
    def hooks(self) -> list[str]:
        """The ids of the vendor's webhooks."""

    @abstractmethod
    def lose(self) -> None:
        """The vendor forgets its webhooks by itself."""

    @abstractmethod
    def is_body_of(self, raw: Any, name: str) -> bool:
        """Whether this is what the vendor sent of a new file."""


class EgnyteSite(Site):
    key = "egnyte"
    control = "/control/egnyte/acme"
    folder = "/Shared"

    def drop(self) -> None:
        self.steer("faults", kind="drop_webhook", times=None)

    def hooks(self) -> list[str]:
        token = httpx.post(f"{self.home.sandbox_url}{self.control}/tokens", json={}).json()
        answer = httpx.get(
            f"{self.home.sandbox_url}/egnyte/acme/pubapi/v1/webhooks",
            headers={"Authorization": f"Bearer {token['access_token']}"},
        )
        return [hook["webhookId"] for hook in answer.json()]

    def lose(self) -> None:
        self.steer("webhooks/expire")

    def is_body_of(self, raw: Any, name: str) -> bool:
        return any(name in str(event["data"]) for event in raw["body"])


class BoxSite(Site):
    key = "box"
    configuration: ClassVar[dict[str, Any]] = KEYS
    control = "/control/box"
    folder = "/Called"
    who: ClassVar[dict[str, str]] = {"user": "ann"}

    def __init__(self, home: House) -> None:
        super().__init__(home)
        self.steer("changes", action="folder", path=self.folder, **self.who)

    def drop(self) -> None:
        self.steer("webhooks/faults", kind="drop", times=None)

    def hooks(self) -> list[str]:
        found = httpx.get(f"{self.home.sandbox_url}{self.control}/webhooks").json()
        return [hook["id"] for hook in found]

    def lose(self) -> None:
        for hook in self.hooks():
            self.steer(f"webhooks/{hook}/end")

    def is_body_of(self, raw: Any, name: str) -> bool:
        found: bool = raw["trigger"] == "FILE.UPLOADED" and raw["source"]["name"] == name
        return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, f"sqlite:///{tmp_path}/new/gateway.db", "") as made:
        del made.settings["GATEWAY_ENCRYPTION_KEYS"]
        made.serve(public=True)
        yield made


@pytest.fixture(params=[EgnyteSite, BoxSite])
def site(request: pytest.FixtureRequest, home: House) -> Site:
    made: Site = request.param(home)
    return made


def connected(site: Site, *, minutes: str) -> dict[str, Any]:
    """An instance whose vendor calls, and which is polled every so many minutes beside that."""
    wanted = {"event.vendor.type": "webhooks", "event.poller.refresh_interval": minutes}
    instance = site.home.connect(site.key, **site.configuration, **wanted)
    eventually(lambda: shown(site, instance)["vendorWebhook"]["active"], "an active webhook")
    assert site.hooks()
    return instance


def shown(site: Site, instance: dict[str, Any]) -> Any:
    path = f"{site.home.gateway_url}/instances/{instance['id']}"
    return httpx.get(path, headers=site.home.platform).json()


def told(site: Site, name: str) -> list[dict[str, Any]]:
    """The messages that have told of a file."""
    messages = [delivery["json"]["message"] for delivery in site.home.deliveries()]
    return [message for message in messages if name in str(message["raw"])]


def test_a_vendors_call_reaches_the_callback_as_the_vendor_sent_it(site: Site) -> None:
    instance = connected(site, minutes="600")
    site.change("called.txt")
    eventually(lambda: told(site, "called.txt"), "the change at the receiver")
    [message] = told(site, "called.txt")
    assert site.is_body_of(message["raw"], "called.txt")
    [event] = message["events"]
    assert (event["eventType"], event["objectType"]) == ("CREATED", "file")
    assert "pollDate" not in event
    fares = shown(site, instance)["vendorWebhook"]
    assert fares["received"] >= 1
    assert fares["refused"] == 0


def test_what_the_vendor_drops_is_found_by_polling(site: Site) -> None:
    instance = connected(site, minutes="0.01")
    site.drop()
    site.change("dropped.txt")
    eventually(lambda: told(site, "dropped.txt"), "the change at the receiver")
    assert shown(site, instance)["vendorWebhook"]["received"] == 0


def test_a_change_that_comes_both_ways_is_told_once(site: Site) -> None:
    connected(site, minutes="0.002")
    names = [f"both-{number}.txt" for number in range(5)]
    for name in names:
        site.change(name)
    site.drop()
    site.change("last.txt")  # found by a poll, which has seen the others before
    eventually(lambda: told(site, "last.txt"), "the last change")
    eventually(lambda: all(told(site, name) for name in names), "every change")
    events = [event for delivery in site.home.deliveries() for event in delivery["json"]["message"]["events"]]
    ids = [event["objectId"] for event in events if event["objectType"] == "file"]
    assert len(ids) == len(set(ids)) == len(names) + 1


def test_a_webhook_ends_with_its_instance(site: Site) -> None:
    instance = connected(site, minutes="600")
    path = f"{site.home.gateway_url}/instances/{instance['id']}"
    assert httpx.delete(path, headers=site.home.platform).status_code == 200
    eventually(lambda: not site.hooks(), "no webhook")


def test_a_webhook_that_the_vendor_has_lost_is_made_again(site: Site) -> None:
    instance = connected(site, minutes="600")
    before = site.hooks()
    site.lose()
    if site.key == "egnyte":  # which says nothing of it: the next look finds out, and so does this one
        path = f"{site.home.gateway_url}/instances/{instance['id']}/enabled"
        for method in ("DELETE", "PUT"):
            assert httpx.request(method, path, headers=site.home.platform).status_code == 200
    eventually(lambda: site.hooks() and not set(site.hooks()) & set(before), "another webhook")


def test_a_forged_call_reaches_nobody(site: Site) -> None:
    instance = connected(site, minutes="600")
    answer = httpx.post(
        f"{site.home.gateway_url}/events/{site.key}",
        params={"instance": instance["id"]},
        json={"trigger": "FILE.UPLOADED"},
    )
    assert answer.status_code == 401
    assert shown(site, instance)["vendorWebhook"]["refused"] == 1
    assert not site.home.deliveries()
