"""Swagger 2.0 of the surface: valid, complete, limited to what an element can do; and our own OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema_path.paths import SchemaPath
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator
from openapi_spec_validator.validation import keywords

from app import registry
from app.api.contract import DescribedApi
from app.api.swaggers import Swaggers
from app.errors import NotFound
from app.hubs.documents import Power
from app.main import create_app
from app.openapi import swagger
from app.openapi.swagger import Document
from app.openapi.swagger_schemas import Converter
from app.registry import Provider
from app.settings import load

PROVIDERS = registry.discover({}).providers
DOCUMENTS = ["hub", "platform", *(provider.key for provider in PROVIDERS)]


class Answer(keywords.OpenAPIV2ResponseValidator):
    """The validator's own one takes the `type: file` of an answer, which Swagger 2.0 has, for no type."""

    def __call__(self, response_code: str, response: SchemaPath) -> Iterator[Any]:
        if "schema" not in response or (response / "schema").read_value() != {"type": "file"}:
            yield from super().__call__(response_code, response)


class SwaggerValidator(OpenAPIV2SpecValidator):
    keyword_validators = {**OpenAPIV2SpecValidator.keyword_validators, "response": Answer}  # noqa: RUF012


@pytest.fixture(scope="module")
def application() -> DescribedApi:
    app = create_app(load(_env_file=None), with_workers=False)
    assert isinstance(app, DescribedApi)
    return app


@pytest.fixture(scope="module")
def openapi(application: DescribedApi) -> dict[str, Any]:
    return application.openapi()


@pytest.fixture
def swaggers(application: DescribedApi) -> Swaggers:
    return application.swaggers


@pytest.fixture
def hub(swaggers: Swaggers) -> Document:
    return swaggers.of_hub()


def document(swaggers: Swaggers, name: str) -> Document:
    if name == "hub":
        return swaggers.of_hub()
    if name == "platform":
        return swaggers.of_platform()
    return swaggers.of_element(provider(name))


def provider(key: str) -> Provider:
    return next(item for item in PROVIDERS if item.key == key)


def operation_ids(found: Mapping[str, Any]) -> set[str]:
    return {operation["operationId"] for _, _, operation in swagger.operations(found)}


def schema_words(node: Any) -> Iterator[str]:
    """Every keyword of a document, but for the names of fields and the insides of examples."""
    match node:
        case dict():
            for key, item in node.items():
                yield key
                if key in {"properties", "definitions", "paths", "responses"}:
                    for inner in item.values():
                        yield from schema_words(inner)
                elif key not in {"example", "default"}:
                    yield from schema_words(item)
        case list():
            for item in node:
                yield from schema_words(item)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_is_valid_swagger(swaggers: Swaggers, name: str) -> None:
    found = swagger.served_at(document(swaggers, name), "https://gateway.example.com")
    assert [str(error) for error in SwaggerValidator(found).iter_errors()] == []
    assert len(found["paths"]) > 10


def test_the_validator_of_these_tests_sees_what_is_wrong(hub: Document) -> None:
    operation = {"operationId": "x", "responses": {"200": {"description": "", "schema": {"type": "any"}}}}
    found = swagger.served_at(hub | {"paths": {"/x": {"get": operation}}}, "https://gateway.example.com")
    assert list(SwaggerValidator(found).iter_errors())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_word_of_a_later_version_is_left(swaggers: Swaggers, name: str) -> None:
    words = set(schema_words(document(swaggers, name)))
    assert not words & {
        "anyOf",
        "oneOf",
        "const",
        "examples",
        "$defs",
        "prefixItems",
        "content",
        "requestBody",
    }
    assert {"$ref", "schema", "type", "x-nullable", "items"} <= words


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_to_a_definition_and_none_is_left_over(swaggers: Swaggers, name: str) -> None:
    found = document(swaggers, name)
    referenced = set(re.findall(r"'\$ref': '#/definitions/([^']+)'", str(found)))
    assert referenced == set(found["definitions"])


def test_a_document_says_where_it_is_served_and_how_to_authorize(hub: Document) -> None:
    found = swagger.served_at(hub, "https://gateway.example.com:8443/below")
    assert (found["host"], found["basePath"], found["schemes"]) == (
        "gateway.example.com:8443",
        "/below/elements/api-v2",
        ["https"],
    )
    (scheme,) = found["securityDefinitions"].values()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "Authorization")
    assert found["paths"]["/ping"]["get"]["security"] == [{"Authorization": []}]


def test_a_host_that_swagger_cannot_write_is_left_out(hub: Document) -> None:
    found = swagger.served_at(hub, "http://[::1]:8080")
    assert "host" not in found
    assert list(SwaggerValidator(found).iter_errors()) == []


def test_the_hub_has_bare_paths_and_the_platform_has_none_of_them(swaggers: Swaggers) -> None:
    hub, platform = swaggers.of_hub(), swaggers.of_platform()
    assert {"/files", "/files/{id}/metadata", "/folders/contents", "/ping", "/objects"} <= set(hub["paths"])
    assert {"/instances", "/elements/{keyOrId}", "/docs/{hub}"} <= set(platform["paths"])
    assert not operation_ids(hub) & operation_ids(platform)
    assert not [path for path in (*hub["paths"], *platform["paths"]) if "hubs/{hub}" in path]


@pytest.mark.parametrize("key", [item.key for item in PROVIDERS])
def test_an_element_has_the_operations_that_its_provider_declares(swaggers: Swaggers, key: str) -> None:
    powers = {str(power) for power in provider(key).powers}
    found = swaggers.of_element(provider(key))
    shown = {operation.get("x-power") for _, _, operation in swagger.operations(found)}
    offered = {operation.get("x-power") for _, _, operation in swagger.operations(swaggers.of_hub())}
    assert shown == (powers | {None}) & offered
    assert {"getFileMetadata", "listObjects", "getObjectDocs", "ping"} <= operation_ids(found)
    assert found["info"]["title"] == provider(key).name


def test_what_a_provider_cannot_do_is_not_in_its_document(swaggers: Swaggers) -> None:
    without = type("Fewer", (provider("box"),), {"powers": frozenset({Power.PING, Power.METADATA})})
    found = operation_ids(swaggers.of_element(without))
    assert {"ping", "getFileMetadata", "updateFolderById"} <= found
    assert not found & {"uploadFile", "search", "listEvents", "listCommentsById", "me"}


def test_every_operation_of_the_hub_but_those_about_objects_needs_a_power(hub: Document) -> None:
    free = {item["operationId"] for _, _, item in swagger.operations(hub) if "x-power" not in item}
    assert free == {"listObjects", "getObjectMetadata", "getObjectDocs"}


def test_twins_have_ids_of_their_own(hub: Document) -> None:
    assert hub["paths"]["/files/metadata"]["get"]["operationId"] == "getFileMetadata"
    assert hub["paths"]["/files/{id}/metadata"]["get"]["operationId"] == "getFileMetadataById"
    assert hub["paths"]["/files/{id}/revisions/{revisionId}"]["get"]["operationId"] == "getRevisionById"


def test_one_operation_comes_with_the_definitions_that_it_needs(hub: Document) -> None:
    found = swagger.of_operation(hub, "listCommentsById")
    assert list(found["paths"]) == ["/files/{id}/comments"]
    assert list(found["paths"]["/files/{id}/comments"]) == ["get"]
    assert set(found["definitions"]) == {"CommentBody", "AuthorBody", "ErrorBody"}
    assert swagger.definitions_of(hub, "listCommentsById") == found["definitions"]
    assert list(SwaggerValidator(swagger.served_at(found, "https://x.example")).iter_errors()) == []


def test_an_operation_that_nobody_has_is_not_found(hub: Document) -> None:
    with pytest.raises(NotFound, match="No operation with the id 'nothing' found"):
        swagger.definitions_of(hub, "nothing")


def test_an_upload_is_a_form_with_a_file_and_a_download_is_a_file(hub: Document) -> None:
    upload = hub["paths"]["/files"]["post"]
    assert upload["consumes"] == ["multipart/form-data"]
    (form,) = [item for item in upload["parameters"] if item["in"] == "formData"]
    assert form == {"name": "file", "in": "formData", "required": True, "type": "file"}
    (tags,) = [item for item in upload["parameters"] if item["name"] == "tags[]"]
    assert (tags["type"], tags["items"], tags["collectionFormat"]) == ("array", {"type": "string"}, "multi")
    download = hub["paths"]["/files/{id}"]["get"]
    assert download["responses"]["200"]["schema"] == {"type": "file"}
    assert download["responses"]["404"]["schema"] == {"$ref": "#/definitions/ErrorBody"}
    assert download["produces"] == ["application/octet-stream", "application/json"]


def test_a_body_is_one_parameter(hub: Document) -> None:
    bodies = [item for item in hub["paths"]["/folders"]["post"]["parameters"] if item["in"] == "body"]
    assert bodies == [
        {"name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/FolderOrder"}}
    ]


def test_the_models_are_called_as_in_code_that_was_generated_before(hub: Document) -> None:
    assert {"CloudFile", "CloudLink", "CloudStorage", "Pong"} <= set(hub["definitions"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "title": "X"},
         {"type": "string", "x-nullable": True}),
        ({"type": ["number", "null"], "default": None}, {"type": "number", "x-nullable": True}),
        ({"type": "integer"}, {"type": "integer", "format": "int64"}),
        ({"type": "integer", "maximum": 60}, {"type": "integer", "maximum": 60}),
        ({"const": "ok", "type": "string"}, {"type": "string", "enum": ["ok"]}),
        ({"enum": ["a", None], "type": ["string", "null"]},
         {"type": "string", "enum": ["a"], "x-nullable": True}),
        ({"type": "number", "exclusiveMinimum": 0},
         {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
        ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, {}),
        ({"anyOf": [{"type": "number"}, {"type": "integer"}]}, {"type": "number"}),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, {"type": "array", "items": {}}),
        (True, {}),
        ({"$ref": "#/components/schemas/Kind", "default": "a"}, {"$ref": "#/definitions/Kind"}),
        ({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
         {"type": "object", "additionalProperties": {"type": "string", "x-nullable": True}}),
        ({"type": "object", "required": [], "properties": {"type": {"type": "string"}}},
         {"type": "object", "properties": {"type": {"type": "string"}}}),
    ],
)  # fmt: skip
def test_schemas_are_said_in_older_words(given: Any, expected: dict[str, Any]) -> None:
    assert Converter({"Kind": {"enum": ["a", "b"], "type": "string"}}).schema(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"$ref": "#/components/schemas/Kind"}, {"type": "string", "enum": ["a", "b"]}),
        ({"anyOf": [{"$ref": "#/components/schemas/Kind"}, {"type": "null"}], "default": "a"},
         {"type": "string", "enum": ["a", "b"], "default": "a"}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"type": "string"}),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Kind"}},
         {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}),
        ({"type": "object"}, {"type": "string"}),
        ({"type": "string", "default": ""}, {"type": "string"}),
        ({}, {"type": "string"}),
    ],
)  # fmt: skip
def test_parameters_are_of_simple_types_and_without_references(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert Converter({"Kind": {"enum": ["a", "b"], "type": "string"}}).value(given) == expected


def test_our_own_document_is_valid(openapi: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(openapi).iter_errors()) == []


def test_every_operation_has_an_id_to_generate_code_with(openapi: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in swagger.operations(openapi)]
    assert sorted(ids) == sorted(set(ids))
    assert [name for name in ids if not re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", name)] == []


def test_every_operation_says_what_it_does_and_answers(openapi: dict[str, Any]) -> None:
    for path, method, operation in swagger.operations(openapi):
        place = f"{method} {path}"
        assert operation.get("summary"), place
        assert operation.get("description"), place
        assert operation.get("tags"), place
        assert any(status.startswith(("2", "302")) for status in operation["responses"]), place
        assert "422" not in operation["responses"], f"{place}: wrong parameters are answered with 400"


def test_every_body_has_an_example(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    for path, method, operation in swagger.operations(openapi):
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            schema = Converter(schemas).resolved(media["schema"])
            shown = {"example", "examples"} & {*media, *schema}
            assert shown or kind == "multipart/form-data", f"{method} {path} has no example of its body"
