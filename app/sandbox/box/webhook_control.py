"""The control routes for the webhooks of the Box fake."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError
from app.sandbox.box.webhook_calls import CallFault, FaultKind, Keys
from app.sandbox.box.webhooks import shape

router = APIRouter(prefix="/webhooks")


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeysOrder(_Order):
    """The signature keys; null is a key that the app does not have."""

    primary: str | None
    secondary: str | None = None


class CallFaultOrder(_Order):
    """The next calls are not made, are made twice, have another body than was signed, or are old."""

    kind: FaultKind
    times: int | None = Field(1, ge=1, description="Calls that it concerns; null is all of them.")


class EndOrder(_Order):
    """Why a webhook calls for the last time."""

    trigger: Literal["WEBHOOK.DELETED", "NO_ACTIVE_SESSION"] = "WEBHOOK.DELETED"
    reason: str = "auto_cleanup"


class PlainOrder(_Order):
    """A call of the first version."""

    address: str
    path: str = Field(description="What it is about, by its names: /Docs/a.txt.")
    event: str = "uploaded"
    username: str = "ann"


def _enterprise(request: Request) -> Enterprise:
    enterprise: Enterprise = request.state.enterprise
    return enterprise


EnterpriseDep = Annotated[Enterprise, Depends(_enterprise)]


@router.get("")
async def webhooks(enterprise: EnterpriseDep) -> list[dict[str, Any]]:
    """The webhooks of everybody."""
    return [shape(known) for known in enterprise.webhooks.known.values()]


@router.get("/calls")
async def calls(enterprise: EnterpriseDep) -> dict[str, Any]:
    """Every try of a call that has ended, oldest first."""
    return {"calls": list(enterprise.webhooks.attempts)}


@router.get("/keys")
async def keys(enterprise: EnterpriseDep) -> Keys:
    """The signature keys of the app."""
    return enterprise.webhooks.keys


@router.put("/keys")
async def set_keys(enterprise: EnterpriseDep, order: KeysOrder) -> Keys:
    """Replaces both signature keys."""
    enterprise.webhooks.keys = Keys(order.primary, order.secondary)
    return enterprise.webhooks.keys


@router.post("/faults")
async def add_fault(enterprise: EnterpriseDep, order: CallFaultOrder) -> dict[str, Any]:
    """Adds a fault of calls behind those that wait."""
    enterprise.webhooks.faults.append(CallFault(order.kind, order.times))
    return {"waiting": enterprise.webhooks.faults}


@router.delete("/faults")
async def clear_faults(enterprise: EnterpriseDep) -> dict[str, Any]:
    """Forgets the faults of calls that wait."""
    enterprise.webhooks.faults.clear()
    return {"waiting": []}


@router.post("/v1")
async def call_plainly(enterprise: EnterpriseDep, order: PlainOrder) -> dict[str, str]:
    """Makes a call of the first version; answers its form."""
    try:
        user, item = enterprise.named(order.username), enterprise.tree.by_path(order.path)
    except BoxError as error:
        raise HTTPException(409, str(error)) from error
    form = {
        "userId": f'["{user.id}"]',
        "event": order.event,
        "itemId": item.id,
        "itemType": item.kind,
        "newItemId": "",
    }
    enterprise.webhooks.call_plainly(order.address, form)
    return form


@router.post("/{webhook_id}/end")
async def end(enterprise: EnterpriseDep, webhook_id: str, order: EndOrder) -> dict[str, bool]:
    """Ends a webhook as Box does, with a last call."""
    found = enterprise.webhooks.known.pop(webhook_id, None)
    if found is None:
        raise HTTPException(422, f"No webhook {webhook_id}")
    if order.trigger == "WEBHOOK.DELETED":
        enterprise.webhooks.call(found, order.trigger, found.by, shape(found), {"reason": order.reason})
    else:
        enterprise.webhooks.call(found, order.trigger, found.by, None, [])
    return {"ended": True}
