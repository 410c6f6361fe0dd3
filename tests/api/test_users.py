"""/users: who may call, who manages whom, and secrets that are shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gateway import Gateway
from people import PASSWORD, People, asked, called, hire, let_time_pass, logged_in, settle, works


@pytest.fixture
async def people(gateway: Gateway) -> People:
    return await settle(gateway)


FIELDS = {
    "id",
    "emailAddress",
    "firstName",
    "lastName",
    "active",
    "roles",
    "accountId",
    "createdDate",
    "updatedDate",
}


async def test_a_new_user_is_shown_with_his_secret_once(gateway: Gateway) -> None:
    body = {"emailAddress": " Ann@Example.com", "firstName": "Ann", "lastName": "Lee", "password": PASSWORD}
    answer = await asked(gateway, None, "POST", "/users", **body)
    made = answer.json()
    assert made.keys() == FIELDS | {"secret"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert (made["emailAddress"], made["roles"], made["active"]) == ("ann@example.com", ["user"], True)
    assert PASSWORD not in answer.text
    secret = made.pop("secret")
    hers = {"Authorization": f"User {secret}, Organization {gateway.secrets.organization}"}
    assert (await gateway.http.get("/users/me", headers=hers)).json() == made
    reveal = hers | {"Elements-User-Password": PASSWORD}
    for name in (str(made["id"]), "ann@example.com", "ANN@example.com", "me"):
        assert (await gateway.http.get(f"/users/{name}", headers=reveal)).json() == made


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "emailAddress"),
        ({"emailAddress": None}, "emailAddress"),
        ({"emailAddress": "ann"}, "emailAddress"),
        ({"emailAddress": "a@b@c"}, "emailAddress"),
        ({"emailAddress": "ann lee@example.com"}, "emailAddress"),
        ({"emailAddress": "<ann@example.com>"}, "emailAddress"),
        ({"emailAddress": "@example.com"}, "emailAddress"),
        ({"emailAddress": "a" * 310 + "@example.com"}, "emailAddress"),
        ({"emailAddress": "a@b", "firstName": "two\nlines"}, "firstName"),
        ({"emailAddress": "a@b", "lastName": "x" * 256}, "lastName"),
        ({"emailAddress": "a@b", "password": "short"}, "password"),
        ({"emailAddress": "a@b", "password": "x" * 1001}, "password"),
        ({"emailAddress": "a@b", "roles": ["boss"]}, "roles"),
        ({"emailAddress": "a@b", "roles": []}, "roles"),
        ({"emailAddress": "a@b", "roles": "admin"}, "roles"),
        ({"emailAddress": "a@b", "active": "perhaps"}, "active"),
    ],
)
async def test_a_malformed_user_is_refused(gateway: Gateway, body: dict[str, Any], field: str) -> None:
    for method, path in (("POST", "/users"), ("PUT", "/users/me")):
        answer = await gateway.http.request(method, path, headers=gateway.platform, json=body)
        assert answer.status_code == 400
        assert field in answer.json()["message"]
        assert "short" not in answer.text
    assert len((await asked(gateway, None, "GET", "/users")).json()) == 1


async def test_html_is_taken_out_of_names(gateway: Gateway) -> None:
    body: dict[str, Any] = {
        "emailAddress": "a@b",
        "firstName": "<script>x</script>Ann",
        "lastName": "O'Neill <3",
    }
    made = await called(gateway, "POST", "/users", **body)
    assert (made["firstName"], made["lastName"]) == ("xAnn", "O'Neill <3")


async def test_an_address_is_used_once_in_an_organization(gateway: Gateway, people: People) -> None:
    second = f"/accounts/{people.olga.account_id}/users"
    for path in ("/users", second):
        answer = await asked(gateway, None, "POST", path, emailAddress="ANN@example.com")
        assert (answer.status_code, "ann@example.com" in answer.json()["message"]) == (409, True)
    answer = await asked(gateway, None, "PATCH", f"/users/{people.bob.id}", emailAddress="Ann@example.com")
    assert answer.status_code == 409
    assert (await called(gateway, "GET", f"/users/{people.bob.id}"))["emailAddress"] == "bob@example.com"
    await called(gateway, "POST", "/users", by=people.stranger, emailAddress="ann@example.com")
    await called(gateway, "DELETE", f"/users/{people.ann.id}")
    await called(gateway, "PATCH", f"/users/{people.bob.id}", emailAddress="Ann@example.com")


async def test_the_highest_of_several_roles_counts(gateway: Gateway) -> None:
    made = await called(gateway, "POST", "/users", emailAddress="a@b", roles=["user", "admin", "user"])
    assert made["roles"] == ["admin"]
    roles = (await asked(gateway, None, "GET", "/users/a@b/roles")).json()
    assert [role["key"] for role in roles] == ["admin"]
    assert roles[0].keys() == {"key", "name", "description"}


async def test_everybody_lists_whom_he_may_see(gateway: Gateway, people: People) -> None:
    first = [people.owner.id, people.admin.id, people.ann.id, people.bob.id]
    second = [people.other.id, people.olga.id]
    for person, expected in (
        (people.owner, first + second),
        (people.admin, first),
        (people.other, second),
        (people.ann, [people.ann.id]),
        (people.stranger, [people.stranger.id]),
    ):
        answer = await asked(gateway, person, "GET", "/users?returnTotalCount=true")
        assert [item["id"] for item in answer.json()] == expected
        assert answer.headers["Elements-Total-Count"] == str(len(expected))
    answer = await asked(gateway, people.admin, "GET", "/users?pageSize=3")
    page = answer.headers["Elements-Next-Page-Token"]
    rest = (await asked(gateway, people.admin, "GET", f"/users?pageSize=3&nextPage={page}")).json()
    assert [item["id"] for item in answer.json() + rest] == first


async def test_who_may_see_and_change_whom(gateway: Gateway, people: People) -> None:
    """What each may do with another: nothing of another organization, and nobody above himself."""
    for person, target, seen, changed in (
        (people.owner, people.olga, 200, 200),
        (people.owner, people.admin, 200, 200),
        (people.admin, people.ann, 200, 200),
        (people.admin, people.owner, 200, 403),
        (people.admin, people.olga, 404, 404),
        (people.ann, people.ann, 200, 200),
        (people.ann, people.bob, 403, 403),
        (people.ann, people.admin, 403, 403),
        (people.ann, people.olga, 403, 403),
        (people.stranger, people.ann, 404, 404),
        (people.owner, people.stranger, 404, 404),
    ):
        whose = (person.email, target.email)
        for name in (str(target.id), target.email):
            assert (await asked(gateway, person, "GET", f"/users/{name}")).status_code == seen, whose
            assert (await asked(gateway, person, "GET", f"/users/{name}/roles")).status_code == seen, whose
            answer = await asked(gateway, person, "PATCH", f"/users/{name}", firstName="New")
            assert answer.status_code == changed, whose
        answer = await asked(gateway, person, "PUT", f"/users/{target.id}", emailAddress=target.email)
        assert answer.status_code == changed, whose
        if changed != 200:
            for method, path in (("PUT", "/secret"), ("DELETE", "")):
                answer = await asked(gateway, person, method, f"/users/{target.id}{path}")
                assert answer.status_code == changed, whose
            assert await works(gateway, target.headers)


async def test_a_user_changes_himself_but_not_what_he_may(gateway: Gateway, people: People) -> None:
    ann = people.ann
    shown = await called(
        gateway, "PATCH", "/users/me", by=ann, firstName="Ann", emailAddress="ann2@example.com"
    )
    assert (shown["firstName"], shown["emailAddress"]) == ("Ann", "ann2@example.com")
    assert await called(gateway, "PUT", "/users/me", by=ann, **shown) | {"updatedDate": ""} == shown | {
        "updatedDate": ""
    }
    for body in ({"roles": ["admin"]}, {"roles": ["org-admin"]}, {"active": False}):
        answer = await asked(gateway, ann, "PATCH", "/users/me", **body)
        assert answer.status_code == 403
        assert next(iter(body)) in answer.json()["message"]
    assert (await asked(gateway, ann, "DELETE", "/users/me")).status_code == 403
    assert (await asked(gateway, ann, "POST", "/users", emailAddress="a@b")).status_code == 403
    assert await called(gateway, "GET", "/users/me", by=ann) | {"updatedDate": ""} == shown | {
        "updatedDate": ""
    }


async def test_nobody_gives_a_role_above_his_own(gateway: Gateway, people: People) -> None:
    for person, allowed in (
        (people.admin, {"user", "admin"}),
        (people.owner, {"user", "admin", "org-admin"}),
    ):
        for role in ("user", "admin", "org-admin"):
            body = {"emailAddress": f"{role}{person.id}@example.com", "roles": [role]}
            status = 200 if role in allowed else 403
            assert (await asked(gateway, person, "POST", "/users", **body)).status_code == status
            answer = await asked(gateway, person, "PATCH", f"/users/{people.bob.id}", roles=[role])
            assert answer.status_code == status
    assert (await asked(gateway, people.admin, "PATCH", "/users/me", roles=["org-admin"])).status_code == 403


async def test_a_put_replaces_names_and_keeps_role_password_and_state(gateway: Gateway) -> None:
    await hire(gateway, "ann@example.com", "admin", firstName="Ann", lastName="Lee")
    shown = await called(gateway, "PUT", "/users/ann@example.com", emailAddress="ann@example.com")
    assert (shown["firstName"], shown["lastName"]) == ("", "")
    assert (shown["roles"], shown["active"]) == (["admin"], True)
    assert await works(gateway, await logged_in(gateway, "ann@example.com"))


async def test_the_last_active_administrator_stays(gateway: Gateway, people: People) -> None:
    second = await hire(gateway, "second@example.com", "org-admin")
    await called(gateway, "PATCH", f"/users/{second.id}", active=False)
    for method, body in (("PATCH", {"active": False}), ("PATCH", {"roles": ["admin"]}), ("DELETE", {})):
        answer = await asked(gateway, None, method, "/users/me", **body)
        assert (answer.status_code, "last" in answer.json()["message"]) == (409, True)
    await called(gateway, "PATCH", f"/users/{second.id}", active=True)
    await called(gateway, "PATCH", "/users/me", roles=["user"])
    assert (await asked(gateway, second, "DELETE", "/users/me")).status_code == 409
    assert (await asked(gateway, None, "GET", "/organizations/users")).status_code == 403


async def by_login(gateway: Gateway, login: dict[str, str]) -> list[dict[str, str]]:
    """The headers of a pair that a login is given, each half of it with one that others know."""
    pair = (await gateway.http.get("/authentication/secrets", headers=login)).json()
    user, organization = pair["userSecret"], pair["organizationSecret"]
    halves = ((user, gateway.secrets.organization), (gateway.secrets.user, organization))
    return [{"Authorization": f"User {one}, Organization {other}"} for one, other in halves]


async def test_a_new_password_ends_logins_and_what_they_were_given(gateway: Gateway, people: People) -> None:
    hers, his = await logged_in(gateway, people.ann.email), await logged_in(gateway, people.bob.email)
    her_pair, his_pair = await by_login(gateway, hers), await by_login(gateway, his)
    await called(gateway, "PATCH", "/users/me", by=people.ann, firstName="Ann")
    assert [await works(gateway, headers) for headers in (hers, *her_pair)] == [True] * 3
    await called(gateway, "PATCH", "/users/me", by=people.ann, password="the new password")
    assert [await works(gateway, headers) for headers in (hers, *her_pair)] == [False] * 3
    assert [await works(gateway, headers) for headers in (his, *his_pair)] == [True] * 3
    assert await works(gateway, people.ann.headers)
    assert await works(gateway, await logged_in(gateway, people.ann.email, "the new password"))
    old = {"username": people.ann.email, "password": PASSWORD}
    assert (await gateway.http.post("/authentication", json=old)).status_code == 401


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
async def test_who_may_no_longer_call_is_refused_at_once(gateway: Gateway, people: People, how: str) -> None:
    instance, ann = await gateway.connect(), people.ann
    bearer = await logged_in(gateway, ann.email)
    platform = [ann.headers, bearer]
    hub = [
        {"Authorization": f"User {ann.secret}, Element {instance['token']}"},
        {"Authorization": f"{bearer['Authorization']}, Element {instance['token']}"},
    ]
    for headers in hub:
        assert (await gateway.http.get("/hubs/documents/ping", headers=headers)).status_code == 200
    if how == "deleted":
        await called(gateway, "DELETE", f"/users/{ann.email}", by=people.admin)
        assert (await asked(gateway, None, "GET", f"/users/{ann.id}")).status_code == 404
    else:
        shown = await called(gateway, "PATCH", f"/users/{ann.email}", by=people.admin, active=False)
        assert shown["active"] is False
    for headers in hub:
        assert (await gateway.http.get("/hubs/documents/ping", headers=headers)).status_code == 401
    assert [await works(gateway, headers) for headers in platform] == [False, False]
    mine = gateway.hub(instance["token"])
    assert (await gateway.http.get("/hubs/documents/ping", headers=mine)).status_code == 200
    if how == "deactivated":
        await called(gateway, "PATCH", f"/users/{ann.email}", by=people.admin, active=True)
        assert [await works(gateway, headers) for headers in platform] == [True, False]


async def test_the_instances_of_a_deleted_user_stay_his_accounts(gateway: Gateway, people: People) -> None:
    order = await gateway.order()
    made = (await gateway.http.post("/instances", json=order, headers=people.ann.headers)).json()
    await called(gateway, "DELETE", f"/users/{people.ann.id}")
    shown = await called(gateway, "GET", f"/instances/{made['id']}")
    assert shown["user"]["emailAddress"] == "ann@example.com"


async def test_a_user_is_made_inactive(gateway: Gateway) -> None:
    made = await called(gateway, "POST", "/users", emailAddress="a@b", active=False, password=PASSWORD)
    secret = f"User {made['secret']}, Organization {gateway.secrets.organization}"
    assert not await works(gateway, {"Authorization": secret})
    answer = await gateway.http.post("/authentication", json={"username": "a@b", "password": PASSWORD})
    assert answer.status_code == 401


async def test_a_new_secret_ends_the_ones_before(gateway: Gateway, people: People) -> None:
    bearer = await logged_in(gateway, people.ann.email)
    pair = (await gateway.http.get("/authentication/secrets", headers=bearer)).json()
    answer = await asked(gateway, people.ann, "PUT", "/users/me/secret")
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert made.keys() == {"userSecret"}
    organization = f"Organization {gateway.secrets.organization}"
    assert not await works(gateway, people.ann.headers)
    assert not await works(gateway, {"Authorization": f"User {pair['userSecret']}, {organization}"})
    assert await works(gateway, {"Authorization": f"User {made['userSecret']}, {organization}"})
    assert await works(gateway, bearer)
    assert await works(gateway, people.bob.headers)


async def test_the_old_secret_works_through_the_overlap(
    gateway: Gateway, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(gateway, "PUT", f"/users/{people.ann.id}/secret?overlap=3600", by=people.admin)
    header = f"User {made['userSecret']}, Organization {gateway.secrets.organization}"
    new = {"Authorization": header}
    let_time_pass(gateway.runtime, monkeypatch, timedelta(minutes=50))
    assert [await works(gateway, headers) for headers in (people.ann.headers, new)] == [True, True]
    let_time_pass(gateway.runtime, monkeypatch, timedelta(minutes=70))
    assert [await works(gateway, headers) for headers in (people.ann.headers, new)] == [False, True]


@pytest.mark.parametrize("name", ["99", "99999999999999999999", "nobody@example.com", "x", "1e3", "٣"])
async def test_a_user_who_is_not_there_is_not_found(gateway: Gateway, name: str) -> None:
    for method, path in (("GET", ""), ("GET", "/roles"), ("PATCH", ""), ("DELETE", ""), ("PUT", "/secret")):
        body = {"firstName": "x"} if method == "PATCH" else {}
        assert (await asked(gateway, None, method, f"/users/{name}{path}", **body)).status_code == 404


async def test_nobody_calls_without_authorization(gateway: Gateway) -> None:
    for path in (
        "/users",
        "/users/me",
        "/accounts",
        "/accounts/me",
        "/accounts/settings",
        "/organizations/me",
    ):
        assert (await gateway.http.get(path)).status_code == 401
