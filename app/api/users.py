"""/users: who may call, and what each may do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.answers import done
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, RuntimeDep
from app.api.paging import Paging, PagingDep
from app.api.problems import responses
from app.api.secrets import UNKEPT, OverlapDep
from app.runtime import Runtime
from app.store.tables import Role
from app.store.users import Wanted
from app.tenancy import users
from app.wire import users as wire
from app.wire.secrets import UserSecretBody
from app.wire.storable import Storable
from app.wire.users import AccountUserBody, NewUserBody, RoleBody, UserOrder, UserUpdate

router = APIRouter(route_class=JsonRoute, tags=["users"], responses=responses(401, 403))

UserName = Annotated[
    Storable,
    Path(alias="emailOrId", max_length=320, description="Id or e-mail address of the user, or `me`."),
]


@router.get("/users", responses=responses(400))
async def list_users(runtime: RuntimeDep, caller: CallerDep, paging: PagingDep) -> list[AccountUserBody]:
    """Lists the users whom the caller may see: himself; as an `admin` those of his account, as an
    `org-admin` those of the organization."""
    return await page(runtime, users.visible(caller), paging)


@router.post("/users", dependencies=UNKEPT, responses=responses(400, 409, 429))
async def create_user(runtime: RuntimeDep, caller: CallerDep, body: UserOrder) -> NewUserBody:
    """Makes a user in the caller's account, and shows his secret once."""
    return wire.new_user(*await users.create(runtime, caller, caller.account_id, body.wish()))


@router.get("/users/me")
async def get_own_user(runtime: RuntimeDep, caller: CallerDep) -> AccountUserBody:
    """Gets the caller."""
    return wire.user(await users.get(runtime, caller, "me"))


@router.get("/users/{emailOrId}", responses=responses(400, 404))
async def get_user(runtime: RuntimeDep, caller: CallerDep, name: UserName) -> AccountUserBody:
    """Gets a user."""
    return wire.user(await users.get(runtime, caller, name))


@router.put("/users/{emailOrId}", responses=responses(400, 404, 409, 429))
async def replace_user(
    runtime: RuntimeDep, caller: CallerDep, name: UserName, body: UserOrder
) -> AccountUserBody:
    """Replaces what is said of a user; his password, roles and whether he is active stay if not named."""
    return wire.user(await users.change(runtime, caller, name, body.wish()))


@router.patch("/users/{emailOrId}", responses=responses(400, 404, 409, 429))
async def change_user(
    runtime: RuntimeDep, caller: CallerDep, name: UserName, body: UserUpdate
) -> AccountUserBody:
    """Changes a user. A new password ends his logins and the secrets that they were given, and so does
    `active: false`."""
    return wire.user(await users.change(runtime, caller, name, body.wish()))


@router.delete("/users/{emailOrId}", response_class=Response, responses=responses(400, 404, 409))
async def delete_user(runtime: RuntimeDep, caller: CallerDep, name: UserName) -> Response:
    """Deletes a user; his secrets and logins are refused from then on, the instances that he made stay."""
    await users.remove(runtime, caller, name)
    return done()


@router.get("/users/{emailOrId}/roles", responses=responses(400, 404))
async def list_roles(runtime: RuntimeDep, caller: CallerDep, name: UserName) -> list[RoleBody]:
    """Lists the roles of a user: the one that he has, which includes the ones below it."""
    found = await users.get(runtime, caller, name)
    return [wire.role(Role(found.role))]


@router.put("/users/{emailOrId}/secret", dependencies=UNKEPT, responses=responses(400, 404))
async def replace_user_secret(
    runtime: RuntimeDep, caller: CallerDep, name: UserName, overlap: OverlapDep
) -> UserSecretBody:
    """Gives a user a new secret, and shows it once; his other ones end, after `overlap`."""
    return UserSecretBody(userSecret=await users.new_secret(runtime, caller, name, overlap=overlap))


async def page(runtime: Runtime, wanted: Wanted, paging: Paging) -> list[AccountUserBody]:
    """One page of users, with its headers."""
    found = await users.find(runtime, wanted, after_id=paging.after, offset=paging.offset, limit=paging.limit)
    if paging.wants_total:
        paging.total(await users.count(runtime, wanted))
    return [wire.user(item) for item in paging.page(found, lambda item: item.id)]
