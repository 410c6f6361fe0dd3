"""/elements: the kinds of vendor that instances are made of. No authorization is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.bodies import JsonRoute
from app.api.chosen import KeyOrId
from app.api.deps import RuntimeDep
from app.api.paging import PagingDep
from app.api.problems import responses
from app.errors import NotFound
from app.wire import elements
from app.wire.elements import (
    AUTHENTICATION_TYPE,
    ConfigurableElementBody,
    ElementBody,
    ElementConfigurationBody,
    ElementMetadataBody,
)

router = APIRouter(route_class=JsonRoute, prefix="/elements", tags=["elements"], responses=responses())

Expand = Annotated[bool, Query(description="Accepted; everything that is known is always told.")]


@router.get("", response_model_exclude_none=True, responses=responses(400))
async def list_elements(
    runtime: RuntimeDep,
    paging: PagingDep,
    abridged: Annotated[bool, Query(description="Leave out what is a list.")] = False,
) -> list[ElementBody]:
    """Lists the elements that instances can be made of."""
    shown = paging.of_all(runtime.registry.providers)
    return [elements.element(provider, abridged=abridged) for provider in shown]


@router.get("/keys", responses=responses(400))
async def list_element_keys(runtime: RuntimeDep, paging: PagingDep) -> list[str]:
    """Lists the keys of the elements."""
    return [provider.key for provider in paging.of_all(runtime.registry.providers)]


@router.get("/metadata", response_model_exclude_none=True, responses=responses(400))
async def list_element_metadata(
    runtime: RuntimeDep, paging: PagingDep, expand: Expand = False
) -> list[ElementMetadataBody]:
    """Lists what can be expected of the elements: events, paging, bulk."""
    numbered = list(enumerate(runtime.registry.providers, start=1))
    return [elements.metadata(provider, order) for order, provider in paging.of_all(numbered)]


@router.get("/images/{image:path}", response_class=Response, responses=responses(404))
async def get_element_image(
    runtime: RuntimeDep, image: Annotated[str, Path(description="The `image` of an element.")]
) -> Response:
    """Gets the image of an element, an SVG."""
    for provider in runtime.registry.providers:
        if image == elements.image_name(provider):
            return Response(
                elements.image(provider),
                media_type="image/svg+xml",
                headers={"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"},
            )
    raise NotFound("No image found")


@router.get("/{keyOrId}", response_model_exclude_none=True, responses=responses(404))
async def get_element(runtime: RuntimeDep, key_or_id: KeyOrId) -> ConfigurableElementBody:
    """Gets an element with its configuration keys."""
    return elements.configurable_element(runtime.registry.find(key_or_id))


@router.get("/{keyOrId}/metadata", response_model_exclude_none=True, responses=responses(400, 404))
async def get_element_metadata(
    runtime: RuntimeDep, key_or_id: KeyOrId, expand: Expand = False
) -> ElementMetadataBody:
    """Gets what can be expected of an element: events, paging, bulk."""
    provider = runtime.registry.find(key_or_id)
    return elements.metadata(provider, runtime.registry.providers.index(provider) + 1)


@router.get("/{keyOrId}/configuration", response_model_exclude_none=True, responses=responses(404))
async def list_element_configuration(
    runtime: RuntimeDep, key_or_id: KeyOrId
) -> list[ElementConfigurationBody]:
    """Lists the configuration keys of an element."""
    return elements.configuration_items(runtime.registry.find(key_or_id))


@router.get("/{keyOrId}/configuration/{key}", response_model_exclude_none=True, responses=responses(404))
async def get_element_configuration(
    runtime: RuntimeDep,
    key_or_id: KeyOrId,
    key: Annotated[str, Path(description="Key or id of the item.")],
) -> ElementConfigurationBody:
    """Gets one configuration key of an element."""
    for item in elements.configuration_items(runtime.registry.find(key_or_id)):
        if key in {item.key, str(item.id)}:
            return item
    raise NotFound(f"No configuration with the key or id '{key[:100]}' found")


@router.get("/{keyOrId}/authentication-types", responses=responses(404))
async def list_authentication_types(runtime: RuntimeDep, key_or_id: KeyOrId) -> list[str]:
    """Lists the ways in which accounts of an element are authenticated."""
    return [elements.element(runtime.registry.find(key_or_id)).authenticationType]


@router.get(
    "/{keyOrId}/authentication-types/{type}/configurations",
    response_model_exclude_none=True,
    responses=responses(404),
)
async def list_authentication_configurations(
    runtime: RuntimeDep,
    key_or_id: KeyOrId,
    kind: Annotated[str, Path(alias="type", description="`oauth2`")],
) -> list[ElementConfigurationBody]:
    """Lists the configuration keys that authenticate accounts of an element in one of these ways."""
    provider = runtime.registry.find(key_or_id)
    if kind != AUTHENTICATION_TYPE:
        raise NotFound(f"No authentication type '{kind[:100]}' found")
    return elements.authentication_items(provider)
