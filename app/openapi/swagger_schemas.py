"""Schemas and parameters of OpenAPI 3.1 in the words of Swagger 2.0, which has fewer of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_DEFINITION = "#/definitions/"

_LIMITS = ("format", "multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems")
_VALUE = ("type", "default", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", *_LIMITS)
"""What a parameter or a header may say, besides the `items` of an array."""

_EXCLUSIVE = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
_NAMES = {f"{name}Body": name for name in ("CloudFile", "CloudLink", "CloudStorage", "Pong")}
"""Definitions that are called as in the code that was generated from Cloud Elements' own Swagger."""

_SMALL = 2**31
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class Converter:
    """Knows the schemas of one OpenAPI document: parameters have to be written without references."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def definitions(self) -> dict[str, Schema]:
        return {_NAMES.get(name, name): self.schema(schema) for name, schema in self._schemas.items()}

    def schema(self, given: Any) -> Schema:
        """A schema of Swagger 2.0. Of several kinds that are admitted it says what they have in common."""
        if not isinstance(given, Mapping):  # `true` admits everything
            return {}
        if "$ref" in given:
            name = given["$ref"].removeprefix(_REFERENCE)
            return {"$ref": _DEFINITION + _NAMES.get(name, name)}
        options = _options(given)
        found = _common([self.schema(option) for option in options]) if options else self._plain(given)
        if "$ref" not in found:  # what stands beside a reference is not read
            found |= _annotations(given)
        return found | {"x-nullable": True} if _nullable(given) else found

    def value(self, given: Any) -> Schema:
        """The schema of a parameter, a header or a field of a form. What is of no simple type is text."""
        resolved = self.resolved(given)
        known = self.schema(resolved)
        found = {key: known[key] for key in _VALUE if key in known and known[key] not in ("", [])}
        if found.get("type", "object") == "object":
            found["type"] = "string"
        if found["type"] == "array":
            found["items"] = self.value(resolved.get("items", {}))
        return found

    def resolved(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself in the place of a reference to it, and of a choice between it and null."""
        options = _options(given)
        if len(options) == 1:
            inner, left_out = self.resolved(options[0]), {"anyOf", "oneOf"}
        elif "$ref" in given:
            inner, left_out = self._schemas[given["$ref"].removeprefix(_REFERENCE)], {"$ref"}
        else:
            return given
        return {**inner, **{key: value for key, value in given.items() if key not in left_out}}

    def _plain(self, given: Mapping[str, Any]) -> Schema:
        found = {key: given[key] for key in (*_LIMITS, "minProperties", "maxProperties") if key in given}
        found |= _kind(given) | _bounds(given)
        if given.get("required"):
            found["required"] = list(given["required"])
        if "properties" in given:
            found["properties"] = {name: self.schema(item) for name, item in given["properties"].items()}
        if found.get("type") == "array":
            found["items"] = self.schema(given.get("items"))
        if "allOf" in given:
            found["allOf"] = [self.schema(item) for item in given["allOf"]]
        inner = given.get("additionalProperties")
        if inner is not None:
            found["additionalProperties"] = inner if isinstance(inner, bool) else self.schema(inner)
        return found


def referenced(node: Any) -> Iterator[str]:
    """The names of the definitions that a part of a Swagger document refers to."""
    match node:
        case {"$ref": str(reference)} if reference.startswith(_DEFINITION):
            yield reference.removeprefix(_DEFINITION)
        case dict():
            for item in node.values():
                yield from referenced(item)
        case list():
            for item in node:
                yield from referenced(item)


def _choice(given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    choice: Sequence[Mapping[str, Any]] = given.get("anyOf") or given.get("oneOf") or ()
    return choice


def _options(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The kinds of value that are admitted besides null; none where the schema itself says it."""
    return [option for option in _choice(given) if option.get("type") != "null"]


def _nullable(given: Mapping[str, Any]) -> bool:
    kinds = given.get("type")
    null_type = kinds == "null" or (isinstance(kinds, list) and "null" in kinds)
    return null_type or any(option.get("type") == "null" for option in _choice(given))


def _kind(given: Mapping[str, Any]) -> Schema:
    """The type and the values that are admitted."""
    if "const" in given:
        return {"type": _TYPES.get(type(given["const"]), "object"), "enum": [given["const"]]}
    kinds = given.get("type") or []
    named = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]
    found: Schema = {"type": named[0]} if len(named) == 1 else {}
    if named == ["integer"] and given.get("maximum", _SMALL) >= _SMALL:
        found["format"] = "int64"  # generated code would take 32 bits, which ids and sizes surpass
    values = [value for value in given.get("enum", ()) if value is not None]
    return found | {"enum": values} if values else found


def _bounds(given: Mapping[str, Any]) -> Schema:
    """Limits of a number; one that is excluded is a flag beside the limit."""
    found = {name: given[name] for name in ("minimum", "maximum") if name in given}
    for exclusive, name in _EXCLUSIVE:
        if exclusive in given:
            found |= {name: given[exclusive], exclusive: True}
    return found


def _annotations(given: Mapping[str, Any]) -> Schema:
    found = {key: given[key] for key in ("description", "default", "example") if given.get(key) is not None}
    if "example" not in found and given.get("examples"):
        found["example"] = given["examples"][0]
    return found


def _common(options: Sequence[Schema]) -> Schema:
    if len(options) == 1:
        return dict(options[0])
    kinds = {"object" if "$ref" in option else option.get("type") for option in options}
    if kinds == {"array"}:
        return {"type": "array", "items": _common([option["items"] for option in options])}
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    return {"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}
