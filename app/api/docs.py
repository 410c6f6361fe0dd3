"""/docs: the surface for programs that read it, as Swagger 2.0, whole or of one element or object."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from app import documents
from app.api.bodies import JsonRoute
from app.api.chosen import KeyOrId
from app.api.deps import AnyInstanceDep, RuntimeDep
from app.api.problems import responses
from app.api.swaggers import BaseUrlDep, OperationQuery, Swaggers, SwaggersDep, answer, ignored
from app.errors import NotFound
from app.hubs.documents import HUB_KEY
from app.openapi import objects, swagger
from app.registry import Provider

router = APIRouter(route_class=JsonRoute, tags=["docs"])
hub_objects = APIRouter(route_class=JsonRoute, tags=["objects"], responses=responses(400, 401, 404))

ObjectName = Annotated[str, Path(max_length=200, description="One of those that `GET /objects` lists.")]


class ObjectFieldBody(BaseModel):
    """A field of an object. `type` is one of JSON's."""

    vendorPath: str
    vendorDisplayName: str
    type: str
    format: str | None = None
    description: str | None = None


class ObjectMetadataBody(BaseModel):
    """An object of the hub, as this element answers it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "storage",
                "fields": [{"vendorPath": "used", "vendorDisplayName": "used", "type": "integer"}],
            }
        }
    )

    name: str
    fields: list[ObjectFieldBody]


@router.get(
    "/elements/{keyOrId}/docs",
    response_model=dict[str, Any],
    responses=responses(400, 404),
    dependencies=[ignored],
)
async def get_element_docs(
    runtime: RuntimeDep,
    swaggers: SwaggersDep,
    key_or_id: KeyOrId,
    base_url: BaseUrlDep,
    operation_id: OperationQuery = "",
) -> Response:
    """Describes what an element can do, as Swagger 2.0 with the paths of the hub: `/files`, `/ping`."""
    provider = runtime.registry.find(key_or_id)
    return element_docs(swaggers, provider, base_url, operation_id)


@router.get("/docs/all_platform", response_model=dict[str, Any], responses=responses(400))
async def get_platform_docs(swaggers: SwaggersDep, base_url: BaseUrlDep) -> Response:
    """Describes everything but the hub, as Swagger 2.0: elements, instances, accounts and the like."""
    return swaggers.whole(base_url, swaggers.of_platform)


@router.get("/docs/{hub}", response_model=dict[str, Any], responses=responses(400, 404))
async def get_hub_docs(
    runtime: RuntimeDep,
    swaggers: SwaggersDep,
    hub: Annotated[str, Path(description="Key of the hub: `documents`.")],
    base_url: BaseUrlDep,
    provider: Annotated[
        str, Query(max_length=100, description="Key of an element: what that one can do.")
    ] = "",
) -> Response:
    """Describes a hub, as Swagger 2.0: all of it, or what one element can do."""
    if hub.strip().lower() != HUB_KEY:
        raise NotFound(f"No hub with the key '{hub[:100]}' found")
    if provider:
        return swaggers.whole(base_url, swaggers.of_element, runtime.registry.find(provider))
    return swaggers.whole(base_url, swaggers.of_hub)


@hub_objects.get("/objects/{name}/metadata", response_model_exclude_none=True)
async def get_object_metadata(
    runtime: RuntimeDep, swaggers: SwaggersDep, instance: AnyInstanceDep, name: ObjectName
) -> ObjectMetadataBody:
    """Lists the fields of an object with their types; of what only the vendor knows, none."""
    return metadata_of(swaggers, runtime.registry.find(instance.element_key), name)


@hub_objects.get("/objects/{name}/docs", response_model=dict[str, Any], responses=responses(400))
async def get_object_docs(
    runtime: RuntimeDep,
    swaggers: SwaggersDep,
    instance: AnyInstanceDep,
    name: ObjectName,
    base_url: BaseUrlDep,
) -> Response:
    """Describes the operations of an object, as Swagger 2.0."""
    provider = runtime.registry.find(instance.element_key)
    found = objects.docs(swaggers.of_element(provider), name, documents.resources(provider))
    return answer(found, base_url)


def element_docs(swaggers: Swaggers, provider: Provider, base_url: str, operation_id: str) -> Response:
    """What an element can do, or that operation of it. Raises NotFound."""
    if operation_id:
        return answer(swagger.of_operation(swaggers.of_element(provider), operation_id), base_url)
    return swaggers.whole(base_url, swaggers.of_element, provider)


def metadata_of(swaggers: Swaggers, provider: Provider, name: str) -> ObjectMetadataBody:
    """The fields of an object as an element answers them. Raises NotFound."""
    found = objects.fields(swaggers.of_element(provider), name, documents.resources(provider))
    return ObjectMetadataBody(name=name, fields=[ObjectFieldBody(**field) for field in found])
