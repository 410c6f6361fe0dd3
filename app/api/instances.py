"""/instances: the accounts that a caller has connected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app import instances
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, RuntimeDep
from app.api.problems import responses
from app.errors import BadRequest
from app.instances import Connected, Order
from app.store.tenants import Caller
from app.wire import instances as wire
from app.wire.instances import InstanceBody, InstanceOrder

router = APIRouter(route_class=JsonRoute, prefix="/instances", tags=["instances"], responses=responses(401))

PAGE_SIZE = 200  # Cloud Elements' default
LARGEST_ID = 2**63 - 1

InstanceId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the instance.")]


@router.post("", response_model_exclude_none=True, responses=responses(400, 404, 429, 502))
async def create_instance(runtime: RuntimeDep, caller: CallerDep, body: InstanceOrder) -> InstanceBody:
    """Connects an account: trades its code, stores its tokens, and sets up the polling of its changes."""
    name = body.element.key or (str(body.element.id) if body.element.id is not None else "")
    if not name:
        raise BadRequest("element.key: is required")
    order = Order(
        provider=runtime.registry.find(name),
        provider_data=body.providerData,
        configuration=wire.texts(body.configuration),
        tags=body.tags,
        name=body.name,
    )
    return _body(await instances.provision(runtime, caller, order), caller)


@router.get("", response_model_exclude_none=True, responses=responses(400))
async def list_instances(
    runtime: RuntimeDep,
    caller: CallerDep,
    response: Response,
    page_size: Annotated[int, Query(alias="pageSize", ge=1, description="At most 200.")] = PAGE_SIZE,
    next_page: Annotated[str, Query(alias="nextPage", description="Elements-Next-Page-Token.")] = "",
) -> list[InstanceBody]:
    """Lists the caller's instances, the oldest first."""
    size = min(page_size, PAGE_SIZE)
    found = await instances.page(runtime, caller, after_id=_after(next_page), limit=size + 1)
    shown = [_body(item, caller) for item in found[:size]]
    response.headers["Elements-Returned-Count"] = str(len(shown))
    if len(found) > size:
        response.headers["Elements-Next-Page-Token"] = str(shown[-1].id)
    return shown


@router.get("/{id}", response_model_exclude_none=True, responses=responses(400, 404))
async def get_instance(runtime: RuntimeDep, caller: CallerDep, instance_id: InstanceId) -> InstanceBody:
    """Gets an instance with its configuration and the state of its polling."""
    return _body(await instances.get(runtime, caller, instance_id), caller)


@router.delete("/{id}", response_class=Response, responses=responses(400, 404))
async def delete_instance(runtime: RuntimeDep, caller: CallerDep, instance_id: InstanceId) -> Response:
    """Deletes an instance; its token is refused from then on, and its last events are still delivered."""
    await instances.delete(runtime, caller, instance_id)
    return Response(status_code=200)


def _body(found: Connected, caller: Caller) -> InstanceBody:
    return wire.instance(found.instance, found.secrets, found.provider, caller, found.pollers)


def _after(token: str) -> int:
    """The id in a page token; an empty token is the first page."""
    if not token:
        return 0
    if not token.isdecimal() or len(token) > len(str(LARGEST_ID)) or int(token) > LARGEST_ID:
        raise BadRequest("nextPage: is not a token that this gateway gave")
    return int(token)
