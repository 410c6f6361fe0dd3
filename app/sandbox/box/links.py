"""Shared links and what is behind them: https://developer.box.com/guides/shared-links/."""

import secrets
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from app.sandbox.box.access import Body, Caller, CallerDep, EnterpriseDep, unchanged
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import BoxError, bad_request, forbidden, not_found
from app.sandbox.box.items import File, Folder, Item, SharedLink, WebLink
from app.sandbox.box.sending import send_content
from app.sandbox.box.shapes import selected
from app.sandbox.box.times import aware
from app.sandbox.history import Actor

router = APIRouter()


class LinkPermissions(Body):
    """What those may do who have the link."""

    can_download: bool = True
    can_preview: bool = True
    can_edit: bool = False


class LinkWish(Body):
    """A shared link to make, or what to change on the one there is."""

    access: Literal["open", "company", "collaborators"] | None = None
    password: str | None = None
    unshared_at: datetime | None = None
    vanity_name: str | None = None
    permissions: LinkPermissions = Field(default_factory=LinkPermissions)


def share(enterprise: Enterprise, item: Item, wish: LinkWish, base: str, actor: Actor) -> None:
    """Makes or changes the shared link of an item."""
    if item.parent is None:
        raise forbidden("The root folder cannot be shared")
    old = item.shared_link
    access = wish.access or (old.access if old else "open")
    if wish.password is not None and access != "open":
        raise bad_request("A password needs the access open", "password")
    link = old or SharedLink(token=secrets.token_hex(16), base=base)
    link.access = access
    _apply(link, wish)
    item.shared_link = link
    enterprise.shared[link.token] = item
    item.touch(actor.user, datetime.now(UTC))
    enterprise.journal.record("ITEM_SHARED" if old else "ITEM_SHARED_CREATE", actor, item)


def _apply(link: SharedLink, wish: LinkWish) -> None:
    named = wish.model_fields_set
    if "password" in named:
        link.password = wish.password
    if "unshared_at" in named:
        link.unshared_at = aware(wish.unshared_at) if wish.unshared_at else None
    if "vanity_name" in named:
        link.vanity_name = wish.vanity_name
    if "permissions" in named:
        link.can_download, link.can_edit = wish.permissions.can_download, wish.permissions.can_edit


def unshare(enterprise: Enterprise, item: Item, actor: Actor) -> None:
    """Ends the shared link of an item."""
    if item.shared_link is None:
        return
    enterprise.shared.pop(item.shared_link.token, None)
    item.shared_link = None
    item.touch(actor.user, datetime.now(UTC))
    enterprise.journal.record("ITEM_SHARED_UNSHARE", actor, item)


@router.get("/2.0/shared_items", response_model=None)
async def shared_file(caller: CallerDep, request: Request, fields: str | None = None) -> Response:
    """The file behind a shared link; some clients ask here for folders too."""
    return _resolve(caller, request, fields, (File, Folder))


@router.get("/2.0/shared_items/folders", response_model=None)
async def shared_folder(caller: CallerDep, request: Request, fields: str | None = None) -> Response:
    """The folder behind a shared link."""
    return _resolve(caller, request, fields, (Folder,))


@router.get("/2.0/shared_items/web_links", response_model=None)
async def shared_web_link(caller: CallerDep, request: Request, fields: str | None = None) -> Response:
    """The web link behind a shared link."""
    return _resolve(caller, request, fields, (WebLink,))


@router.get("/s/{token}", response_model=None)
async def link_page(enterprise: EnterpriseDep, token: str) -> Response:
    """What a browser shows for a shared link."""
    item = enterprise.shared_item(token)
    return HTMLResponse(f"<!doctype html><meta charset=utf-8><h1>{escape(item.name)}</h1>")


@router.get("/shared/static/{name}", response_model=None)
async def direct_download(enterprise: EnterpriseDep, name: str, request: Request) -> Response:
    """The content behind an open link, for everybody who has it."""
    token = name.partition(".")[0]
    item = enterprise.shared_item(token)
    link = item.shared_link
    if not isinstance(item, File) or link is None or not link.can_download:
        raise not_found("shared_link", token)
    if link.access != "open" or link.password is not None:
        raise forbidden()
    link.downloads += 1
    return send_content(item.name, item.current.content, request)


def _resolve(caller: Caller, request: Request, fields: str | None, kinds: tuple[type[Item], ...]) -> Response:
    asked = dict(parse_qsl(request.headers.get("boxapi", ""), keep_blank_values=True))
    url = asked.get("shared_link", "")
    item = caller.enterprise.shared_item(urlsplit(url).path.rpartition("/")[2])
    link = item.shared_link
    if not isinstance(item, kinds) or link is None or not _lets_in(link, item, caller):
        raise not_found("shared_link", url)
    if link.password is not None and asked.get("shared_link_password") != link.password:
        raise BoxError(403, "incorrect_shared_item_password", "The password of the shared link is wrong")
    if unchanged(request, item):
        return Response(status_code=304)
    return JSONResponse(selected(item, fields))


def _lets_in(link: SharedLink, item: Item, caller: Caller) -> bool:
    if link.access != "collaborators":
        return True
    insiders: list[Any] = [item.owner, *(found.user for found in item.collaborations)]
    return caller.user in insiders
