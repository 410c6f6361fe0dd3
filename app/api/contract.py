"""What our OpenAPI document says beyond what the framework writes: operation ids, and powers of elements."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.api.swaggers import Swaggers
from app.api.targets import Able
from app.hubs.documents import Power
from app.openapi import swagger

_FRAMEWORK = ("HTTPValidationError", "ValidationError")
"""Bodies of a 422, which is never answered here: wrong parameters are a 400 of our own form."""


_LIMITED = {
    "description": "Too Many Requests",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}
"""Whoever has to say who he is may say so too often."""


class DescribedApi(FastAPI):
    """An application whose document has operation ids to generate code with, and the powers of elements."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.swaggers = Swaggers(self.openapi)

    def openapi(self) -> dict[str, Any]:
        before = self.openapi_schema
        document = super().openapi()
        if document is not before:
            _complete(document, [context for context in iter_route_contexts(self.routes) if _shown(context)])
        return document


def _shown(context: RouteContext) -> bool:
    return isinstance(context.original_route, APIRoute) and context.include_in_schema


def _complete(document: dict[str, Any], routes: Sequence[RouteContext]) -> None:
    for (path, method), operation_id in _operation_ids(routes).items():
        operation = document["paths"][path][method]
        operation["operationId"] = operation_id
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
        if operation.get("security"):
            operation["responses"].setdefault("429", _LIMITED)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    for route in routes:
        power = next(_powers(route.dependant), None)
        for method in (route.methods or ()) if power else ():
            document["paths"][route.path_format][method.lower()][swagger.POWER] = str(power)
    for name in _FRAMEWORK:
        document["components"]["schemas"].pop(name, None)


def _powers(dependant: Dependant) -> Iterator[Power]:
    """What the provider must be able to do for a route."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Able):
            yield needed.call.power
        yield from _powers(needed)


def _operation_ids(routes: Iterable[RouteContext]) -> dict[tuple[str, str], str]:
    """An id for each path and method: the name of its route, `getFileMetadata`. Where a name has several
    paths, those with more parameters say so: `getFileMetadataById`."""
    twins: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for route in routes:
        twins[route.name or ""] += [
            (str(route.path_format), method.lower()) for method in route.methods or ()
        ]
    return {
        place: _camel(name) + suffix
        for name, places in twins.items()
        for place, suffix in zip(places, _told_apart(places), strict=True)
    }


def _told_apart(places: Sequence[tuple[str, str]]) -> list[str]:
    """For each path and method what is said of it beside the name that they have in common."""
    parameters = [re.findall(r"{(\w+)}", path) for path, _ in places]
    shared = set.intersection(*map(set, parameters))
    own = ["And".join(_capital(name) for name in names if name not in shared) for names in parameters]
    said = [f"By{names}" if names else "" for names in own]
    return [
        text if said.count(text) == 1 else text + method.title()
        for text, (_, method) in zip(said, places, strict=True)
    ]


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(_capital(word) for word in others)


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
