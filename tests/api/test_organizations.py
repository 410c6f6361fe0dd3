"""/organizations: the caller's one and no other, and a secret that changes without a gap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from gateway import Gateway
from people import People, asked, called, hire, let_time_pass, logged_in, settle, works

from app.errors import BadRequest
from app.tenancy import tenants


@pytest.fixture
async def people(gateway: Gateway) -> People:
    return await settle(gateway)


async def test_everybody_sees_his_own_organization(gateway: Gateway, people: People) -> None:
    for person in (people.owner, people.admin, people.ann, people.olga):
        shown = await called(gateway, "GET", "/organizations/me", by=person)
        assert shown.keys() == {"id", "name", "createdDate"}
        assert (shown["name"], shown["createdDate"][-1]) == ("Test", "Z")
    assert (await called(gateway, "GET", "/organizations/me", by=people.stranger))["name"] == "Other"


async def test_all_users_and_accounts_are_for_its_administrators(gateway: Gateway, people: People) -> None:
    own = (await called(gateway, "GET", "/organizations/me"))["id"]
    paths = ("/organizations/users", f"/organizations/{own}/accounts")
    users, accounts = [(await asked(gateway, None, "GET", path)).json() for path in paths]
    everybody = (people.owner, people.admin, people.ann, people.bob, people.other, people.olga)
    assert [user["id"] for user in users] == sorted(person.id for person in everybody)
    assert [account["name"] for account in accounts] == ["Test", "Second"]
    for person in (people.admin, people.ann, people.olga):
        for path in paths:
            assert (await asked(gateway, person, "GET", path)).status_code == 403


async def test_another_organization_is_nobodys_business(gateway: Gateway, people: People) -> None:
    other = (await called(gateway, "GET", "/organizations/me", by=people.stranger))["id"]
    for number in (other, 99):
        assert (await asked(gateway, None, "GET", f"/organizations/{number}/accounts")).status_code == 403
    users = (await asked(gateway, people.stranger, "GET", "/organizations/users")).json()
    assert [user["id"] for user in users] == [people.stranger.id]


async def test_a_new_secret_ends_the_ones_before(gateway: Gateway, people: People) -> None:
    bearer = await logged_in(gateway, people.ann.email)
    pair = (await gateway.http.get("/authentication/secrets", headers=bearer)).json()
    instance = await gateway.connect()
    hub = f"{gateway.platform['Authorization']}, Element {instance['token']}"
    ping = "/hubs/documents/ping"
    assert (await gateway.http.get(ping, headers={"Authorization": hub})).status_code == 200
    answer = await asked(gateway, None, "PUT", "/organizations/me/secret")
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert made.keys() == {"organizationSecret"}
    user = f"User {people.owner.secret}"
    assert not await works(gateway, gateway.platform)
    assert not await works(gateway, {"Authorization": f"{user}, Organization {pair['organizationSecret']}"})
    assert (await gateway.http.get(ping, headers={"Authorization": hub})).status_code == 401
    assert await works(gateway, {"Authorization": f"{user}, Organization {made['organizationSecret']}"})
    assert await works(gateway, bearer)
    assert await works(gateway, people.stranger.headers)


async def test_the_old_secret_works_through_the_overlap(
    gateway: Gateway, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(gateway, "PUT", "/organizations/me/secret?overlap=3600")
    user = f"User {people.owner.secret}"
    new = {"Authorization": f"{user}, Organization {made['organizationSecret']}"}
    let_time_pass(gateway.runtime, monkeypatch, timedelta(minutes=59))
    assert await works(gateway, gateway.platform)
    assert await works(gateway, new)
    let_time_pass(gateway.runtime, monkeypatch, timedelta(minutes=61))
    assert not await works(gateway, gateway.platform)
    assert await works(gateway, new)


async def test_a_second_change_lengthens_no_life(
    gateway: Gateway, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await called(gateway, "PUT", "/organizations/me/secret?overlap=60")
    await called(gateway, "PUT", "/organizations/me/secret?overlap=3600")
    let_time_pass(gateway.runtime, monkeypatch, timedelta(minutes=2))
    assert not await works(gateway, gateway.platform)


async def test_only_an_administrator_changes_the_secret(gateway: Gateway, people: People) -> None:
    for person in (people.admin, people.ann, people.other):
        assert (await asked(gateway, person, "PUT", "/organizations/me/secret")).status_code == 403
    second = await hire(gateway, "second@example.com", "org-admin")
    assert (await asked(gateway, second, "PUT", "/organizations/me/secret")).status_code == 200


@pytest.mark.parametrize("overlap", ["-1", "x", "99999999999"])
async def test_an_overlap_is_a_number_of_seconds(gateway: Gateway, overlap: str) -> None:
    answer = await asked(gateway, None, "PUT", f"/organizations/me/secret?overlap={overlap}")
    assert answer.status_code == 400
    assert "overlap" in answer.json()["message"]
    assert await works(gateway, gateway.platform)


@pytest.mark.parametrize("name", ["", "  "])
async def test_an_organization_without_a_name_is_not_created(gateway: Gateway, name: str) -> None:
    now = gateway.runtime.clock.now()
    with pytest.raises(BadRequest, match="name: is required"):
        await tenants.create_organization(gateway.runtime.database, name, email="a@b.example", now=now)
