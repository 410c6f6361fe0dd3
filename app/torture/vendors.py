"""The sandbox during a torture: accounts are prepared there, files change, and at the end it says what has
happened: the truth that every account's callbacks are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from app.errors import GatewayError
from app.torture.accounts import CLIENT_SECRET, REDIRECT_URI, Account, Place
from app.torture.ledger import Happened

TOKEN_SECONDS = 15
"""The life of an access token: short, so that every account's is refreshed all the time."""

_SETTINGS: dict[str, dict[str, Any]] = {
    "egnyte": {
        "access_token_seconds": TOKEN_SECONDS,
        "refresh_rotation": "rotate",
        "webhook_quota": 100,
        "webhook_failures": 1_000_000,  # it would be disabled after two, and tell of nothing any more
    },
    "box": {"access_token_seconds": TOKEN_SECONDS, "long_poll_seconds": 5},
}
_USERS = {"egnyte": {"username": "jsmith"}, "box": {"user": "ann"}}
_SCOPES = {"egnyte": "Egnyte.filesystem Egnyte.link Egnyte.webhooks", "box": ""}
_PAGE = {"egnyte": 100, "box": 500}


class NoConsent(GatewayError):
    """The vendor's consent page is broken as well."""


class Vendors:
    """The fake vendors, steered and asked."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._begin: dict[Place, str] = {}

    async def prepare(self, places: Sequence[Place], accounts: Sequence[Account]) -> None:
        """Domains, apps, settings, and the folder of each place."""
        for place in places:
            if place.element == "egnyte":
                await self._steer("PUT", place.control, {})
            await self._steer("PATCH", f"{place.control}/settings", _SETTINGS[place.element])
            await self.change(place, {"action": "folder", "path": place.home})
        for account in accounts:
            app = {"client_id": account.client_id, "client_secret": CLIENT_SECRET, "redirect_uris": ["*"]}
            await self._steer("POST", f"/control/{account.place.element}/apps", app)

    async def code(self, account: Account) -> str:
        """What the account's owner brings back from the consent page. Raises NoConsent where that fails."""
        form = {
            "client_id": account.client_id,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": _SCOPES[account.place.element],
            "state": "torture",
            "decision": "allow",
            **_USERS[account.place.element],
        }
        try:
            answer = await self._http.post(account.place.consent_path, data=form)
        except httpx.TransportError as error:
            raise NoConsent(type(error).__name__) from error
        if "location" not in answer.headers:
            raise NoConsent(f"the vendor's consent page answered {answer.status_code}")
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def change(self, place: Place, order: dict[str, Any]) -> None:
        """Changes something as another user would."""
        await self._steer("POST", f"{place.control}/changes", order)

    async def fault(self, place: Place, path: str, order: dict[str, Any]) -> None:
        """Lets the vendor fail; `path` is that of the control route."""
        await self._steer("POST", f"{place.control}/{path}", order)

    async def heal(self, places: Sequence[Place]) -> None:
        """Nothing fails any more."""
        for place in places:
            await self._steer("DELETE", f"{place.control}/faults")
            if place.element == "box":
                await self._steer("DELETE", f"{place.control}/webhooks/faults")

    async def begin(self, places: Sequence[Place]) -> None:
        """From here on every change counts."""
        self._begin |= {place: await self._newest(place) for place in places}

    async def happened(self, place: Place) -> list[Happened]:
        """Every change since the beginning, the first one first, as the vendor's own stream tells it."""
        read = {"egnyte": self._egnyte_page, "box": self._box_page}[place.element]
        cursor, found = self._begin[place], list[Happened]()
        while True:
            page, after = await read(place, cursor)
            if not page:
                return found
            found, cursor = found + page, after

    async def _newest(self, place: Place) -> str:
        if place.element == "egnyte":
            return str((await self._steer("GET", place.control))["latest_event_id"])
        return str((await self._steer("GET", f"{place.control}/state"))["latest_position"])

    async def _egnyte_page(self, place: Place, cursor: str) -> tuple[list[Happened], str]:
        params: dict[str, Any] = {"id": cursor, "count": _PAGE["egnyte"]}
        answer = await self._ask(place, f"{place.path}/pubapi/v2/events", params)
        if answer.status_code == 204:
            return [], cursor
        body = answer.json()
        return [_from_egnyte(event) for event in body["events"]], str(body["latest_id"])

    async def _box_page(self, place: Place, cursor: str) -> tuple[list[Happened], str]:
        params: dict[str, Any] = {"stream_position": cursor, "limit": _PAGE["box"]}
        body = (await self._ask(place, f"{place.path}/2.0/events", params)).json()
        return [_from_box(event) for event in body["entries"]], str(body["next_stream_position"])

    async def _ask(self, place: Place, path: str, params: dict[str, Any]) -> httpx.Response:
        token = await self._steer("POST", f"{place.control}/tokens", {})
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        answer = await self._http.get(path, params=params, headers=headers)
        return answer.raise_for_status()

    async def _steer(self, method: str, path: str, order: dict[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, path, json=order)
        return answer.raise_for_status().json()


def _from_egnyte(event: dict[str, Any]) -> Happened:
    data = event["data"]
    return Happened(
        key=str(event["id"]),
        object_id=str(data.get("target_group_id") or data["target_id"]),
        deletes=event["action"] == "delete",
        at=datetime.fromisoformat(event["timestamp"]),
    )


def _from_box(event: dict[str, Any]) -> Happened:
    return Happened(
        key=event["event_id"],
        object_id=event["source"]["id"],
        deletes=event["event_type"] == "ITEM_TRASH",
        at=datetime.fromisoformat(event["created_at"]),
    )
