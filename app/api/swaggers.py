"""The Swagger documents of a running gateway, and what every route asks that answers one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
from fastapi import Depends, Query, Request, Response

from app.api.deps import PublicUrlDep
from app.errors import BadRequest
from app.openapi import swagger
from app.openapi.swagger import Document
from app.registry import Provider

_HELD = 64  # documents of some 150 kB; more than there are elements, and a bound whatever is asked for
_SERVED = 16  # of these as bytes, per URL that they are served at
_LONGEST_URL = 2000  # characters
_HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")


class Swaggers:
    """Each document is made when it is asked for first, and is the same wherever it is served: only its
    bytes say where that is."""

    def __init__(self, openapi: Callable[[], dict[str, Any]]) -> None:
        self._openapi = openapi
        self.of_element = lru_cache(_HELD)(self._of_element)
        self.of_hub = lru_cache(1)(self._of_hub)
        self.of_platform = lru_cache(1)(self._of_platform)
        self._bytes = lru_cache(_SERVED)(_bytes)

    def whole(self, base_url: str, made: Callable[..., Document], *of: Provider) -> Response:
        """What one of the methods below makes, served at this URL."""
        return _json(self._bytes(base_url, made, *of))

    def _of_element(self, provider: Provider) -> Document:
        """What the provider of an element declares that it can do."""
        return swagger.of_hub(
            self._openapi(), powers=provider.powers, title=provider.name, description=provider.description
        )

    def _of_hub(self) -> Document:
        return swagger.of_hub(self._openapi())

    def _of_platform(self) -> Document:
        return swagger.of_platform(self._openapi())


async def _swaggers(request: Request) -> Swaggers:
    found: Swaggers = request.app.swaggers
    return found


async def _base_url(
    public_url: PublicUrlDep,
    wanted: Annotated[
        str,
        Query(
            alias="baseUrl", max_length=_LONGEST_URL, description="Its scheme and host are the document's."
        ),
    ] = "",
) -> str:
    """Where the document says that it is served. Raises BadRequest for a `baseUrl` that is none."""
    if not wanted:
        return public_url
    scheme, _, rest = wanted.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() not in {"http", "https"} or not _HOST.fullmatch(host):
        raise BadRequest("baseUrl: must be an absolute http or https URL")
    return f"{scheme.lower()}://{host}{urlsplit(public_url).path}"


async def _ignored(
    version: Annotated[str, Query(max_length=100, description="Accepted; there is one version.")] = "",
    discovery: Annotated[
        str, Query(max_length=100, description="Accepted; nothing is asked of the vendor.")
    ] = "",
    basic: Annotated[str, Query(max_length=100, description="Accepted; the answer is always whole.")] = "",
    references: Annotated[
        str, Query(alias="resolveReferences", max_length=100, description="Accepted; references stay.")
    ] = "",
) -> None:
    """What clients of Cloud Elements send with it."""


SwaggersDep = Annotated[Swaggers, Depends(_swaggers)]
BaseUrlDep = Annotated[str, Depends(_base_url)]
OperationQuery = Annotated[
    str, Query(alias="operationId", max_length=200, description="The document of this operation only.")
]
ignored = Depends(_ignored)


def answer(document: Document, base_url: str) -> Response:
    """A part of a document, served at this URL."""
    return _json(orjson.dumps(swagger.served_at(document, base_url)))


def _bytes(base_url: str, made: Callable[..., Document], *of: Provider) -> bytes:
    return orjson.dumps(swagger.served_at(made(*of), base_url))


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
