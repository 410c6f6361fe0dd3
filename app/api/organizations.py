"""/organizations: the caller's one, with all of its accounts and users."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.accounts import page as page_of_accounts
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, RuntimeDep
from app.api.paging import PagingDep
from app.api.problems import responses
from app.api.secrets import UNKEPT, OverlapDep
from app.api.users import page as page_of_users
from app.ids import LARGEST_ID
from app.store.tables import Role
from app.tenancy import organizations, roles, users
from app.wire import organizations as wire
from app.wire.accounts import AccountBody
from app.wire.organizations import OrganizationBody
from app.wire.secrets import OrganizationSecretBody
from app.wire.users import AccountUserBody

router = APIRouter(
    route_class=JsonRoute, prefix="/organizations", tags=["organizations"], responses=responses(401)
)

OrganizationId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the organization.")]


@router.get("/me")
async def get_own_organization(runtime: RuntimeDep, caller: CallerDep) -> OrganizationBody:
    """Gets the caller's organization."""
    return wire.organization(await organizations.own(runtime, caller))


@router.put("/me/secret", dependencies=UNKEPT, responses=responses(400, 403))
async def replace_organization_secret(
    runtime: RuntimeDep, caller: CallerDep, overlap: OverlapDep
) -> OrganizationSecretBody:
    """Gives the organization a new secret, and shows it once; its other ones end, after `overlap`."""
    made = await organizations.new_secret(runtime, caller, overlap=overlap)
    return OrganizationSecretBody(organizationSecret=made)


@router.get("/users", responses=responses(400, 403))
async def list_users_of_organization(
    runtime: RuntimeDep, caller: CallerDep, paging: PagingDep
) -> list[AccountUserBody]:
    """Lists the users of all accounts of the organization, for its administrators."""
    roles.require(caller, Role.ORGANIZATION)
    return await page_of_users(runtime, users.visible(caller), paging)


@router.get("/{id}/accounts", response_model_exclude_none=True, responses=responses(400, 403))
async def list_accounts_of_organization(
    runtime: RuntimeDep, caller: CallerDep, organization_id: OrganizationId, paging: PagingDep
) -> list[AccountBody]:
    """Lists all accounts of the caller's organization, for its administrators."""
    organizations.check_own(caller, organization_id)
    return await page_of_accounts(runtime, caller, paging)
