"""/authentication: a password opens a login, a login makes lasting secrets, and none of them is written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from gateway import Gateway
from people import PASSWORD, called, found, hire, let_time_pass, logged_in, works
from processes import PATIENCE
from sqlalchemy import func, select

from app import logs
from app.errors import Unauthorized
from app.store import tenants, users
from app.store.tables import Secret, SecretKind, User, table
from app.tenancy import authentication, passwords
from app.tenancy.tenants import digest


async def secrets_of(gateway: Gateway, user_id: int) -> dict[str, int]:
    """How many secrets of each kind a user has."""
    rows = table(Secret)
    statement = (
        select(rows.c.kind, func.count().label("number"))
        .where(rows.c.user_id == user_id)
        .group_by(rows.c.kind)
    )
    async with gateway.runtime.database.read() as connection:
        return {row.kind: row.number for row in await connection.execute(statement)}


async def with_password(gateway: Gateway, user_id: int, password: str) -> None:
    hashed = await passwords.hashed(password)
    async with gateway.runtime.database.write() as connection:
        await users.change(connection, user_id, password_hash=hashed)


async def refused(gateway: Gateway, username: str, password: str) -> str:
    answer = await gateway.http.post("/authentication", json={"username": username, "password": password})
    assert answer.status_code == 401, answer.text
    message: str = answer.json()["message"]
    return message


async def test_a_token_stands_for_user_and_organization(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    bearer = await logged_in(gateway, "ann@example.com")
    me = (await gateway.http.get("/users/me", headers=bearer)).json()
    assert (me["id"], me["emailAddress"]) == (ann.id, "ann@example.com")
    answer = await gateway.http.get("/instances", headers=bearer)
    assert answer.status_code == 200
    made = await gateway.connect()
    hub = {"Authorization": f"{bearer['Authorization']}, Element {made['token']}"}
    assert (await gateway.http.get("/hubs/documents/ping", headers=hub)).status_code == 200


async def test_the_username_is_the_address_in_any_case(gateway: Gateway) -> None:
    ann = await hire(gateway, "Ann@Example.com", "user")
    assert ann.email == "ann@example.com"
    for username in ("ann@example.com", "ANN@EXAMPLE.COM", " Ann@example.com "):
        assert await works(gateway, await logged_in(gateway, username))


async def test_a_token_is_kept_by_nobody_on_its_way(gateway: Gateway) -> None:
    await hire(gateway, "ann@example.com", "user")
    order = {"username": "ann@example.com", "password": PASSWORD}
    answer = await gateway.http.post("/authentication", json=order)
    assert answer.json().keys() == {"token"}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_address_is_refused_like_a_wrong_password(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hire(gateway, "ann@example.com", "user")
    await hire(gateway, "bob@example.com", "user")
    namesake = await found(gateway, "ann@example.com")
    await with_password(gateway, namesake.id, "another password")
    compared: list[str] = []
    really = passwords._fits

    def watched(password: str, known: str) -> bool:
        compared.append(known.rsplit("$", 2)[0])
        return really(password, known)

    monkeypatch.setattr(passwords, "_fits", watched)
    names = ("ann@example.com", "bob@example.com", "nobody@example.com", "test@example.com")
    said, counts = set(), []
    for name in names:
        said.add(await refused(gateway, name, "wrong password"))
        counts.append(len(compared))
    assert len(said) == 1
    assert counts == [2, 4, 6, 8], "each as often as for the address that is in most organizations"
    assert len(set(compared)) == 1, "comparisons of different cost"


async def test_a_password_that_nobody_has_fits_nothing() -> None:
    assert not await passwords.fits("", None)
    assert not await passwords.fits("x", "not a hash")
    assert await passwords.fits("x", await passwords.hashed("x"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": "ann@example.com"}, "password"),
        ({"username": "ann@example.com", "password": None}, "password"),
        ({"username": ["ann"], "password": "do-not-show"}, "username"),
        ({"username": "ann@example.com", "password": "do-not-show" * 1000}, "password"),
    ],
)
async def test_a_malformed_login_is_refused_without_its_password(
    gateway: Gateway, body: Any, field: str
) -> None:
    answer = await gateway.http.post("/authentication", json=body)
    assert answer.status_code == 400
    assert field in answer.json()["message"]
    assert "do-not-show" not in answer.text


async def test_a_login_ends(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await hire(gateway, "ann@example.com", "user")
    bearer, life = await logged_in(gateway, "ann@example.com"), gateway.runtime.settings.login_lifetime
    let_time_pass(gateway.runtime, monkeypatch, life - timedelta(minutes=1))
    assert await works(gateway, bearer)
    let_time_pass(gateway.runtime, monkeypatch, life + timedelta(seconds=1))
    assert not await works(gateway, bearer)


async def test_ended_logins_are_forgotten_at_the_next_one(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    for _ in range(3):
        await logged_in(gateway, "ann@example.com")
    assert await secrets_of(gateway, ann.id) == {"user": 1, "login": 3}
    let_time_pass(gateway.runtime, monkeypatch, gateway.runtime.settings.login_lifetime * 2)
    await logged_in(gateway, "ann@example.com")
    assert await secrets_of(gateway, ann.id) == {"user": 1, "login": 1}


async def test_logging_out_ends_the_token_and_no_other(gateway: Gateway) -> None:
    await hire(gateway, "ann@example.com", "user")
    one, other = await logged_in(gateway, "ann@example.com"), await logged_in(gateway, "ann@example.com")
    answer = await gateway.http.delete("/authentication", headers=one)
    assert (answer.status_code, answer.content) == (200, b"")
    assert not await works(gateway, one)
    assert await works(gateway, other)
    assert (await gateway.http.delete("/authentication", headers=one)).status_code == 401


async def test_a_login_makes_a_pair_of_secrets_that_last(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hire(gateway, "ann@example.com", "user")
    bearer = await logged_in(gateway, "ann@example.com")
    answer = await gateway.http.get("/authentication/secrets", headers=bearer)
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert made.keys() == {"userSecret", "organizationSecret"}
    assert (len(made["userSecret"]), len(made["organizationSecret"])) == (44, 32)
    pair = {"Authorization": f"User {made['userSecret']}, Organization {made['organizationSecret']}"}
    await gateway.http.delete("/authentication", headers=bearer)
    let_time_pass(gateway.runtime, monkeypatch, timedelta(days=3650))
    assert (await gateway.http.get("/users/me", headers=pair)).json()["emailAddress"] == "ann@example.com"
    swapped = f"User {made['organizationSecret']}, Organization {made['userSecret']}"
    assert not await works(gateway, {"Authorization": swapped})
    assert not await works(gateway, {"Authorization": f"Bearer {made['userSecret']}"})


async def test_only_a_login_is_given_secrets(gateway: Gateway) -> None:
    for method, path in (("GET", "/authentication/secrets"), ("DELETE", "/authentication")):
        answer = await gateway.http.request(method, path, headers=gateway.platform)
        assert answer.status_code == 403
        assert "Bearer" in answer.json()["message"]
        assert (await gateway.http.request(method, path)).status_code == 401


async def test_the_newest_ten_pairs_stay_beside_the_secrets_of_before(gateway: Gateway) -> None:
    ann, bob = await hire(gateway, "ann@example.com", "user"), await hire(gateway, "bob@example.com", "user")
    rotated = await called(gateway, "PUT", "/users/me/secret?overlap=3600", by=ann)
    bobs = await logged_in(gateway, bob.email)
    kept = (await gateway.http.get("/authentication/secrets", headers=bobs)).json()
    bearer = await logged_in(gateway, ann.email)
    pairs = [(await gateway.http.get("/authentication/secrets", headers=bearer)).json() for _ in range(12)]
    organization = gateway.secrets.organization
    for number, pair in enumerate(pairs):
        user = {"Authorization": f"User {pair['userSecret']}, Organization {organization}"}
        whole = {"Authorization": f"User {ann.secret}, Organization {pair['organizationSecret']}"}
        assert await works(gateway, user) is (number >= 2)
        assert await works(gateway, whole) is (number >= 2)
    for secret in (ann.secret, rotated["userSecret"], bob.secret, kept["userSecret"]):
        assert await works(gateway, {"Authorization": f"User {secret}, Organization {organization}"})
    bobs_own = f"User {bob.secret}, Organization {kept['organizationSecret']}"
    assert await works(gateway, {"Authorization": bobs_own})
    assert await secrets_of(gateway, ann.id) == {
        SecretKind.USER: 2,
        SecretKind.LOGIN: 1,
        SecretKind.USER_BY_LOGIN: 10,
        SecretKind.ORGANIZATION_BY_LOGIN: 10,
    }


async def test_of_several_organizations_the_password_decides(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    namesake = await found(gateway, "ann@example.com")
    await with_password(gateway, namesake.id, "another password")
    for password, person in ((PASSWORD, ann), ("another password", namesake)):
        bearer = await logged_in(gateway, "ann@example.com", password)
        assert (await gateway.http.get("/users/me", headers=bearer)).json()["id"] == person.id


async def test_the_same_password_in_several_organizations_opens_the_first(gateway: Gateway) -> None:
    first = await found(gateway, "ann@example.com")
    for person in (first, await found(gateway, "ann@example.com")):
        await with_password(gateway, person.id, PASSWORD)
    bearer = await logged_in(gateway, "ann@example.com")
    assert (await gateway.http.get("/users/me", headers=bearer)).json()["id"] == first.id


async def test_no_more_than_five_namesakes_are_tried(gateway: Gateway) -> None:
    for number in range(6):
        person = await found(gateway, "ann@example.com")
        await with_password(gateway, person.id, f"password {number}")
    assert await works(gateway, await logged_in(gateway, "ann@example.com", "password 4"))
    await refused(gateway, "ann@example.com", "password 5")


async def test_who_has_no_password_or_is_not_active_cannot_log_in(gateway: Gateway) -> None:
    await refused(gateway, "test@example.com", PASSWORD)
    ann = await hire(gateway, "ann@example.com", "user")
    await called(gateway, "PATCH", f"/users/{ann.id}", active=False)
    await refused(gateway, "ann@example.com", PASSWORD)
    await called(gateway, "PATCH", f"/users/{ann.id}", active=True)
    assert await works(gateway, await logged_in(gateway, "ann@example.com"))
    await called(gateway, "DELETE", f"/users/{ann.id}")
    await refused(gateway, "ann@example.com", PASSWORD)


async def test_a_login_that_is_overtaken_by_a_new_password_fails(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    really = passwords.fits

    async def slow(password: str, known: str | None) -> bool:
        fits = await really(password, known)
        await with_password(gateway, ann.id, "the new password")
        return fits

    monkeypatch.setattr(passwords, "fits", slow)
    await refused(gateway, "ann@example.com", PASSWORD)
    assert await secrets_of(gateway, ann.id) == {"user": 1}


async def test_no_password_and_no_secret_is_logged_or_stored(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    logs.quiet_libraries()
    caplog.set_level("DEBUG")
    ann = await hire(gateway, "ann@example.com", "user")
    bearer = await logged_in(gateway, ann.email)
    pair = (await gateway.http.get("/authentication/secrets", headers=bearer)).json()
    rotated = await called(gateway, "PUT", "/users/ann@example.com/secret")
    whole = await called(gateway, "PUT", "/organizations/me/secret?overlap=60")
    await refused(gateway, ann.email, "a wrong password")
    await gateway.http.post("/authentication", json={"username": PASSWORD, "password": ""})
    secrets = {PASSWORD, "a wrong password", ann.secret, bearer["Authorization"].split()[1]}
    secrets |= {*pair.values(), *rotated.values(), *whole.values()}
    written = "\n".join(logs.JsonLines().format(record) for record in caplog.records)
    assert "user logged in" in written
    assert "user secret changed" in written
    async with gateway.runtime.database.read() as connection:
        for model in (User, Secret):
            written += str([tuple(row) for row in await connection.execute(select(table(model)))])
    assert "$argon2id$" in written
    assert [secret for secret in secrets if secret in written] == []


def command(gateway: Gateway, *words: str, stdin: str) -> subprocess.CompletedProcess[str]:
    url = gateway.runtime.settings.database_url.get_secret_value()
    return subprocess.run(
        [sys.executable, "-m", "app", "user", "password", *words],
        env=os.environ | {"GATEWAY_DATABASE_URL": url},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


async def test_the_operator_sets_a_first_password_by_command(gateway: Gateway) -> None:
    done = command(gateway, "Test@example.com", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    bearer = await logged_in(gateway, "test@example.com")
    assert (await gateway.http.get("/users/me", headers=bearer)).json()["roles"] == ["org-admin"]
    pair = (await gateway.http.get("/authentication/secrets", headers=bearer)).json()
    assert command(gateway, "test@example.com", stdin="another password\n").returncode == 0
    assert not await works(gateway, bearer)
    by_login = f"User {pair['userSecret']}, Organization {pair['organizationSecret']}"
    gateway.runtime.sessions.clear()
    assert not await works(gateway, {"Authorization": by_login})
    assert await works(gateway, gateway.platform)


async def test_the_command_says_what_is_wrong_in_one_sentence(gateway: Gateway) -> None:
    stranger = await found(gateway, "test@example.com")
    for words, stdin, said in (
        (["nobody@example.com"], PASSWORD, "No user"),
        (["test@example.com"], "short", "8 to 1000"),
        (["test@example.com"], PASSWORD, "organizations 1, 2: name one with --organization"),
    ):
        done = command(gateway, *words, stdin=stdin)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    assert command(gateway, "test@example.com", "--organization", "2", stdin=PASSWORD).returncode == 0
    bearer = await logged_in(gateway, "test@example.com")
    assert (await gateway.http.get("/users/me", headers=bearer)).json()["id"] == stranger.id


def comparisons() -> list[asyncio.Task[bool]]:
    """As many as there is room for."""
    return [asyncio.create_task(passwords.fits("x", None)) for _ in range(passwords._AT_ONCE)]


async def test_who_would_wait_behind_a_crowd_of_logins_is_told_to_come_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, gate = await hire(gateway, "ann@example.com", "user"), threading.Event()
    monkeypatch.setattr(passwords, "_fits", lambda password, known: not gate.wait(PATIENCE))
    crowd = comparisons()
    await asyncio.sleep(0)
    login = {"username": ann.email, "password": PASSWORD}
    try:
        for method, path, body, headers in (
            ("POST", "/authentication", login, {}),
            ("PATCH", "/users/me", {"password": PASSWORD}, ann.headers),
        ):
            answer = await gateway.http.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
            assert answer.json().keys() == {"requestId", "message"}
    finally:
        gate.set()
    assert not any(await asyncio.gather(*crowd))
    monkeypatch.undo()
    assert await works(gateway, await logged_in(gateway, ann.email))


async def test_who_goes_before_his_turn_leaves_his_place_to_others() -> None:
    went = comparisons()
    await asyncio.sleep(0)
    for task in went:
        task.cancel()
    deadline = time.monotonic() + PATIENCE
    while set(await asyncio.gather(*comparisons(), return_exceptions=True)) != {False}:
        assert time.monotonic() < deadline, "the places of those who went are still taken"


async def test_a_login_that_a_new_password_has_ended_is_given_no_secrets(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    token = (await logged_in(gateway, ann.email))["Authorization"].removeprefix("Bearer ")
    runtime = gateway.runtime
    async with runtime.database.read() as connection:
        found = await tenants.caller_by_secret(
            connection, SecretKind.LOGIN, digest(token), now=runtime.clock.now()
        )
    assert found is not None
    await called(gateway, "PATCH", f"/users/{ann.id}", password="the new password")
    with pytest.raises(Unauthorized):
        await authentication.new_pair(runtime, authentication.Login(found, digest(token)))
    assert await secrets_of(gateway, ann.id) == {"user": 1}
