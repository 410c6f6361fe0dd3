"""Custom metadata in Egnyte: developers.egnyte.com, Custom Metadata API Documentation."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import RootModel

from app.sandbox.egnyte.access import CallerDep, read
from app.sandbox.egnyte.custom_metadata import Namespace, Values
from app.sandbox.egnyte.files import NodeDep
from app.sandbox.world import ref_to

router = APIRouter(prefix="/pubapi/v1")


@router.get("/properties/namespace")
async def namespaces(caller: CallerDep) -> list[dict[str, Any]]:
    """Every namespace with its keys."""
    return [namespace.shown() for namespace in caller.domain.custom_metadata.namespaces.values()]


@router.post("/properties/namespace", response_model=None)
async def add_namespace(caller: CallerDep, request: Request) -> JSONResponse:
    """Makes a namespace."""
    namespace = await read(request, Namespace)
    caller.domain.custom_metadata.add(namespace)
    return JSONResponse(namespace.shown(), status_code=201)


@router.get("/properties/namespace/{name}")
async def namespace(caller: CallerDep, name: str) -> dict[str, Any]:
    """One namespace."""
    return caller.domain.custom_metadata.namespace(name).shown()


@router.get("/fs/ids/{kind}/{node_id}/properties/{name}")
async def values(caller: CallerDep, node: NodeDep, name: str) -> Values:
    """What a file or folder has under a namespace."""
    return caller.domain.custom_metadata.values(node.id, name)


@router.put("/fs/ids/{kind}/{node_id}/properties/{name}")
async def set_values(caller: CallerDep, node: NodeDep, name: str, request: Request) -> Values:
    """Changes the values that are named and answers all of them."""
    changes = (await read(request, RootModel[Values])).root
    merged = caller.domain.custom_metadata.merge(node.id, name, changes)
    for key, value in changes.items():
        kind = "meta:add_metadata_key" if value is not None else "meta:delete_metadata_key"
        caller.domain.hooks.tell(kind, caller.actor, ref_to(node), namespace=name, key=key)
    return merged
