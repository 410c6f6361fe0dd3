"""Swagger 2.0 of the whole surface, of what one element can do, and of single operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from app.errors import NotFound
from app.openapi.swagger_schemas import Converter, Schema, referenced

BASE_PATH = "/elements/api-v2"
HUB_PATH = f"{BASE_PATH}/hubs/{{hub}}"
POWER = "x-power"
"""Says of an operation which of the element's `operations` it belongs to; the others every element has."""

Document = dict[str, Any]
Operation = dict[str, Any]

_JSON, _FORM = "application/json", "multipart/form-data"
_AUTHORIZATION = "Authorization"
_SAID_AS_IT_IS = ("tags", "summary", "description", "operationId", "deprecated", POWER)
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})


def of_platform(openapi: Mapping[str, Any]) -> Document:
    """The whole surface but for its hub: elements, instances, accounts and what else there is."""
    return _document(openapi, lambda path, _: _below(path, BASE_PATH) if not _of_hub(path) else None)


def of_hub(
    openapi: Mapping[str, Any],
    *,
    powers: Collection[str] | None = None,
    title: str | None = None,
    description: str | None = None,
) -> Document:
    """The hub with bare paths, as `/files`: all of it, or the part for which an element has the powers."""

    def place(path: str, operation: Operation) -> str | None:
        power = operation.get(POWER)
        able = powers is None or power is None or power in powers
        return _below(path, HUB_PATH) if able else None

    document = _document(openapi, place)
    said = {"title": title, "description": description}
    document["info"] |= {key: text for key, text in said.items() if text}
    return document


def served_at(document: Document, base_url: str) -> Document:
    """The document for clients that reach the gateway at this URL. A host that Swagger cannot write, which
    is an IPv6 address, is left out: it is the one that the document comes from."""
    url = urlsplit(base_url)
    head = {key: document[key] for key in ("swagger", "info")}
    place = {"host": url.netloc, "basePath": url.path.rstrip("/") + BASE_PATH, "schemes": [url.scheme]}
    if "[" in url.netloc:
        del place["host"]
    return head | place | document


def of_operation(document: Document, operation_id: str) -> Document:
    """That operation, with the definitions that it needs. Raises NotFound."""
    found = only(document, lambda _, operation: operation["operationId"] == operation_id)
    if not found["paths"]:
        raise NotFound(f"No operation with the id '{operation_id[:100]}' found")
    return found


def definitions_of(document: Document, operation_id: str) -> dict[str, Schema]:
    """The definitions that the operation needs, and those that they need. Raises NotFound."""
    found: dict[str, Schema] = of_operation(document, operation_id)["definitions"]
    return found


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Every path and method with its operation, of a document of either kind."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def only(document: Document, wanted: Callable[[str, Operation], bool]) -> Document:
    """The document with these operations and the definitions that they need."""
    paths: dict[str, dict[str, Operation]] = {}
    for path, method, operation in operations(document):
        if wanted(path, operation):
            paths.setdefault(path, {})[method] = operation
    return document | {"paths": paths, "definitions": _needed(paths, document["definitions"])}


def _of_hub(path: str) -> bool:
    return path.startswith(f"{HUB_PATH}/")


def _below(path: str, base: str) -> str | None:
    return path.removeprefix(base) if path.startswith(f"{base}/") else None


def _document(openapi: Mapping[str, Any], place: Callable[[str, Operation], str | None]) -> Document:
    """The operations of an OpenAPI document that have a place, which is their path in the new document."""
    converter = Converter(openapi["components"]["schemas"])
    paths: dict[str, dict[str, Operation]] = {}
    for path, method, operation in operations(openapi):
        placed = place(path, operation)
        if placed is not None:
            paths.setdefault(placed, {})[method] = _operation(placed, operation, converter)
    return {
        "swagger": "2.0",
        "info": {key: openapi["info"][key] for key in ("title", "description", "version")},
        "consumes": [_JSON],
        "produces": [_JSON],
        "securityDefinitions": {_AUTHORIZATION: _authorization(openapi)},
        "paths": paths,
        "definitions": _needed(paths, converter.definitions()),
    }


def _authorization(openapi: Mapping[str, Any]) -> Schema:
    (scheme,) = openapi["components"]["securitySchemes"].values()
    return {"type": "apiKey", "name": _AUTHORIZATION, "in": "header", "description": scheme["description"]}


def _needed(paths: Mapping[str, Any], definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The definitions that the operations refer to, and those that they refer to in turn."""
    found: set[str] = set()
    waiting = list(referenced(paths))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += referenced(definitions[name])
    return {name: definitions[name] for name in sorted(found)}


def _operation(path: str, given: Operation, converter: Converter) -> Operation:
    found: Operation = {key: given[key] for key in _SAID_AS_IT_IS if key in given}
    content = given.get("requestBody", {}).get("content", {})
    parameters = [
        _parameter(item, converter)
        for item in given.get("parameters", ())
        if item["in"] != "path" or f"{{{item['name']}}}" in path
    ]
    parameters += _body(given["requestBody"], converter) if content else []
    if parameters:
        found["parameters"] = parameters
    if content and _JSON not in content:
        found["consumes"] = list(content)
    produced = _produced(given["responses"])
    if produced and produced != [_JSON]:
        found["produces"] = produced
    found["responses"] = {
        status: _response(response, converter) for status, response in given["responses"].items()
    }
    if given.get("security"):
        found["security"] = [{_AUTHORIZATION: []}]
    return found


def _parameter(given: Mapping[str, Any], converter: Converter) -> Schema:
    return {
        "name": given["name"],
        "in": given["in"],
        "required": given.get("required", False),
        **({"description": given["description"]} if given.get("description") else {}),
        **_sent(given["in"], given.get("schema", {}), converter),
    }


def _sent(place: str, schema: Any, converter: Converter) -> Schema:
    found = converter.value(schema)
    if found["type"] == "array":
        found["collectionFormat"] = "multi" if place in {"query", "formData"} else "csv"
    return found


def _body(given: Mapping[str, Any], converter: Converter) -> list[Schema]:
    content, required = given["content"], given.get("required", False)
    if _JSON not in content and (_FORM in content or "application/x-www-form-urlencoded" in content):
        (media, *_) = content.values()
        return _form(media["schema"], converter)
    media = content.get(_JSON) or next(iter(content.values()))
    body = {"name": "body", "in": "body", "required": required, "schema": converter.schema(media["schema"])}
    return [body | ({"description": given["description"]} if given.get("description") else {})]


def _form(given: Mapping[str, Any], converter: Converter) -> list[Schema]:
    """The fields of a form, each a parameter."""
    form = converter.resolved(given)
    return [
        {"name": name, "in": "formData", "required": name in form.get("required", ())}
        | ({"description": schema["description"]} if schema.get("description") else {})
        | ({"type": "file"} if _is_bytes(schema) else _sent("formData", schema, converter))
        for name, schema in form["properties"].items()
    ]


def _is_bytes(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "binary" or "contentMediaType" in schema


def _produced(responses: Mapping[str, Any]) -> list[str]:
    """The media types of the answers, those of success first."""
    statuses: Sequence[str] = sorted(responses)
    return list(dict.fromkeys(kind for status in statuses for kind in responses[status].get("content", ())))


def _response(given: Mapping[str, Any], converter: Converter) -> Schema:
    found: Schema = {"description": given.get("description", "")}
    content = given.get("content", {})
    if _JSON in content:
        found["schema"] = converter.schema(content[_JSON].get("schema"))
    elif content:
        found["schema"] = {"type": "string" if all(kind.startswith("text/") for kind in content) else "file"}
    headers = {
        name: converter.value(header.get("schema", {}))
        | ({"description": header["description"]} if header.get("description") else {})
        for name, header in given.get("headers", {}).items()
    }
    return found | ({"headers": headers} if headers else {})
