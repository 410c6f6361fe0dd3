"""The bound client: what it repeats, how long, and what its errors do not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from processes import PATIENCE
from pytest_httpx import HTTPXMock

from app.errors import VendorError, VendorThrottled, VendorUnauthorized, VendorUnavailable
from app.upstream.client import Refusal, Upstream, decode

URL = "https://vendor.example.com"


class Tokens:
    """A source that gives token-1, and after a rejection token-2."""

    def __init__(self) -> None:
        self.number = 1
        self.rejected: list[str] = []

    async def __call__(self, rejected: str | None = None) -> str:
        if rejected:
            self.rejected.append(rejected)
            self.number += 1
        return f"token-{self.number}"


def interpret(answer: Refusal) -> Exception:
    kinds: dict[int, type[VendorError]] = {
        401: VendorUnauthorized,
        429: VendorThrottled,
        503: VendorUnavailable,
    }
    return kinds.get(answer.status, VendorError)(retry_after=answer.retry_after)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


def bound(client: httpx.AsyncClient, tokens: Tokens, seconds: float | None) -> Upstream:
    budget = timedelta(seconds=seconds) if seconds else None
    return Upstream(client, base_url=URL + "/", token=tokens, interpret=interpret, budget=budget)


async def test_throttling_is_waited_out_within_the_budget(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(429, headers={"Retry-After": "0.01"})
    httpx_mock.add_response(503, headers={"Retry-After": "0.01"})
    httpx_mock.add_response(json={"ok": True})
    assert decode(await bound(client, Tokens(), PATIENCE).get("/x", a=1)) == {"ok": True}
    assert [str(request.url) for request in httpx_mock.get_requests()] == [f"{URL}/x?a=1"] * 3


async def test_a_wait_beyond_the_budget_is_not_begun(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(429, headers={"Retry-After": "60"})
    with pytest.raises(VendorThrottled) as caught:
        await bound(client, Tokens(), 5).get("/x")
    assert caught.value.retry_after == 60
    assert len(httpx_mock.get_requests()) == 1


async def test_without_a_budget_nothing_is_repeated(client: httpx.AsyncClient, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(503)
    with pytest.raises(VendorUnavailable):
        await bound(client, Tokens(), None).get("/x")
    assert len(httpx_mock.get_requests()) == 1


async def test_a_rejected_token_is_replaced_once(client: httpx.AsyncClient, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(401, match_headers={"Authorization": "Bearer token-1"})
    httpx_mock.add_response(json=1, match_headers={"Authorization": "Bearer token-2"})
    tokens = Tokens()
    await bound(client, tokens, None).get("/x")
    httpx_mock.add_response(401)
    httpx_mock.add_response(401)
    with pytest.raises(VendorUnauthorized):
        await bound(client, tokens, 5).get("/x")
    assert tokens.rejected == ["token-1", "token-2"]


async def test_an_error_tells_neither_query_nor_token(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_exception(httpx.ReadTimeout("slow"))
    with pytest.raises(VendorUnavailable) as caught:
        await bound(client, Tokens(), None).get("/x", secret="hidden")
    assert caught.value.message == "GET vendor.example.com/x: ReadTimeout"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (rb'{"name": "a\ud83d.txt"}', "a\ufffd.txt"),
        (rb'{"name": "\uDE00\ud83d\ude00\ud83d"}', "\ufffd\U0001f600\ufffd"),
        (rb'{"name": "\\ud83d \ud83d\n"}', "\\ud83d \ufffd\n"),
        (b'{"name": "\xed\xa0\xbd."}', "\ufffd\ufffd\ufffd."),
    ],
)
async def test_half_of_a_pair_of_surrogates_does_not_end_a_stream(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, content: bytes, name: str
) -> None:
    httpx_mock.add_response(content=content)
    assert decode(await bound(client, Tokens(), None).get("/x")) == {"name": name}


async def test_a_nul_does_not_reach_the_store(client: httpx.AsyncClient, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(content=rb'{"name":"a\u0000b"}')
    assert decode(await bound(client, Tokens(), None).get("/x")) == {"name": "a\ufffdb"}
    assert VendorUnavailable(provider_message="a\0b").provider_message == "a\ufffdb"


@pytest.mark.parametrize("status", [301, 302, 304])
async def test_no_redirect_is_followed(client: httpx.AsyncClient, httpx_mock: HTTPXMock, status: int) -> None:
    httpx_mock.add_response(status, headers={"Location": "https://elsewhere.example.com/"})
    with pytest.raises(VendorError):
        await bound(client, Tokens(), None).get("/x")
    assert len(httpx_mock.get_requests()) == 1


DOWNLOAD = "https://bytes.example.com/file?key=1"


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("/dl/1", f"{URL}/dl/1 vendor"),
        ("https://dl.example.net/1", "https://dl.example.net/1 vendor"),
        (DOWNLOAD, f"{DOWNLOAD} elsewhere"),
        ("//169.254.169.254/latest", "https://169.254.169.254/latest elsewhere"),
    ],
)
async def test_a_download_is_followed_without_the_token_and_elsewhere_by_another_client(
    httpx_mock: HTTPXMock, location: str, seen: str
) -> None:
    httpx_mock.add_response(302, headers={"Location": location})
    httpx_mock.add_response(content=b"bytes")
    async with (
        httpx.AsyncClient(headers={"X-Client": "vendor"}) as client,
        httpx.AsyncClient(headers={"X-Client": "elsewhere"}) as elsewhere,
    ):
        way = Upstream(
            client,
            base_url=URL,
            token=Tokens(),
            interpret=interpret,
            domains=["example.net"],
            elsewhere=elsewhere,
        )
        response = await way.open("/content")
        assert await response.aread() == b"bytes"
    request = httpx_mock.get_requests()[1]
    assert f"{request.url} {request.headers['X-Client']}" == seen
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "location", ["http://bytes.example.com/", "http://169.254.169.254/", "file:///etc/passwd", "http://["]
)
async def test_a_download_that_leads_elsewhere_in_the_clear_is_not_followed(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, location: str
) -> None:
    httpx_mock.add_response(302, headers={"Location": location})
    way = Upstream(client, base_url=URL, token=Tokens(), interpret=interpret, elsewhere=client)
    with pytest.raises(VendorUnavailable, match="redirection"):
        await way.open("/content")
    assert len(httpx_mock.get_requests()) == 1


async def test_the_token_goes_to_no_host_that_only_an_answer_names(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    way = bound(client, Tokens(), None)
    for url in (DOWNLOAD, "http://169.254.169.254/"):
        with pytest.raises(VendorUnavailable, match="not one of its own"):
            await way.call("POST", url)
        with pytest.raises(VendorUnavailable, match="not one of its own"):
            await way.hold(url, patience=timedelta(seconds=1))
    assert httpx_mock.get_requests() == []


async def test_what_the_vendor_refuses_is_not_asked_again(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(404)
    with pytest.raises(VendorError):
        await bound(client, Tokens(), 5).get("/x")
    assert len(httpx_mock.get_requests()) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"{"])
async def test_an_answer_that_is_not_json_is_no_answer(
    client: httpx.AsyncClient, httpx_mock: HTTPXMock, body: bytes
) -> None:
    httpx_mock.add_response(content=body)
    with pytest.raises(VendorUnavailable, match="not JSON"):
        decode(await bound(client, Tokens(), None).get("/x"))
