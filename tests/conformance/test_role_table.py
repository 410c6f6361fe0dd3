"""Who may do what: every route of the platform as a user, an administrator and the organization's one. The
routes are those of the application's own document; what is not in the table, a `user` may do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
import worlds
from gateway import Gateway
from people import PASSWORD
from worlds import Operation, Store, World

from app.main import create_app
from app.settings import load
from app.store.tables import Role
from app.tenancy.roles import includes

APP = create_app(load(_env_file=None), with_workers=False)
PLATFORM = [
    operation
    for operation in worlds.operations(APP.openapi())
    if not operation.is_public and not operation.is_of_a_hub
]

TABLE = {
    "POST /accounts": Role.ORGANIZATION,
    "PUT /accounts/{id}": Role.ORGANIZATION,
    "PATCH /accounts/{id}": Role.ORGANIZATION,
    "DELETE /accounts/{id}": Role.ORGANIZATION,
    "PATCH /accounts/settings": Role.ACCOUNT,
    "PATCH /accounts/{id}/settings": Role.ACCOUNT,
    "POST /accounts/{id}/settings": Role.ACCOUNT,
    "POST /accounts/{id}/users": Role.ACCOUNT,
    "POST /users": Role.ACCOUNT,
    "GET /users/{emailOrId}": Role.ACCOUNT,
    "GET /users/{emailOrId}/roles": Role.ACCOUNT,
    "PUT /users/{emailOrId}": Role.ACCOUNT,
    "PATCH /users/{emailOrId}": Role.ACCOUNT,
    "PUT /users/{emailOrId}/secret": Role.ACCOUNT,
    "DELETE /users/{emailOrId}": Role.ACCOUNT,
    "GET /organizations/users": Role.ORGANIZATION,
    "GET /organizations/{id}/accounts": Role.ORGANIZATION,
    "PUT /organizations/me/secret": Role.ORGANIZATION,
    "GET /audit": Role.ACCOUNT,
}
"""The least role that each needs; of users somebody else is meant, everybody may do as much with himself."""

OF_LOGINS = {"GET /authentication/secrets", "DELETE /authentication"}
"""What needs the token of a login, whatever the role."""

KEPT = ("id", "account_id", "organization_id", "user_id", "hash", "token_hash", "created_at")
"""Columns that no body of a request sets."""


@dataclass(frozen=True)
class House:
    """An account with one of everything, and a caller of each role in it."""

    gateway: Gateway
    store: Store
    world: World
    callers: Mapping[Role, dict[str, str]]

    async def ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        return await self.gateway.http.request(method, path, headers=headers, **more)

    def with_instance(self, role: Role) -> dict[str, str]:
        """The headers of a caller with the token of an instance of his account."""
        proof = self.callers[role]["Authorization"].partition(",")[0]
        return {"Authorization": f"{proof}, Element {self.world.tokens['egnyte']}"}

    def put_back(self) -> None:
        self.store.restore()
        self.gateway.runtime.sessions.clear()


@pytest.fixture
async def house(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    settings = worlds.settings(tmp_path, sandbox_url)
    async with gateways.running(settings, sandbox_url) as gateway:
        with Store(f"{tmp_path}/gateway.db") as store:
            world = await worlds.furnished(gateway, await worlds.found(gateway, "bilby", victim=True))
            monkeypatch.setattr(gateway.runtime.credentials, "revoke", _nothing)  # no row brings a grant back
            callers = {role: await _hired(gateway, world, role) for role in (Role.USER, Role.ACCOUNT)}
            store.keep()
            yield House(gateway, store, world, callers | {Role.ORGANIZATION: world.headers})


async def _nothing(*_: Any) -> None:
    pass


async def _hired(gateway: Gateway, world: World, role: Role) -> dict[str, str]:
    order = {"emailAddress": f"{role}@example.com", "roles": [role], "password": PASSWORD}
    made = await gateway.http.post("/users", json=order, headers=world.headers)
    assert made.status_code == 200, made.text
    return {"Authorization": f"User {made.json()['secret']}, Organization {world.organization}"}


def test_the_table_names_routes_that_there_are() -> None:
    assert not (TABLE.keys() | OF_LOGINS) - {operation.name for operation in PLATFORM}


async def test_a_role_does_what_the_table_says_and_nothing_else(house: House) -> None:
    before = house.store.rows()
    for operation, role in itertools.product(PLATFORM, house.callers):
        needed = TABLE.get(operation.name, Role.USER)
        probe = next(worlds.probes(operation, house.world.things))
        answer = await probe.ask(house.gateway.http, house.callers[role])
        if answer.status_code == 401:  # it is about the instance of an Element token
            answer = await probe.ask(house.gateway.http, house.with_instance(role))
        told = f"{operation.name} as {role}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, told
        if operation.name in OF_LOGINS or not includes(role, needed):
            assert answer.status_code == 403, told
            assert house.store.rows() == before, told
        else:
            assert answer.status_code not in {401, 403}, told
        if house.store.has_changed:
            house.put_back()


async def test_nobody_rises_by_what_is_his(house: House) -> None:
    """A role is not to be had by one's own record, another's, a login or what a login was given."""
    owner = house.world.things["userIds"][0]
    for role, higher in ((Role.USER, Role.ACCOUNT), (Role.ACCOUNT, Role.ORGANIZATION)):
        mine, email = house.callers[role], f"{role}@example.com"
        for method, path, body in (
            ("PATCH", "/users/me", {"roles": [higher]}),
            ("PUT", f"/users/{email}", {"emailAddress": email, "roles": [role, higher]}),
            ("POST", "/users", {"emailAddress": "new@example.com", "roles": [higher]}),
            ("PATCH", f"/users/{owner}", {"password": PASSWORD}),
            ("PUT", f"/users/{owner}/secret", None),
            ("DELETE", f"/users/{owner}", None),
            ("PUT", "/organizations/me/secret", None),
        ):
            answer = await house.ask(method, path, mine, json=body)
            assert answer.status_code == 403, (role, method, path, answer.text)
        for headers in await _more_proofs(house, email):
            assert (await house.ask("GET", "/users/me", headers)).json()["roles"] == [role]
            assert (await house.ask("PUT", "/organizations/me/secret", headers)).status_code == 403


async def _more_proofs(house: House, email: str) -> list[dict[str, str]]:
    """The token of a login, and the pair of secrets that it was given."""
    login = {"username": email, "password": PASSWORD}
    token = (await house.ask("POST", "/authentication", {}, json=login)).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    pair = (await house.ask("GET", "/authentication/secrets", bearer)).json()
    user, organization = pair["userSecret"], pair["organizationSecret"]
    return [bearer, {"Authorization": f"User {user}, Organization {organization}"}]


async def test_a_password_beside_a_request_reveals_no_secret(house: House) -> None:
    headers = house.world.headers | {"Elements-User-Password": PASSWORD}
    for path in ("/users/me", "/users/user@example.com", "/users"):
        text = (await house.ask("GET", path, headers)).text
        assert "secret" not in text.lower()
        assert house.world.user not in text


async def test_no_body_sets_what_is_not_its_to_set(house: House) -> None:
    """Ids, owners, tokens and dates in every body of the platform, as the one who may do most."""
    before = house.store.rows()
    named = {int(worlds.nobodys(house.world)[name][0]) for name in ("accounts", "organizations")} | {1234567}
    done = 0
    for operation in PLATFORM:
        for probe in _with_more(operation, house.world):
            answer = await probe.ask(house.gateway.http, house.world.headers)
            after, told = house.store.rows(), f"{operation.name}: {answer.text[:300]}"
            done += answer.is_success
            for table, rows in after.items():
                for key, row in rows.items():
                    old = before[table].get(key)
                    changed = {name for name in KEPT if old is not None and old.get(name) != row.get(name)}
                    assert not changed, f"{table}: {changed} {told}"
                    assert not named & {row.get(name) for name in KEPT}, f"{table}: {told}"
            house.put_back()
    assert done > 8


async def test_a_new_instance_is_the_callers_whatever_its_body_says(house: House) -> None:
    order = await house.gateway.order("egnyte") | _more(house.world)
    answer = await house.ask("POST", "/instances", house.callers[Role.USER], json=order)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["id"] != 1234567
    assert made["token"] != "a-token"
    assert made["user"]["emailAddress"] == "user@example.com"
    (row,) = [row for row in house.store.rows()["instance"].values() if row["id"] == made["id"]]
    assert row["account_id"] == house.world.account_id
    assert not row["created_at"].startswith("2001")


def _with_more(operation: Operation, world: World) -> list[worlds.Probe]:
    """The bodies that say more than they may."""
    if not isinstance(operation.body, dict):
        return []
    probe = next(worlds.probes(operation, world.things))
    return [replace(probe, body=operation.body | _more(world))]


def _more(world: World) -> dict[str, Any]:
    """What no body may say, with ids that nobody has."""
    account, organization = (int(worlds.nobodys(world)[name][0]) for name in ("accounts", "organizations"))
    return {
        "id": 1234567,
        "accountId": account,
        "account_id": account,
        "organizationId": organization,
        "organization_id": organization,
        "userId": 1234567,
        "user": {"id": 1234567},
        "token": "a-token",
        "tokenHash": "a-hash",
        "hash": "a-hash",
        "createdDate": "2001-01-01T00:00:00Z",
        "created_at": "2001-01-01T00:00:00Z",
    }
