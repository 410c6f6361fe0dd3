"""Webhooks: https://developer.box.com/reference/resources/webhook/."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, Caller, CallerDep, path_id, read
from app.sandbox.box.errors import BoxError, bad_request, not_found
from app.sandbox.box.items import File, Folder, Item
from app.sandbox.box.shapes import Shape, user_mini
from app.sandbox.box.times import timestamp
from app.sandbox.box.webhook_calls import TRIGGERS, Webhook

router = APIRouter(prefix="/2.0/webhooks")

_MOST = 1000
"""For one app and user."""


class Target(Body):
    """What the webhook is about."""

    id: str
    type: Literal["file", "folder"]


class NewWebhook(Body):
    """A webhook to make."""

    target: Target
    address: str
    triggers: list[str]


class WebhookChange(Body):
    """What a PUT changes; what it does not name stays."""

    target: Target | None = None
    address: str | None = None
    triggers: list[str] | None = None


@router.post("", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Makes a webhook."""
    wish, enterprise = await read(request, NewWebhook), caller.enterprise
    _check(wish.address, wish.triggers)
    target = _target(caller, wish.target)
    if len(_own(caller)) >= _MOST:
        raise bad_request(f"An app can have {_MOST} webhooks of a user")
    made = Webhook(
        id=enterprise.tree.new_id(), target=target, address=wish.address, triggers=wish.triggers,
        by=caller.user, client_id=caller.token.client_id, created=datetime.now(UTC),
    )  # fmt: skip
    enterprise.webhooks.known[made.id] = made
    return JSONResponse(shape(made), status_code=201)


@router.get("")
async def webhooks(
    caller: CallerDep, marker: str = "", limit: Annotated[int, Query(ge=1, le=200)] = 100
) -> dict[str, Any]:
    """The webhooks of the app and user, in short."""
    if marker and not marker.isdecimal():
        raise bad_request("Invalid marker", "marker")
    rest = [known for known in _own(caller) if int(known.id) > int(marker or 0)]
    page = rest[:limit]
    following = page[-1].id if len(rest) > limit else None
    return {"limit": limit, "next_marker": following, "entries": [mini(known) for known in page]}


@router.get("/{webhook_id}")
async def webhook(caller: CallerDep, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    return shape(_find(caller, webhook_id))


@router.put("/{webhook_id}")
async def change(caller: CallerDep, webhook_id: str, request: Request) -> dict[str, Any]:
    """Changes a webhook."""
    found, wish = _find(caller, webhook_id), await read(request, WebhookChange)
    address, triggers = wish.address or found.address, wish.triggers or found.triggers
    _check(address, triggers)
    if wish.target is not None:
        found.target = _target(caller, wish.target, but=found)
    found.address, found.triggers = address, triggers
    return shape(found)


@router.delete("/{webhook_id}", response_model=None)
async def delete(caller: CallerDep, webhook_id: str) -> Response:
    """Ends a webhook."""
    del caller.enterprise.webhooks.known[_find(caller, webhook_id).id]
    return Response(status_code=204)


def mini(webhook: Webhook) -> Shape:
    """A webhook in lists."""
    target = {"id": webhook.target.id, "type": webhook.target.kind}
    return {"id": webhook.id, "type": "webhook", "target": target}


def shape(webhook: Webhook) -> Shape:
    """A webhook as its own routes show it."""
    return mini(webhook) | {
        "address": webhook.address,
        "triggers": list(webhook.triggers),
        "created_by": user_mini(webhook.by),
        "created_at": timestamp(webhook.created),
    }


def _check(address: str, triggers: list[str]) -> None:
    """Box wants https; here http is enough."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad_request("Invalid address", "address")
    unknown = sorted(set(triggers) - TRIGGERS)
    if unknown or not triggers:
        raise bad_request(f"Invalid triggers {', '.join(unknown)}", "triggers")


def _target(caller: Caller, wish: Target, but: Webhook | None = None) -> Item:
    kind: type[Item] = Folder if wish.type == "folder" else File
    item = caller.enterprise.tree.find(kind, wish.id)
    if item.parent is None:
        raise bad_request("The root folder can have no webhook", "target")
    if any(known.target is item and known is not but for known in _own(caller)):
        raise BoxError(409, "conflict", "A webhook with this target exists already")
    return item


def _own(caller: Caller) -> list[Webhook]:
    mine = (caller.user.id, caller.token.client_id)
    known = caller.enterprise.webhooks.known.values()
    return [webhook for webhook in known if (webhook.by.id, webhook.client_id) == mine]


def _find(caller: Caller, webhook_id: str) -> Webhook:
    path_id(webhook_id)
    found = next((known for known in _own(caller) if known.id == webhook_id), None)
    if found is None:
        raise not_found("webhook", webhook_id)
    return found
