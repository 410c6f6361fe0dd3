"""What holds for every route: media types, sizes and forms of bodies, gzip, CORS, paging words."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import gateway as gateways
import pytest
from gateway import Gateway

from app.api.requests import EmptyIsAbsent

EXPOSED = (
    "Elements-Returned-Count, Elements-Total-Count, Elements-Request-Id, Elements-Next-Page-Token, "
    "Elements-Trace-Id, Elements-Error, Content-Disposition"
)


async def send(gateway: Gateway, content: bytes | str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await gateway.http.post("/instances", content=content, headers=gateway.platform | named)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("text/html, application/*;q=0.5", 200),
        ("APPLICATION/JSON; charset=utf-8", 200),
        ("", 200),
        ("text/html", 406),
        ("text/html, application/json;q=0", 406),
        ("image/png;q=0.8, text/*", 406),
    ],
)
async def test_an_answer_is_json_or_none(gateway: Gateway, accept: str, status: int) -> None:
    answer = await gateway.http.get("/instances", headers=gateway.platform | {"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["requestId"] == answer.headers["Elements-Request-Id"]


async def test_the_bytes_of_a_file_are_answered_to_whoever_accepts_anything_else(gateway: Gateway) -> None:
    made = await gateway.connect()
    hub = gateway.hub(made["token"])
    upload = await gateway.http.post(
        "/files?path=/Shared/a.png", files={"file": ("a.png", b"x", "image/png")}, headers=hub
    )
    assert upload.status_code == 200
    answer = await gateway.http.get("/files?path=/Shared/a.png", headers=hub | {"Accept": "image/png"})
    assert (answer.status_code, answer.content) == (200, b"x")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 400),
        ("application/json; charset=utf-8", 400),
        ("application/vnd.api+json", 400),
        ("text/xml", 415),
        ("application/x-www-form-urlencoded", 415),
        ("nonsense", 415),
        ("application/", 415),
    ],
)
async def test_a_body_is_json_or_refused(gateway: Gateway, content_type: str, status: int) -> None:
    answer = await send(gateway, "{}", content_type=content_type)
    assert answer.status_code == status
    assert answer.json()["requestId"]


async def test_a_body_without_a_content_type_is_taken_for_json(gateway: Gateway) -> None:
    assert "element.key" in (await send(gateway, "{}")).json()["message"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"name": "a", "name": "b"}', "the key 'name' is there twice"),
        ('{"configuration": {"a": 1, "a": 2}}', "the key 'a' is there twice"),
        ('{"configuration": {"a": NaN}}', "NaN"),
        ('{"configuration": {"a": 1e999}}', "too large"),
        ('{"configuration": {"a": 1' + "0" * 5000 + "}}", "digits"),
        ("[" * 100_000, "deep"),
        ('{"configuration": {"a": ' + "[" * 70 + "]" * 70 + "}}", "deeper than 64"),
        ('{"name": "a\\u0000b"}', "U+0000"),
        ('{"name": "a\\u001bb"}', "U+001B"),
        ('{"name": "a\\u0085b"}', "U+0085"),
        ('{"\\ud800": 1}', "U+D800"),
        ('{"name": "a\nb"}', "control character"),
        ('{"name": ', "line 1"),
        (b'{"name": "\xff"}', "UTF-8"),
    ],
)
async def test_a_malformed_body_is_refused_with_a_reason(
    gateway: Gateway, content: bytes | str, named: str
) -> None:
    answer = await send(gateway, content)
    assert answer.status_code == 400
    assert named in answer.json()["message"], answer.json()


async def test_lines_and_tabs_are_text(gateway: Gateway) -> None:
    made = await gateway.connect(**{"my.text": "one\r\n\ttwo"})
    assert made["configuration"]["my.text"] == "one\r\n\ttwo"


async def test_a_body_has_a_largest_size(tmp_path: Path, sandbox_url: str) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, body_limit=2000)
    async with gateways.running(settings, sandbox_url) as gateway:
        fitting = json.dumps({"name": "x" * 1900})
        assert (await send(gateway, fitting)).status_code == 400
        for headers in ({}, {"transfer_encoding": "chunked"}):
            answer = await send(gateway, fitting + " " * 200, **headers)
            assert (answer.status_code, "2000 bytes" in answer.json()["message"]) == (413, True)


async def test_an_upload_has_a_largest_size_where_the_operator_says_so(
    tmp_path: Path, sandbox_url: str, sandbox: object
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, upload_limit=2000)
    async with gateways.running(settings, sandbox_url) as gateway:
        made = await gateway.connect()
        hub = gateway.hub(made["token"])
        for size, status in ((1000, 200), (3000, 413)):
            answer = await gateway.http.post(
                f"/files?path=/Shared/{size}.txt", files={"file": os.urandom(size)}, headers=hub
            )
            assert answer.status_code == status, answer.text
        gone = await gateway.http.get("/files/metadata?path=/Shared/3000.txt", headers=hub)
        assert gone.status_code == 404


async def test_a_large_answer_is_compressed_for_who_accepts_that(gateway: Gateway) -> None:
    for _ in range(3):
        await gateway.connect()
    plain = await gateway.http.get("/instances", headers=gateway.platform | {"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    request = gateway.http.build_request(
        "GET", "/instances", headers=gateway.platform | {"Accept-Encoding": "gzip, deflate"}
    )
    answer = await gateway.http.send(request, stream=True)
    packed = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(packed) < len(plain.content) / 3
    assert gzip.decompress(packed) == plain.content
    assert "Accept-Encoding" in answer.headers["Vary"]


async def test_the_bytes_of_a_file_keep_their_length(gateway: Gateway) -> None:
    made = await gateway.connect()
    hub = gateway.hub(made["token"])
    content = b"compressible " * 1000
    await gateway.http.post("/files?path=/Shared/a.json", files={"file": content}, headers=hub)
    answer = await gateway.http.get("/files?path=/Shared/a.json", headers=hub | {"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert (int(answer.headers["Content-Length"]), answer.content) == (len(content), content)


async def test_browsers_of_other_origins_may_call(gateway: Gateway) -> None:
    origin = {"Origin": "https://app.example.com"}
    answer = await gateway.http.get("/elements", headers=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Expose-Headers"] == EXPOSED
    assert "Access-Control-Expose-Headers" not in (await gateway.http.get("/elements")).headers
    refused = await gateway.http.get("/instances", headers=origin)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, "*")
    asked = await gateway.http.options(
        "/instances",
        headers=origin
        | {
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, content-type",
        },
    )
    assert asked.status_code == 200
    assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert "x-frame-options" not in answer.headers


@pytest.mark.parametrize("value", ["True", "true", "TRUE", "1"])
async def test_booleans_are_understood_in_any_case(gateway: Gateway, value: str) -> None:
    answer = await gateway.http.get(f"/instances?returnTotalCount={value}", headers=gateway.platform)
    assert answer.headers["Elements-Total-Count"] == "0"


async def test_a_missing_path_is_named_and_not_an_error_of_ours(gateway: Gateway) -> None:
    made = await gateway.connect()
    for path in ("/files", "/files/metadata", "/folders/contents", "/files/links"):
        answer = await gateway.http.get(path, headers=gateway.hub(made["token"]))
        assert (answer.status_code, answer.json()["message"][:5]) == (400, "path:"), path


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('<a href="https://evil.example">@Acme</a>', "@Acme"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("<<b>b>x", "x"),
        ("<!-- c -->Fish & Chips", "Fish & Chips"),
        ("1 < 2 > 0", "1 < 2 > 0"),
        ("  spaced  ", "spaced"),
        ("Acme <img src=x onerror=alert(1) ", "Acme"),
    ],
)
async def test_html_is_stripped_from_names_and_tags(gateway: Gateway, given: str, kept: str) -> None:
    body = await gateway.order() | {"name": given, "tags": [given]}
    made = (await gateway.http.post("/instances", json=body, headers=gateway.platform)).json()
    assert (made["name"], made["tags"]) == (kept, [kept])
    path = f"/instances/{made['id']}"
    changed = await gateway.http.patch(path, json={"name": given, "tags": [given]}, headers=gateway.platform)
    assert (changed.json()["name"], changed.json()["tags"]) == (kept, [kept])


async def test_an_instance_without_tags_has_its_name_as_its_tag(gateway: Gateway) -> None:
    body = await gateway.order() | {"name": "@acme", "tags": []}
    made = (await gateway.http.post("/instances", json=body, headers=gateway.platform)).json()
    assert made["tags"] == ["@acme"]
    found = await gateway.http.get("/instances?tags[]=@acme", headers=gateway.platform)
    assert [item["id"] for item in found.json()] == [made["id"]]


@pytest.mark.parametrize(
    "query",
    [
        "page=&pageSize=&nextPage=&returnTotalCount=&hydrate=&searchText=&tags[]=",
        "hydrate=&pageSize=1",
        "pageSize=1&hydrate=",
    ],
)
async def test_a_parameter_without_a_value_is_absent_on_the_platform(gateway: Gateway, query: str) -> None:
    made = await gateway.connect()
    for path in ("/instances", "/accounts/instances"):
        answer = await gateway.http.get(f"{path}?{query}", headers=gateway.platform)
        assert answer.status_code == 200, answer.text
        assert [item["id"] for item in answer.json()] == [made["id"]]
        assert "configuration" in answer.json()[0]
    oauth = "apiKey=a&callbackUrl=https://app.example.com/&isOauthProxy=&scope=&state=&subdomain=acme"
    assert (await gateway.http.get(f"/elements/egnyte/oauth/url?{oauth}")).status_code == 200


@pytest.mark.parametrize("base", ["/hubs/documents", ""])
async def test_a_parameter_without_a_value_is_absent_in_the_hub(gateway: Gateway, base: str) -> None:
    headers = gateway.hub((await gateway.connect())["token"])
    upload = await gateway.http.post(
        f"{base}/files?path=/Shared/a.txt&size=&overwrite=&folderId=&tags[]=&description=",
        files={"file": b"x"},
        headers=headers,
    )
    assert upload.status_code == 200, upload.text
    lists = "page=&pageSize=&nextPage=&where=&orderBy=&returnTotalCount=&raw=&fields="
    for path, names in (
        (f"/folders/contents?path=/Shared&{lists}", ["a.txt"]),
        (f"/search?text=a.txt&path=&startDate=&endDate=&{lists}", ["a.txt"]),
    ):
        answer = await gateway.http.get(base + path, headers=headers)
        assert answer.status_code == 200, answer.text
        assert [item["name"] for item in answer.json()] == names
        assert "raw" not in answer.json()[0]
    refused = await gateway.http.get(f"{base}/files/metadata?path=", headers=headers)
    assert (refused.status_code, refused.json()["message"]) == (400, "path: Field required")
    gone = await gateway.http.delete(f"{base}/files?emptyTrash=&path=/Shared/a.txt", headers=headers)
    assert gone.status_code == 200, gone.text


@pytest.mark.parametrize(
    ("path", "query", "left"),
    [
        ("/instances", b"a=&b=1&c=", b"b=1"),
        ("/instances", b"a=1&b=&c=2", b"a=1&c=2"),
        ("/instances", b"a=", b""),
        ("/files", b"tags[]=&tags[]=x&where=size%20=%201&", b"tags[]=x&where=size%20=%201&"),
        ("/folders/contents", b"nextPage=YWI=&path=/a%3D&raw", b"nextPage=YWI=&path=/a%3D&raw"),
        ("/folders/contents", b"nextPage=YQ==", b"nextPage=YQ=="),
        ("/elements/api-v2/hubs/documents/files", b"raw=", b""),
        ("/files/native/x", b"raw=", b""),
        ("/native/2.0/search", b"query=&a=1", b"query=&a=1"),
        ("/elements/api-v2/native/2.0/search", b"query=", b"query="),
        ("/oauth/proxy", b"code=1&error_description=&state=x", b"code=1&error_description=&state=x"),
        ("/elements/api-v2/oauth/proxy", b"error_description=", b"error_description="),
    ],
)
async def test_only_pairs_without_a_value_leave_a_query_and_never_one_that_is_passed_on(
    path: str, query: bytes, left: bytes
) -> None:
    heard: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope["query_string"])

    scope = {"type": "http", "path": path, "query_string": query}
    await EmptyIsAbsent(app)(scope, None, None)  # type: ignore[arg-type]
    assert heard == [left]
    assert scope["query_string"] == query
