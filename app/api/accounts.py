"""/accounts: what separates the customers of an organization, with their users and settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from app.api.answers import done
from app.api.bodies import JsonRoute
from app.api.deps import AccountId, CallerDep, RuntimeDep
from app.api.paging import Paging, PagingDep
from app.api.problems import responses
from app.api.secrets import UNKEPT
from app.api.users import page as page_of_users
from app.provisioning import instances
from app.runtime import Runtime
from app.store.tables import FAILURE_POLICY
from app.store.tenants import Caller
from app.tenancy import accounts, users
from app.wire import accounts as wire
from app.wire import users as wire_users
from app.wire.accounts import AccountBody, AccountOrder, AccountUpdate
from app.wire.users import AccountUserBody, NewUserBody, UserOrder

router = APIRouter(
    route_class=JsonRoute, prefix="/accounts", tags=["accounts"], responses=responses(401, 403)
)

Settings = Annotated[dict[str, Any], Body(examples=[{FAILURE_POLICY: "queue"}])]


@router.get("", response_model_exclude_none=True, responses=responses(400))
async def list_accounts(runtime: RuntimeDep, caller: CallerDep, paging: PagingDep) -> list[AccountBody]:
    """Lists the accounts that the caller may see: his own; as an `org-admin` those of the organization."""
    return await page(runtime, caller, paging)


@router.post("", response_model_exclude_none=True, responses=responses(400))
async def create_account(runtime: RuntimeDep, caller: CallerDep, body: AccountOrder) -> AccountBody:
    """Makes an account, without users at first."""
    return wire.account(await accounts.create(runtime, caller, body.values()))


@router.get("/me", response_model_exclude_none=True)
async def get_own_account(runtime: RuntimeDep, caller: CallerDep) -> AccountBody:
    """Gets the caller's account."""
    return wire.account(await accounts.get(runtime, caller, caller.account_id))


@router.get("/settings")
async def get_own_settings(runtime: RuntimeDep, caller: CallerDep) -> dict[str, str]:
    """Gets the settings of the caller's account, with the defaults of those that are not set."""
    return await accounts.settings(runtime, caller, caller.account_id)


@router.patch("/settings", responses=responses(400))
async def change_own_settings(runtime: RuntimeDep, caller: CallerDep, body: Settings) -> dict[str, str]:
    """Changes settings of the caller's account; those that are not named stay, a null takes one away."""
    return await accounts.change_settings(runtime, caller, caller.account_id, wire.settings(body))


@router.get("/{id}", response_model_exclude_none=True, responses=responses(400, 404))
async def get_account(runtime: RuntimeDep, caller: CallerDep, account_id: AccountId) -> AccountBody:
    """Gets an account."""
    return wire.account(await accounts.get(runtime, caller, account_id))


@router.put("/{id}", response_model_exclude_none=True, responses=responses(400, 404))
async def replace_account(
    runtime: RuntimeDep, caller: CallerDep, account_id: AccountId, body: AccountOrder
) -> AccountBody:
    """Replaces what is said of an account; its settings stay."""
    return wire.account(await accounts.change(runtime, caller, account_id, body.values()))


@router.patch("/{id}", response_model_exclude_none=True, responses=responses(400, 404))
async def change_account(
    runtime: RuntimeDep, caller: CallerDep, account_id: AccountId, body: AccountUpdate
) -> AccountBody:
    """Changes what is said of an account."""
    return wire.account(await accounts.change(runtime, caller, account_id, body.values()))


@router.delete("/{id}", response_class=Response, responses=responses(400, 404, 409))
async def delete_account(runtime: RuntimeDep, caller: CallerDep, account_id: AccountId) -> Response:
    """Deletes an account with its users and instances; what these have reported is still delivered."""
    await instances.revoke(runtime, await accounts.remove(runtime, caller, account_id))
    return done()


@router.get("/{id}/settings", responses=responses(400, 404))
async def get_settings(runtime: RuntimeDep, caller: CallerDep, account_id: AccountId) -> dict[str, str]:
    """Gets the settings of an account, with the defaults of those that are not set."""
    return await accounts.settings(runtime, caller, account_id)


@router.post("/{id}/settings", responses=responses(400, 404))
@router.patch("/{id}/settings", responses=responses(400, 404))
async def change_settings(
    runtime: RuntimeDep, caller: CallerDep, account_id: AccountId, body: Settings
) -> dict[str, str]:
    """Changes settings of an account; those that are not named stay, a null takes one away.

    `notification.webhook.failure.policy` is `retry`, or `queue`: then a notification that a callback did
    not take waits for its owner at once.
    """
    return await accounts.change_settings(runtime, caller, account_id, wire.settings(body))


@router.get("/{id}/users", responses=responses(400, 404))
async def list_users_of_account(
    runtime: RuntimeDep, caller: CallerDep, account_id: AccountId, paging: PagingDep
) -> list[AccountUserBody]:
    """Lists the users of an account whom the caller may see."""
    await accounts.get(runtime, caller, account_id)
    return await page_of_users(runtime, replace(users.visible(caller), account_id=account_id), paging)


@router.post("/{id}/users", dependencies=UNKEPT, responses=responses(400, 404, 409, 429))
async def create_user_of_account(
    runtime: RuntimeDep, caller: CallerDep, account_id: AccountId, body: UserOrder
) -> NewUserBody:
    """Makes a user in an account, and shows his secret once."""
    return wire_users.new_user(*await users.create(runtime, caller, account_id, body.wish()))


async def page(runtime: Runtime, caller: Caller, paging: Paging) -> list[AccountBody]:
    """One page of the accounts that the caller may see, with its headers."""
    found = await accounts.find(
        runtime, caller, after_id=paging.after, offset=paging.offset, limit=paging.limit
    )
    if paging.wants_total:
        paging.total(await accounts.count(runtime, caller))
    return [wire.account(item) for item in paging.page(found, lambda item: item.account.id)]
