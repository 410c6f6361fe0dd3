"""The objects of the hub, by the names that `GET /objects` lists: their operations and their fields."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from app.errors import NotFound
from app.openapi import swagger
from app.openapi.swagger import Document
from app.openapi.swagger_schemas import Schema, referenced


def docs(document: Document, name: str, names: Collection[str]) -> Document:
    """The operations of an object, with the definitions that they need. Raises NotFound."""
    if name not in names:
        raise NotFound(f"No object with the name '{name[:100]}' found")
    return swagger.only(document, lambda path, _: _object_of(path, names) == name)


def fields(document: Document, name: str, names: Collection[str]) -> list[dict[str, str]]:
    """The fields of an object with their types, as its operations answer it. An object of which only the
    vendor knows the fields has none. Raises NotFound."""
    own = docs(document, name, names)
    for schema in _answered(own, name):
        found = own["definitions"][next(referenced(schema))]
        return [_field(key, item) for key, item in found.get("properties", {}).items()]
    return []


def _object_of(path: str, names: Collection[str]) -> str | None:
    """The last of the names in a path: comments are no part of the files that they are about."""
    for segment in reversed(path.split("/")):
        for name in names:
            if segment == name or segment.startswith(f"{name}-"):
                return name
    return None


def _answered(document: Document, name: str) -> Iterator[Schema]:
    """The definitions that reading an object answers, first those of the paths that end in its name."""
    reads = [(path, operation) for path, method, operation in swagger.operations(document) if method == "get"]
    for _, operation in sorted(reads, key=lambda item: (not item[0].endswith(f"/{name}"), len(item[0]))):
        schema = operation["responses"]["200"].get("schema", {})
        if any(referenced(schema)):
            yield schema


def _field(name: str, schema: Mapping[str, Any]) -> dict[str, str]:
    kind = "object" if "$ref" in schema else schema.get("type", "object")
    said = {"format": schema.get("format"), "description": schema.get("description")}
    found = {"vendorPath": name, "vendorDisplayName": name, "type": str(kind)}
    return found | {key: str(text) for key, text in said.items() if text}
