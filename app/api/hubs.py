"""/hubs: the contracts that elements fulfil. No authorization is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.bodies import JsonRoute
from app.api.deps import RuntimeDep
from app.api.paging import PagingDep
from app.api.problems import responses
from app.errors import NotFound
from app.runtime import Runtime
from app.wire import elements, hubs
from app.wire.elements import ElementBody
from app.wire.hubs import HubBody

router = APIRouter(route_class=JsonRoute, prefix="/hubs", tags=["hubs"], responses=responses(400))

HubKey = Annotated[str, Path(alias="key", description="Key or id of the hub: `documents` or `4`.")]
Hydrate = Annotated[bool, Query(description="Whether to answer the elements of the hub too.")]


@router.get("", response_model_exclude_none=True)
async def list_hubs(runtime: RuntimeDep, paging: PagingDep, hydrate: Hydrate = False) -> list[HubBody]:
    """Lists the hubs that this gateway serves."""
    return paging.of_all(hubs.hubs(runtime.registry.providers, hydrate=hydrate))


@router.get("/keys")
async def list_hub_keys(runtime: RuntimeDep, paging: PagingDep) -> list[str]:
    """Lists the keys of the hubs."""
    return [hub.key for hub in paging.of_all(hubs.hubs(runtime.registry.providers))]


@router.get("/{key}", response_model_exclude_none=True, responses=responses(404))
async def get_hub(runtime: RuntimeDep, key: HubKey, hydrate: Hydrate = False) -> HubBody:
    """Gets a hub."""
    return _find(runtime, key, hydrate=hydrate)


@router.get("/{key}/elements", response_model_exclude_none=True, responses=responses(404))
async def list_hub_elements(runtime: RuntimeDep, key: HubKey, paging: PagingDep) -> list[ElementBody]:
    """Lists the elements of a hub."""
    _find(runtime, key)
    return [elements.element(provider) for provider in paging.of_all(runtime.registry.providers)]


def _find(runtime: Runtime, key: str, *, hydrate: bool = False) -> HubBody:
    """Raises NotFound."""
    for hub in hubs.hubs(runtime.registry.providers, hydrate=hydrate):
        if key.strip().lower() in {hub.key, str(hub.id)}:
            return hub
    raise NotFound(f"No hub with the key or id '{key[:100]}' found")
