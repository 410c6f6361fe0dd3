"""Whole lives of accounts with secrets that are known here, and then a look for each of them, as it is and
encoded, at everything that others can read: log lines, answers, plain columns, and what objects say of
themselves."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import gateway as gateways
import httpx
import pytest
from acme import Acme
from calling_vendor import CALLED, PAST
from exports import TOKEN, exported, take_over
from gateway import Gateway
from people import PASSWORD
from serving import served
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from unread import unread

from app.async_requests import RequestWorker
from app.clock import Clock
from app.delivery.dispatcher import DispatchWorker
from app.errors import SettingsError, VendorError
from app.ingest import vendor_webhooks
from app.polling.poller import PollWorker
from app.provisioning.importer import Outcome
from app.registry import discover
from app.store.tables import AsyncRequest, Attempt, Credential, Poller, VendorWebhook, metadata, table
from app.upstream import oauth
from app.upstream.client import Upstream
from app.upstream.oauth import App
from app.vault import key_rotation
from app.vault.sealing import Sealer, new_key, parse_keys

ENCRYPTION_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CARRIED = {
    "event.notification.signature.key": "signature/key+known",
    "event.notification.signature.secondary.key": "secondary-key-known",
    "event.notification.basic.username": "receiver",
    "event.notification.basic.password": "basic-password-known",
    "event.notification.callback.headers": "X-Api-Key: header-value-known",
    "my.private.token": "free-token-known",
    "my.private.url": "https://me@example.com:free-url@known@example.com/x",
}
URL_PASSWORD = "url-password-known"


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
    said = {"message": words, "error": "invalid_request", "error_description": words}
    return unread(httpx.Response(status, json=said))


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
        public_url="http://gateway",
    )
    async with gateways.running(settings, sandbox_url) as gateway:
        client = gateway.runtime.vendors
        vendors = client._transport = Echo(client._transport)
        life = Life(gateway, vendors)
        life.secrets |= {"user": gateway.secrets.user, "organization": gateway.secrets.organization}
        life.secrets |= {"client": "sandbox-secret", "encryption": ENCRYPTION_KEY, "password": PASSWORD}
        life.secrets |= {name: value.rpartition(": ")[2] for name, value in _secret(CARRIED).items()}
        life.secrets["free URL"] = "free-url@known"
        life.secrets["login of a URL"] = URL_PASSWORD
        yield life


async def test_no_secret_of_a_whole_life_is_found_outside(
    life: Life, lines: list[str], parrot: str, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _people(life)
    for element in ("egnyte", "box"):
        instance = await _connected(life, element, parrot)
        await _called(life, instance)
        await _refreshed(life, instance, element, sandbox)
        await _told_elsewhere(life, instance, parrot)
        await _subscribed(life, instance, parrot)
        await _passed_through(life, instance)
        await _led_back(life, element)
        await _done_later(life, instance)
        await _polled_and_delivered(life, instance)
        await _repeated(life, instance)
        await _broken(life, instance, monkeypatch)
        await _changed_and_ended(life, instance)
    attempts = await _rows(life, Attempt)
    assert [row.answer for row in attempts if row.answer and "********" in row.answer], "nothing was repeated"
    assert len(life.errors) > 30
    assert len(lines) > 100
    assert not await _found(life, lines)


async def test_no_secret_of_a_vendor_that_calls_is_found_outside(life: Life, lines: list[str]) -> None:
    instance = await life.gateway.connect("egnyte", **CALLED)
    await life.note("called", instance["id"])
    for status in (None, 200, 400, 401, 403, 404, 409, 429, 500):
        life.vendors.repeats = status
        await _looked_after(life)
        (row,) = await _rows(life, VendorWebhook)
        assert row.hooks, "the vendor was not asked"
        life.secrets["webhook"] = webhook = vendor_webhooks.secret(life.gateway.runtime, row) or ""
        shown = await life.ask("GET", f"/instances/{instance['id']}")
        life.errors.append(str(shown.json()["vendorWebhook"]))
    life.vendors.repeats = None
    for proof, body in ((webhook, "no JSON"), (f"{webhook}x", "{}"), ("", "{}")):
        headers = {"Authorization": proof}
        await life.ask("POST", f"/events/egnyte?instance={instance['id']}", content=body, headers=headers)
    (row,) = await _rows(life, VendorWebhook)
    assert row.refused == 2
    await life.ask("DELETE", f"/instances/{instance['id']}")
    await _looked_after(life)
    assert not await _found(life, lines)


async def _looked_after(life: Life) -> None:
    """The vendor's webhook, as if it were due."""
    async with life.gateway.runtime.database.write() as connection:
        await connection.execute(update(table(VendorWebhook)).values(due_at=PAST))
    worker = vendor_webhooks.WebhookWorker(life.gateway.runtime)
    for row in await worker.claim(10):
        await worker.run(row)


async def test_no_secret_that_is_taken_over_and_sealed_anew_is_found_outside(
    life: Life, lines: list[str], acme: Acme
) -> None:
    known = {name: value.replace("known", "imported") for name, value in CARRIED.items()}
    tokens = {
        "oauth.user.token": acme.token()["access_token"],
        "oauth.user.refresh_token": "refresh-imported",
    }
    life.secrets |= {f"imported {name}": value for name, value in tokens.items()}
    life.secrets |= {f"imported {name}": value.rpartition(": ")[2] for name, value in _secret(known).items()}
    life.secrets["imported token"] = TOKEN
    usual, headers = known | tokens, "event.notification.callback.headers"
    export = [
        exported(acme, configuration=usual),
        exported(acme, configuration=usual | {headers: "header-value-imported"}, id=5, token=f"{TOKEN}x"),
        exported(acme, configuration=usual, id=6, token=f"{TOKEN}y", tags=TOKEN),
        exported(acme, configuration=usual, id=7, token=TOKEN * 99),
        TOKEN,
    ]
    taken = await take_over(life.gateway, *export)
    assert [line.outcome for line in taken] == [*[Outcome.CREATED] * 2, *[Outcome.FAILED] * 3]
    life.errors.extend(map(repr, taken))
    await _sealed_anew(life)
    assert not await _found(life, lines)


async def _sealed_anew(life: Life) -> None:
    """With a new key; one row is broken, and the old key is taken away."""
    database, now, (old,) = life.gateway.runtime.database, Clock().now(), parse_keys(ENCRYPTION_KEY)
    life.secrets["new encryption"] = key = new_key()
    new = parse_keys(key)[0]
    life.secrets["old key itself"] = old.decode()
    sealer = Sealer([new, old])
    await key_rotation.begin(database, Sealer([old]), now=now)
    await key_rotation.begin(database, sealer, now=now)
    first, *_ = await _rows(life, Credential)
    row = update(table(Credential)).where(table(Credential).c.instance_id == first.instance_id)
    for sealed in (first.sealed[:-1] + bytes([first.sealed[-1] ^ 1]), first.sealed):
        async with database.write() as connection:
            await connection.execute(row.values(sealed=sealed))
        ended = await key_rotation.rotate(database, sealer, now=now, report=life.errors.append)
        life.errors += [repr(ended), repr(sealer), repr(await key_rotation.states(database, sealer))]
    assert "cannot be opened" in "".join(life.errors)
    with pytest.raises(SettingsError) as caught:
        await key_rotation.check(database, Sealer([old]))
    life.errors.append(caught.value.message)


async def _found(life: Life, lines: list[str]) -> set[str]:
    """What of the secrets stands anywhere."""
    places = {"log": lines, "error": life.errors, "column": await _columns(life), "repr": _said(life)}
    return set().union(*(_leaks(life.secrets, where, texts) for where, texts in places.items()))


def _secret(configuration: dict[str, str]) -> dict[str, str]:
    """Those of its values that are secret as a whole."""
    names = [name for name in configuration if "user" not in name and not name.endswith(".url")]
    return {name: configuration[name] for name in names}


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
        "event.notification.callback.url": _with_login(f"{parrot}/{element}"),
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


def _with_login(url: str) -> str:
    return url.replace("//", f"//receiver:{URL_PASSWORD}@")


async def _told_elsewhere(life: Life, instance: dict[str, Any], parrot: str) -> None:
    url = _with_login(f"{parrot}/more")
    topic = f"instance-{instance['id']}-{instance['element']['key']}-events"
    order = {"topics": [topic], "config": {"url": url}}
    assert (await life.ask("POST", "/notifications/subscriptions", json=order)).status_code == 200
    order = {"topics": [topic], "config": {"url": url.replace("http:", "ftp:")}}
    assert (await life.ask("POST", "/notifications/subscriptions", json=order)).status_code == 400
    headers = life.gateway.hub(instance["token"]) | {"Elements-Async-Request": "true"}
    for place in (url, url.replace("http:", "ftp:")):
        told = headers | {"Elements-Async-Callback-Url": place}
        await life.ask("DELETE", "/folders", params={"path": "/Shared/none"}, headers=told)
    assert (await life.ask("GET", "/notifications/subscriptions")).status_code == 200


async def _subscribed(life: Life, instance: dict[str, Any], parrot: str) -> None:
    """A callback with a key of its own, and orders that are wrong in something else."""
    topic = f"instance-{instance['id']}-{instance['element']['key']}-events"
    life.secrets["subscription"] = key = "subscription/key+known"
    config = {"url": f"{parrot}/signed", "signatureKey": key}
    made = await life.ask("POST", "/notifications/subscriptions", json={"topics": [topic], "config": config})
    assert made.status_code == 200, made.text
    wrong: tuple[dict[str, Any], ...] = (
        {"topics": ["instance-1-box-events"], "config": config},
        {"topics": [topic], "config": config | {"url": "ftp://app.example.com"}},
        {"topics": [topic], "config": config | {"signatureKey": key * 100}},
        {"topics": [topic], "config": config | {"signatureKey": [key]}},
        {
            "topics": [topic],
            "config": config | {"url": _with_login(f"{parrot}/{instance['element']['key']}")},
        },
    )
    for order in wrong:
        assert (await life.ask("POST", "/notifications/subscriptions", json=order)).status_code >= 400
    shown = await life.ask("GET", f"/notifications/subscriptions/{made.json()['id']}")
    life.errors += [made.text, shown.text]


async def _passed_through(life: Life, instance: dict[str, Any]) -> None:
    """The vendor's own API. What the vendor says there is for the client, as it is, so that only the log is
    looked at when he repeats a request."""
    path = {"egnyte": "pubapi/v1/userinfo", "box": "2.0/users/me"}[instance["element"]["key"]]
    headers = {"Authorization": f"Bearer {instance['token']}"}
    assert (await life.ask("GET", f"/native/{path}", headers=headers)).status_code == 200
    for status in (200, 302, 401, 429, 500):
        life.vendors.repeats = status
        await life.gateway.http.get(f"/native/{path}", headers=headers, params={"q": instance["token"]})
    life.vendors.repeats = None
    for wrong in ("oauth2/token", "puboauth/token", "..%2fx", "%252525252525252e"):
        assert (await life.ask("POST", f"/native/{wrong}", headers=headers, content=b"x")).status_code >= 400
    refused = {"Authorization": f"Bearer {instance['token']}x"}
    assert (await life.ask("GET", f"/native/{path}", headers=refused)).status_code == 401


async def _led_back(life: Life, element: str) -> None:
    """A consent by the OAuth proxy, whose state works once."""
    order = {"apiKey": "sandbox-client", "apiSecret": "sandbox-secret", "subdomain": "acme"}
    asked = {"isOauthProxy": "true", "state": "https://app.example.com/connected"}
    page = await life.ask("GET", f"/elements/{element}/oauth/url", params=order | asked)
    state = parse_qs(urlsplit(page.json()["oauthUrl"]).query)["state"][0]
    life.secrets |= {f"{element} state": state, "led code": "led-code-known"}
    for given, status in ((f"{state}x", 400), (state, 302), (state, 400)):
        answer = {"code": "led-code-known", "state": given}
        assert (await life.ask("GET", "/oauth/proxy", params=answer)).status_code == status
    await life.ask("GET", "/oauth/proxy", params={"state": state})
    for target in ("ftp://led-code-known", f"https://a@app.example.com/{state}"):
        wrong = order | asked | {"state": target}
        assert (await life.ask("GET", f"/elements/{element}/oauth/url", params=wrong)).status_code == 400


async def _done_later(life: Life, instance: dict[str, Any]) -> None:
    """Async requests, while the vendor is well and while he repeats them."""
    headers = life.gateway.hub(instance["token"]) | {"Elements-Async-Request": "true"}
    for status in (None, 400, 500):
        life.vendors.repeats = None
        done = await life.ask("DELETE", "/folders", params={"path": "/Shared/none"}, headers=headers)
        assert done.status_code == 200, done.text
        life.vendors.repeats = status
        worker = RequestWorker(life.gateway.runtime)
        for request in await worker.claim(10):
            await worker.run(request)
    life.vendors.repeats = None
    assert all(row.attempts for row in await _rows(life, AsyncRequest))


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

    for name in (
        "provisioning.instances.provision",
        "provisioning.updates.update",
        "documents.changes",
        "tenancy.users.create",
    ):
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
        forms = {secret, quote(secret, safe=""), secret.replace("/", "\\/"), secret.encode().hex()}
        forms |= set(_in_base64(secret.encode()))
        if any(form in whole for form in forms):
            shown = next(text for text in texts if any(form in text for form in forms))
            found.add(f"{name} in {where}: {shown[:600]}")
    return found


def _in_base64(plain: bytes) -> Iterator[str]:
    """What of it is the same in base64 whatever stands before and after it, wherever it begins."""
    for before, cut in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + plain).decode()[cut : (before + len(plain)) * 8 // 6]


@pytest.mark.parametrize("form", ["plain", "hex", "base64", "base64url"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_leak_is_found_in_any_spelling_and_between_others(form: str, before: str) -> None:
    secret = "known/secret+>>>???"
    text = f"{before}{secret}after".encode()
    encode: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "hex": lambda plain: plain.hex().encode(),
        "base64": base64.b64encode,
        "base64url": base64.urlsafe_b64encode,
    }
    assert _leaks({"it": secret}, "log", [encode[form](text).decode()])
    assert not _leaks({"it": secret}, "log", [encode[form](text.replace(b"known", b"other")).decode()])


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
    transport = httpx.MockTransport(lambda _: unread(httpx.Response(200, text=answer)))
    client = httpx.AsyncClient(transport=transport)
    spec = discover({}).find("box").oauth
    with pytest.raises(VendorError) as caught:
        asyncio.run(
            oauth.exchange_code(client, spec, "https://vendor", App("a", "b", "c"), "d", Clock().now())
        )
    assert "known" not in caught.value.in_full
