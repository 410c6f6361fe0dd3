"""OAuth towards a vendor: what is sent, what an answer means, what a refusal is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pytest_httpx import HTTPXMock

from app.errors import GrantRefused, VendorError, VendorRefused, VendorThrottled, VendorUnavailable
from app.upstream import oauth
from app.upstream.oauth import App, OAuthSpec, Tokens

URL = "https://vendor.example.com"
SPEC = OAuthSpec("/authorize", "/token", scopes=("read", "write"), throttle_statuses=frozenset({409, 429}))
APP = App("the-client", "the-app-secret", "https://app.example.com/back?a=1&b=2")
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
GRANTED = {"access_token": "granted", "refresh_token": "again", "token_type": "bearer", "expires_in": 60}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


async def exchange(client: httpx.AsyncClient, code: str = "the-code") -> Tokens:
    return await oauth.exchange_code(client, SPEC, URL + "/", APP, code, NOW)


def sent(httpx_mock: HTTPXMock) -> dict[str, str]:
    """The form of the one request that was made."""
    (request,) = httpx_mock.get_requests()
    assert (request.method, str(request.url)) == ("POST", f"{URL}/token")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in request.headers
    return {key: value for key, (value,) in parse_qs(request.content.decode(), strict_parsing=True).items()}


async def test_a_code_goes_out_as_a_form(client: httpx.AsyncClient, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json=GRANTED)
    code = "a b&c=d/+%"
    found = await exchange(client, code)
    assert sent(httpx_mock) == {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": APP.redirect_uri,
        "client_id": APP.client_id,
        "client_secret": APP.client_secret,
    }
    assert found == Tokens("granted", "again", timedelta(seconds=60), NOW)


async def test_a_refresh_token_goes_out_as_a_form(client: httpx.AsyncClient, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json=GRANTED)
    await oauth.refresh(client, SPEC, URL, APP, "older", NOW)
    assert sent(httpx_mock) == {
        "grant_type": "refresh_token",
        "refresh_token": "older",
        "client_id": APP.client_id,
        "client_secret": APP.client_secret,
    }


@pytest.mark.parametrize(("given", "kept"), [("newer", "newer"), (None, "older"), ("", "older")])
async def test_the_newest_refresh_token_is_kept(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, given: str | None, kept: str
) -> None:
    httpx_mock.add_response(json=GRANTED | {"refresh_token": given})
    assert (await oauth.refresh(client, SPEC, URL, APP, "older", NOW)).refresh_token == kept


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (2592000, 2592000),
        ("3600", 3600),
        (0.5, 0.5),
        (-1, None),
        ("-1", None),
        (0, None),
        (None, None),
        ("never", None),
        (1e300, None),
        (86_400 * 999_999_999, None),
        ([], None),
    ],
)
async def test_a_lifetime_that_is_none_means_forever(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, expires_in: Any, seconds: float | None
) -> None:
    httpx_mock.add_response(json=GRANTED | {"expires_in": expires_in})
    assert (await exchange(client)).expires_in == (timedelta(seconds=seconds) if seconds else None)


@pytest.mark.parametrize("body", [[], "granted", 5, {}, {"access_token": 5}, {"error": "invalid_grant"}])
async def test_an_answer_without_a_token_is_no_answer(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, body: Any
) -> None:
    httpx_mock.add_response(json=body)
    with pytest.raises(VendorUnavailable, match="access_token"):
        await exchange(client)


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (400, {}, VendorRefused),
        (401, {}, VendorRefused),
        (403, {}, VendorRefused),
        (404, {}, VendorRefused),
        (409, {}, VendorThrottled),
        (429, {"Retry-After": "7"}, VendorThrottled),
        (403, {"Retry-After": "7"}, VendorThrottled),
        (500, {}, VendorUnavailable),
        (503, {"Retry-After": "7"}, VendorUnavailable),
        (302, {"Location": "https://elsewhere.example.com"}, VendorUnavailable),
    ],
)
async def test_what_is_no_invalid_grant_says_nothing_about_the_grant(
    client: httpx.AsyncClient,
    httpx_mock: HTTPXMock,
    status: int,
    headers: dict[str, str],
    error: type[VendorError],
) -> None:
    httpx_mock.add_response(status, headers=headers, text="no")
    with pytest.raises(error) as caught:
        await exchange(client)
    assert type(caught.value) is error
    assert (caught.value.vendor_status, caught.value.provider_message) == (status, "no")
    assert caught.value.retry_after == (7 if "Retry-After" in headers else None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"invalid_grant","error_description":"used"}', "invalid_grant: used"),
        (b'{"error":"invalid_grant"}', "invalid_grant"),
        (b'{"error":{"code":1}}', '{"error":{"code":1}}'),
        (b"<h1>No</h1>", "<h1>No</h1>"),
        (b"", "HTTP 400"),
        (b"a\0b", "a\ufffdb"),
        (b"x" * 9999, "x" * 500),
    ],
)
async def test_a_refusal_carries_the_words_of_the_vendor(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, body: bytes, words: str
) -> None:
    httpx_mock.add_response(400, content=body)
    with pytest.raises(VendorRefused) as caught:
        await exchange(client)
    assert caught.value.provider_message == words
    assert isinstance(caught.value, GrantRefused) is words.startswith("invalid_grant")


async def test_neither_an_error_nor_tokens_show_a_secret(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_exception(httpx.ConnectError("no route"))
    with pytest.raises(VendorUnavailable) as caught:
        await exchange(client)
    assert caught.value.message.startswith("POST vendor.example.com/token")
    httpx_mock.add_response(json=GRANTED)
    shown = caught.value.message + repr(await exchange(client))
    assert not [word for word in ("the-code", "the-app-secret", "granted", "again") if word in shown]


@pytest.mark.parametrize(
    ("scope", "asked"), [(None, "read write"), ("", "read write"), ("admin", "admin"), ("a b", "a b")]
)
def test_the_consent_url_encodes_what_it_carries(scope: str | None, asked: str) -> None:
    url = oauth.authorization_url(
        SPEC, URL + "/", client_id="a&b", redirect_uri=APP.redirect_uri, state="s=1&t", scope=scope
    )
    assert url.startswith(f"{URL}/authorize?")
    assert parse_qs(urlsplit(url).query, strict_parsing=True) == {
        "response_type": ["code"],
        "client_id": ["a&b"],
        "redirect_uri": [APP.redirect_uri],
        "scope": [asked],
        "state": ["s=1&t"],
    }
