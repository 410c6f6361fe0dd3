"""Two organizations with their accounts and users, in all three roles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from gateway import Gateway

from app.runtime import Runtime
from app.tenancy import tenants

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """A user who calls with his own secret."""

    id: int
    account_id: int
    email: str
    secret: str
    headers: dict[str, str]


@dataclass(frozen=True)
class People:
    """`owner` is the first user. `admin`, `ann` and `bob` are in his account; `other` and `olga`, an
    administrator and a user, are in a second account; `stranger` owns another organization."""

    owner: Person
    admin: Person
    ann: Person
    bob: Person
    other: Person
    olga: Person
    stranger: Person


async def settle(gateway: Gateway) -> People:
    """Makes everybody, through the surface."""
    made = await called(gateway, "POST", "/accounts", name="Second")
    second, organization = f"/accounts/{made['id']}/users", gateway.secrets.organization
    return People(
        owner=await _itself(gateway, gateway.secrets.user, organization),
        admin=await hire(gateway, "admin@example.com", "admin"),
        ann=await hire(gateway, "ann@example.com", "user"),
        bob=await hire(gateway, "bob@example.com", "user"),
        other=await hire(gateway, "other@example.com", "admin", path=second),
        olga=await hire(gateway, "olga@example.com", "user", path=second),
        stranger=await found(gateway, "stranger@example.com"),
    )


async def found(gateway: Gateway, email: str) -> Person:
    """The first user of a new organization."""
    now = gateway.runtime.clock.now()
    made = await tenants.create_organization(gateway.runtime.database, "Other", email=email, now=now)
    return await _itself(gateway, made.user, made.organization)


async def hire(gateway: Gateway, email: str, role: str, *, path: str = "/users", **more: Any) -> Person:
    """A new user of the first organization, with a password."""
    body = {"emailAddress": email, "roles": [role], "password": PASSWORD} | more
    made = await called(gateway, "POST", path, **body)
    return await _itself(gateway, made["secret"], gateway.secrets.organization)


async def _itself(gateway: Gateway, secret: str, organization: str) -> Person:
    headers = {"Authorization": f"User {secret}, Organization {organization}"}
    me = (await gateway.http.get("/users/me", headers=headers)).json()
    return Person(me["id"], me["accountId"], me["emailAddress"], secret, headers)


async def asked(
    gateway: Gateway, person: Person | None, method: str, path: str, **body: Any
) -> httpx.Response:
    """The answer to this person, or to the owner."""
    headers = person.headers if person else gateway.platform
    return await gateway.http.request(method, path, headers=headers, json=body or None)


async def called(
    gateway: Gateway, method: str, path: str, *, by: Person | None = None, **body: Any
) -> dict[str, Any]:
    """The body of an answer that has to be a success."""
    answer = await asked(gateway, by, method, path, **body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json() if answer.content else {}
    return shown


async def logged_in(gateway: Gateway, email: str, password: str = PASSWORD) -> dict[str, str]:
    """The headers of a fresh login."""
    answer = await gateway.http.post("/authentication", json={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def works(gateway: Gateway, headers: dict[str, str]) -> bool:
    """Whether these headers stand for somebody."""
    answer = await gateway.http.get("/users/me", headers=headers)
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


class Later:
    """A clock that is ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now().astimezone() + self._ahead


def let_time_pass(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    monkeypatch.setattr(runtime.clock, "now", Later(ahead).now)
