"""Bookmarks in folders: https://developer.box.com/reference/resources/web-link/."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, CallerDep, Reference, base_url, path_id, read
from app.sandbox.box.changing import ItemChange, change_item
from app.sandbox.box.errors import bad_request
from app.sandbox.box.items import WebLink
from app.sandbox.box.shapes import standard

router = APIRouter(prefix="/2.0/web_links")


class NewWebLink(Body):
    """A bookmark to make; without a name it is called as its address."""

    url: str
    parent: Reference
    name: str | None = None
    description: str = ""


@router.post("", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Makes a bookmark."""
    wish, tree = await read(request, NewWebLink), caller.enterprise.tree
    address = urlsplit(wish.url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise bad_request("Invalid URL", "url")
    name = wish.name or address.netloc
    parent = tree.folder(wish.parent.id)
    made = tree.add_web_link(parent, name, wish.url, wish.description, caller.actor)
    return JSONResponse(standard(made), status_code=201)


@router.get("/{link_id}")
async def look(caller: CallerDep, link_id: str) -> dict[str, Any]:
    """A bookmark."""
    return standard(caller.enterprise.tree.find(WebLink, path_id(link_id)))


@router.put("/{link_id}")
async def change(caller: CallerDep, link_id: str, request: Request) -> dict[str, Any]:
    """Changes a bookmark."""
    link = caller.enterprise.tree.find(WebLink, path_id(link_id))
    change_item(caller.enterprise, caller.actor, link, await read(request, ItemChange), base_url(request))
    return standard(link)


@router.delete("/{link_id}", response_model=None)
async def delete(caller: CallerDep, link_id: str) -> Response:
    """Puts a bookmark into the trash."""
    tree = caller.enterprise.tree
    tree.trash(tree.find(WebLink, path_id(link_id)), caller.actor)
    return Response(status_code=204)
