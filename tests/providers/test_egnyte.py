"""Egnyte's quirks, over real HTTP against its sandbox; what every provider must do is in conformance."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from acme import REDIRECT_URI, Acme, consent
from contents import cut_in
from egnyte_account import connect
from processes import PATIENCE
from twins import Twin

from app.errors import (
    BadRequest,
    Conflict,
    VendorError,
    VendorForbidden,
    VendorNotFound,
    VendorRefused,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.entries import Kind, Lock, Search, Target, Upload
from app.providers import egnyte
from app.providers.egnyte import Egnyte
from app.upstream import oauth
from app.upstream.client import Refusal, open_client
from app.upstream.content import Content
from app.upstream.oauth import App


def _token(sandbox: httpx.Client) -> str:
    return str(sandbox.post("/control/egnyte/acme/tokens", json={}).json()["access_token"])


def _change_files(sandbox: httpx.Client, count: int) -> None:
    order = {"action": "upload", "path": "/Shared/{n}.txt", "content": "x", "count": count}
    sandbox.post("/control/egnyte/acme/changes", json=order).raise_for_status()


TWIN = Twin(
    place="acme",
    control="/control/egnyte/acme",
    home="/Shared",
    token=_token,
    code=lambda sandbox_url: consent(f"{sandbox_url}/egnyte/acme"),
    change_files=_change_files,
    configuration={"subdomain": "acme"},
)
APP = App("sandbox-client", "sandbox-secret", REDIRECT_URI)
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as opened:
        yield opened


def patient(acme: Acme, client: httpx.AsyncClient) -> Egnyte:
    """The provider as a client's call has it: with a budget."""
    return connect(acme, client, budget=timedelta(seconds=PATIENCE))


@pytest.fixture
def account(acme: Acme, client: httpx.AsyncClient) -> Egnyte:
    return connect(acme, client)


async def test_a_code_becomes_tokens_that_expire_and_can_be_refreshed(
    acme: Acme, client: httpx.AsyncClient
) -> None:
    acme.configure(refresh_rotation="rotate")
    tokens = await oauth.exchange_code(client, Egnyte.oauth, acme.url, APP, consent(acme.url), NOW)
    assert tokens.expires_in == timedelta(days=30)
    assert tokens.refresh_token
    assert tokens.access_token not in repr(tokens)
    fresh = await oauth.refresh(client, Egnyte.oauth, acme.url, APP, tokens.refresh_token, NOW)
    assert fresh.access_token != tokens.access_token
    assert fresh.refresh_token not in {None, tokens.refresh_token}


async def test_a_refresh_token_that_is_not_repeated_is_kept(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.configure(refresh_rotation="omit")
    tokens = await oauth.exchange_code(client, Egnyte.oauth, acme.url, APP, consent(acme.url), NOW)
    assert tokens.refresh_token
    fresh = await oauth.refresh(client, Egnyte.oauth, acme.url, APP, tokens.refresh_token, NOW)
    assert fresh.refresh_token == tokens.refresh_token


async def test_a_legacy_token_never_expires(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.configure(token_mode="legacy")
    tokens = await oauth.exchange_code(client, Egnyte.oauth, acme.url, APP, consent(acme.url), NOW)
    assert (tokens.expires_in, tokens.refresh_token) == (None, None)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "409", "retry_after": 9}, VendorThrottled),
        ({"kind": "429", "retry_after": 9}, VendorThrottled),
        ({"kind": "mashery_qps", "retry_after": 9}, VendorThrottled),
        ({"kind": "mashery_rate", "retry_after": 9}, VendorThrottled),
        ({"kind": "mashery_inactive"}, VendorRefused),
        ({"kind": "502"}, VendorUnavailable),
        ({"kind": "503", "retry_after": 9}, VendorUnavailable),
        ({"kind": "cut_midway"}, VendorUnavailable),
        ({"kind": "bad_json"}, VendorUnavailable),
        ({"kind": "400"}, VendorRefused),
    ],
)
async def test_what_goes_wrong_at_the_token_endpoint_has_a_name(
    acme: Acme, client: httpx.AsyncClient, fault: dict[str, Any], error: type[VendorError]
) -> None:
    granted = consent(acme.url)
    acme.fault(**fault, path="/puboauth/token")
    with pytest.raises(error) as caught:
        await oauth.exchange_code(client, Egnyte.oauth, acme.url, APP, granted, NOW)
    assert type(caught.value) is error
    assert caught.value.retry_after == fault.get("retry_after")
    assert "sandbox-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("mashery_qps", VendorThrottled),
        ("mashery_rate", VendorThrottled),
        ("429", VendorThrottled),
        ("403", VendorForbidden),
        ("mashery_inactive", VendorUnauthorized),
        ("401", VendorUnauthorized),
        ("404", VendorNotFound),
        ("400", VendorRefused),
        ("500", VendorUnavailable),
        ("503", VendorUnavailable),
        ("cut", VendorUnavailable),
        ("cut_midway", VendorUnavailable),
        ("bad_json", VendorUnavailable),
        ("html", VendorUnavailable),
    ],
)
async def test_what_goes_wrong_in_a_call_has_a_name(
    acme: Acme, account: Egnyte, kind: str, error: type[VendorError]
) -> None:
    acme.fault(kind, path="/pubapi/v1/userinfo", times=2)
    with pytest.raises(error) as caught:
        await account.ping()
    assert type(caught.value) is error


async def test_an_answer_that_comes_too_late_is_no_answer(acme: Acme, client: httpx.AsyncClient) -> None:
    client.timeout = httpx.Timeout(0.2)
    account = connect(acme, client)
    acme.fault("slow", path="/pubapi", seconds=PATIENCE)
    with pytest.raises(VendorUnavailable, match="no answer in time"):
        await account.ping()


async def test_a_throttle_says_how_long(acme: Acme, account: Egnyte) -> None:
    acme.fault("mashery_qps", path="/pubapi", retry_after=4)
    with pytest.raises(VendorThrottled) as caught:
        await account.ping()
    assert caught.value.retry_after == 4
    assert caught.value.provider_message == "Developer Over Qps"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errorMessage":"a"}', "a"),
        (b'{"message":"a","code":1}', "a"),
        (b'{"Errors":[{"description":"a","code":"X"},{"description":"b"}]}', "a b"),
        (b'{"errors":[{"msg":"a","code":"X"}]}', "a"),
        (b'{"formErrors":[{"code":"X","msg":"a"}]}', "a"),
        (b'{"inputErrors":{"field":[{"code":"X","msg":"a"}]}}', "a"),
        (b'{"error":"invalid_grant","error_description":"a"}', "a invalid_grant"),
        (b"<h1>Developer\n Inactive</h1>", "Developer Inactive"),
        (b'{"unknown":1}', '{"unknown":1}'),
        (b"[1]", "[1]"),
        (b"", "HTTP 400"),
        (b'{"errors":"text","inputErrors":[1]}', '{"errors":"text","inputErrors":[1]}'),
    ],
)
def test_every_envelope_gives_its_words(body: bytes, words: str) -> None:
    error = Egnyte.refusal(Refusal(400, httpx.Headers(), body))
    assert isinstance(error, VendorRefused)
    assert error.provider_message == words


# Uploads: held, streamed, in chunks


SHARED = Target(Kind.FOLDER, path="/Shared")
DATA = bytes(range(256)) * 4 + b"the end"


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 bytes are held, from 500 on it is chunks of 100."""
    monkeypatch.setattr(egnyte, "_HELD", 10)
    monkeypatch.setattr(egnyte, "_IN_CHUNKS", 500)
    monkeypatch.setattr(egnyte, "_CHUNK", 100)


def calls(acme: Acme, part: str) -> int:
    seen = acme.steering.get("/control/requests", params={"limit": 5000}).json()["requests"]
    return sum(part in row["path"] and row["method"] == "POST" for row in seen)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("size", [len(DATA), None])
async def test_a_large_file_goes_up_in_chunks(
    acme: Acme, client: httpx.AsyncClient, size: int | None
) -> None:
    upload = Upload(SHARED, "big.bin", Content(cut_in(DATA, 70), size))
    entry = await patient(acme, client).upload(upload)
    assert entry.size == len(DATA)
    assert calls(acme, "/fs-content-chunked/") == 11
    assert acme.http.get("/pubapi/v1/fs-content/Shared/big.bin").content == DATA


@pytest.mark.usefixtures("sizes")
async def test_chunks_may_fill_the_file_exactly(acme: Acme, client: httpx.AsyncClient) -> None:
    data = DATA[:600]
    await patient(acme, client).upload(Upload(SHARED, "big.bin", Content(cut_in(data, 70), 600)))
    assert calls(acme, "/fs-content-chunked/") == 6
    assert acme.http.get("/pubapi/v1/fs-content/Shared/big.bin").content == data


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("kind", ["500", "cut", "cut_midway", "mashery_qps"])
async def test_a_failed_chunk_is_sent_again(acme: Acme, client: httpx.AsyncClient, kind: str) -> None:
    wait = {"retry_after": 0} if kind == "mashery_qps" else {}
    acme.fault(kind, path="/pubapi/v1/fs-content-chunked/", after=3, times=2, **wait)
    await patient(acme, client).upload(Upload(SHARED, "big.bin", Content(cut_in(DATA, 70), len(DATA))))
    assert acme.http.get("/pubapi/v1/fs-content/Shared/big.bin").content == DATA


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("size", [499, 501, 0])
async def test_an_upload_that_breaks_off_leaves_nothing(
    acme: Acme, client: httpx.AsyncClient, size: int
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA[: size // 2]
        raise ConnectionResetError

    provider = patient(acme, client)
    with pytest.raises(ConnectionResetError):
        await provider.upload(Upload(SHARED, "big.bin", Content(broken(), size)))
    with pytest.raises(VendorNotFound):
        await provider.entry(Target(Kind.FILE, path="/Shared/big.bin"))


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("size", [9, 300, 600])
async def test_a_file_of_another_size_than_announced_leaves_nothing(
    acme: Acme, client: httpx.AsyncClient, size: int
) -> None:
    provider = patient(acme, client)
    for announced in (size - 1, size + 1):
        with pytest.raises(BadRequest, match="file"):
            await provider.upload(Upload(SHARED, "big.bin", Content(cut_in(DATA[:size], 70), announced)))
        with pytest.raises(VendorNotFound):
            await provider.entry(Target(Kind.FILE, path="/Shared/big.bin"))


@pytest.mark.usefixtures("sizes")
async def test_a_streamed_file_is_asked_for_by_its_checksum(acme: Acme, client: httpx.AsyncClient) -> None:
    entry = await patient(acme, client).upload(Upload(SHARED, "a.bin", Content(cut_in(DATA[:300], 70), 300)))
    assert entry.raw["checksum"] == hashlib.sha512(DATA[:300]).hexdigest()


async def test_locks_end_when_they_were_told_to(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    provider, file = patient(acme, client), Target(Kind.FILE, path="/Shared/a.txt")
    await provider.lock(file, Lock(expires_at=datetime.now(UTC) + timedelta(hours=1)))
    assert (await provider.entry(file)).raw["locked"] is True
    with pytest.raises(BadRequest, match="is_download_prevented"):
        await provider.lock(file, Lock(is_download_prevented=True))
    await provider.unlock(file)
    assert (await provider.entry(file)).raw["locked"] is False


async def test_custom_fields_live_in_namespaces(acme: Acme, client: httpx.AsyncClient) -> None:
    namespace = {"name": "crm", "scope": "public", "keys": {"customer": {"type": "string"}}}
    acme.http.post("/pubapi/v1/properties/namespace", json=namespace).raise_for_status()
    acme.change("upload", "/Shared/a.txt", content="x")
    provider = patient(acme, client)
    (template,) = await provider.field_templates(None)
    assert (template.key, template.scope, template.fields) == (
        "crm",
        "public",
        [{"key": "customer", "type": "string"}],
    )
    entry = await provider.entry(Target(Kind.FILE, path="/Shared/a.txt"))
    await provider.set_custom_fields(entry, "crm", None, {"customer": "ACME"})
    (values,) = await provider.custom_fields(entry)
    assert values.values == {"customer": "ACME"}
    with pytest.raises(VendorRefused):
        await provider.set_custom_fields(entry, "crm", None, {"nonsense": 1})


async def test_a_short_search_is_left_to_the_folders(acme: Acme, client: httpx.AsyncClient) -> None:
    assert Egnyte.shortest_search == 3
    acme.change("upload", "/Shared/report.txt", content="x")
    page = await patient(acme, client).search(Search("rep"), None, 10)
    assert [entry.name for entry in page.entries] == ["report.txt"]


async def test_an_existing_folder_is_a_conflict(acme: Acme, client: httpx.AsyncClient) -> None:
    provider = patient(acme, client)
    await provider.create_folder("/Shared/f")
    with pytest.raises(Conflict):
        await provider.create_folder("/Shared/f")


@pytest.mark.usefixtures("sizes")
async def test_a_file_that_only_seemed_to_be_complete_leaves_nothing(
    acme: Acme, client: httpx.AsyncClient
) -> None:
    """More came than was announced, and a piece ended exactly where the file was to end."""
    provider = patient(acme, client)
    with pytest.raises(BadRequest, match="more came"):
        await provider.upload(Upload(SHARED, "a.bin", Content(cut_in(DATA, 100), 300)))
    with pytest.raises(VendorNotFound):
        await provider.entry(Target(Kind.FILE, path="/Shared/a.bin"))


async def test_taking_back_a_version_leaves_the_others(acme: Acme, client: httpx.AsyncClient) -> None:
    provider, file = patient(acme, client), Target(Kind.FILE, path="/Shared/a.txt")
    acme.change("upload", "/Shared/a.txt", content="first")
    acme.change("upload", "/Shared/a.txt", content="second")
    entry = await provider.entry(file)
    await provider._take_back(entry, entry.raw["entry_id"])
    assert acme.http.get("/pubapi/v1/fs-content/Shared/a.txt").content == b"first"
    await provider._take_back(await provider.entry(file), None)
    with pytest.raises(VendorNotFound):
        await provider.entry(file)


async def test_only_the_links_for_everybody_are_ended(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    mine = {"path": "/Shared/a.txt", "type": "file", "accessibility": "recipients", "recipients": ["a@b.c"]}
    acme.http.post("/pubapi/v1/links", json=mine).raise_for_status()
    provider = patient(acme, client)
    entry = await provider.entry(Target(Kind.FILE, path="/Shared/a.txt"))
    await provider.link(entry, None)
    await provider.unlink(entry)
    (left,) = acme.http.get("/pubapi/v2/links").json()["links"]
    assert left["accessibility"] == "recipients"
