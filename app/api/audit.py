"""/audit: who did what, for those who manage an account or an organization."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app import audit
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, RuntimeDep
from app.api.event_log import From, To
from app.api.paging import OnwardPagingDep
from app.api.problems import responses
from app.ids import LARGEST_ID
from app.store.audit import Wanted
from app.store.tables import Role
from app.store.tenants import Caller
from app.tenancy import roles
from app.wire import audit as wire
from app.wire.audit import AuditEntryBody
from app.wire.storable import Storable

router = APIRouter(route_class=JsonRoute, tags=["audit"], responses=responses(400, 401, 403))


class Filters:
    """Which entries are meant."""

    def __init__(
        self,
        action: Annotated[
            str | None,
            Query(max_length=50, description="`instance.deleted`, or the beginning of several: `instance.`"),
        ] = None,
        subject: Annotated[
            Storable | None,
            Query(max_length=100, description="What it was done to: `instance 12`, `user 3`."),
        ] = None,
        user: Annotated[
            Storable | None,
            Query(max_length=320, description="Who did it: id or e-mail address of a user, or `gateway`."),
        ] = None,
        since: From = None,
        until: To = None,
    ) -> None:
        number = int(user) if user and user.isascii() and user.isdecimal() else None
        self._values: dict[str, Any] = {
            "actions": audit.actions(action) if action else None,
            "subject": subject,
            "user_id": None if number is None else min(number, LARGEST_ID),
            "actor": user.lower() if user and number is None else None,
            "since": since,
            "until": until,
        }

    def wanted(self, caller: Caller) -> Wanted:
        """Raises Forbidden for who manages nothing."""
        roles.require(caller, Role.ACCOUNT)
        account_id = None if caller.role is Role.ORGANIZATION else caller.account_id
        return Wanted(caller.organization_id, account_id, **self._values)


@router.get("/audit", response_model_exclude_none=True)
async def list_audit(
    runtime: RuntimeDep,
    caller: CallerDep,
    filters: Annotated[Filters, Depends(Filters)],
    paging: OnwardPagingDep,
) -> list[AuditEntryBody]:
    """Lists what was done, by whom and from where, the newest first: to the account and what belongs to it,
    as an `org-admin` to the whole organization.

    With `action` or `user`, a page looks at 10,000 entries at most and may then hold fewer than `pageSize`;
    it is the last one only if it brings no token. Nothing changes or deletes an entry.
    """
    wanted, below = filters.wanted(caller), paging.after or LARGEST_ID
    found = await audit.find(runtime.database, wanted, below=below, limit=paging.limit)
    if found.rest is not None:
        paging.go_on(found.rest)
    return [wire.entry(item) for item in paging.page(found.entries, lambda item: item.id)]
