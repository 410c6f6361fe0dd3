"""What was deleted: https://developer.box.com/guides/trash/."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, Caller, CallerDep, Reference, path_id, read
from app.sandbox.box.items import File, Folder, Item, WebLink
from app.sandbox.box.pages import ItemsQuery, items_page
from app.sandbox.box.shapes import selected

router = APIRouter(prefix="/2.0")

_KINDS: dict[str, type[Item]] = {"files": File, "folders": Folder, "web_links": WebLink}


class Restoration(Body):
    """Where something goes that comes back; the parent counts only if the old one is gone."""

    name: str | None = None
    parent: Reference | None = None


@router.get("/folders/trash/items")
async def items(caller: CallerDep, query: Annotated[ItemsQuery, Query()]) -> dict[str, Any]:
    """One page of what was deleted."""
    return items_page(caller.enterprise.tree.trashed.values(), query)


@router.get("/files/{item_id}/trash")
@router.get("/folders/{item_id}/trash")
@router.get("/web_links/{item_id}/trash")
async def look(
    caller: CallerDep, item_id: str, request: Request, fields: str | None = None
) -> dict[str, Any]:
    """Something in the trash."""
    return selected(_trashed(caller, request, item_id), fields)


@router.delete("/files/{item_id}/trash", response_model=None)
@router.delete("/folders/{item_id}/trash", response_model=None)
@router.delete("/web_links/{item_id}/trash", response_model=None)
async def purge(caller: CallerDep, item_id: str, request: Request) -> Response:
    """Deletes something for good."""
    caller.enterprise.tree.purge(_trashed(caller, request, item_id), caller.actor)
    return Response(status_code=204)


@router.post("/files/{item_id}", response_model=None)
@router.post("/folders/{item_id}", response_model=None)
@router.post("/web_links/{item_id}", response_model=None)
async def restore(caller: CallerDep, item_id: str, request: Request, fields: str | None = None) -> Response:
    """Takes something out of the trash."""
    item, tree = _trashed(caller, request, item_id), caller.enterprise.tree
    wish = await read(request, Restoration)
    fallback = tree.folder(wish.parent.id) if wish.parent is not None else None
    tree.restore(item, caller.actor, wish.name, fallback)
    return JSONResponse(selected(item, fields), status_code=201)


def _trashed(caller: Caller, request: Request, item_id: str) -> Item:
    kind = request.scope["route"].path.split("/")[2]
    return caller.enterprise.tree.find_trashed(_KINDS[kind], path_id(item_id))
