"""The surface under attack: who asks too often, who guesses, and what nobody sends in good faith."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from fastapi import FastAPI
from gateway import Gateway
from people import PASSWORD, called, hire, works
from processes import PATIENCE
from starlette.types import Receive

from app import rates
from app.api.requests import RequestLog
from app.api.slow_bodies import BodyTimeout, SlowBodies
from app.errors import TooManyRequests, Unauthorized
from app.main import BASE_PATH
from app.rates import Allowance, Rates
from app.store import instances
from app.tenancy import passwords
from app.tenancy.tenants import digest

LOGIN = "/authentication"


class Stopped:
    """A clock of the rates that stands until somebody moves it."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Stopped:
    return Stopped()


@pytest.fixture
async def strict(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, clock: Stopped, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    """A gateway that allows 20 requests of one caller at once, and 3 failures per minute."""
    settings = gateways.settings_for(tmp_path, sandbox_url, caller_rate=4, failed_authentications=3)
    async with gateways.running(settings, sandbox_url) as running:
        monkeypatch.setattr(running.runtime.rates, "_now", clock)
        yield running


def client_at(gateway: Gateway, address: str) -> httpx.AsyncClient:
    """Somebody who calls from another address."""
    transport: Any = gateway.http._transport
    app: FastAPI = transport.app
    elsewhere = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=elsewhere, base_url=f"http://gateway{BASE_PATH}")


async def log_in(http: httpx.AsyncClient, username: str, password: str) -> int:
    return (await http.post(LOGIN, json={"username": username, "password": password})).status_code


def wrong(number: int) -> dict[str, str]:
    return {"Authorization": f"User wrong{number}, Organization wrong"}


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back(strict: Gateway, clock: Stopped) -> None:
    found = [await strict.http.get("/users/me", headers=strict.platform) for _ in range(21)]
    assert [answer.status_code for answer in found] == [200] * 20 + [429]
    assert found[-1].headers["Retry-After"] == "1"
    assert found[-1].json().keys() == {"requestId", "message"}
    clock.at += 1
    found = [await strict.http.get("/users/me", headers=strict.platform) for _ in range(5)]
    assert [answer.status_code for answer in found] == [200] * 4 + [429]


async def test_each_element_token_is_a_caller_of_its_own(strict: Gateway) -> None:
    busy, quiet = [strict.hub((await strict.connect())["token"]) for _ in range(2)]
    found = [(await strict.http.get("/objects", headers=busy)).status_code for _ in range(21)]
    assert found == [200] * 20 + [429]
    bare = {"Authorization": f"Bearer {busy['Authorization'].rpartition(' ')[2]}"}
    assert (await strict.http.get("/native/pubapi/v1/userinfo", headers=bare)).status_code == 429
    assert (await strict.http.get("/objects", headers=quiet)).status_code == 200
    assert (await strict.http.get("/instances", headers=strict.platform)).status_code == 200


async def test_the_gateways_own_calls_are_not_counted(strict: Gateway) -> None:
    made = await strict.connect()
    hub = strict.hub(made["token"])
    for _ in range(21):
        answer = await strict.http.get("/objects", headers=hub)
    assert answer.status_code == 429
    async with strict.runtime.database.read() as connection:
        row = await instances.by_token_hash(connection, digest(made["token"]))
    assert row is not None
    assert strict.runtime.inside is not None
    assert (await strict.runtime.inside.call(row, "GET", "/folders/contents?path=/Shared")).status == 200


async def test_guesses_at_a_password_end_before_any_work(
    strict: Gateway, clock: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await hire(strict, "ann@example.com", "user"), await hire(strict, "bob@example.com", "user")
    assert [await log_in(strict.http, ann.email, "guess") for _ in range(4)] == [401, 401, 401, 429]

    async def looked(*_: Any) -> bool:
        raise AssertionError("a password was looked at")

    with monkeypatch.context() as patched:
        patched.setattr(passwords, "fits", looked)
        patched.setattr("app.tenancy.authentication.log_in", looked)
        for username in (ann.email, " ANN@example.com"):
            assert await log_in(strict.http, username, PASSWORD) == 429
    assert await log_in(strict.http, bob.email, PASSWORD) == 200
    async with client_at(strict, "10.1.1.1") as elsewhere:
        assert await log_in(elsewhere, ann.email, PASSWORD) == 200
    assert (await strict.http.get("/users/me", headers=ann.headers)).status_code == 200
    clock.at += 60
    assert await log_in(strict.http, ann.email, PASSWORD) == 200


async def test_guesses_from_everywhere_do_not_lock_out_where_somebody_was_right(
    strict: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_fits", lambda password, known: password == PASSWORD)  # quicker
    ann = await hire(strict, "ann@example.com", "user")
    assert await log_in(strict.http, ann.email, PASSWORD) == 200
    for number in range(10):
        async with client_at(strict, f"10.1.{number}.1") as elsewhere:
            for _ in range(3):
                assert await log_in(elsewhere, ann.email, "guess") == 401
    async with client_at(strict, "10.2.1.1") as elsewhere:
        assert await log_in(elsewhere, ann.email, PASSWORD) == 429
    assert await log_in(strict.http, ann.email, PASSWORD) == 200


async def test_an_address_that_tries_secrets_is_stopped_and_who_was_right_there_is_not(
    strict: Gateway, clock: Stopped
) -> None:
    ann = await hire(strict, "ann@example.com", "user")
    token = (await strict.connect())["token"]
    found = [(await strict.http.get("/users/me", headers=wrong(number))).status_code for number in range(31)]
    assert found == [401] * 30 + [429]
    assert (await strict.http.get("/users/me", headers=strict.platform)).status_code == 200
    for headers in (strict.hub(token), strict.hub("wrong")):
        answer = await strict.http.get("/objects", headers=headers)
        assert (answer.status_code, answer.headers["Retry-After"].isdecimal()) == (429, True)
    async with client_at(strict, "10.1.1.1") as elsewhere:
        assert (await elsewhere.get("/users/me", headers=ann.headers)).status_code == 200
    clock.at += 60
    assert (await strict.http.get("/objects", headers=strict.hub(token))).status_code == 200


async def test_one_client_with_an_ended_secret_spends_little_of_its_addresss_patience(
    strict: Gateway,
) -> None:
    found = [(await strict.http.get("/users/me", headers=wrong(1))).status_code for _ in range(40)]
    assert found == [401] * 3 + [429] * 37
    assert (await strict.http.get("/users/me", headers=strict.platform)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/links/{}", 404), ("/oauth/proxy?code=1&state={}", 400), ("/events/box?instance={}", 401)],
)
async def test_who_asks_for_what_is_not_there_again_and_again_stops_nobody_but_himself(
    strict: Gateway, path: str, status: int
) -> None:
    found = [(await strict.http.get(path.format("same"))).status_code for _ in range(4)]
    assert found == [status] * 3 + [429]
    found = [(await strict.http.get(path.format(number))).status_code for number in range(31)]
    assert found == [status] * 31
    async with client_at(strict, "10.1.1.1") as elsewhere:
        assert (await elsewhere.get(path.format("same"))).status_code == status
    assert (await strict.http.get("/users/me", headers=strict.platform)).status_code == 200


@pytest.mark.parametrize(
    ("client", "told", "warned"),
    [
        ("172.18.0.2", b"203.0.113.9", 1),
        ("203.0.113.9", b"198.51.100.1, 203.0.113.9", 0),
        ("172.18.0.2", None, 0),
    ],
    ids=["nobody-trusts-it", "trusted", "no-proxy"],
)
async def test_a_proxy_that_nobody_trusts_is_said_once(
    caplog: pytest.LogCaptureFixture, client: str, told: bytes | None, warned: int
) -> None:
    async def app(*_: Any) -> None:
        pass

    headers = [] if told is None else [(b"x-forwarded-for", told)]
    scope = {"type": "http", "client": (client, 0), "headers": headers, "method": "GET", "path": "/"}
    logged = RequestLog(app)
    for _ in range(2):
        await logged(dict(scope), None, None)  # type: ignore[arg-type]
    assert caplog.text.count("GATEWAY_TRUSTED_PROXIES") == warned


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "", True),
    ],
)
def test_an_address_of_the_new_kind_stands_for_all_that_its_owner_has(
    first: str, second: str, same: bool
) -> None:
    assert (rates._place(first) == rates._place(second)) is same


def test_a_slip_while_others_guess_does_not_lock_out_who_was_right() -> None:
    counted = Rates(callers=0, failures=2, now=Stopped())
    at_home = partial(counted.attempt, "192.0.2.1", name="ann")
    with at_home():
        pass
    with pytest.raises(Unauthorized), at_home():
        raise Unauthorized
    for number in range(19):
        with pytest.raises(Unauthorized), counted.attempt(f"10.1.{number}.1", name="ann"):
            raise Unauthorized
    with pytest.raises(TooManyRequests), counted.attempt("10.2.1.1", name="ann"):
        raise AssertionError
    with at_home():
        pass


def test_an_attempt_that_is_broken_off_is_no_failure() -> None:
    counted = Rates(callers=0, failures=2, now=Stopped())
    for _ in range(5):
        with pytest.raises(OSError, match="database"), counted.attempt("192.0.2.1", name="ann"):
            raise OSError("database")
    for _ in range(2):
        with pytest.raises(Unauthorized), counted.attempt("192.0.2.1", name="ann"):
            raise Unauthorized
    with pytest.raises(TooManyRequests), counted.attempt("192.0.2.1", name="ann"):
        raise AssertionError


def test_guesses_at_once_count_before_their_outcome_and_secrets_at_once_do_not() -> None:
    counted = Rates(callers=0, failures=2, now=Stopped())
    guess = partial(counted.attempt, "192.0.2.1", name="ann")
    with guess(), guess(), pytest.raises(TooManyRequests), guess():
        raise AssertionError
    with (
        counted.attempt("192.0.2.1", "s"),
        counted.attempt("192.0.2.1", "s"),
        counted.attempt("192.0.2.1", "s"),
    ):
        pass


def test_nothing_is_counted_where_the_operator_wants_no_limit() -> None:
    counted = Rates(callers=0, failures=0)
    for _ in range(10_000):
        counted.caller("a")
    for _ in range(100):
        with pytest.raises(Unauthorized), counted.attempt("192.0.2.1", "a"):
            raise Unauthorized


def test_many_addresses_cost_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_KEPT", 100)
    allowance = Allowance(burst=1, per_second=0.001)
    for key in range(1000):
        allowance.count(key, 0)
    assert len(allowance) == 100
    assert allowance.wait(999, 0) > 0
    assert allowance.wait(0, 0) == 0
    counted = Rates(callers=0, failures=1, now=Stopped())
    for number in range(1000):
        with counted.attempt("192.0.2.1", str(number)):
            pass
    assert len(counted._known.new([hash(("192.0.2.1", None, str(number))) for number in range(1000)])) == 900


async def test_every_answer_says_that_browsers_run_and_caches_keep_nothing(gateway: Gateway) -> None:
    hub = gateway.hub((await gateway.connect())["token"])
    for path, headers in (
        ("/instances", gateway.platform),
        ("/instances", {}),
        ("/nothing", {}),
        ("/elements", {}),
        ("/folders/contents?path=/Shared", hub),
        ("/native/pubapi/v1/userinfo", hub),
    ):
        answer = (await gateway.http.get(path, headers=headers)).headers
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert answer["Cache-Control"] == "no-store"
        assert answer.get_list("Content-Security-Policy") == [answer["Content-Security-Policy"]]


async def test_an_unplanned_error_is_as_safe(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("app.provisioning.instances.find", broken)
    answer = await gateway.http.get("/instances", headers=gateway.platform)
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (500, "nosniff")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_page_of_html_that_somebody_stored_runs_nowhere(gateway: Gateway) -> None:
    hub = gateway.hub((await gateway.connect())["token"])
    page = ("evil.html", b"<script>alert(1)</script>", "text/html")
    await gateway.http.post("/files?path=/Shared/evil.html", files={"file": page}, headers=hub)
    shared = (await gateway.http.get("/files/links?path=/Shared/evil.html", headers=hub)).json()
    link = shared["cloudElementsLink"]
    for url, headers in ((link, {}), ("/files?path=/Shared/evil.html", hub)):
        answer = await gateway.http.get(url, headers=headers)
        assert answer.content == page[1]
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_of_documents_keeps_the_policy_that_lets_it_be_read(gateway: Gateway) -> None:
    answer = await gateway.http.get("http://gateway/docs")
    assert "style-src" in answer.headers["Content-Security-Policy"]
    assert "sandbox" not in answer.headers["Content-Security-Policy"]


async def test_who_is_unknown_and_who_is_refused_read_the_same_words(gateway: Gateway) -> None:
    ann = await hire(gateway, "ann@example.com", "user")
    gone = await hire(gateway, "gone@example.com", "user")
    quiet = await hire(gateway, "quiet@example.com", "user")
    await called(gateway, "DELETE", f"/users/{gone.id}")
    await called(gateway, "PATCH", f"/users/{quiet.id}", active=False)
    logins = {
        (await gateway.http.post(LOGIN, json={"username": name, "password": "wrong guess"})).json()["message"]
        for name in (ann.email, gone.email, quiet.email, "nobody@example.com")
    }
    assert len(logins) == 1
    user, organization = gateway.secrets.user, gateway.secrets.organization
    headers = [gone.headers, quiet.headers, wrong(1)]
    headers += [
        {"Authorization": f"User {user}, Organization wrong"},
        {"Authorization": f"User wrong, Organization {organization}"},
        {"Authorization": "Bearer wrong"},
    ]
    refusals = [await gateway.http.get("/users/me", headers=item) for item in headers]
    hub = (gateway.hub("wrong")["Authorization"], "User wrong, Element wrong")
    refusals += [await gateway.http.get("/ping", headers={"Authorization": item}) for item in hub]
    assert {(answer.status_code, answer.json()["message"]) for answer in refusals} == {
        (401, Unauthorized.__doc__)
    }


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/instances?" + "tags[]=x&" * 101, "tags[]"),
        ("/instances?" + "a=b&" * 1000, "1000 parameters"),
        (f"/instances?page={'9' * 5000}", "page"),
        ("/instances?page=1e9999", "page"),
        (f"/instances?nextPage={'9' * 5000}", "nextPage"),
        (f"/instances/{'9' * 4000}", "id"),
    ],
    ids=["tags", "parameters", "digits", "exponent", "token", "id"],
)
async def test_a_query_out_of_all_proportion_is_refused(gateway: Gateway, path: str, named: str) -> None:
    answer = await gateway.http.get(path, headers=gateway.platform)
    assert (answer.status_code, named in answer.json()["message"]) == (400, True), answer.text


async def test_a_page_beyond_all_numbers_is_empty(gateway: Gateway) -> None:
    hub = gateway.hub((await gateway.connect("box"))["token"])
    made = await gateway.http.post("/files?path=/a.txt", files={"file": b"x"}, headers=hub)
    far = f"page={'9' * 4000}&pageSize={'9' * 4000}"
    for path in (f"/files/{made.json()['id']}/comments", "/folders/contents"):
        answer = await gateway.http.get(f"{path}?path=/&{far}", headers=hub)
        assert (answer.status_code, answer.json()) == (200, []), path


async def test_a_form_with_fields_without_end_is_refused(gateway: Gateway) -> None:
    hub = gateway.hub((await gateway.connect())["token"])
    for count, status in ((99, 200), (100, 400)):
        fields = {f"field{number}": (None, b"x") for number in range(count)}
        answer = await gateway.http.post(
            f"/files?path=/Shared/{count}.txt", files=fields | {"file": ("a.txt", b"x")}, headers=hub
        )
        assert answer.status_code == status, answer.text


async def test_a_body_is_never_unpacked(gateway: Gateway) -> None:
    headers = gateway.platform | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = bytes.fromhex("1f8b0800000000000003") + b"\0" * 100
    answer = await gateway.http.post("/instances", content=bomb, headers=headers)
    assert answer.status_code == 400
    assert "not valid JSON" in answer.json()["message"]


async def test_tags_without_end_are_refused_before_they_are_read(gateway: Gateway) -> None:
    body = await gateway.order() | {"tags": ["<a" * 200] * 2000}
    answer = await gateway.http.post("/instances", content=json.dumps(body), headers=gateway.platform)
    assert (answer.status_code, "tags" in answer.json()["message"]) == (400, True)


async def test_a_key_that_is_there_twice_is_found_among_many(gateway: Gateway) -> None:
    keys = [*range(60_000), 59_999]
    body = "{" + ",".join(f'"{key}":1' for key in keys) + "}"
    answer = await gateway.http.post("/instances", content=body, headers=gateway.platform)
    assert (answer.status_code, "'59999' is there twice" in answer.json()["message"]) == (400, True)


def command(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    url = gateway.runtime.settings.database_url.get_secret_value()
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        env=os.environ | {"GATEWAY_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


async def test_the_operator_replaces_secrets_by_command(gateway: Gateway) -> None:
    user = command(gateway, "user", "secret", "Test@example.com", "--overlap", "PT24H")
    assert user.returncode == 0, user.stderr
    new = {"User": gateway.secrets.user, "Organization": gateway.secrets.organization}
    assert await works(gateway, gateway.platform)
    new["User"] = user.stdout.rpartition("  User ")[2].strip()
    assert await works(gateway, {"Authorization": ", ".join(" ".join(item) for item in new.items())})
    organization = command(gateway, "organization", "secret", "1")
    assert organization.returncode == 0, organization.stderr
    new["Organization"] = organization.stdout.rpartition("  Organization ")[2].strip()
    assert not await works(gateway, gateway.platform)
    assert await works(gateway, {"Authorization": ", ".join(" ".join(item) for item in new.items())})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["user", "secret", "nobody@example.com"], "No user"),
        (["organization", "secret", "99"], "No organization"),
        (["organization", "secret", "1", "--overlap", "P31D"], "--overlap"),
    ],
    ids=["user", "organization", "overlap"],
)
async def test_a_secret_that_cannot_be_replaced_stays(gateway: Gateway, words: list[str], said: str) -> None:
    done = command(gateway, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert await works(gateway, gateway.platform)


class Pieces:
    """A body whose pieces each take some time, on a clock that nothing else moves."""

    def __init__(self, clock: Stopped, size: int, took: float) -> None:
        self._clock = clock
        self._message = {"type": "http.request", "body": b"x" * size, "more_body": True}
        self._took = took

    async def receive(self) -> Any:
        for _ in range(3):  # long enough for a time-out of nothing to be noticed
            await asyncio.sleep(0)
        self._clock.at += self._took
        return self._message


@pytest.mark.parametrize(
    ("size", "took", "most"), [(1, 0, 100), (30_000, 29, 100), (1, 29, 2), (1000, 11, 3)]
)
async def test_a_body_may_be_slow_and_not_too_slow_altogether(
    clock: Stopped, monkeypatch: pytest.MonkeyPatch, size: int, took: float, most: int
) -> None:
    monkeypatch.setattr("app.api.slow_bodies.time.monotonic", clock)
    came = 0

    async def reading(scope: Any, receive: Receive, send: Any) -> None:
        nonlocal came
        for _ in range(100):
            await receive()
            came += 1

    scope = {"type": "http", "headers": [(b"content-length", b"1")]}
    bodies: Any = SlowBodies(reading, timeout=30)
    expected = pytest.raises(BodyTimeout, match="408") if most < 100 else nullcontext()
    with expected:
        await bodies(scope, Pieces(clock, size, took).receive, None)
    assert came == most
