"""/instances: the accounts that a caller has connected."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from app.api.answers import done
from app.api.bodies import JsonRoute
from app.api.chosen import ChosenDep, ConnectedDep, InstanceRouter, KeyOrId
from app.api.deps import AccountId, CallerDep, RuntimeDep
from app.api.paging import PagingDep
from app.api.problems import responses
from app.errors import BadRequest, NotFound
from app.provisioning import instances, updates
from app.provisioning.instances import Connected, Order
from app.provisioning.updates import Update
from app.registry import Provider
from app.runtime import Runtime
from app.store.instances import Wanted
from app.store.tables import Role
from app.store.tenants import Caller
from app.tenancy import accounts
from app.wire import instances as wire
from app.wire.instances import (
    ConfigurationBody,
    ConfigurationUpdate,
    CountBody,
    InstanceBody,
    InstanceOrder,
    InstanceUpdate,
)
from app.wire.storable import Storable

together = APIRouter(tags=["instances"], responses=responses(401), route_class=JsonRoute)
one = InstanceRouter()

_VENDOR = responses(409, 429, 502)
_FOUND: dict[str, Any] = {"response_model": list[InstanceBody], "response_model_exclude_none": True}

ConfigId = Annotated[str, Path(alias="configId", max_length=200, description="Id or key of the item.")]


class Search:
    """Which of an account's instances are meant, and how much is told of each."""

    def __init__(
        self,
        tags: Annotated[
            list[Storable],
            Query(alias="tags[]", max_length=100, description="Tags that all have to be there."),
        ] = [],  # noqa: B006
        search: Annotated[
            Storable,
            Query(alias="searchText", max_length=200, description="Part of the name or element key."),
        ] = "",
        hydrate: Annotated[bool, Query(description="Whether to answer the configuration too.")] = True,
    ) -> None:
        self.hydrate = hydrate
        self._tags = [tag for tag in tags if tag]
        self._search = search.strip()

    def wanted(self, caller: Caller, account_id: int | None, provider: Provider | None = None) -> Wanted:
        return Wanted(
            account_id=account_id,
            organization_id=caller.organization_id,
            tags=self._tags,
            search=self._search,
            element_key=provider.key if provider else None,
        )


SearchDep = Annotated[Search, Depends(Search)]


@together.post("/instances", response_model_exclude_none=True, responses={**responses(400, 404), **_VENDOR})
async def create_instance(runtime: RuntimeDep, caller: CallerDep, body: InstanceOrder) -> InstanceBody:
    """Connects an account: trades its code, stores its tokens, and sets up the polling of its changes.

    With `externalAuthentication: initial` and an `oauth.user.refresh_token` instead of a code, the grant of
    an account is taken over that its owner gave elsewhere.
    """
    if not body.element.key_or_id:
        raise BadRequest("element.key: is required")
    return await _create(runtime, caller, runtime.registry.find(body.element.key_or_id), body)


@together.post(
    "/elements/{keyOrId}/instances",
    response_model_exclude_none=True,
    responses={**responses(400, 404), **_VENDOR},
)
async def create_instance_of_element(
    runtime: RuntimeDep, caller: CallerDep, key_or_id: KeyOrId, body: InstanceOrder
) -> InstanceBody:
    """Connects an account of this element, as `POST /instances` does."""
    return await _create(runtime, caller, runtime.registry.find(key_or_id), body)


@together.get("/instances", responses=responses(400, 404), **_FOUND)
async def list_instances(
    runtime: RuntimeDep, caller: CallerDep, search: SearchDep, paging: PagingDep
) -> list[InstanceBody]:
    """Lists the account's instances, the oldest first. A search that finds none is answered with 404, as
    Cloud Elements did."""
    return await _page(runtime, search.wanted(caller, caller.account_id), search, paging)


@together.get("/elements/{keyOrId}/instances", responses=responses(400, 404), **_FOUND)
async def list_instances_of_element(
    runtime: RuntimeDep, caller: CallerDep, key_or_id: KeyOrId, search: SearchDep, paging: PagingDep
) -> list[InstanceBody]:
    """Lists the account's instances of this element."""
    provider = runtime.registry.find(key_or_id)
    return await _page(runtime, search.wanted(caller, caller.account_id, provider), search, paging)


@together.get("/accounts/instances", responses=responses(400, 404), **_FOUND)
async def list_instances_of_accounts(
    runtime: RuntimeDep, caller: CallerDep, search: SearchDep, paging: PagingDep
) -> list[InstanceBody]:
    """Lists the instances of every account that the caller may see."""
    account_id = None if caller.role is Role.ORGANIZATION else caller.account_id
    return await _page(runtime, search.wanted(caller, account_id), search, paging)


@together.get("/accounts/{id}/instances", responses=responses(400, 403, 404), **_FOUND)
async def list_instances_of_account(
    runtime: RuntimeDep,
    caller: CallerDep,
    account_id: AccountId,
    search: SearchDep,
    paging: PagingDep,
) -> list[InstanceBody]:
    """Lists the instances of an account; of another one than the caller's, for an organization's
    administrator."""
    await accounts.get(runtime, caller, account_id)
    return await _page(runtime, search.wanted(caller, account_id), search, paging)


@together.get("/instances/count")
async def count_instances(runtime: RuntimeDep, caller: CallerDep) -> CountBody:
    """Counts the account's instances, in total and by element."""
    found = await instances.count(runtime, Wanted(caller.account_id, caller.organization_id))
    return CountBody(totalInstances=sum(found.values()), elementInstances=found)


@one.route("GET", "", response_model_exclude_none=True)
async def get_instance(runtime: RuntimeDep, found: ConnectedDep) -> InstanceBody:
    """Gets an instance with its configuration and the state of its polling."""
    await instances.record_reading(runtime, [found])
    return _body(found)


@one.route("PUT", "", response_model_exclude_none=True, responses=_VENDOR)
async def replace_instance(runtime: RuntimeDep, chosen: ChosenDep, body: InstanceUpdate) -> InstanceBody:
    """Changes an instance, as PATCH does; the whole instance may be sent back."""
    return await _update(runtime, chosen, body)


@one.route("PATCH", "", response_model_exclude_none=True, responses=_VENDOR)
async def update_instance(runtime: RuntimeDep, chosen: ChosenDep, body: InstanceUpdate) -> InstanceBody:
    """Changes an instance; its id and its token stay. A new `providerData.code` authenticates it again."""
    return await _update(runtime, chosen, body)


@one.route("DELETE", "", response_class=Response)
async def delete_instance(runtime: RuntimeDep, chosen: ChosenDep) -> Response:
    """Deletes an instance; its token is refused from then on, and its last events are still delivered."""
    await instances.delete(runtime, chosen.account_id, chosen.instance_id)
    return done()


@one.route("PUT", "/enabled", response_class=Response)
async def enable_instance(runtime: RuntimeDep, chosen: ChosenDep) -> Response:
    """Takes an instance into use again; its polling goes on where it stood."""
    await updates.enable(runtime, chosen.account_id, chosen.instance_id, enabled=True)
    return done()


@one.route("DELETE", "/enabled", response_class=Response)
async def disable_instance(runtime: RuntimeDep, chosen: ChosenDep) -> Response:
    """Takes an instance out of use: its hub calls are answered with 403, and it is not polled."""
    await updates.enable(runtime, chosen.account_id, chosen.instance_id, enabled=False)
    return done()


@one.route("GET", "/configuration")
async def list_configuration(found: ConnectedDep) -> list[ConfigurationBody]:
    """Lists the configuration of an instance."""
    return wire.items(found.instance, found.secrets, found.provider)


@one.route("GET", "/configuration/{configId}")
async def get_configuration(found: ConnectedDep, config_id: ConfigId) -> ConfigurationBody:
    """Gets one item of the configuration of an instance."""
    return _item(found, config_id)


@one.route("PATCH", "/configuration/{configId}", responses=_VENDOR)
async def update_configuration(
    runtime: RuntimeDep,
    chosen: ChosenDep,
    found: ConnectedDep,
    config_id: ConfigId,
    body: ConfigurationUpdate,
) -> ConfigurationBody:
    """Changes one item of the configuration of an instance; null unsets it."""
    key = _item(found, config_id).key
    wish = Update(configuration=wire.given({key: body.propertyValue}))
    return _item(await updates.update(runtime, chosen.account_id, chosen.instance_id, wish), key)


async def _create(runtime: Runtime, caller: Caller, provider: Provider, body: InstanceOrder) -> InstanceBody:
    order = Order(
        provider=provider,
        provider_data=body.providerData,
        configuration=wire.given(body.configuration),
        tags=body.tags,
        name=body.name,
        external=body.externalAuthentication,
    )
    return _body(await instances.provision(runtime, caller, order))


async def _page(runtime: Runtime, wanted: Wanted, search: Search, paging: PagingDep) -> list[InstanceBody]:
    found = await instances.find(
        runtime, wanted, after_id=paging.after, offset=paging.offset, limit=paging.limit
    )
    if paging.wants_total:
        paging.total(sum((await instances.count(runtime, wanted)).values()))
    shown = paging.page(found, lambda item: item.instance.id)
    await instances.record_reading(runtime, shown)
    return [_body(item, hydrate=search.hydrate) for item in shown]


async def _update(runtime: Runtime, chosen: ChosenDep, body: InstanceUpdate) -> InstanceBody:
    if body.name == "":
        raise BadRequest("name: must not be empty")
    wish = Update(
        name=body.name,
        tags=body.tags,
        configuration=wire.given(body.configuration),
        provider_data=body.providerData,
        element=body.element.key_or_id or None,
        external=body.externalAuthentication,
    )
    return _body(await updates.update(runtime, chosen.account_id, chosen.instance_id, wish))


def _body(found: Connected, *, hydrate: bool = True) -> InstanceBody:
    return wire.instance(
        found.instance,
        found.secrets,
        found.provider,
        found.owner,
        found.pollers,
        found.webhook,
        hydrate=hydrate,
    )


def _item(found: Connected, id_or_key: str) -> ConfigurationBody:
    for item in wire.items(found.instance, found.secrets, found.provider):
        if id_or_key in {str(item.id), item.key}:
            return item
    raise NotFound(f"No configuration with the id or key '{id_or_key[:100]}' found")
