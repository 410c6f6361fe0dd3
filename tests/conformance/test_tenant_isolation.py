"""Two accounts through every route: nothing of the one is shown, changed or even betrayed to the other. The
routes are those of the application's own document, so that a new one takes part by existing."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
import worlds
from fastapi.routing import APIRoute, iter_route_contexts
from gateway import Gateway
from serving import served
from worlds import Operation, Probe, Store, World

from app.main import create_app
from app.sandbox.server import create_sandbox
from app.settings import load

APP = create_app(load(_env_file=None), with_workers=False)
OPERATIONS = worlds.operations(APP.openapi())
VICTIM = "quokka"

NOT_DRIVEN = {
    "/openapi.json": "the document itself, the same for everybody",
    "/docs": "the page of the document, the same for everybody",
}
"""Routes that the document does not have, each with the reason why nobody's things can be in it."""

PUBLIC = {
    "POST /authentication": "who logs in has nothing else yet to prove who he is",
    "GET /docs": "the surface itself",
    "GET /elements": "the kinds of vendors, and the consent pages that they have",
    "POST /elements/{keyOrId}/oauth/url": "the consent page of a vendor",
    "GET /hubs": "the kinds of vendors",
    "GET /events/{keyOrId}": "vendors call it, and their own proof is checked",
    "POST /events/{keyOrId}": "vendors call it, and their own proof is checked",
    "GET /links/{token}": "the token of a link is the proof",
    "GET /oauth/proxy": "the state is the proof, once",
    "GET /health": "for whoever runs the process",
    "GET /ready": "for whoever runs the process",
}
"""What needs no proof of who calls, and why; a name stands for those that it begins, too."""

COUNTED = {"vendor_webhook": {"refused", "refused_at"}}
"""What anybody may change of an account: the count of the calls that were refused in its vendor's name."""


@dataclass(frozen=True)
class Stage:
    """The victim, and who comes for his things; all rows are put back after each attempt."""

    gateway: Gateway
    store: Store
    victim: World
    neighbour: World
    stranger: World
    gone: Mapping[str, dict[str, str]]
    ids: frozenset[int]
    before: Mapping[str, Mapping[str, Mapping[str, Any]]]

    async def ask(self, probe: Probe, headers: Mapping[str, str]) -> httpx.Response:
        """The answer; nothing of the victim has changed by it."""
        answer = await probe.ask(self.gateway.http, headers)
        assert answer.status_code < 500 or answer.status_code == 502, f"{probe}: {answer.text}"
        if self.store.has_changed:
            self._check_untouched(f"{probe}: {answer.text[:300]}")
            self.store.restore()
            self.gateway.runtime.sessions.clear()
        return answer

    def _check_untouched(self, what: str) -> None:
        after = self.store.rows()
        for table, rows in self.before.items():
            for key, row in rows.items():
                if self._is_the_victims(table, row):
                    changed = {name for name in row if after[table].get(key, {}).get(name) != row[name]}
                    assert changed <= COUNTED.get(table, set()), f"{table}: {changed} by {what}"
            for key in after[table].keys() - rows.keys():
                owners = {after[table][key].get(name) for name in ("account_id", "instance_id", "user_id")}
                assert not owners & self.ids, f"a row of {table} by {what}"

    def _is_the_victims(self, table: str, row: Mapping[str, Any]) -> bool:
        owners = {row.get(name) for name in ("account_id", "instance_id", "user_id")}
        own = table in {"organization", "account", "gateway_user", "instance"} and row["id"] in self.ids
        return own or bool(owners & self.ids) or VICTIM in str(row.values())


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    """Vendors that know the victim alone."""
    with served(create_sandbox()) as url:
        yield url


@contextmanager
def _elsewhere(gateway: Gateway, url: str) -> Iterator[None]:
    """Meanwhile the vendors are at another place."""
    usual, urls = gateway.sandbox_url, gateway.runtime.settings.provider_base_urls
    before = dict(urls)
    urls |= {key: value.replace(usual, url) for key, value in urls.items()}
    gateway.sandbox_url = url
    yield
    urls |= before
    gateway.sandbox_url = usual


@pytest.fixture
async def stage(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, vendors: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    httpx.post(f"{vendors}/control/reset").raise_for_status()
    settings = worlds.settings(tmp_path, sandbox_url)
    async with gateways.running(settings, sandbox_url) as gateway:
        with Store(f"{tmp_path}/gateway.db") as store:
            stranger = await worlds.found(gateway, "wallaby", victim=False)
            store.begin_ids_far_away()
            with _elsewhere(gateway, vendors):
                victim = await worlds.furnished(gateway, await worlds.found(gateway, VICTIM, victim=True))
            neighbour = await _neighbour(gateway, victim)
            gone = await _gone(gateway, victim)
            store.forget_first_ids()
            monkeypatch.setattr(gateway.runtime.credentials, "revoke", _nothing)  # no row brings a grant back
            store.keep()
            users = {int(value) for value in victim.things["userIds"]}
            made = {int(value) for value in victim.things["instances"]}
            ids = frozenset({victim.account_id, victim.organization_id, *users, *made})
            yield Stage(gateway, store, victim, neighbour, stranger, gone, ids, store.rows())


async def _neighbour(gateway: Gateway, victim: World) -> World:
    """The administrator of another account of the same organization, made by one who manages both."""
    order: dict[str, Any] = {"emailAddress": "founder@example.com", "roles": ["org-admin"]}
    founder = await _made(gateway, victim.headers, "/users", order)
    headers = {"Authorization": f"User {founder['secret']}, Organization {victim.organization}"}
    account = await _made(gateway, headers, "/accounts", {"name": "wombats"})
    order = {"emailAddress": "potoroo@example.com", "roles": ["admin"]}
    user = await _made(gateway, headers, f"/accounts/{account['id']}/users", order)
    headers = {"Authorization": f"User {user['secret']}, Organization {victim.organization}"}
    return await worlds.settled(
        gateway, "potoroo", headers, victim.organization, user["secret"], victim=False
    )


async def _gone(gateway: Gateway, victim: World) -> dict[str, dict[str, str]]:
    """Proofs of the victim's account that have worked once."""
    found: dict[str, dict[str, str]] = {}
    for word, method, body in (("disabled", "PATCH", {"active": False}), ("deleted", "DELETE", None)):
        order = {"emailAddress": f"{word}@example.com", "password": "correct horse battery"}
        user = await _made(gateway, victim.headers, "/users", order)
        login = {"username": order["emailAddress"], "password": order["password"]}
        token = (await gateway.http.post("/authentication", json=login)).json()["token"]
        url = f"/users/{user['id']}"
        await gateway.http.request(method, url, json=body, headers=victim.headers)
        secret = f"User {user['secret']}"
        found[f"the platform, as a {word} user"] = {
            "Authorization": f"{secret}, Organization {victim.organization}"
        }
        found[f"a hub, as a {word} user"] = {"Authorization": f"{secret}, Element {victim.tokens['egnyte']}"}
        found[f"the login of a {word} user"] = {"Authorization": f"Bearer {token}"}
    return found


async def _nothing(*_: Any) -> None:
    pass


async def _made(gateway: Gateway, headers: dict[str, str], url: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await gateway.http.post(url, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_every_route_is_driven() -> None:
    described = {operation.path for operation in OPERATIONS}
    driven, others = set(), {}
    for context in iter_route_contexts(APP.routes):
        route = context.original_route
        path = str(getattr(context, "path_format", None) or getattr(route, "path", ""))
        if isinstance(route, APIRoute) and path in described:
            driven.add(route.endpoint)
        else:
            others[path] = getattr(route, "endpoint", None)
    missed = {path for path, endpoint in others.items() if endpoint not in driven}
    assert {path.removeprefix("/elements/api-v2") for path in missed} == NOT_DRIVEN.keys()


def test_what_needs_no_proof_of_who_calls_is_named() -> None:
    public = [operation.name for operation in OPERATIONS if operation.is_public]
    unnamed = [name for name in public if not any(_is_below(name, known) for known in PUBLIC)]
    assert not unnamed
    assert all(any(_is_below(name, known) for name in public) for known in PUBLIC)


def _is_below(name: str, known: str) -> bool:
    return name == known or name.startswith(f"{known}/")


async def test_what_is_anothers_is_answered_as_what_nobody_has(stage: Stage, vendors: str) -> None:
    """Each of the victim's things in every place of every request; and beside it one that nobody has."""
    before = httpx.get(f"{vendors}/control/requests").json()["latest"]
    tried, told_apart = 0, list[str]()
    for operation, attacker in itertools.product(OPERATIONS, (stage.neighbour, stage.stranger)):
        pairs = zip(
            worlds.probes(operation, stage.victim.things),
            worlds.probes(operation, worlds.nobodys(stage.victim)),
            strict=True,
        )
        ways = list(_ways(operation, attacker, by_token=attacker is stage.neighbour))
        for (his, nobodys), headers in itertools.product(pairs, ways):
            tried += 1
            shown = await stage.ask(his, headers)
            _check_shows_nothing(shown, his, stage.victim, attacker)
            if his.sent != nobodys.sent and not _is_known_to_differ(operation, his, attacker):
                known = await stage.ask(nobodys, headers)
                if (one := _said(shown, his)) != (other := _said(known, nobodys)):
                    told_apart.append(f"{his}\n{one}\n{other}")
    assert tried > 5 * len(OPERATIONS)
    assert not told_apart, "\n".join(told_apart[:5])
    assert httpx.get(f"{vendors}/control/requests").json()["latest"] == before, "his vendors were asked"


def _ways(operation: Operation, world: World, *, by_token: bool) -> Iterator[dict[str, str]]:
    """Who an attacker may be for an operation: himself, or by a token one of his instances."""
    if not operation.is_of_a_hub:
        yield world.headers
    if not by_token:
        return
    if operation.is_of_a_hub or re.match(r"[A-Z]+ /(instances|events)(/(?!{id})|$)", operation.name):
        yield from (world.hub(element) for element in worlds.ELEMENTS)


def _is_known_to_differ(operation: Operation, probe: Probe, who: World) -> bool:
    """An address is one user's in an organization, so that a second one cannot be made; a token of a list is
    told apart from what is no token at all, whosever it is; of a hub's things the vendor says what he says,
    who is not asked as the victim; and a neighbour's organization is his own."""
    return (
        operation.is_of_a_hub
        or bool(who.values & set(probe.sent))
        or "nextPage" in probe.query
        or (
            operation.name.startswith(("POST /users", "POST /accounts/{id}/users")) and "@" in str(probe.sent)
        )
    )


def _check_shows_nothing(answer: httpx.Response, probe: Probe, victim: World, who: World) -> None:
    """Nothing of the victim stands in an answer but what the request has said itself."""
    text, said = _text(answer), " ".join(probe.sent)
    found = {value for value in victim.values - who.values if len(value) > len("1234567") and value in text}
    assert not {value for value in found if value not in said}, f"{probe}: {answer.text[:500]}"
    assert VICTIM not in text or VICTIM in said, f"{probe}: {answer.text[:500]}"


def _said(answer: httpx.Response, probe: Probe) -> tuple[int, str]:
    """Status and words, without what differs from one request to the next."""
    if answer.is_success and probe.method != "GET":
        return answer.status_code, ""
    parts = {part for value in probe.sent for part in (value, *re.findall(r"\d{7,}", value))}
    text = _CHANGING.sub("-", _text(answer))
    for value in (*sorted(parts, key=len, reverse=True), VICTIM, worlds.NOBODY):
        text = text.replace(value, "-") if len(value) > len("123") else text
    return answer.status_code, text


_CHANGING = re.compile(r"equestId\":\"[^\"]*|[0-9a-f]{16,}|\d{4}-\d\d-\d\dT[\d:.]+Z")


def _text(answer: httpx.Response) -> str:
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return f"{answer.text} {headers}"


async def test_proofs_of_two_accounts_prove_nothing_together(stage: Stage) -> None:
    """Every route that needs a proof refuses a mixture of two parties' proofs, and those of who is gone."""
    his, near, far = stage.victim, stage.neighbour, stage.stranger
    mixtures = {
        "his instance, a neighbour's secret": f"User {near.user}, Element {his.tokens['egnyte']}",
        "his instance, a stranger's secret": f"User {far.user}, Element {his.tokens['box']}",
        "his secret, a neighbour's instance": f"User {his.user}, Element {near.tokens['box']}",
        "his secret, a stranger's organization": f"User {his.user}, Organization {far.organization}",
        "his organization, a stranger's secret": f"User {far.user}, Organization {his.organization}",
        "his secret for a login's token": f"Bearer {his.user}",
        "his organization's secret alone": f"Organization {his.organization}",
        "his secret in the place of both": f"User {his.user}, Organization {his.user}",
        **{name: headers["Authorization"] for name, headers in stage.gone.items()},
    }
    for operation, (name, header) in itertools.product(OPERATIONS, mixtures.items()):
        probe = next(worlds.probes(operation, his.things))
        if operation.is_public or (probe.file and name):
            continue
        answer = await stage.ask(probe, {"Authorization": header})
        assert answer.status_code == 401, f"{operation.name} with {name}: {answer.text}"
        _check_shows_nothing(answer, probe, his, far)


async def test_who_is_who_for_every_combination_of_proofs(stage: Stage) -> None:
    """User secrets, Organization secrets and Element tokens of three parties, and none of each: who is let in
    is who the User secret says, if all else is his as well."""
    parties = (stage.victim, stage.neighbour, stage.stranger, None)
    for path, user, organization, element in itertools.product(_ASKED, parties, parties, parties):
        parts = [f"User {user.user}"] if user else []
        parts += [f"Organization {organization.organization}"] if organization else []
        parts += [f"Element {element.tokens['box']}"] if element else []
        answer = await stage.gateway.http.get(path, headers={"Authorization": ", ".join(parts)})
        fits = user is not None and (
            organization is None or organization.organization_id == user.organization_id
        )
        by_token = path == "/hubs/documents/objects" or (path == "/instances/events" and element)
        allowed = fits and (element is user if by_token else organization is not None)
        assert answer.status_code == (200 if allowed else 401), (path, parts, answer.text)
        others = [other for other in parties if other not in (user, None)]
        assert not [other.word for other in others if other.word in answer.text]


_ASKED = ("/instances", "/hubs/documents/objects", "/instances/events", "/users/me")
