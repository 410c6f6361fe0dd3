"""Metadata of files and folders: https://developer.box.com/guides/metadata/instances/."""

import uuid
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import RootModel

from app.sandbox.box.access import Caller, CallerDep, path_id, read
from app.sandbox.box.domain import Template
from app.sandbox.box.errors import BoxError, bad_request
from app.sandbox.box.items import File, Folder, Instance, Item
from app.sandbox.box.json_patch import Operation, patched
from app.sandbox.box.shapes import instance_shape
from app.sandbox.box.templates import find_template, full_scope

router = APIRouter(prefix="/2.0")

_KINDS: dict[str, type[Item]] = {"files": File, "folders": Folder}


class Values(RootModel[dict[str, Any]]):
    """The values of an instance."""


class Patch(RootModel[list[Operation]]):
    """A JSON patch."""


@router.get("/files/{item_id}/metadata")
@router.get("/folders/{item_id}/metadata")
async def instances(caller: CallerDep, item_id: str, request: Request) -> dict[str, Any]:
    """All that an item has."""
    item = _item(caller, request, item_id)
    return {"entries": [instance_shape(item, found) for found in item.metadata.values()], "limit": 100}


@router.get("/files/{item_id}/metadata/{scope}/{template}")
@router.get("/folders/{item_id}/metadata/{scope}/{template}")
async def look(
    caller: CallerDep, item_id: str, scope: str, template: str, request: Request
) -> dict[str, Any]:
    """What an item has for one template."""
    item = _item(caller, request, item_id)
    return instance_shape(item, _instance(item, scope, template))


@router.post("/files/{item_id}/metadata/{scope}/{template}", response_model=None)
@router.post("/folders/{item_id}/metadata/{scope}/{template}", response_model=None)
async def create(caller: CallerDep, item_id: str, scope: str, template: str, request: Request) -> Response:
    """Gives an item values for a template that it has none for."""
    item = _item(caller, request, item_id)
    known = find_template(caller.enterprise, scope, template)
    values = (await read(request, Values)).root
    key = (known.scope, known.key)
    if key in item.metadata:
        raise BoxError(409, "tuple_already_exists", "Tuple already exists")
    _check(known, values)
    made = item.metadata[key] = Instance(id=str(uuid.uuid4()), scope=key[0], template=key[1], values=values)
    caller.enterprise.journal.record_for_admins("METADATA_INSTANCE_CREATE", caller.actor, item)
    return JSONResponse(instance_shape(item, made), status_code=201)


@router.put("/files/{item_id}/metadata/{scope}/{template}")
@router.put("/folders/{item_id}/metadata/{scope}/{template}")
async def change(
    caller: CallerDep, item_id: str, scope: str, template: str, request: Request
) -> dict[str, Any]:
    """Patches the values that an item has for a template."""
    item = _item(caller, request, item_id)
    found = _instance(item, scope, template)
    values = patched(found.values, (await read(request, Patch)).root)
    _check(find_template(caller.enterprise, scope, template), values)
    found.values, found.version = values, found.version + 1
    caller.enterprise.journal.record_for_admins("METADATA_INSTANCE_UPDATE", caller.actor, item)
    return instance_shape(item, found)


@router.delete("/files/{item_id}/metadata/{scope}/{template}", response_model=None)
@router.delete("/folders/{item_id}/metadata/{scope}/{template}", response_model=None)
async def delete(caller: CallerDep, item_id: str, scope: str, template: str, request: Request) -> Response:
    """Takes away what an item has for a template."""
    item = _item(caller, request, item_id)
    found = _instance(item, scope, template)
    del item.metadata[found.scope, found.template]
    caller.enterprise.journal.record_for_admins("METADATA_INSTANCE_DELETE", caller.actor, item)
    return Response(status_code=204)


def _item(caller: Caller, request: Request, item_id: str) -> Item:
    kind = request.scope["route"].path.split("/")[2]
    return caller.enterprise.tree.find(_KINDS[kind], path_id(item_id))


def _instance(item: Item, scope: str, template: str) -> Instance:
    found = item.metadata.get((full_scope(scope), template))
    if found is None:
        raise BoxError(404, "instance_not_found", "Instance of the metadata template not found")
    return found


def _check(template: Template, values: dict[str, Any]) -> None:
    """The free template takes whatever is no object; the others only what their fields allow."""
    for key, value in values.items():
        if key.startswith("$") or isinstance(value, dict):
            raise bad_request(f"Invalid value for '{key}'", key)
    if (template.scope, template.key) == ("global", "properties"):
        return
    fields = {field["key"]: field for field in template.fields}
    for key, value in values.items():
        if key not in fields:
            raise bad_request(f"The template has no field '{key}'", key)
        if not _allowed(fields[key], value):
            raise BoxError(400, "schema_validation_failed", f"Invalid value for the field '{key}'")


def _allowed(field: dict[str, Any], value: Any) -> bool:
    options = {option["key"] for option in field.get("options", [])}
    match field.get("type"):
        case "float":
            return isinstance(value, int | float)
        case "enum":
            return value in options
        case "multiSelect":
            return isinstance(value, list) and set(value) <= options
        case _:
            return isinstance(value, str)
