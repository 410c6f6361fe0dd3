"""/instances/{id}/docs and /objects: what can be asked of one account."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Response

from app import documents
from app.api.chosen import ConnectedDep, InstanceRouter
from app.api.docs import ObjectMetadataBody, ObjectName, element_docs, metadata_of
from app.api.swaggers import BaseUrlDep, OperationQuery, SwaggersDep, answer, ignored
from app.openapi import objects, swagger

described = InstanceRouter()

_SWAGGER: dict[str, Any] = {"response_model": dict[str, Any], "dependencies": [ignored]}

OperationId = Annotated[
    str, Path(alias="operationId", max_length=200, description="One of the document's: `getFileMetadata`.")
]


@described.route("GET", "/docs", **_SWAGGER)
async def get_instance_docs(
    found: ConnectedDep, swaggers: SwaggersDep, base_url: BaseUrlDep, operation_id: OperationQuery = ""
) -> Response:
    """Describes what an account can be asked, as Swagger 2.0."""
    return element_docs(swaggers, found.provider, base_url, operation_id)


@described.route("GET", "/docs/{operationId}", **_SWAGGER)
async def get_instance_operation_docs(
    found: ConnectedDep, swaggers: SwaggersDep, base_url: BaseUrlDep, operation_id: OperationId
) -> Response:
    """Describes one operation, as Swagger 2.0 with the definitions that it needs."""
    return element_docs(swaggers, found.provider, base_url, operation_id)


@described.route("GET", "/docs/{operationId}/definitions", **_SWAGGER)
async def get_instance_operation_definitions(
    found: ConnectedDep, swaggers: SwaggersDep, operation_id: OperationId
) -> Any:
    """Lists the definitions that an operation needs, by their names."""
    return swagger.definitions_of(swaggers.of_element(found.provider), operation_id)


@described.route("GET", "/objects")
async def list_instance_objects(found: ConnectedDep) -> list[str]:
    """Lists the resources that an account can be asked for."""
    return documents.resources(found.provider)


@described.route("GET", "/objects/{name}/metadata", response_model_exclude_none=True)
async def get_instance_object_metadata(
    found: ConnectedDep, swaggers: SwaggersDep, name: ObjectName
) -> ObjectMetadataBody:
    """Lists the fields of an object with their types; of what only the vendor knows, none."""
    return metadata_of(swaggers, found.provider, name)


@described.route("GET", "/objects/{name}/docs", response_model=dict[str, Any])
async def get_instance_object_docs(
    found: ConnectedDep, swaggers: SwaggersDep, base_url: BaseUrlDep, name: ObjectName
) -> Response:
    """Describes the operations of an object, as Swagger 2.0."""
    resources = documents.resources(found.provider)
    return answer(objects.docs(swaggers.of_element(found.provider), name, resources), base_url)
