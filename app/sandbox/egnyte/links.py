"""Shared links to Egnyte's files: developers.egnyte.com, Egnyte Link API Documentation."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.egnyte.access import Caller, CallerDep, RefusalError, read
from app.sandbox.egnyte.domain import Domain, Link
from app.sandbox.world import Folder, Node, ref_to

router = APIRouter(prefix="/pubapi")

# The page of a link by its kind.
PAGES = {"file": "dl", "folder": "fl", "upload": "ul"}
_MAX_COUNT = 500


class NewLink(BaseModel):
    """A link to make; what else it carries comes back in the answers."""

    model_config = ConfigDict(extra="allow")

    path: str
    type: str
    # A day in the past is no error here: it is the way to get a link that has expired.
    expiry_date: date | None = None
    expiry_clicks: int | None = Field(None, ge=1, le=10)


class LinkFilter(BaseModel):
    """Which links to list."""

    path: str | None = None
    type: str | None = None
    offset: int = Field(0, ge=0)
    count: int = Field(_MAX_COUNT, ge=1, le=_MAX_COUNT)


def _base(request: Request) -> str:
    """The address of the domain as the caller reached it."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"


FilterDep = Annotated[LinkFilter, Query()]
BaseDep = Annotated[str, Depends(_base)]


@router.post("/{version}/links")
async def create(version: str, caller: CallerDep, base: BaseDep, request: Request) -> dict[str, Any]:
    """Shares a file or a folder."""
    wish = await read(request, NewLink)
    kind = wish.type.lower()
    if kind not in PAGES:
        raise _refused(400, "INVALID_TYPE", f"type has to be one of {', '.join(PAGES)}")
    if wish.expiry_date is not None and wish.expiry_clicks is not None:
        raise _refused(400, "INVALID_EXPIRY", "A link has an expiry_date or expiry_clicks, not both")
    _check_target(caller.domain.world.find(wish.path), kind)
    wishes = wish.model_dump(mode="json", exclude_none=True, exclude={"path", "type"})
    link = caller.domain.add_link(wish.path, kind, caller.user, wishes)
    _tell(caller, "create", link)
    made = {"id": link.id, "url": _url(base, link), "recipients": link.recipients}
    return {**_properties(link), "links": [made]}


@router.get("/v1/links")
async def link_ids(caller: CallerDep, wanted: FilterDep) -> dict[str, Any]:
    """The ids of the links, those to one path or of one type or all."""
    found = [link.id for link in _filtered(caller.domain, wanted)]
    page = found[wanted.offset : wanted.offset + wanted.count]
    return {"ids": page, "offset": wanted.offset, "count": len(page), "total_count": len(found)}


@router.get("/v2/links")
async def links(caller: CallerDep, wanted: FilterDep, base: BaseDep) -> dict[str, Any]:
    """The links themselves."""
    found = _filtered(caller.domain, wanted)
    page = [_row(base, link) for link in found[wanted.offset : wanted.offset + wanted.count]]
    return {"links": page, "offset": wanted.offset, "count": len(page), "total_count": len(found)}


@router.get("/{version}/links/{link_id}")
async def link(version: str, caller: CallerDep, base: BaseDep, link_id: str) -> dict[str, Any]:
    """One link."""
    return _row(base, _find(caller.domain, link_id))


@router.delete("/{version}/links/{link_id}")
async def delete(version: str, caller: CallerDep, link_id: str) -> dict[str, Any]:
    """Ends a link."""
    link = caller.domain.links.pop(_find(caller.domain, link_id).id)
    _tell(caller, "delete", link)
    return {}


def _tell(caller: Caller, action: str, link: Link) -> None:
    kind = "upload" if link.kind == "upload" else "download"
    caller.domain.hooks.tell(f"link:{action}_{kind}_link", caller.actor, ref_to(link.node), link_id=link.id)


def _refused(status: int, code: str, description: str) -> RefusalError:
    body = {"Errors": [{"code": code, "description": description}]}
    return RefusalError(JSONResponse(body, status_code=status))


def _check_target(node: Node, kind: str) -> None:
    if isinstance(node, Folder) == (kind == "file"):
        raise _refused(400, "INVALID_TYPE", f"The path is not what a link of type {kind} points to")


def _find(domain: Domain, link_id: str) -> Link:
    if link_id not in domain.links:
        raise _refused(404, "NOT_FOUND", f"No link {link_id}")
    return domain.links[link_id]


def _filtered(domain: Domain, wanted: LinkFilter) -> list[Link]:
    path = None if wanted.path is None else "/" + wanted.path.strip("/")
    kind = None if wanted.type is None else wanted.type.lower()
    return [link for link in domain.links.values() if path in (None, link.path) and kind in (None, link.kind)]


def _url(base: str, link: Link) -> str:
    return f"{base}/{PAGES[link.kind]}/{link.id}"


def _properties(link: Link) -> dict[str, Any]:
    wishes = {name: value for name, value in link.wishes.items() if name not in ("password", "recipients")}
    return {
        **wishes,
        "path": link.path,
        "type": link.kind,
        "accessibility": link.accessibility,
        "creation_date": f"{link.created:%Y-%m-%d}",
        "created_by": link.user.username,
    }


def _row(base: str, link: Link) -> dict[str, Any]:
    return {
        **_properties(link),
        "id": link.id,
        "url": _url(base, link),
        "recipients": link.recipients,
    }
