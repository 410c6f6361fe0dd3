"""Whole lives of accounts with secrets that are known here, and then a look for each of them, as it is and
encoded, at everything that others can read: log lines, answers, plain columns, and what objects say of
themselves."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import gateway as gateways
import httpx
import pytest
from gateway import Gateway
from people import PASSWORD
from serving import served
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app import logs
from app.clock import Clock
from app.delivery.dispatcher import DispatchWorker
from app.errors import VendorError
from app.poller import PollWorker
from app.registry import discover
from app.store.tables import Attempt, Poller, metadata, table
from app.upstream import oauth
from app.upstream.client import Upstream
from app.upstream.oauth import App

ENCRYPTION_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CARRIED = {
    "event.notification.signature.key": "signature/key+known",
    "event.notification.signature.secondary.key": "secondary-key-known",
    "event.notification.basic.username": "receiver",
    "event.notification.basic.password": "basic-password-known",
    "event.notification.callback.headers": "X-Api-Key: header-value-known",
    "my.private.token": "free-token-known",
}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that the process logs, in both forms, down to debug."""
    written: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.extend([logs.TextLines().format(record), logs.JsonLines().format(record)])

    logs.quiet_libraries()
    handler, root = Collect(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def parrot() -> Iterator[str]:
    """A receiver that fails, and repeats whatever it was sent."""

    async def repeat(request: Request) -> JSONResponse:
        body = (await request.body()).decode()
        return JSONResponse({"headers": dict(request.headers), "body": body[:50]}, 500)

    with served(Starlette(routes=[Route("/{rest:path}", repeat, methods=["POST"])])) as url:
        yield url


class Echo(httpx.AsyncBaseTransport):
    """The vendors; or, when it `repeats`, somebody who answers with the whole request."""

    def __init__(self, behind: httpx.AsyncBaseTransport) -> None:
        self._behind = behind
        self.repeats: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.repeats is None:
            return await self._behind.handle_async_request(request)
        return echoed(request, self.repeats)

    async def aclose(self) -> None:
        await self._behind.aclose()


def echoed(request: httpx.Request, status: int) -> httpx.Response:
    form = request.content.decode("latin-1")
    words = f"{dict(request.headers)} {form} {request.url}"
    return httpx.Response(
        status, json={"message": words, "error": "invalid_request", "error_description": words}
    )


@dataclasses.dataclass
class Life:
    """A gateway, what it has answered in failure, and the secrets that nobody may find."""

    gateway: Gateway
    vendors: Echo
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    errors: list[str] = dataclasses.field(default_factory=list)

    async def ask(self, method: str, path: str, /, **request: Any) -> httpx.Response:
        request.setdefault("headers", self.gateway.platform)
        answer = await self.gateway.http.request(method, path, **request)
        if answer.status_code >= 400:
            self.errors.append(f"{answer.text} {answer.headers}")
        return answer

    async def note(self, name: str, instance_id: int) -> None:
        """Notes the secrets that an instance has now. A client's id is none: it is in every consent URL."""
        secrets = await self.gateway.runtime.credentials.open(instance_id)
        for key in ("oauth.user.token", "oauth.user.refresh_token"):
            self.secrets[f"{name} {key}"] = secrets.values[key]
        self.secrets[f"{name} element token"] = secrets.token


@pytest.fixture
async def life(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Life]:
    monkeypatch.setattr("app.upstream.client._ATTEMPTS", 1)  # nobody waits for a vendor that repeats
    settings = gateways.settings_for(
        tmp_path,
        sandbox_url,
        encryption_keys=ENCRYPTION_KEY,
        failed_authentications=0,
        vendor_timeout=timedelta(seconds=20),
        vendor_budget=timedelta(seconds=30),
    )
    async with gateways.running(settings, sandbox_url) as gateway:
        client = gateway.runtime.vendors
        vendors = client._transport = Echo(client._transport)
        life = Life(gateway, vendors)
        life.secrets |= {"user": gateway.secrets.user, "organization": gateway.secrets.organization}
        life.secrets |= {"client": "sandbox-secret", "encryption": ENCRYPTION_KEY, "password": PASSWORD}
        life.secrets |= {
            name: value.rpartition(": ")[2] for name, value in CARRIED.items() if "user" not in name
        }
        yield life


async def test_no_secret_of_a_whole_life_is_found_outside(
    life: Life, lines: list[str], parrot: str, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _people(life)
    for element in ("egnyte", "box"):
        instance = await _connected(life, element, parrot)
        await _called(life, instance)
        await _refreshed(life, instance, element, sandbox)
        await _polled_and_delivered(life, instance)
        await _repeated(life, instance)
        await _broken(life, instance, monkeypatch)
        await _changed_and_ended(life, instance)
    attempts = await _rows(life, Attempt)
    assert [row.answer for row in attempts if row.answer and "********" in row.answer], "nothing was repeated"
    assert len(life.errors) > 30
    assert len(lines) > 100
    found = _leaks(life.secrets, "log", lines) | _leaks(life.secrets, "error", life.errors)
    found |= _leaks(life.secrets, "column", await _columns(life)) | _leaks(life.secrets, "repr", _said(life))
    assert not found


async def _people(life: Life) -> None:
    user = (
        await life.ask("POST", "/users", json={"emailAddress": "a@b.example", "password": PASSWORD})
    ).json()
    life.secrets["other user"] = user["secret"]
    for password in (PASSWORD, PASSWORD + "wrong"):
        login = {"username": "a@b.example", "password": password}
        answer = await life.ask("POST", "/authentication", json=login)
    token = (await life.ask("POST", "/authentication", json=login | {"password": PASSWORD})).json()["token"]
    life.secrets["login"] = token
    bearer = {"Authorization": f"Bearer {token}"}
    pair = (await life.ask("GET", "/authentication/secrets", headers=bearer)).json()
    life.secrets |= {f"pair {name}": value for name, value in pair.items() if isinstance(value, str)}
    rotated = await life.ask("PUT", "/users/a@b.example/secret")
    life.secrets["new user"] = rotated.json()["userSecret"]
    for header in (f"Bearer {token}x", f"User {user['secret']}", f"Bearer {token}, User {token}", token):
        answer = await life.ask("GET", "/instances", headers={"Authorization": header})
        assert answer.status_code == 401
    await life.ask("DELETE", "/authentication", headers=bearer)


async def _connected(life: Life, element: str, parrot: str) -> dict[str, Any]:
    wanted = CARRIED | {
        "event.notification.enabled": "true",
        "event.notification.callback.url": f"{parrot}/{element}",
    }
    order = await life.gateway.order(element, **wanted)
    life.secrets[f"{element} code"] = order["providerData"]["code"]
    wrong = order | {"configuration": order["configuration"] | {"oauth.api.secret": "wrong-client-secret"}}
    life.secrets["wrong client"] = "wrong-client-secret"
    assert (await life.ask("POST", "/instances", json=wrong)).status_code == 400
    for status in (400, 401, 500, 200):
        life.vendors.repeats = status
        assert (await life.ask("POST", "/instances", json=order)).status_code >= 400
    life.vendors.repeats = None
    made = await life.ask("POST", "/instances", json=order)
    assert made.status_code == 200, made.text
    assert (await life.ask("POST", "/instances", json=order)).status_code == 400  # the code is used up
    instance: dict[str, Any] = made.json()
    await life.note(element, instance["id"])
    return instance


async def _called(life: Life, instance: dict[str, Any]) -> None:
    headers = life.gateway.hub(instance["token"])
    home = "/Shared" if instance["element"]["key"] == "egnyte" else ""
    upload = {"params": {"path": f"{home}/a.txt"}, "files": {"file": ("a", b"x")}, "headers": headers}
    assert (await life.ask("POST", "/files", **upload)).status_code == 200
    shared = await life.ask("GET", "/files/links", params={"path": f"{home}/a.txt"}, headers=headers)
    assert shared.status_code == 200, shared.text
    path = urlsplit(shared.json()["cloudElementsLink"]).path
    life.secrets[f"link {instance['id']}"] = path.rpartition("/")[2]
    link = f"http://gateway{path}"
    assert (await life.ask("GET", link, headers={})).status_code == 200
    assert (await life.ask("GET", link + "x", headers={})).status_code == 404
    assert (await life.ask("GET", link.replace("/links/", "//links//"), headers={})).status_code == 404
    for path in ("/files/metadata?path=/nowhere", "/folders/contents?path=x", "/files/none/metadata"):
        await life.ask("GET", path, headers=headers)


async def _refreshed(life: Life, instance: dict[str, Any], element: str, sandbox: httpx.Client) -> None:
    place = "egnyte/acme" if element == "egnyte" else "box"
    headers = life.gateway.hub(instance["token"])
    sandbox.post(f"/control/{place}/tokens/expire", json={"kind": "access"})
    await life.ask("GET", "/ping", headers=headers)
    await life.note(f"{element} fresh", instance["id"])


async def _polled_and_delivered(life: Life, instance: dict[str, Any]) -> None:
    runtime = life.gateway.runtime
    for status in (None, 400, 500):
        life.vendors.repeats = status
        past = runtime.clock.now() - timedelta(hours=1)
        async with runtime.database.write() as connection:
            await connection.execute(update(table(Poller)).values(due_at=past, leased_until=None, fence=None))
        worker = PollWorker(runtime, asyncio.Event())
        for poller in await worker.claim(10):
            await worker.run(poller)
    life.vendors.repeats = None
    dispatcher = DispatchWorker(runtime, asyncio.Event())
    for callback in await dispatcher.claim(10):
        await dispatcher.run(callback)
    await life.ask("GET", f"/instances/{instance['id']}")


async def _repeated(life: Life, instance: dict[str, Any]) -> None:
    """Errors of every kind whose words are the request itself."""
    headers = life.gateway.hub(instance["token"])
    for status in (200, 400, 401, 403, 404, 409, 429, 500):
        life.vendors.repeats = status
        for path in ("/ping", "/files/metadata?path=/Shared/a.txt", "/folders/contents?path=/", "/events"):
            await life.ask("GET", f"/hubs/documents{path}", headers=headers)
        again = {"providerData": {"code": "a-code-that-is-known"}}
        await life.ask("PATCH", f"/instances/{instance['id']}", json=again)
    life.secrets["code"] = "a-code-that-is-known"
    life.vendors.repeats = None


async def _broken(life: Life, instance: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has planned, with its whole traceback in the log."""

    async def broken(*given: Any, **named: Any) -> None:
        raise RuntimeError(f"broken with {given} and {named}")

    for name in ("instances.provision", "updates.update", "documents.changes", "users.create"):
        with monkeypatch.context() as patched:
            patched.setattr(f"app.{name}", broken)
            order = await life.gateway.order("egnyte", **CARRIED)
            life.secrets[f"code of {name}"] = order["providerData"]["code"]
            user = {"emailAddress": "c@d.example", "password": PASSWORD}
            asked = [
                await life.ask("POST", "/instances", json=order),
                await life.ask("PATCH", f"/instances/{instance['id']}", json={"configuration": CARRIED}),
                await life.ask("POST", "/users", json=user),
                await life.ask("GET", "/hubs/documents/events", headers=life.gateway.hub(instance["token"])),
            ]
            assert 500 in {answer.status_code for answer in asked}


async def _changed_and_ended(life: Life, instance: dict[str, Any]) -> None:
    own, headers = f"/instances/{instance['id']}", life.gateway.hub(instance["token"])
    for values in (
        {"event.notification.callback.headers": "Host: header-value-known"},
        {"subdomain": "../x"},
    ):
        await life.ask("PATCH", own, json={"configuration": values})
    await life.ask("DELETE", f"{own}/enabled")
    assert (await life.ask("GET", "/ping", headers=headers)).status_code == 403
    await life.ask("PUT", f"{own}/enabled")
    await life.note("last", instance["id"])
    await life.ask("DELETE", own)
    assert (await life.ask("GET", "/ping", headers=headers)).status_code == 401


async def _rows(life: Life, model: Any) -> list[Any]:
    async with life.gateway.runtime.database.read() as connection:
        return list(await connection.execute(select(table(model))))


async def _columns(life: Life) -> list[str]:
    """Every value of every table, as the database has it."""
    found = []
    async with life.gateway.runtime.database.read() as connection:
        for name in metadata.tables:
            for row in (await connection.exec_driver_sql(f"SELECT * FROM {name}")).mappings():  # noqa: S608
                for column, value in row.items():
                    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    found.append(f"{name}.{column}: {text}")
    return found


def _said(life: Life) -> list[str]:
    """What the objects of a process say of themselves."""
    runtime = life.gateway.runtime
    own = [getattr(runtime, item.name) for item in dataclasses.fields(runtime)]
    return [repr(runtime), str(runtime.settings), repr(runtime.settings.model_dump()), *map(repr, own)]


def _leaks(secrets: dict[str, str], where: str, texts: list[str]) -> set[str]:
    """Which secrets stand in texts, and the beginning of where."""
    whole = "\n".join(texts)
    found = set()
    for name, secret in secrets.items():
        plain = secret.encode()
        forms = {secret, quote(secret, safe=""), base64.b64encode(plain).decode().rstrip("=")}
        forms |= {base64.urlsafe_b64encode(plain).decode().rstrip("="), secret.replace("/", "\\/")}
        if any(form in whole for form in forms):
            shown = next(text for text in texts if any(form in text for form in forms))
            found.add(f"{name} in {where}: {shown[:600]}")
    return found


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("element", ["egnyte", "box"])
async def test_a_vendor_that_repeats_a_request_is_quoted_without_secrets(element: str, status: int) -> None:
    """Whatever the provider makes of the answer."""
    provider = discover({}).find(element)
    app, now = App("client", "client-secret/known", "https://app.example.com"), Clock().now()
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: echoed(request, status)))

    async def token(rejected: str | None = None) -> str:
        return "access token/known+"

    hub = provider(Upstream(client, base_url="https://vendor", token=token, interpret=provider.refusal), {})
    spec, url = provider.oauth, "https://vendor"
    calls = (
        hub.ping(),
        hub.me(),
        oauth.exchange_code(client, spec, url, app, "code/known+one", now),
        oauth.refresh(client, spec, url, app, "refresh/known+one", now),
        oauth.revoke(client, spec, url, app, "revoked/known+one"),
    )
    for error in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(error, BaseException):
            assert isinstance(error, VendorError)
            assert "known" not in unquote(error.in_full)
            assert "known" not in str(error.__cause__)


def test_the_words_of_a_token_answer_are_never_quoted() -> None:
    """It may be a form, as some vendors answer, and then nobody has seen these tokens before."""
    answer = "access_token=fresh-token-known&token_type=bearer"
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=answer)))
    spec = discover({}).find("box").oauth
    with pytest.raises(VendorError) as caught:
        asyncio.run(
            oauth.exchange_code(client, spec, "https://vendor", App("a", "b", "c"), "d", Clock().now())
        )
    assert "known" not in caught.value.in_full
