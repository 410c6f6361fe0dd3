"""The surface described: Swagger for programs, a page for people, objects for those who map fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from gateway import Gateway

from app.api import reference_page
from app.main import BASE_PATH
from app.openapi import swagger

ROOT = "http://gateway"


@pytest.mark.parametrize("base", [BASE_PATH, ""])
@pytest.mark.parametrize(
    ("path", "title", "operation"),
    [
        ("/elements/egnyte/docs", "Egnyte", "getFileMetadata"),
        ("/elements/22/docs?version=-1&discovery=true&basic=false&resolveReferences=true", "Box", "search"),
        ("/docs/documents", "Elements Gateway", "uploadFile"),
        ("/docs/documents?provider=box", "Box", "uploadFile"),
        ("/docs/all_platform", "Elements Gateway", "createInstance"),
    ],
)
async def test_swagger_needs_no_credentials(
    gateway: Gateway, base: str, path: str, title: str, operation: str
) -> None:
    answer = await gateway.http.get(f"{ROOT}{base}{path}")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["swagger"], found["info"]["title"]) == ("2.0", title)
    assert (found["host"], found["basePath"], found["schemes"]) == ("gateway", BASE_PATH, ["http"])
    assert operation in {item["operationId"] for _, _, item in swagger.operations(found)}


@pytest.mark.parametrize("path", ["/elements/box/docs", "/docs/documents", "/docs/all_platform"])
async def test_scheme_and_host_are_those_of_base_url(gateway: Gateway, path: str) -> None:
    for base_url, scheme, host in (
        ("https://api.example.com/elements/api-v2", "https", "api.example.com"),
        ("HTTP://localhost:8080", "http", "localhost:8080"),
    ):
        found = (await gateway.http.get(path, params={"baseUrl": base_url})).json()
        assert (found["schemes"], found["host"], found["basePath"]) == ([scheme], host, BASE_PATH)


@pytest.mark.parametrize(
    "base_url",
    ["api.example.com", "ftp://api.example.com", "https://", "https:///x", "//api.example.com",
     "https://user:secret@api.example.com", "javascript:alert(1)", "https://a b"],
)  # fmt: skip
async def test_a_base_url_that_is_none_is_refused_by_name(gateway: Gateway, base_url: str) -> None:
    for path in ("/elements/box/docs", "/docs/documents", "/docs/all_platform"):
        answer = await gateway.http.get(path, params={"baseUrl": base_url})
        assert answer.status_code == 400
        assert answer.json()["message"] == "baseUrl: must be an absolute http or https URL"


async def test_the_public_url_is_where_everything_is_served(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str
) -> None:
    settings = gateways.settings_for(tmp_path, sandbox_url, public_url="https://files.example.com/gw/")
    async with gateways.running(settings, sandbox_url) as gateway:
        found = (await gateway.http.get("/docs/documents")).json()
        assert (found["host"], found["basePath"]) == ("files.example.com", "/gw/elements/api-v2")
        other = (await gateway.http.get("/docs/documents?baseUrl=http://inside")).json()
        assert (other["host"], other["basePath"]) == ("inside", "/gw/elements/api-v2")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/elements/nobox/docs", "No element with the key or id 'nobox' found"),
        ("/docs/crm", "No hub with the key 'crm' found"),
        ("/docs/documents?provider=nobox", "No element with the key or id 'nobox' found"),
        ("/elements/box/docs?operationId=nothing", "No operation with the id 'nothing' found"),
    ],
)
async def test_what_nobody_has_is_not_found(gateway: Gateway, path: str, message: str) -> None:
    answer = await gateway.http.get(path)
    assert (answer.status_code, answer.json()["message"]) == (404, message)


async def test_a_document_can_be_that_of_one_operation(gateway: Gateway) -> None:
    found = (await gateway.http.get("/elements/egnyte/docs?operationId=getFileMetadataById")).json()
    assert list(found["paths"]) == ["/files/{id}/metadata"]
    assert set(found["definitions"]) == {"CloudFile", "ErrorBody"}


@pytest.mark.parametrize("base", [BASE_PATH, f"{BASE_PATH}/hubs/documents"])
async def test_every_operation_of_an_element_is_there_as_it_is_described(gateway: Gateway, base: str) -> None:
    """Without credentials each one is refused for want of them, and not as a path that nobody knows."""
    found = (await gateway.http.get("/elements/box/docs")).json()
    for path, method, operation in swagger.operations(found):
        query = {item["name"]: "/x" for item in operation.get("parameters", ()) if item["required"]}
        place = f"{ROOT}{base}{re.sub(r'{.*?}', '1', path)}"
        answer = await gateway.http.request(method, place, params=query)
        assert answer.status_code == 401, f"{method} {path}: {answer.text}"


@pytest.mark.parametrize("prefix", ["", "/hubs/documents"])
async def test_an_object_has_its_operations(gateway: Gateway, prefix: str) -> None:
    headers = gateway.hub((await gateway.connect())["token"])
    names = (await gateway.http.get(f"{prefix}/objects", headers=headers)).json()
    for name in names:
        found = (await gateway.http.get(f"{prefix}/objects/{name}/docs", headers=headers)).json()
        assert found["paths"], name
    comments = (await gateway.http.get(f"{prefix}/objects/comments/docs", headers=headers)).json()
    assert set(comments["paths"]) == {
        "/files/comments",
        "/files/comments/{commentId}",
        "/files/{id}/comments",
        "/files/{id}/comments/{commentId}",
    }
    files = (await gateway.http.get(f"{prefix}/objects/files/docs", headers=headers)).json()
    assert {"/files", "/files/{id}/metadata", "/files/copy"} <= set(files["paths"])
    assert not [path for path in files["paths"] if "comments" in path or "folders" in path]
    assert files["host"] == "gateway"


@pytest.mark.parametrize(
    ("name", "field", "kind"),
    [
        ("files", "modifiedDate", "string"),
        ("folders", "directory", "boolean"),
        ("search", "size", "integer"),
        ("comments", "createdBy", "object"),
        ("custom-fields", "templateKey", "string"),
        ("events", "event_type", "string"),
        ("me", "login", "string"),
        ("revisions", "fileName", "string"),
        ("storage", "used", "integer"),
        ("links", "cloudElementsLink", "string"),
    ],
)
async def test_an_object_has_fields_with_types(gateway: Gateway, name: str, field: str, kind: str) -> None:
    headers = gateway.hub((await gateway.connect("box"))["token"])
    found = (await gateway.http.get(f"/objects/{name}/metadata", headers=headers)).json()
    assert found["name"] == name
    fields = {item["vendorPath"]: item for item in found["fields"]}
    assert fields[field]["type"] == kind
    assert fields[field]["vendorDisplayName"] == field


async def test_an_object_that_nobody_has_is_not_found(gateway: Gateway) -> None:
    headers = gateway.hub((await gateway.connect())["token"])
    for path in ("/objects/contacts/docs", "/objects/contacts/metadata"):
        answer = await gateway.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (
            404,
            "No object with the name 'contacts' found",
        )


async def test_the_objects_of_a_disabled_instance_are_still_described(gateway: Gateway) -> None:
    instance = await gateway.connect()
    disabled = await gateway.http.delete(f"/instances/{instance['id']}/enabled", headers=gateway.platform)
    assert disabled.status_code == 200
    headers = gateway.hub(instance["token"])
    assert (await gateway.http.get("/ping", headers=headers)).status_code == 403
    for path in ("/objects/files/docs", "/objects/files/metadata"):
        assert (await gateway.http.get(path, headers=headers)).status_code == 200


async def openapi(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.http.get(f"{ROOT}/openapi.json")).json()
    return found


async def test_the_page_for_people_shows_every_operation(gateway: Gateway) -> None:
    answer = await gateway.http.get(f"{ROOT}/docs")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    document = await openapi(gateway)
    for path, _, operation in swagger.operations(document):
        assert f'<article id="{operation["operationId"]}">' in answer.text
        assert path.removeprefix(BASE_PATH) in answer.text
    for name in document["components"]["schemas"]:
        assert f'<article id="body-{name}">' in answer.text
    targets = set(re.findall(r'href="#([^"]+)"', answer.text))
    assert targets == {*re.findall(r'(?:article|section) id="([^"]+)"', answer.text)}


async def test_the_page_loads_nothing(gateway: Gateway) -> None:
    answer = await gateway.http.get(f"{ROOT}/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "script" not in policy
    assert not re.findall(r"<(script|link|img|iframe)|\sstyle=|\son\w+=|@import|url\(", answer.text)
    for place in re.findall(r'href="([^#"]+)"', answer.text):
        assert (await gateway.http.get(f"{ROOT}/{place}")).status_code == 200


async def test_the_pages_of_the_framework_are_gone(gateway: Gateway) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await gateway.http.get(f"{ROOT}{path}")).status_code == 404


def test_what_a_description_says_is_never_markup() -> None:
    evil = "<script>alert(1)</script> & `<b>`"
    schema = {
        "type": "object",
        "description": evil,
        "properties": {evil: {"type": "string", "default": evil}},
        "example": {evil: evil},
        "enum": [evil],
    }
    operation = {
        "operationId": "x",
        "tags": [evil],
        "description": evil,
        "parameters": [{"name": evil, "in": "query", "description": evil, "schema": schema}],
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": evil, "content": {evil: {"schema": schema}}}},
    }
    page = reference_page.page(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "paths": {f"/{evil}": {"get": operation}},
            "components": {"schemas": {evil: schema}},
        }
    )
    assert "<script>" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") > 15
    assert "<code>&lt;b&gt;</code>" in page


@pytest.mark.parametrize("twin", ["id", "token"])
async def test_an_instance_describes_itself(gateway: Gateway, twin: str) -> None:
    made = await gateway.connect()
    everything = {"Authorization": gateway.platform["Authorization"] + f", Element {made['token']}"}
    base, headers = (
        (f"/instances/{made['id']}", gateway.platform) if twin == "id" else ("/instances", everything)
    )
    whole = (await gateway.http.get(f"{base}/docs?version=-1", headers=headers)).json()
    assert whole == (await gateway.http.get("/elements/egnyte/docs")).json()
    one = (await gateway.http.get(f"{base}/docs/getFileMetadata", headers=headers)).json()
    assert list(one["paths"]) == ["/files/metadata"]
    same = await gateway.http.get(f"{base}/docs?operationId=getFileMetadata", headers=headers)
    assert same.json() == one
    definitions = await gateway.http.get(f"{base}/docs/getFileMetadata/definitions", headers=headers)
    assert definitions.json() == one["definitions"]
    unknown = await gateway.http.get(f"{base}/docs/nothing", headers=headers)
    assert unknown.status_code == 404
    names = (await gateway.http.get(f"{base}/objects", headers=headers)).json()
    assert names == (await gateway.http.get("/objects", headers=gateway.hub(made["token"]))).json()
    fields = (await gateway.http.get(f"{base}/objects/storage/metadata", headers=headers)).json()["fields"]
    assert {"used", "total"} <= {field["vendorPath"] for field in fields}
    docs = (await gateway.http.get(f"{base}/objects/storage/docs", headers=headers)).json()
    assert list(docs["paths"]) == ["/storage"]
    assert (await gateway.http.get(f"{base}/objects/nothing/docs", headers=headers)).status_code == 404


async def test_a_document_is_written_once_for_each_url(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    really = swagger.served_at

    def watched(document: swagger.Document, base_url: str) -> swagger.Document:
        written.append(base_url)
        return really(document, base_url)

    monkeypatch.setattr(swagger, "served_at", watched)
    paths = ("/docs/documents", "/docs/all_platform", "/docs/documents?provider=box", "/elements/egnyte/docs")
    for path in paths:
        url = f"{path}{'&' if '?' in path else '?'}baseUrl=https://once.example.com"
        first, second = await gateway.http.get(url), await gateway.http.get(url)
        assert (first.status_code, first.content) == (200, second.content)
    assert len(written) == len(paths)
    other = (await gateway.http.get("/docs/documents?baseUrl=https://twice.example.com")).json()
    assert (other["host"], len(written)) == ("twice.example.com", len(paths) + 1)


async def test_few_of_the_written_documents_are_kept(gateway: Gateway) -> None:
    for number in range(20):
        await gateway.http.get(f"/docs/all_platform?baseUrl=https://{number}.example.com")
    kept = gateways._application().swaggers._bytes.cache_info()  # type: ignore[attr-defined]
    assert kept.currsize == kept.maxsize <= 16
