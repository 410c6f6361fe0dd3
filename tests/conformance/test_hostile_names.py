"""Names, paths and values that try to be more than a name: none leads out of an account at the vendor, into
another header, onto a line of the log, into a page or into a statement of the database."""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gateway as gateways
import httpx
import pytest
import worlds
from gateway import Gateway
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import twin_of

from app import logs, registry
from app.api.answers import Bytes
from app.delivery.carried import parse_headers
from app.hubs.entries import Download
from app.main import create_app
from app.settings import load

_same_each_time = settings(derandomize=True, deadline=None, database=None)

APP = create_app(load(_env_file=None), with_workers=False)
HUB = [operation for operation in worlds.operations(APP.openapi()) if operation.is_of_a_hub]
PROVIDERS = registry.discover({}).providers

HOSTILE = (
    "..",
    "../../../control/reset",
    "%2e%2e%2f%2e%2e",
    "..%2f..%2fcontrol",
    "..\\..\\x",
    "..;/x",
    "a/../../b",
    "//evil.example.com/x",
    "http://evil.example.com/",
    "a\0b",
    "a\r\nX-Evil: 1",
    "a\u2028b",
    "gnp\u202etxt.exe",
    "\ud7ff\uffff",
    "x" * 3000,
    " . ",
    "con",
    "?a=b&c=d#e",
    "@evil.example.com",
    "%00%0d%0a",
)
RAW = (
    "%c0%ae%c0%ae%c0%af",
    "..%2f..%2f..%2fcontrol%2freset",
    "%2e%2e%5c",
    "%ff%fe",
    "a%00b",
    "%0d%0aX:1",
    "%",
)
"""Parts of a URL as they are: overlong UTF-8, encoded slashes, bytes that are no text."""

PLACES = {"egnyte": ("/egnyte/acme/pubapi/",), "box": ("/box/2.0/", "/box/upload/", "/box/api/2.0/")}
"""Below which the requests to an account's API are at the sandbox."""

SUBDOMAINS = (
    "evil.example.com/",
    "evil.example.com#",
    "a@evil.example.com",
    "acme/../globex",
    "acme\r\nHost: x",
    "..",
    "acme.",
    "acme\n",
    "\uff05",
    "a" * 64,
    "{subdomain}",
    "acme:80",
)

FIELDS = (
    "account_id",
    "accountId",
    "`account_id`",
    "subscription.sealed",
    "__class__",
    "id; DROP TABLE x",
    "1",
)

names = st.text(max_size=60)


def things(name: str, home: str) -> dict[str, list[str]]:
    """The name in every place of a request."""
    known = ["files", "folders", "commentId", "revisionId", "folderId", "cursor", "nextPage", "where", "text"]
    known += ["tags[]", "tags", "word", "rest", "name", "description"]
    numbers = ("instances", "accounts", "organizations", "userIds")
    return {
        **{place: [name] for place in known},
        **{place: ["1"] for place in numbers},
        "path": [f"{home}/{name}"],
    }


@pytest.fixture
async def quiet(tmp_path: Path, sandbox: httpx.Client, sandbox_url: str) -> AsyncIterator[Gateway]:
    """A gateway that counts no callers."""
    settings = gateways.settings_for(tmp_path, sandbox_url, caller_rate=0, failed_authentications=0)
    async with gateways.running(settings, sandbox_url) as running:
        yield running


def asked_of(sandbox: httpx.Client, since: int) -> list[dict[str, Any]]:
    answer = sandbox.get("/control/requests", params={"since": since, "limit": 20_000}).json()
    found: list[dict[str, Any]] = answer["requests"]
    return found


@pytest.mark.parametrize("element", [provider.key for provider in PROVIDERS])
async def test_no_name_leads_out_of_an_account(quiet: Gateway, sandbox: httpx.Client, element: str) -> None:
    """Every verb of the hub, with each hostile name in the path, and each place with some of them."""
    instance = await quiet.connect(element)
    headers, home = quiet.hub(instance["token"]), twin_of(element).home
    began = sandbox.get("/control/requests").json()["latest"]
    rotating = itertools.cycle(HOSTILE)
    for number, operation in enumerate(HUB):
        for name in HOSTILE[number % 3 :: 3]:
            await _harmless(quiet, next(worlds.probes(operation, things(name, home))), headers)
        for place in range(1, len(list(worlds.probes(operation, things("x", home))))):
            probe = list(worlds.probes(operation, things(next(rotating), home)))[place]
            await _harmless(quiet, probe, headers)
    rows = asked_of(sandbox, began)
    assert rows
    for row in rows:
        assert row["path"].startswith(PLACES[element]), row
        assert not {".", ".."} & set(row["path"].replace("\\", "/").split("/")), row
        assert not {"\r", "\n", "\0"} & set(row["path"]), row


async def _harmless(gateway: Gateway, probe: worlds.Probe, headers: dict[str, str]) -> None:
    """Done or refused; what it answers has no header of the name's making."""
    if probe.url.startswith("http://gateway/elements/api-v2/native/") and not probe.url.isprintable():
        return  # no client can send that
    answer = await probe.ask(gateway.http, headers)
    assert answer.status_code != 500, f"{probe}: {answer.text}"
    assert not {"x-evil", "x"} & set(answer.headers)


@pytest.mark.parametrize("element", [provider.key for provider in PROVIDERS])
async def test_no_part_of_a_url_leads_out_of_an_account(
    gateway: Gateway, sandbox: httpx.Client, element: str
) -> None:
    instance = await gateway.connect(element)
    headers = gateway.hub(instance["token"])
    began = sandbox.get("/control/requests").json()["latest"]
    base = "http://gateway/elements/api-v2"
    for raw in RAW:
        for method, path in (
            ("GET", f"/files/{raw}/metadata"),
            ("GET", f"/files/{raw}"),
            ("DELETE", f"/folders/{raw}"),
            ("GET", f"/hubs/documents/files/1/revisions/{raw}/content"),
            ("DELETE", f"/hubs/{raw}/files/1/comments/{raw}"),
            ("GET", f"/native/pubapi/v1/{raw}/fs/Shared"),
            ("GET", f"/native/2.0/{raw}/users/me"),
            ("GET", f"/files/metadata?path=/Shared/{raw}"),
        ):
            answer = await gateway.http.request(method, base + path, headers=headers)
            assert answer.status_code != 500, (path, answer.text)
    for row in asked_of(sandbox, began):
        assert row["path"].startswith(PLACES[element]), row
        assert not {".", ".."} & set(row["path"].replace("\\", "/").split("/")), row


@pytest.mark.parametrize("subdomain", SUBDOMAINS, ids=range(len(SUBDOMAINS)))
async def test_a_subdomain_is_a_name_and_nothing_else(
    gateway: Gateway, sandbox: httpx.Client, subdomain: str
) -> None:
    instance = await gateway.connect()
    began = sandbox.get("/control/requests").json()["latest"]
    order = await gateway.order(subdomain=subdomain)
    asked = [
        await gateway.http.post("/instances", json=order, headers=gateway.platform),
        await gateway.http.patch(
            f"/instances/{instance['id']}",
            json={"configuration": {"subdomain": subdomain}, "providerData": {"code": "x"}},
            headers=gateway.platform,
        ),
    ]
    assert [answer.status_code for answer in asked] == [400, 400]
    consent = await gateway.http.get(
        "/elements/egnyte/oauth/url",
        params={"subdomain": subdomain, "apiKey": "x", "callbackUrl": "https://a.b"},
    )
    if consent.status_code == 200:
        assert urlsplit(consent.json()["oauthUrl"]).netloc == urlsplit(gateway.sandbox_url).netloc
    shown = [row["path"] for row in asked_of(sandbox, began) if "consent" not in row["path"]]
    assert shown == []


@_same_each_time
@given(names)
def test_no_configuration_points_to_another_host(value: str) -> None:
    known = registry.discover({})
    for provider in PROVIDERS:
        for host in ("", *provider.hosts):
            place = urlsplit(known.base_url(provider, {"subdomain": value}, host)).netloc
            assert place.endswith((".egnyte.com", ".box.com"))
            assert "@" not in place


@_same_each_time
@given(names)
def test_a_download_is_named_by_its_name_alone(name: str) -> None:
    """Whatever the vendor says beside it; browsers and Python's own parser read it back."""
    for given_name in (name, None):
        vendor = httpx.Response(200, headers={"content-disposition": "inline; filename=x.html"})
        answer = Bytes(Download(given_name, vendor))
        shown = answer.headers["content-disposition"]
        assert shown.isascii()
        assert shown.isprintable()
        message = Message()
        message["Content-Disposition"] = shown
        assert message.get_content_disposition() == "attachment"
        if given_name:
            found = {name for name, _ in message.get_params(header="content-disposition") or ()}
            assert found == {"attachment", "filename"}


@_same_each_time
@given(st.text(max_size=80) | st.builds(lambda a, b: json.dumps({a: b}), names, names))
def test_no_callback_header_makes_another_one(text: str) -> None:
    try:
        found = parse_headers(text)
    except ValueError:
        return
    for name, value in found.items():
        assert name.isascii()
        assert not set(name) & set(" :\r\n\0")
        assert value.isprintable()


@_same_each_time
@given(message=names, fact=names, error=names)
def test_a_log_line_is_one_line_whatever_stands_in_it(message: str, fact: str, error: str) -> None:
    record = logging.LogRecord("app", logging.INFO, "x.py", 1, "%s", (message,), None)
    record.path = fact
    for form in (logs.TextLines(), logs.JsonLines()):
        assert len(form.format(record).splitlines()) == 1
    assert json.loads(logs.JsonLines().format(record))["level"] == "info"
    try:
        raise ValueError(error)
    except ValueError:
        record.exc_info = sys.exc_info()
    _first, *others = logs.TextLines().format(record).splitlines()
    assert all(line.startswith("  ") for line in others)
    assert len(logs.JsonLines().format(record).splitlines()) == 1


async def test_a_path_forges_no_line_of_the_log(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    forged = "2026-01-01T00:00:00.000+00:00 info    user deleted user=1"
    with caplog.at_level(logging.INFO):
        await gateway.http.get(f"/x%0a{forged.replace(' ', '%20')}%1b%5b2J")
    written = [logs.TextLines().format(record) for record in caplog.records]
    assert [line for line in written if "user deleted" in line]
    assert not [line for text in written for line in text.splitlines() if line.startswith(forged[:20])]
    assert not [line for line in written if "\x1b" in line]


async def test_no_page_runs_what_a_request_says(gateway: Gateway) -> None:
    script = "<script>alert(1)</script>"
    html = {"Accept": "text/html"}
    pages = [
        await gateway.http.get(f"http://gateway/oauth/proxy?code={script}&state={script}", headers=html),
        await gateway.http.get(f"http://gateway/oauth/proxy?error={script}", headers=html),
        await gateway.http.get("http://gateway/docs", headers=html | {"Host": script}),
        await gateway.http.get("http://gateway/docs/documents", params={"baseUrl": f"https://a{script}"}),
        await gateway.http.get("http://gateway/elements/images/" + script, headers=html),
        await gateway.http.get(f"http://gateway/{script}", headers=html),
    ]
    for page in pages:
        assert page.status_code < 500
        if "json" not in page.headers["content-type"]:
            assert "<script>alert" not in page.text


async def test_a_search_takes_every_letter_for_itself(
    database_url: str, tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    """On both databases: neither the wildcards of LIKE nor what one of them cannot store are special."""
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    settings = gateways.settings_for(tmp_path, sandbox_url, database_url=database_url, encryption_keys=key)
    async with gateways.running(settings, sandbox_url) as gateway:
        for name in ("100% sure", "under_score", "back\\slash", "qu'ote\";--"):
            instance = await gateway.connect()
            body = {"name": name, "tags": [name]}
            await gateway.http.patch(f"/instances/{instance['id']}", json=body, headers=gateway.platform)
        found = {"%": 1, "_": 1, "\\": 1, "'": 1, '"': 1, "/": 0, "%' OR '1'='1": 0}
        for text, expected in found.items():
            for place in ("searchText", "tags[]"):
                answer = await gateway.http.get("/instances", params={place: text}, headers=gateway.platform)
                count = expected if place == "searchText" else 0
                assert answer.status_code == (200 if count else 404), (place, text, answer.text)
                assert not count or len(answer.json()) == count
        for path in ("/instances?searchText=%00", "/instances?tags[]=%00", "/users/%00", "/users/%00/roles"):
            assert (await gateway.http.get(path, headers=gateway.platform)).status_code == 400


@pytest.mark.parametrize("field", FIELDS)
async def test_a_condition_names_fields_and_no_columns(gateway: Gateway, field: str) -> None:
    instance = await gateway.connect()
    hub = gateway.hub(instance["token"])
    for path, headers, query in (
        ("/notifications/subscriptions/deliveries", gateway.platform, {"where": f"{field} = 1"}),
        ("/folders/contents", hub, {"path": "/", "where": f"{field} = 1"}),
        ("/folders/contents", hub, {"path": "/", "orderBy": field}),
        ("/hubs/documents/events", hub, {"where": f"{field} = 1"}),
    ):
        answer = await gateway.http.get(path, params=query, headers=headers)
        assert answer.status_code == 400, (path, answer.text)
