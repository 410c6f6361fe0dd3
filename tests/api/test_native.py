"""The native pass-through: what goes to the vendor, what comes back, and what is never passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from acme import Acme
from box_account import Box
from gateway import Gateway

from app import native


@pytest.fixture
async def box_token(gateway: Gateway, box: Box) -> str:
    return str((await gateway.connect("box"))["token"])


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


async def ask(gateway: Gateway, token: str, path: str, method: str = "GET", **request: Any) -> httpx.Response:
    request.setdefault("headers", bearer(token))
    return await gateway.http.request(method, f"/native/{path}", **request)


def seen(box: Box, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = box.steering.get("/control/requests").json()["requests"]
    return [row for row in rows if row["path"].startswith(path)]


async def test_both_spellings_of_the_header_are_taken(gateway: Gateway, box_token: str) -> None:
    for headers in (bearer(box_token), gateway.hub(box_token)):
        answer = await ask(gateway, box_token, "2.0/users/me", headers=headers)
        assert answer.json()["login"] == "ann@example.com"
        assert answer.headers["elements-element-instance-id"]
    for wrong in ({}, bearer("nonsense"), bearer(""), {"Authorization": "Basic eDp5"}):
        assert (await ask(gateway, box_token, "2.0/users/me", headers=wrong)).status_code == 401


async def test_the_vendors_words_come_back_untouched(gateway: Gateway, box: Box, box_token: str) -> None:
    file = box.upload("a.txt", b"0123456789")
    direct = box.http.get(f"/2.0/files/{file['id']}", params={"fields": "id,name,shared_link"})
    passed = await ask(gateway, box_token, f"2.0/files/{file['id']}?fields=id,name,shared_link")
    assert passed.content == direct.content
    assert passed.headers["content-type"] == direct.headers["content-type"]
    missing = await ask(gateway, box_token, "2.0/files/404404")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    unchanged = await ask(
        gateway,
        box_token,
        f"2.0/files/{file['id']}",
        headers=bearer(box_token, **{"If-None-Match": file["etag"]}),
    )
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    moved = await ask(gateway, box_token, f"2.0/files/{file['id']}/content")
    assert moved.status_code == 302
    assert httpx.get(moved.headers["location"]).content == b"0123456789"


async def test_a_query_goes_to_the_vendor_as_it_was_written(
    gateway: Gateway, box: Box, box_token: str
) -> None:
    for base in ("", "http://gateway"):
        query = "fields=id&marker=&usemarker=&a=b%2Fc&limit"
        await gateway.http.get(f"{base}/native/2.0/users/me?{query}", headers=bearer(box_token))
        assert seen(box, "/box/2.0/users/me")[-1]["query"] == query


async def test_every_verb_is_passed_on(gateway: Gateway, box_token: str) -> None:
    made = await ask(gateway, box_token, "2.0/folders", "POST", json={"name": "f", "parent": {"id": "0"}})
    assert made.status_code == 201
    path = f"2.0/folders/{made.json()['id']}"
    assert (await ask(gateway, box_token, path, "PUT", json={"name": "g"})).json()["name"] == "g"
    gone = await ask(gateway, box_token, path, "DELETE")
    assert (gone.status_code, gone.content) == (204, b"")


async def test_bytes_stream_both_ways(gateway: Gateway, acme: Acme) -> None:
    token = (await gateway.connect())["token"]
    data = bytes(range(256)) * 20_000  # above what is held

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 70_000):
            yield data[start : start + 70_000]

    path = "pubapi/v1/fs-content/Shared/big%20file.bin"
    for length in ({}, {"Content-Length": str(len(data))}):
        sent = await ask(gateway, token, path, "POST", content=pieces(), headers=bearer(token, **length))
        assert sent.status_code == 200
    answer = await ask(gateway, token, path)
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    part = await ask(gateway, token, path, headers=bearer(token, Range="bytes=3-5"))
    assert (part.status_code, part.content) == (206, data[3:6])


@pytest.mark.parametrize(
    "path",
    [
        "oauth2/token",
        "oauth2/revoke",
        "OAuth2/token",
        "api/oauth2/authorize",
        "2.0/../oauth2/token",
        "2.0/%2e%2e/oauth2/token",
        "2.0/%252e%252e/oauth2/token",
        "2.0/x/..%2f..%2foauth2/token",
        "2.0/..%5coauth2%5ctoken",
        "/oauth2/token",
        "2.0/",
        "",
        "dl/anything",
        "control/box/tokens",
        "2.0/a%00b",
        "2.0/a%0d%0ab",
        "http://example.com/2.0/users/me",
        "2.0//%2e%2e/oauth2/token",
        "2.0/x/..;/..;/oauth2/token",
    ],
)
async def test_what_is_not_passed_on_never_reaches_the_vendor(
    gateway: Gateway, box: Box, box_token: str, path: str
) -> None:
    before = len(seen(box, "/"))
    answer = await ask(gateway, box_token, path, "POST", content=b"grant_type=refresh_token")
    assert answer.status_code in {403, 404}, answer.text
    assert answer.json()["requestId"]
    assert len(seen(box, "/")) == before


@pytest.mark.parametrize(
    "path",
    [
        "puboauth/token",
        "dl/x",
        "pubapi/v1/tokens/revoke",
        "pubapi/v2/tokens/x",
        "pubapi//v1/tokens/revoke",
        "pubapi/v1//tokens/revoke",
        "pubapi/v1;a/tokens/revoke",
        "pubapi/v1%3b/tokens/revoke",
        "pubapi/V1/Tokens/revoke",
        "pubapi/v1%252ftokens/revoke",
        "pubapi/x/..;/..;/puboauth/token",
    ],
)
async def test_egnytes_token_endpoints_are_refused(gateway: Gateway, acme: Acme, path: str) -> None:
    token = (await gateway.connect())["token"]
    assert (await ask(gateway, token, path, "POST")).status_code == 403


async def test_a_path_that_is_encoded_too_often_to_tell_is_refused(gateway: Gateway, acme: Acme) -> None:
    token = (await gateway.connect())["token"]
    answer = await ask(gateway, token, f"pubapi/v1/fs/%{'25' * 10_000}41")
    assert (answer.status_code, answer.json()["message"]) == (400, "path: is encoded too often")


async def test_credentials_and_hop_by_hop_headers_stay_here(gateway: Gateway, acme: Acme) -> None:
    call = native.Call(
        method="GET",
        path="pubapi/v1/userinfo",
        query="",
        headers=[
            (b"Authorization", b"Bearer element-token"),
            (b"Cookie", b"a=b"),
            (b"Connection", b"keep-alive, X-Private"),
            (b"X-Private", b"1"),
            (b"Proxy-Authorization", b"Basic x"),
            (b"Transfer-Encoding", b"chunked"),
            (b"TE", b"trailers"),
            (b"Upgrade", b"h2c"),
            (b"Host", b"gateway"),
            (b"X-Forwarded-For", b"10.0.0.1"),
            (b"Elements-Version", b"Helium"),
            (b"X-Egnyte-Act-As", b"adoe"),
            (b"Accept", b"application/json"),
        ],
        body=None,
        base="http://gateway",
    )
    assert dict(native._asked(call)) == {
        b"x-egnyte-act-as": b"adoe",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
    }


async def test_a_dead_access_token_is_replaced_and_throttling_waited_out(
    gateway: Gateway, box: Box, box_token: str
) -> None:
    box.control("tokens/expire", kind="access")
    assert (await ask(gateway, box_token, "2.0/users/me")).status_code == 200
    box.fault("429", retry_after=0.05, path="/2.0/users/me")
    assert (await ask(gateway, box_token, "2.0/users/me")).status_code == 200
    box.fault("429", retry_after=60, times=None, path="/2.0/users/me")
    refused = await ask(gateway, box_token, "2.0/users/me")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert refused.json()["code"] == "rate_limit_exceeded"


async def test_a_dead_grant_is_the_gateways_word(gateway: Gateway, box: Box, box_token: str) -> None:
    box.control("tokens/expire", kind="access")
    box.control("tokens/expire", kind="refresh")
    answer = await ask(gateway, box_token, "2.0/users/me")
    assert answer.status_code == 401


async def test_an_unreachable_vendor_is_a_bad_gateway(gateway: Gateway, box: Box, box_token: str) -> None:
    box.fault("cut", times=None, path="/2.0/users/me")
    answer = await ask(gateway, box_token, "2.0/users/me")
    assert answer.status_code == 502
    assert answer.json()["message"]


async def test_the_vendors_urls_lead_back_and_only_for_their_account(
    gateway: Gateway, box: Box, box_token: str
) -> None:
    box.configure(long_poll_seconds=0.2)
    server = (await ask(gateway, box_token, "2.0/events", "OPTIONS")).json()["entries"][0]
    assert server["url"].startswith("http://gateway/elements/api-v2/native/-/")
    path = server["url"].partition("/native/")[2]
    assert "?" in path
    assert (await ask(gateway, box_token, f"{path}&stream_position=now")).json()["message"] == "reconnect"
    other = (await gateway.connect("box"))["token"]
    assert (await ask(gateway, other, path)).status_code == 404
    for wrong in ("-/", "-/nonsense", "-/" + "A" * 200):
        assert (await ask(gateway, box_token, wrong)).status_code == 404


async def test_a_large_file_goes_up_in_parts_by_hand(gateway: Gateway, box: Box, box_token: str) -> None:
    box.configure(upload_session_minimum=1, upload_part_size=10)
    order = {"folder_id": "0", "file_size": 10, "file_name": "a.bin"}
    for host in ("upload/", "api/", ""):
        session = (
            await ask(gateway, box_token, f"{host}2.0/files/upload_sessions", "POST", json=order)
        ).json()
        urls = session["session_endpoints"]
        assert all("/native/-/" in url for url in urls.values())
        listed = await gateway.http.get(urls["list_parts"], headers=bearer(box_token))
        assert listed.json()["total_count"] == 0
        assert (await gateway.http.delete(urls["abort"], headers=bearer(box_token))).status_code == 204


async def test_a_tenants_own_words_never_become_a_place_to_go(
    gateway: Gateway, box: Box, box_token: str
) -> None:
    """Metadata may be named and filled as anybody likes; only the vendor's own URLs lead back here."""
    file = box.upload("a.txt")
    key = "upload_sessions"
    box.post(
        "/metadata_templates/schema",
        {
            "scope": "enterprise",
            "templateKey": key,
            "displayName": key,
            "fields": [{"type": "string", "key": "u", "displayName": "u"}],
        },
    )
    path = f"2.0/files/{file['id']}/metadata/enterprise/{key}"
    made = await ask(gateway, box_token, path, "POST", json={"u": "http://127.0.0.1:9/latest/meta-data"})
    assert made.status_code == 201
    assert made.json()["u"] == "http://127.0.0.1:9/latest/meta-data"
    assert "/native/-/" not in (await ask(gateway, box_token, path)).text


async def test_a_body_that_is_no_json_is_passed_as_it_is(gateway: Gateway, box: Box, box_token: str) -> None:
    box.fault("html", path="/2.0/events")
    answer = await ask(gateway, box_token, "2.0/events", "OPTIONS")
    assert "Sign in" in answer.text


async def test_answers_without_a_body_have_no_length(gateway: Gateway, box: Box, box_token: str) -> None:
    file = box.upload("a.txt")
    headers = bearer(box_token, **{"If-None-Match": file["etag"]})
    unchanged = await ask(gateway, box_token, f"2.0/files/{file['id']}", headers=headers)
    assert unchanged.status_code == 304
    assert "content-length" not in unchanged.headers


async def test_a_header_in_any_alphabet_is_no_trouble(gateway: Gateway, box: Box, box_token: str) -> None:
    headers = {b"Authorization": f"Bearer {box_token}".encode(), b"X-Note": "jürgen 日本".encode()}
    answer = await gateway.http.get("/native/2.0/users/me", headers=headers)
    assert answer.status_code == 200


async def test_what_proves_enough_for_the_vendors_api_opens_nothing_else(gateway: Gateway) -> None:
    made = await gateway.connect()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    alone = {"Authorization": f"Element {made['token']}"}
    assert (await gateway.http.get("/native/pubapi/v1/userinfo", headers=bearer)).status_code == 200
    for headers in (alone, bearer):
        for path in ("/ping", "/instances/configuration", "/instances", "/objects"):
            assert (await gateway.http.get(path, headers=headers)).status_code == 401, path
        assert (
            await gateway.http.patch("/instances", json={"name": "x"}, headers=headers)
        ).status_code == 401
        assert (await gateway.http.delete("/instances", headers=headers)).status_code == 401
