"""Shared links to Egnyte's files: developers.egnyte.com, Egnyte Link API Documentation."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from app.sandbox.egnyte.access import CallerDep, RefusalError, read
from app.sandbox.egnyte.domain import Domain, Link

router = APIRouter(prefix="/pubapi")

_KINDS = ("file", "folder", "upload")
_MAX_COUNT = 500

CountQuery = Annotated[int, Query(ge=1, le=_MAX_COUNT)]
OffsetQuery = Annotated[int, Query(ge=0)]


class NewLink(BaseModel):
    """A link to make; what else it carries comes back in the answers."""

    model_config = ConfigDict(extra="allow")

    path: str
    type: str


@router.post("/{version}/links")
async def create(version: str, caller: CallerDep, request: Request) -> dict[str, Any]:
    """Shares a file or a folder."""
    wish = await read(request, NewLink)
    kind = wish.type.lower()
    if kind not in _KINDS:
        raise _refused(400, "INVALID_TYPE", f"type has to be one of {', '.join(_KINDS)}")
    link = caller.domain.add_link(wish.path, kind, caller.user, wish.model_extra or {})
    made = {"id": link.id, "url": _url(caller.domain, link), "recipients": link.recipients}
    return {**_properties(link), "links": [made]}


@router.get("/v1/links")
async def link_ids(
    caller: CallerDep, path: str | None = None, offset: OffsetQuery = 0, count: CountQuery = _MAX_COUNT
) -> dict[str, Any]:
    """The ids of the links, to one path or to all."""
    found = [link.id for link in _links_to(caller.domain, path)]
    page = found[offset : offset + count]
    return {"ids": page, "offset": offset, "count": len(page), "total_count": len(found)}


@router.get("/v2/links")
async def links(
    caller: CallerDep, path: str | None = None, offset: OffsetQuery = 0, count: CountQuery = _MAX_COUNT
) -> dict[str, Any]:
    """The links themselves."""
    found = _links_to(caller.domain, path)
    page = [_row(caller.domain, link) for link in found[offset : offset + count]]
    return {"links": page, "offset": offset, "count": len(page), "total_count": len(found)}


@router.get("/{version}/links/{link_id}")
async def link(version: str, caller: CallerDep, link_id: str) -> dict[str, Any]:
    """One link."""
    return _row(caller.domain, _find(caller.domain, link_id))


@router.delete("/{version}/links/{link_id}")
async def delete(version: str, caller: CallerDep, link_id: str) -> dict[str, Any]:
    """Ends a link."""
    del caller.domain.links[_find(caller.domain, link_id).id]
    return {}


def _refused(status: int, code: str, description: str) -> RefusalError:
    body = {"Errors": [{"code": code, "description": description}]}
    return RefusalError(JSONResponse(body, status_code=status))


def _find(domain: Domain, link_id: str) -> Link:
    if link_id not in domain.links:
        raise _refused(404, "NOT_FOUND", f"No link {link_id}")
    return domain.links[link_id]


def _links_to(domain: Domain, path: str | None) -> list[Link]:
    return [link for link in domain.links.values() if path in (None, link.path)]


def _url(domain: Domain, link: Link) -> str:
    short = "fl" if link.kind == "folder" else "dl"
    return f"https://{domain.name}.egnyte.com/{short}/{link.id}"


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


def _row(domain: Domain, link: Link) -> dict[str, Any]:
    return {
        **_properties(link),
        "id": link.id,
        "url": _url(domain, link),
        "recipients": link.recipients,
    }
